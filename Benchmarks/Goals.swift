import Foundation

/// A number of the table, with what the issue asks of it.
struct Measure {
    let label: String
    let unit: String
    /// The medians' and the smallest number; for a ratio the median of the rounds' ratios, and the smallest.
    var median: Double
    var least: Double
    /// The most it should be; nil where nothing is asked.
    var goal: Double?
    /// Why there is no number.
    var note: String?

    init(_ label: String, _ unit: String, _ values: [Double], goal: Double? = nil, note: String? = nil) {
        (self.label, self.unit, self.goal, self.note) = (label, unit, goal, note)
        (median, least) = (values.median, values.min() ?? .nan)
        if values.isEmpty && note == nil { self.note = "not measured" }
    }
}

/// The rows of the goals' table, from what the runs and the small measurements gave.
struct Goals {
    let options: Options
    let samples: Samples
    let list: RunList
    let small: SmallMeasurements

    var measures: [Measure] { merges + others + peers }

    private var merges: [Measure] {
        ratio("durable merge r=16 --no-hash / (cp + sync), wall", .merge, "merge-a", "copy-sync", goal: 1.10)
            + ratio("the same, CPU", .merge, "merge-a", "copy-sync", goal: 2.2, \.cpu)
            + ratio("with hashes / (cp + sync + openssl), wall", .hash, "merge-hash", "copy-hash", goal: 0.80)
            + ratio("--no-hash --no-sync / cp, wall", .nosync, "merge-nosync", "copy", goal: 1.25)
            + ratio("q,v r=8 / (cp + sync), wall", .qv, "merge-b", "copy-sync", goal: 1.05)
            + ratio("r=256 / (cp + sync), wall", .r256, "merge-c", "copy-sync")
            + ratio("DoRA r=16 / LoRA r=16, wall", .dora, "merge-d", "merge-a", goal: 1.5)
            + QuantisedKind.allCases.flatMap {
                ratio("into \($0.rawValue) / into BF16, wall", .quantised, "merge-\($0.rawValue)", "merge-\($0.adapter.rawValue)", goal: 1.5)
            }
            + ratio("--base-as nf4 / into BF16, wall", .quantised, "merge-as-nf4", "merge-a", goal: 1.5)
            + ratio("the same with --double-quant", .quantised, "merge-as-nf4-double", "merge-a", goal: 1.5)
            + ratio("convert .bin --no-hash / (cp + sync of it), wall", .convert, "convert", "copy-torch")
            + ratio("convert .bin with hashes / (cp + sync of it), wall", .convert, "convert-hash", "copy-torch")
            + ratio("verify / cat of base and result, both cold, wall", .verify, "verify-cold", "read-cold", goal: 2.0)
            + ratio("the same, both in memory", .verify, "verify-warm", "read-warm", goal: 2.0)
    }

    private var others: [Measure] {
        var rows: [Measure] = []
        let merges = [("convert", nil), ("merge-a", AdapterKind.a), ("merge-hash", .a), ("merge-b", .b), ("merge-c", .c), ("merge-d", .d)]
            + QuantisedKind.allCases.map { ("merge-\($0.rawValue)", $0.adapter) }
            + [("merge-as-nf4", .a), ("merge-as-nf4-double", .a)]
        for (id, kind) in merges {
            guard let run = list.runs.first(where: { $0.id == id }) else { continue }
            let goal = 64 + Double(kind?.largestPair ?? 0) / 1_048_576
            let peaks = samples.values(id) { Double($0.peakMemory) / 1_048_576 }
            // The largest of the rounds is what is promised.
            rows.append(
                Measure(
                    "peak RSS, \(run.label)", "MiB", [peaks.max()].compactMap(\.self), goal: goal, note: samples.failures[id]))
        }
        for kind in AdapterKind.allCases where options.groups.contains(.rounding) {
            let id = "check-\(kind.rawValue)"
            let counts = Verdict(file: "\(list.scratch)/\(id).json")
            rows.append(
                Measure(
                    "misrounded elements, adapter \(kind.rawValue)" + (counts.map { " (of \($0.elements))" } ?? ""), "",
                    counts.map { [Double($0.wrong)] } ?? [], goal: 0, note: counts == nil ? samples.failures[id] : nil))
        }
        return rows + small.measures
    }

    private var peers: [Measure] {
        ratio("numpy script / durable merge, wall", .peers, "numpy_merge", "merge-a")
            + ratio("PEFT / durable merge, wall", .peers, "peft_merge", "merge-a")
    }

    private func ratio(
        _ label: String, _ group: Group, _ id: String, _ other: String, goal: Double? = nil,
        _ number: (Cost) -> Double = \.wall
    ) -> [Measure] {
        guard options.groups.contains(group) else { return [] }
        return [
            Measure(
                label, "x", samples.ratios(id, to: other, number), goal: goal,
                note: samples.failures[id] ?? samples.failures[other])
        ]
    }
}

/// What `peftfile verify --json` counted.
struct Verdict {
    var wrong = 0
    var elements = 0

    init?(file: String) {
        guard let data = FileManager.default.contents(atPath: file),
            let document = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
            let tensors = document["tensors"] as? [[String: Any]]
        else { return nil }
        for tensor in tensors {
            wrong += tensor["mismatched"] as? Int ?? 0
            if tensor["kind"] as? String == "computed" { elements += tensor["elements"] as? Int ?? 0 }
        }
    }
}
