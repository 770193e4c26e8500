import Peftfile

/// What `convert` says of a checkpoint that it wrote in another container.
struct ContainerPage {
    let plan: RewritePlan
    let target: String

    var text: String {
        let source = plan.binding.base
        var result = "converted \(Text.place(source.path)) to \(target.printable)\n"
        func line(_ key: String, _ value: String) {
            result += "  \(key)\(String(repeating: " ", count: max(1, 10 - key.count)))\(value)\n"
        }
        let kinds = Set(source.shards.map(\.file.kind.rawValue)).sorted().joined(separator: ", ")
        line("container", "\(kinds) -> safetensors")
        let tensors = plan.files.lazy.flatMap(\.tensors)
        let copied = tensors.count(where: \.recipe.isCopy)
        let dequantised = tensors.count(where: \.recipe.isDequantised)
        let parts = [(copied, "copied"), (dequantised, "dequantised"), (tensors.count - copied - dequantised, "in another dtype")]
        line(
            "tensors", "\(Text.count(tensors.count)): "
                + parts.filter { $0.0 > 0 }.map { "\(Text.count($0.0)) \($0.1)" }.joined(separator: ", "))
        for pair in plan.dropped { line("left out", "\(pair.tensor.text.printable), which is \(pair.kept.text.printable)") }
        for change in plan.configChanges {
            line("config", "\(change.path.map(\.text).joined(separator: ".")) = \(change.value.serialized())")
        }
        line(
            "written", "\(Text.counted(plan.files.count + plan.sidecars.count, "file")), \(Text.bytes(plan.bytesWritten))")
        line("receipt", plan.isSingleFile ? "\(target.printable).receipt.json" : FileSystem.join(target.printable, Receipt.fileName))
        return result
    }
}
