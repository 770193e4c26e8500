import Foundation

/// What takes no base: the kernel, the readers of codes, a long header, and `inspect` of a small file.
struct SmallMeasurements {
    var measures: [Measure] = []

    /// - Parameters:
    ///   - program: this program, which measures the library in processes of its own.
    ///   - scratch: a folder for small files.
    init(options: Options, program: String, scratch: String, note: (String) -> Void) throws {
        if options.groups.contains(.inspect) {
            note("inspect of a small file, 200 times")
            let file = "\(scratch)/small.safetensors"
            try Generator.write(
                Model.linears.map { Tensor("\($0.name).weight", "BF16", [8, 8], deviation: 0.02) }, to: file, seed: "small")
            let costs = try (0..<200).map { _ in try ChildProcess.run([options.tool, "inspect", file]) }
            let failed = costs.contains { $0.status != 0 }
            measures.append(
                Measure("inspect of a small file, whole process", "ms", failed ? [] : costs.map { $0.wall * 1000 }, goal: 8))
        }
        if options.groups.contains(.header) {
            note("a header of 100,000 tensors")
            let times = Self.numbers([program, "measure-header"], scratch)["header"] ?? []
            measures.append(Measure("header of 100,000 tensors, parse alone", "ms", times.map { $0 * 1000 }, goal: 50))
        }
        if options.groups.contains(.readers) {
            for (name, _) in ReaderTimes.Kind.all {
                note("dequantising \(name)")
                let times = Self.numbers([program, "measure-reader", name, "\(scratch)/reader"], scratch)["reader"] ?? []
                measures.append(Measure("dequantising \(name), one core", "ns/element", times))
            }
        }
        guard options.groups.contains(.kernel) else { return }
        for rank in [8, 16, 64, 256] {
            note("the kernel, r=\(rank)")
            let times = Self.numbers([program, "measure-kernel", "\(rank)"], scratch)
            let (kernel, panel) = (times["kernel"] ?? [], times["panel"] ?? [])
            measures += [
                Measure("kernel r=\(rank), bf16, one core", "ns/element", kernel, goal: rank == 16 ? 0.9 : nil),
                Measure("OpenBLAS float32 panel r=\(rank): widen, sgemm, round", "ns/element", panel),
                Measure("of that sgemm alone", "ns/element", times["sgemm"] ?? []),
                Measure(
                    "kernel / OpenBLAS float32 panel, r=\(rank)", "x", zip(kernel, panel).map { $0 / $1 },
                    goal: rank == 256 ? 1.25 : nil),
            ]
        }
    }

    /// Lines "name number" that a measuring process prints.
    private static func numbers(_ command: [String], _ scratch: String) -> [String: [Double]] {
        var numbers: [String: [Double]] = [:]
        for line in (ChildProcess.text(command, in: scratch) ?? "").split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, let number = Double(words[1]) { numbers[String(words[0]), default: []].append(number) }
        }
        return numbers
    }
}
