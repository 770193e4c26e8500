import Foundation
import Peftfile

// peftfile-bench: times the tool as a whole process, in turns with what it is compared with. It measures and prints;
// whatever the numbers are, it ends well. `Benchmarks/README.md` says what each row means.

do {
    let arguments = Array(CommandLine.arguments.dropFirst())
    switch arguments.first {
    case "generate" where arguments.count == 4:
        guard let model = Model(size: arguments[2]) else { throw Failure(Options.usage) }
        let generator = Generator(model: model, cache: arguments[1])
        if let kind = AdapterKind(rawValue: arguments[3]) {
            try generator.writeAdapter(kind)
        } else if let kind = QuantisedKind(rawValue: arguments[3]) {
            try generator.writeBase(kind)
        } else if arguments[3] == "torch" {
            try generator.writeTorchBase()
        } else {
            try generator.writeBase()
        }
    case "measure-kernel" where arguments.count == 2:
        for (name, times) in KernelTimes(rank: Int(arguments[1]) ?? 16).measured() {
            for time in times { print(name, time) }
        }
    case "measure-header":
        for time in try HeaderTimes.measured() { print("header", time) }
    case "measure-reader" where arguments.count == 3:
        guard let kind = ReaderTimes.Kind.all.first(where: { $0.name == arguments[1] })?.kind else { throw Failure(Options.usage) }
        for time in try ReaderTimes.measured(kind, folder: arguments[2]) { print("reader", time) }
    case "help", "--help", "-h": print(Options.usage)
    default: try bench(Options(arguments))
    }
} catch {
    FileHandle.standardError.write(Data("peftfile-bench: \(error)\n".utf8))
    exit(2)
}

func bench(_ options: Options) throws {
    func note(_ text: String) { FileHandle.standardError.write(Data("\(text)\n".utf8)) }
    guard FileManager.default.isExecutableFile(atPath: options.tool) else {
        throw Failure("\(options.tool) is not there: make build")
    }
    let program = CommandLine.arguments[0]
    let scratch = "\(options.cache)/run"
    // What an interrupted run has left.
    try? FileManager.default.removeItem(atPath: scratch)
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: scratch) }

    let inputs = Generator(model: options.model, cache: options.cache)
    let list = RunList(options: options, inputs: inputs, scratch: scratch)
    let folders = list.runs.isEmpty ? [] : list.bases + list.adapters.map { ($0.rawValue, inputs.adapter($0)) }
        + list.quantised.map { ($0.rawValue, inputs.quantisedBase($0)) }
    try requireRoom(options, list, generating: folders.filter { !Generator.isComplete($0.1) }.map(\.0))
    for (name, folder) in folders where !Generator.isComplete(folder) {
        note("generating \(folder)")
        let cost = try ChildProcess.run(
            [program, "generate", options.cache, options.model.size, name], errors: "\(scratch)/stderr")
        guard cost.status == 0 else {
            throw Failure((try? String(contentsOfFile: "\(scratch)/stderr", encoding: .utf8)) ?? "generate failed")
        }
    }
    let small = try SmallMeasurements(options: options, program: program, scratch: scratch, note: note)
    let samples = try Samples(list, note: note)
    let goals = Goals(options: options, samples: samples, list: list, small: small)
    let table = Table(
        machine: .current(in: scratch), options: options, list: list, samples: samples, measures: goals.measures)
    print(table.text, terminator: "")
    if let file = options.json { try table.json.write(to: URL(fileURLWithPath: file)) }
}

/// Refuses to start where the inputs that are still to be generated and one output do not fit on the disk.
func requireRoom(_ options: Options, _ list: RunList, generating names: [String]) throws {
    if list.runs.isEmpty { return }
    let base = options.model.tensors.reduce(0) { $0 + $1.bytes }
    let inputs = names.map { name in
        let tensors = AdapterKind(rawValue: name)?.tensors(layers: options.model.layers)
            ?? QuantisedKind(rawValue: name).map { options.model.tensors($0) }
        return tensors?.reduce(0) { $0 + $1.bytes } ?? base
    }
    let needed = UInt64(inputs.reduce(base + base / 16, +))
    let free = try FileSystem.availableBytes(at: options.cache)
    if free < needed { throw Failure("\(options.cache): \(free) bytes are free and \(needed) are needed") }
}

extension Table.Machine {
    /// This machine, now.
    static func current(in scratch: String) -> Table.Machine {
        let processors = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        func value(_ key: String) -> String? {
            processors.split(separator: "\n").first { $0.hasPrefix(key) }
                .flatMap { $0.split(separator: ":").last }?.trimmingCharacters(in: .whitespaces)
        }
        let apple = ChildProcess.text(["sysctl", "-n", "machdep.cpu.brand_string"], in: scratch)
        let name = value("model name") ?? apple?.trimmingCharacters(in: .whitespacesAndNewlines) ?? "unknown processor"
        let family = value("cpu family").map { " (family \($0), model \(value("model\t") ?? "?"))" } ?? ""
        let memory = Double(ProcessInfo.processInfo.physicalMemory) / 1_073_741_824
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.dateFormat = "yyyy-MM-dd"
        let system = ChildProcess.text(["uname", "-srm"], in: scratch)?.trimmingCharacters(in: .whitespacesAndNewlines)
        return Table.Machine(
            processor: name + family, cores: Machine.availableCores, memory: "\(Int(memory.rounded())) GiB",
            system: system ?? "unknown system", date: format.string(from: Date()))
    }
}
