/// A whole process that is timed, once in each round.
struct Run {
    let id: String
    let label: String
    let groups: Set<Group>
    let command: [String]
    /// The folder that it writes.
    var output: String?
    /// The outputs of earlier runs that it reads; all others are removed before it starts.
    var needs: Set<String> = []
    /// What is read into the page cache before, and what is dropped from it.
    var warm: [String] = []
    var cold: [String] = []
    /// The rounds it takes part in; nil: all.
    var rounds: Int?
    /// The file that takes what it prints; nil drops it.
    var prints: String?
}

/// The list of runs, in the order of a round.
struct RunList {
    let options: Options
    let inputs: Generator
    /// The folder for outputs.
    let scratch: String
    let runs: [Run]

    /// The scripts that compare other tools; they lie beside this file's README.
    static let scripts = "Benchmarks/Peers"

    init(options: Options, inputs: Generator, scratch: String) {
        self.options = options
        self.inputs = inputs
        self.scratch = scratch
        let base = inputs.base
        // GNU sync makes just these files durable, as a merge does; another sync does so with all.
        let durable = #"cp -r "$1" "$2" && { sync "$2"/* "$2" || sync; }"#

        func shell(_ script: String, _ arguments: String...) -> [String] { ["sh", "-c", script, "sh"] + arguments }
        func output(_ id: String) -> String { "\(scratch)/\(id)" }
        func copy(_ id: String, _ label: String, _ groups: Set<Group>, _ script: String) -> Run {
            Run(id: id, label: label, groups: groups, command: shell(script, base, output(id)), output: output(id), warm: [base])
        }
        func merge(_ id: String, _ kind: AdapterKind, _ groups: Set<Group>, _ flags: String...) -> Run {
            let adapter = inputs.adapter(kind)
            return Run(
                id: id, label: (["merge", kind.rawValue] + flags).joined(separator: " "), groups: groups,
                command: [options.tool, "merge", base, adapter, "-o", output(id), "--quiet"] + flags,
                output: output(id), warm: [base, adapter])
        }
        func check(_ kind: AdapterKind, of id: String) -> Run {
            Run(
                id: "check-\(kind.rawValue)", label: "verify \(kind.rawValue), to count elements", groups: [.rounding],
                command: [
                    options.tool, "verify", output(id), "--base", base, "--adapter", inputs.adapter(kind), "--json",
                ], needs: [output(id)], rounds: 1, prints: "\(scratch)/check-\(kind.rawValue).json")
        }
        func verify(_ id: String, _ label: String, warm: [String] = [], cold: [String] = []) -> Run {
            Run(
                id: id, label: label, groups: [.verify],
                command: [options.tool, "verify", output("merge-a"), "--base", base, "--adapter", inputs.adapter(.a), "--quiet"],
                needs: [output("merge-a")], warm: warm, cold: cold)
        }
        func read(_ id: String, _ label: String, warm: [String] = [], cold: [String] = []) -> Run {
            Run(
                id: id, label: label, groups: [.verify],
                command: shell(#"cat "$1"/*.safetensors "$2"/*.safetensors >/dev/null"#, base, output("merge-a")),
                needs: [output("merge-a")], warm: warm, cold: cold)
        }
        func peer(_ id: String, _ label: String) -> Run {
            Run(
                id: id, label: label, groups: [.peers],
                command: ["python3", "\(Self.scripts)/\(id).py", base, inputs.adapter(.a), output(id)], output: output(id),
                warm: [base, inputs.adapter(.a)], rounds: options.peerRounds)
        }
        func quantised(_ kind: QuantisedKind) -> Run {
            let (from, adapter) = (inputs.quantisedBase(kind), inputs.adapter(kind.adapter))
            return Run(
                id: "merge-\(kind.rawValue)", label: "merge \(kind.adapter.rawValue) into \(kind.rawValue)", groups: [.quantised],
                command: [options.tool, "merge", from, adapter, "-o", output("merge-\(kind.rawValue)"), "--no-hash", "--quiet"]
                    + (kind == .nf4 || kind == .nf4Nested ? ["--base-as", "stored"] : []),
                output: output("merge-\(kind.rawValue)"), warm: [from, adapter])
        }
        func convert(_ id: String, _ flags: String...) -> Run {
            Run(
                id: id, label: (["convert"] + flags).joined(separator: " "), groups: [.convert],
                command: [options.tool, "convert", inputs.torchBase, "-o", output(id), "--quiet"] + flags,
                output: output(id), warm: [inputs.torchBase])
        }
        let both = [base, output("merge-a")]
        let all: [Run] = [
            copy("copy-sync", "cp, sync", [.merge, .qv, .r256], durable),
            merge("merge-a", .a, [.merge, .dora, .quantised, .verify, .rounding, .peers], "--no-hash"),
            read("read-cold", "cat of base and result, cold", cold: both),
            verify("verify-cold", "verify a, cold", cold: both),
            read("read-warm", "cat of base and result, warm", warm: both),
            verify("verify-warm", "verify a, warm", warm: both),
            check(.a, of: "merge-a"),
            merge("merge-b", .b, [.qv, .quantised, .rounding], "--no-hash"),
            check(.b, of: "merge-b"),
            copy(
                "copy-hash", "cp, sync, openssl sha256", [.hash],
                durable + #" && openssl dgst -sha256 "$2"/*.safetensors"#),
            merge("merge-hash", .a, [.hash]),
            copy("copy", "cp", [.nosync], #"cp -r "$1" "$2""#),
            merge("merge-nosync", .a, [.nosync], "--no-hash", "--no-sync"),
            merge("merge-d", .d, [.dora, .rounding], "--no-hash"),
            check(.d, of: "merge-d"),
            merge("merge-as-nf4", .a, [.quantised], "--no-hash", "--base-as", "nf4"),
            merge("merge-as-nf4-double", .a, [.quantised], "--no-hash", "--base-as", "nf4", "--double-quant"),
            merge("merge-c", .c, [.r256, .rounding], "--no-hash"),
            check(.c, of: "merge-c"),
            Run(
                id: "copy-torch", label: "cp of the torch base, sync", groups: [.convert],
                command: shell(durable, inputs.torchBase, output("copy-torch")), output: output("copy-torch"),
                warm: [inputs.torchBase]),
            convert("convert", "--no-hash"),
            convert("convert-hash"),
            peer("numpy_merge", "numpy script"),
            peer("peft_merge", "PEFT merge_and_unload, save"),
        ] + QuantisedKind.allCases.map(quantised)
        let isTooLarge = options.model.tensors.reduce(0) { $0 + $1.bytes } > TorchBase.limit
        runs = all.filter {
            !$0.groups.isDisjoint(with: options.groups) && $0.rounds != 0 && !(isTooLarge && $0.groups == [.convert])
        }
    }

    /// The bases that the runs read: by name and folder.
    var bases: [(String, String)] {
        [("base", inputs.base), ("torch", inputs.torchBase)].filter { base in runs.contains { $0.warm.contains(base.1) || $0.cold.contains(base.1) } }
    }

    /// The runs of a round. What reads an output follows the run that wrote it; every other round goes through these
    /// blocks backwards, so that nobody always comes first.
    func order(round: Int) -> [Run] {
        var blocks: [[Run]] = []
        for run in runs {
            if run.needs.isEmpty || blocks.isEmpty { blocks.append([run]) } else { blocks[blocks.count - 1].append(run) }
        }
        return Array((round % 2 == 0 ? blocks : blocks.reversed()).joined())
    }

    /// The quantised bases that the runs read.
    var quantised: [QuantisedKind] {
        QuantisedKind.allCases.filter { kind in runs.contains { $0.command.contains(inputs.quantisedBase(kind)) } }
    }

    /// The adapters that the runs read.
    var adapters: [AdapterKind] {
        AdapterKind.allCases.filter { kind in runs.contains { $0.command.contains(inputs.adapter(kind)) } }
    }
}
