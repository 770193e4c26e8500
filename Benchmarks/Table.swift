import Foundation

/// Everything that was measured, as text and as JSON.
struct Table {
    let machine: Machine
    let options: Options
    let list: RunList
    let samples: Samples
    let measures: [Measure]

    /// Where and when.
    struct Machine {
        var processor: String, cores: Int, memory: String, system: String, date: String
    }

    var text: String {
        let head = """
            \(machine.processor), \(machine.cores) cores, \(machine.memory); \(machine.system); \(machine.date)
            base \(options.model.name): \(options.model.tensors.reduce(0) { $0 + $1.bytes }) bytes in \
            \(Model.shards) shards, \(options.model.tensors.count) tensors; \(options.rounds) rounds

            """
        let runs = list.runs.map { run -> [String] in
            let walls = samples.values(run.id, \.wall)
            if walls.isEmpty { return [run.label, samples.failures[run.id] ?? "not run", "", "", "", "", ""] }
            return [
                run.label, Self.number(walls.median), Self.number(walls.min() ?? .nan),
                Self.number(samples.values(run.id, \.cpu).median), Self.number(samples.values(run.id, \.cpu).min() ?? .nan),
                Self.number(samples.values(run.id) { $0.elsewhere ?? .nan }.median),
                Self.number(((samples.values(run.id) { Double($0.peakMemory) }.max() ?? 0) / 1_048_576).rounded()),
            ]
        }
        let rows = measures.map { row -> [String] in
            let goal = row.goal.map { Self.number($0) } ?? ""
            if let note = row.note { return [row.label, note, "", goal, ""] }
            return [row.label, Self.number(row.median), Self.number(row.least), goal, row.unit]
        }
        var text = head
        if !runs.isEmpty {
            text += "\n" + Self.columns(["run", "wall s", "least", "CPU s", "least", "elsewhere", "peak MiB"], runs)
        }
        return text + "\n" + Self.columns(["measure", "median", "least", "at most", "unit"], rows)
    }

    var json: Data {
        get throws {
            let runs = list.runs.map { run -> [String: Any] in
                var object: [String: Any] = [
                    "id": run.id, "label": run.label, "wall": samples.values(run.id, \.wall),
                    "cpu": samples.values(run.id, \.cpu), "elsewhere": samples.values(run.id) { $0.elsewhere ?? 0 },
                    "peak_bytes": samples.values(run.id) { Double($0.peakMemory) },
                ]
                object["failure"] = samples.failures[run.id]
                return object
            }
            let rows = measures.map { row -> [String: Any] in
                var object: [String: Any] = ["label": row.label, "unit": row.unit]
                if row.median.isFinite { (object["median"], object["least"]) = (row.median, row.least) }
                (object["goal"], object["note"]) = (row.goal, row.note)
                return object
            }
            let document: [String: Any] = [
                "schema": "peftfile.bench/1", "processor": machine.processor, "cores": machine.cores,
                "memory": machine.memory, "system": machine.system, "date": machine.date, "model": options.model.name,
                "rounds": options.rounds, "runs": runs, "measures": rows,
            ]
            return try JSONSerialization.data(withJSONObject: document, options: [.prettyPrinted, .sortedKeys])
        }
    }

    /// Three figures, or all of a whole number.
    static func number(_ value: Double) -> String {
        if !value.isFinite { return "-" }
        if value == value.rounded(), abs(value) < 1e15 { return "\(Int(value))" }
        return String(format: abs(value) >= 100 ? "%.0f" : abs(value) >= 10 ? "%.1f" : "%.2f", value)
    }

    /// Left-aligned first column, the others to the right. A row's note may be as long as it likes: it ends the row.
    static func columns(_ head: [String], _ rows: [[String]]) -> String {
        let isNote = { (row: [String]) in row.count > 1 && row[1].count > 12 }
        let counted = [head] + rows.map { isNote($0) ? [$0[0]] + Array(repeating: "", count: head.count - 1) : $0 }
        let widths = head.indices.map { column in counted.map { $0[column].count }.max() ?? 0 }
        let lines = ([head] + rows).map { row -> String in
            let first = row[0].padding(toLength: widths[0], withPad: " ", startingAt: 0)
            if isNote(row) { return "\(first)  \(row[1])" }
            let rest = row.indices.dropFirst().map { index in
                String(repeating: " ", count: widths[index] - row[index].count) + row[index]
            }
            let line = ([first] + rest).joined(separator: "  ")
            return String(line[...(line.lastIndex { $0 != " " } ?? line.startIndex)])
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
