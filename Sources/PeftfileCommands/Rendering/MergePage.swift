import Peftfile

/// What `merge` says when it is done.
struct MergePage {
    let plan: RewritePlan
    let receipt: Receipt
    let target: String

    private var requantised: Int { plan.files.lazy.flatMap(\.tensors).filter { $0.encoding?.type.dtype == nil && $0.encoding != nil }.count }

    var text: String {
        let binding = plan.binding
        let methods = Set(binding.targets.map(\.target.method)).sorted().joined(separator: ", ")
        var result = "merged \(Text.counted(binding.adapters.count, "adapter"))\(methods.isEmpty ? "" : " (\(methods))") into "
            + "\(target.printable)\n"
        func line(_ key: String, _ value: String) {
            result += "  \(key)\(String(repeating: " ", count: max(1, 10 - key.count)))\(value)\n"
        }
        let tensors = plan.files.lazy.flatMap(\.tensors)
        let added = tensors.filter(\.isAdded).count
        let replaced = tensors.filter { $0.recipe.isFromAdapter && !$0.isAdded }.count
        line(
            "tensors", "\(Text.count(tensors.count)): \(Text.count(plan.computedCount)) computed, "
                + "\(Text.count(tensors.count - plan.computedCount)) copied"
                + (replaced > 0 ? ", \(Text.count(replaced)) of them from the adapter" : "")
                + (added > 0 ? ", \(Text.count(added)) of them new" : ""))
        if !binding.targets.isEmpty { line("modules", Text.count(binding.targets.count)) }
        let total = receipt.total
        if let survival = total.survival {
            line(
                "survival", "\(Text.percent(survival)) of the update's norm is left after rounding; "
                    + "\(Text.percent(Double(total.unchanged) / Double(max(1, total.updated)))) of its elements round away"
                    + (total.nonfinite > 0 ? "; what became NaN or Inf is left out of both" : ""))
        }
        if total.nonfinite > 0 {
            line("NaN, Inf", "\(Text.count(total.nonfinite)) results, where the base has numbers: the adapter is broken, or the dtype too narrow")
        }
        if let error = total.roundingError {
            line(
                "rounding", "to blocks leaves an error of \(Text.number(error)) of the update's norm, in \(Text.counted(requantised, "tensor")); "
                    + "\(error < 1 ? "what is left" : "the update is lost in it, and what is left") may exceed the update by it")
        }
        if !binding.setAside.isEmpty { line("set aside", "\(Text.counted(binding.setAside.count, "adapter tensor")) without part in a merge") }
        for change in binding.configChanges {
            line("config", "\(change.path.map(\.text).joined(separator: ".")) = \(change.value.serialized())")
        }
        line(
            "written", "\(Text.counted(plan.files.count + plan.sidecars.count, "file")), \(Text.bytes(plan.bytesWritten))")
        line("receipt", plan.isSingleFile ? "\(target.printable).receipt.json" : FileSystem.join(target.printable, Receipt.fileName))
        return result
    }
}

/// The plan that `--dry-run` prints.
struct PlanPage {
    let plan: RewritePlan
    let jobs: Int
    /// What is free where the output would go; nil where that cannot be told.
    let freeBytes: UInt64?
    /// What the receipt takes, about.
    let receiptBytes: UInt64

    /// Prints a plan, and ends as carrying it out would where the target stands against it.
    static func show(_ plan: RewritePlan, target: String, _ settings: PlanExecutor.Settings, _ common: CommonOptions) throws {
        let executor = PlanExecutor(plan: plan, target: target, settings: settings)
        let free = try? FileSystem.availableBytes(at: FileSystem.directory(of: target))
        // People see the plan all the same; a document on stdout means that all is well.
        if common.json {
            try executor.checkTarget()
            Console.output(plan.json(jobs: settings.jobs, freeBytes: free, hashing: settings.hashing))
        } else {
            common.warn(plan.warnings)
            let receipt = plan.receiptBytes(hashing: settings.hashing)
            Console.output(PlanPage(plan: plan, jobs: settings.jobs, freeBytes: free, receiptBytes: receipt).text)
        }
        try executor.checkTarget()
    }

    /// What a plan of any command takes.
    static func needs(reads: UInt64, writes: UInt64, memory: UInt64, free: UInt64?) -> String {
        let disk = free.map { "  disk     \(Text.bytes($0)) free\($0 >= writes ? "" : ", \(Text.bytes(writes - $0)) too few")\n" }
        return "  reads    \(Text.bytes(reads))\n  writes   \(Text.bytes(writes))\n  memory   at most about \(Text.bytes(memory))\n" + (disk ?? "")
    }

    var text: String {
        let what = plan.operation == "convert"
            ? "convert" : "\(plan.operation) \(Text.counted(plan.binding.adapters.count, "adapter")) into"
        var result = "plan \(plan.id): \(what) \(Text.place(plan.binding.base.path))\n"
        result += Self.needs(reads: plan.bytesRead, writes: plan.bytesWritten + receiptBytes, memory: plan.peakMemory(jobs: jobs), free: freeBytes)
        for change in plan.configChanges {
            result += "  config   \(change.path.map(\.text).joined(separator: ".")) = \(change.value.serialized())\n"
        }
        for file in plan.files {
            result += "\n\(file.name.isEmpty ? "output file" : file.name.printable), \(Text.count(file.byteCount)) bytes\n"
            result += Text.table(
                ["tensor", "dtype", "shape", "begin", "end", "what"],
                file.tensors.map { tensor in
                    [
                        tensor.info.name.text.printable, tensor.typeName, Text.shape(tensor.info.shape),
                        String(tensor.info.begin), String(tensor.info.end), tensor.summary,
                    ]
                }, right: [3, 4])
        }
        let receipt = plan.isSingleFile ? "OUT.receipt.json" : Receipt.fileName
        result += "\n" + Text.table(
            ["file", "from", "bytes"],
            plan.sidecars.map { [$0.name.printable, $0.origin, Text.count($0.byteCount)] }
                + [[receipt, "peftfile", "about \(Text.count(receiptBytes))"]], right: [2])
        return result
    }
}
