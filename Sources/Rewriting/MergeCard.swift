import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// The README.md of a merged checkpoint, with the front matter that the Hub reads for lineage.
///
/// The same inputs, options and version give the same bytes: no time, no host, no path of this machine.
struct MergeCard: Sendable {
    private let head: [String]
    /// What comes after the line with the update's survival, which is known when everything is written.
    private let foot: [String]

    init(of files: [RewritePlan.File], _ binding: Binding, _ settings: MergeSettings, baseDirectory: String) {
        let baseName = MergeCard.baseName(binding, baseDirectory)
        var lines = ["---"]
        if let baseName { lines += ["base_model: \(baseName)", "base_model_relation: finetune"] }
        // A diffusers component names its class, a transformers model its type.
        lines.append("library_name: \(binding.base.config?["_class_name"] == nil ? "transformers" : "diffusers")")
        lines += MergeCard.license(in: FileSystem.join(baseDirectory, "README.md"))
        lines += ["tags:", "- merge", "- peft", "- peftfile", "---", "", "# Merged checkpoint", ""]
        let methods = Set(binding.targets.map(\.target.method)).sorted().joined(separator: ", ")
        let count = binding.adapters.count
        lines += [
            "\(baseName.map { "`\($0)`" } ?? "The base model") with \(count) adapter\(count == 1 ? "" : "s") merged into its weights"
                + (methods.isEmpty ? "." : " (\(methods))."), "",
        ]
        let adapters = binding.adapters.compactMap { HubOrigin(of: $0.path) }
        if !adapters.isEmpty { lines += ["Adapters:"] + adapters.map { "- `\($0.repository)` at `\($0.commit)`" } + [""] }
        lines += ["| | |", "|---|---|", "| tensors | \(Counts(files).text) |"]
        if !binding.options.weights.isEmpty {
            lines.append("| weights | \(binding.options.weights.map { JSONNumber($0).text }.joined(separator: ", ")) |")
        }
        if let dtype = settings.dtype { lines.append("| dtype | \(dtype.rawValue)\(settings.convertsAllDTypes ? ", of every tensor of numbers" : "") |") }
        head = lines
        foot = [
            "| made by | peftfile \(Receipt.toolVersion) |", "",
            "Every computed element is the float64 result, rounded once. `peftfile-receipt.json` lists every file with its SHA-256, every "
                + "input, and what rounding left of each update.", "",
        ]
    }

    /// The whole card; as many bytes for every outcome of a merge.
    func text(_ total: UpdateStatistics) -> String {
        var survival = "no element has an update"
        if let share = total.survival {
            let lost = Double(total.unchanged) / Double(max(1, total.updated))
            survival = "\(MergeCard.percent(share)) of its norm is left after rounding; \(MergeCard.percent(lost)) of its elements round away"
        }
        survival += String(repeating: " ", count: max(0, 76 - survival.utf8.count))
        return (head + ["| update | \(survival) |"] + foot).joined(separator: "\n")
    }

    /// `12.3 %`.
    private static func percent(_ share: Double) -> String {
        let tenths = (share * 1000).rounded()
        guard tenths.isFinite, tenths < 1e15 else { return "- %" }
        return "\(Int(tenths) / 10).\(Int(tenths) % 10) %"
    }

    /// What was merged into goes before what a config says was trained on: the repository of the base's snapshot, then the name that its
    /// own config has. The adapter's word is taken where the base says nothing.
    private static func baseName(_ binding: Binding, _ directory: String) -> String? {
        func id(_ name: String?) -> String? { name.flatMap { $0.contains("/") && HubID(name: $0) != nil ? $0 : nil } }
        if let origin = HubOrigin(of: directory) { return origin.repository }
        return id(binding.base.config?["_name_or_path"]?.stringValue) ?? binding.adapters.lazy.compactMap { id($0.config?.baseModel) }.first
    }

    /// What became of the tensors; each is counted once.
    struct Counts {
        var all = 0
        var computed = 0
        var fromAdapter = 0
        var dequantised = 0
        /// By the dtype that they have now.
        var rounded: [(dtype: String, count: Int)] = []
        var copied = 0

        init(_ files: [RewritePlan.File]) {
            for tensor in files.lazy.flatMap(\.tensors) {
                all += 1
                let recipe = tensor.recipe
                if recipe.changesValues {
                    computed += 1
                } else if recipe.isFromAdapter {
                    fromAdapter += 1
                } else if recipe.isDequantised {
                    dequantised += 1
                } else if recipe.isCopy {
                    copied += 1
                } else if let place = rounded.firstIndex(where: { $0.dtype == recipe.dtype.rawValue }) {
                    rounded[place].count += 1
                } else {
                    rounded.append((recipe.dtype.rawValue, 1))
                }
            }
        }

        /// `30: 21 computed, 9 copied from the base bit for bit`.
        var text: String {
            let parts = [
                (computed, "computed"), (fromAdapter, "taken from the adapter"), (dequantised, "dequantised"),
            ] + rounded.map { ($0.count, "converted to \($0.dtype)") } + [(copied, "copied from the base bit for bit")]
            return "\(all): " + parts.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        }
    }

    /// The lines of a README's front matter that name the licence: `license:` where it is one plain word, and what says which other
    /// one it is, `license_name:` and a `license_link:` on the web. A link to a file of the base's repository leads nowhere here.
    private static func license(in path: String) -> [String] {
        guard let reader = try? FileReader(path: path), let bytes = try? reader.bytes(at: 0, count: Int(min(reader.size, 65536)))
        else { return [] }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.first == "---" else { return [] }
        let matter = lines.dropFirst().prefix { $0 != "---" }
        guard matter.endIndex < lines.endIndex else { return [] }
        return [("license", "-."), ("license_name", "-._"), ("license_link", "-._~:/")].compactMap { key, signs -> String? in
            guard let line = matter.first(where: { $0.hasPrefix(key + ":") }) else { return nil }
            let value = line.dropFirst(key.utf8.count + 1).drop { $0 == " " }
            let isPlain = !value.isEmpty && value.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || signs.utf8.contains($0)
            }
            return isPlain && (key != "license_link" || value.hasPrefix("https://")) ? "\(key): \(value)" : nil
        }
    }
}
