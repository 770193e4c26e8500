import Peftfile

/// What `strip` says when it is done.
struct StripPage {
    let plan: StripPlan
    let target: String

    /// How many names a list has at most; the receipt has all of them.
    private let limit = 8

    var text: String {
        let modules = plan.source.modules
        let formula = plan.files.lazy.flatMap(\.tensors).compactMap { tensor in
            if case .computed(let formula) = tensor.content { formula } else { nil }
        }.first
        let verb = plan.source.isReparametrized ? "stripped" : "wrote"
        var result = "\(verb) \(modules[0].form)\(modules.count > 1 ? ", \(modules.count) prompts," : "") into \(target.printable)\n"
        func line(_ key: String, _ value: String) {
            result += "  \(key)\(String(repeating: " ", count: max(1, 12 - key.count)))\(value)\n"
        }
        if let formula { line("formula", formula.text) }
        for tensor in plan.files.lazy.flatMap(\.tensors).prefix(limit) {
            line("tensor", "\(tensor.info.name.text.printable) \(tensor.info.dtype.rawValue) \(Text.shape(tensor.info.shape))")
        }
        let count = plan.files.reduce(0) { $0 + $1.tensors.count }
        if count > limit { line("", "and \(Text.count(count - limit)) more") }
        line("before", "\(Text.count(plan.before.parameters)) parameters, \(Text.bytes(plan.before.bytes))")
        line("after", "\(Text.count(plan.after.parameters)) parameters, \(Text.bytes(plan.after.bytes))")
        list("left out", plan.leftOut.map(\.text) + plan.filesLeftOut, &result)
        line("written", "\(plan.files.count + plan.sidecars.count) files, \(Text.bytes(plan.bytesWritten))")
        line("receipt", FileSystem.join(target.printable, Receipt.fileName))
        return result
    }

    private func list(_ title: String, _ names: [String], _ result: inout String) {
        guard !names.isEmpty else { return }
        result += "  \(title)    \(Text.count(names.count)), not part of the prompt\n"
        for name in names.prefix(limit) { result += "    \(name.printable)\n" }
        if names.count > limit { result += "    and \(Text.count(names.count - limit)) more\n" }
    }
}

/// What `strip` says where there is nothing to do.
struct StrippedPage {
    let path: String
    let reason: String

    var text: String { "\(Text.place(path)): \(reason.printable)\n  nothing written; --force writes it all the same\n" }

    var json: JSONValue {
        .object([
            "schema": "peftfile.strip/1", "warnings": .array([]), "path": .string(path),
            "already_stripped": .string(reason),
        ])
    }
}

/// The plan that `strip --dry-run` prints.
struct StripPlanPage {
    let plan: StripPlan
    let jobs: Int
    /// What is free where the output would go; nil where that cannot be told.
    let freeBytes: UInt64?
    /// Whether the receipt is to name the SHA-256 of every file.
    let hashing: Bool

    var text: String {
        let receipt = plan.receiptBytes(hashing: hashing)
        var result = "plan \(plan.id): strip \(Text.place(plan.source.path)), layout \(plan.layout.rawValue)\n"
        for module in plan.source.modules {
            result += "  \(module.form): \(module.formula.text)\n"
        }
        result += PlanPage.needs(reads: plan.bytesRead, writes: plan.bytesWritten + receipt, memory: plan.peakMemory(jobs: jobs), free: freeBytes)
        for file in plan.files {
            result += "\n\(file.name.printable), \(Text.count(file.byteCount)) bytes\n"
            result += Text.table(
                ["tensor", "dtype", "shape", "begin", "end", "what"],
                file.tensors.map { tensor in
                    let what =
                        switch tensor.content {
                        case .computed: "computed"
                        case .copied(let stored): "copy of \(stored.name.text.printable)"
                        }
                    return [
                        tensor.info.name.text.printable, tensor.info.dtype.rawValue, Text.shape(tensor.info.shape),
                        String(tensor.info.begin), String(tensor.info.end), what,
                    ]
                }, right: [3, 4])
        }
        result += "\n" + Text.table(
            ["file", "from", "bytes"],
            plan.sidecars.map { [$0.name.printable, $0.origin, Text.count($0.byteCount)] }
                + [[Receipt.fileName, "peftfile", Text.count(receipt)]], right: [2])
        return result
    }
}
