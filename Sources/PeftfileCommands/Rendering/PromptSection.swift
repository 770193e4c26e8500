import Peftfile

/// The lines of `inspect`'s page about prompts and bottleneck adapters.
struct PromptSection {
    let inspection: Inspection

    /// How many prompts are shown one by one.
    private let limit = 4

    var text: String {
        var result = ""
        for prompt in inspection.prompts.prefix(limit) { result += lines(prompt) }
        if inspection.prompts.count > limit { result += "  and \(inspection.prompts.count - limit) more prompts\n" }
        if let report = inspection.bottlenecks { result += lines(report) }
        return result
    }

    private func line(_ key: String, _ value: String) -> String {
        "  \(key)\(String(repeating: " ", count: max(1, 12 - key.count)))\(value)\n"
    }

    private func lines(_ prompt: PromptSummary) -> String {
        let module = prompt.module
        var result = line("prompt", module.form + (module.root.isEmpty ? "" : " at \(module.root.printable)"))
        let width = module.width.map { " of width \(Text.count($0))" } ?? ""
        result += line("tokens", (module.tokens.map { "\(Text.count($0)) virtual tokens" } ?? "flat, virtual tokens unknown") + width)
        if module.kind.isKeyValue {
            result += line(
                "layers", (prompt.layers.map { "\(Text.count($0)), a key and a value slot each" } ?? "unknown"))
            result += line(
                "kv heads", prompt.heads.map { "\(Text.count($0)), head_dim \(prompt.headWidth ?? 0)" } ?? "unknown")
        }
        if let factors = module.factors { result += line("tasks", "\(Text.count(factors.tasks)), rank \(Text.count(factors.ranks))") }
        if module.isReparametrized {
            result += line("formula", module.formula.text)
            result += line("before", "\(Text.count(prompt.before.parameters)) parameters, \(Text.bytes(prompt.before.bytes))")
            result += line(
                "after", "\(Text.count(prompt.after.parameters)) parameters, \(Text.bytes(prompt.after.bytes)): peftfile strip saves "
                    + Text.bytes(prompt.savedBytes))
        } else {
            result += line("stripped", "yes, \(Text.count(prompt.after.parameters)) parameters, \(Text.bytes(prompt.after.bytes))")
        }
        return result
    }

    private func lines(_ report: BottleneckReport) -> String {
        var result = line("bottlenecks", "\(Text.count(report.modules.count)) adapters of \(report.modules[0].library.rawValue)")
        let widths = report.bottlenecks.map { Text.count($0) }.joined(separator: ", ")
        let factor = report.reductionFactor.map { ", reduction factor \(Text.number($0))" } ?? ""
        result += line("widths", "\(report.hidden.map { Text.count($0) } ?? "several") to \(widths)\(factor)")
        if let function = report.nonLinearity { result += line("function", function.printable) }
        if let first = report.layers.first, let last = report.layers.last {
            result += line("layers", "\(report.layers.count), \(first) to \(last)")
        }
        if let untrained = inspection.untrained {
            result += line("untrained", untrained.isEmpty ? "none" : "\(untrained.count): up-projection all zero, output = input")
            for root in untrained.prefix(8) { result += "    \(root.printable)\n" }
        }
        return result
    }
}
