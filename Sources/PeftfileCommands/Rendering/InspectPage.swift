import Peftfile

/// The page of `inspect`: what a path is, at a glance.
struct InspectPage {
    let inspection: Inspection
    /// Whether every tensor is listed.
    let listsTensors: Bool

    var text: String {
        let checkpoint = inspection.checkpoint
        var result = "\(Text.place(inspection.path)): \(title)\n"
        func line(_ key: String, _ value: String) {
            result += "  \(key)\(String(repeating: " ", count: max(1, 12 - key.count)))\(value)\n"
        }
        let files = checkpoint.shards.count
        line("container", "\((inspection.checkpoint.shards.first?.file.kind ?? .safetensors).rawValue), \(files) file\(files == 1 ? "" : "s")")
        if let base = inspection.adapter?.config?.baseModel { line("base model", base.printable) }
        if let type = checkpoint.config?["model_type"]?.stringValue { line("model type", type.printable) }
        line("tensors", Text.count(checkpoint.storedTensorCount))
        line("parameters", Text.count(checkpoint.parameterCount))
        line("bytes", Text.exactBytes(checkpoint.tensorBytes))
        line("dtypes", dtypes)
        if let quantisation = checkpoint.quantisation {
            if quantisation.problem != nil {
                line("quantised", "\(quantisation.scheme.printable), which cannot be read")
            } else {
                line("quantised", "\(quantisation.scheme.printable): \(Text.counted(quantisation.weights.count, "weight"))")
                line("dequantised", "\(Text.exactBytes(checkpoint.plainBytes)) with these weights in \(quantisation.dtype.rawValue)")
            }
        }
        let metadata = checkpoint.shards.first?.file.metadata ?? []
        if !metadata.isEmpty {
            line("metadata", metadata.map { "\($0.key.text.printable)=\(short($0.value))" }.joined(separator: ", "))
        }
        if files > 1 {
            result += "\n" + Text.table(
                ["shard", "tensors", "bytes"],
                checkpoint.shards.map {
                    [$0.fileName.printable, Text.count($0.file.tensors.count), Text.count($0.file.reader.size)]
                }, right: [1, 2])
        }
        if let settings = inspection.adapter?.config?.settings, !settings.isEmpty {
            line("settings", settings.map { AdapterConfig.text($0.key, $0.value) }.joined(separator: ", "))
        }
        result += PromptSection(inspection: inspection).text
        if inspection.adapter != nil {
            line("unclaimed", inspection.unclaimed.isEmpty ? "none" : "\(inspection.unclaimed.count)")
            for name in inspection.unclaimed.prefix(20) { result += "    \(name.text.printable)\n" }
            if inspection.unclaimed.count > 20 { result += "    and \(inspection.unclaimed.count - 20) more\n" }
        }
        if !inspection.targets.isEmpty {
            let hasDetails = inspection.targets.contains { !$0.details.isEmpty }
            let rows = inspection.targets.lazy.map { target in
                var row = [target.pathName.printable, target.method, target.rank.map(String.init) ?? "-"]
                row += [target.alpha, target.scale].map { $0.map(Text.number) ?? "-" }
                if hasDetails { row.append(target.details.map(\.text.printable).joined(separator: ", ")) }
                return row
            }
            result += "\n" + Text.table(
                ["module", "method", "rank", "alpha", "scale"] + (hasDetails ? ["parameters"] : []), rows, right: [2, 3, 4])
        }
        if listsTensors || inspection.statistics != nil { result += "\n" + tensorTable }
        return result
    }

    private var title: String {
        switch inspection.kind {
        case .checkpoint: "checkpoint"
        case .prompt: "prompt" + origin
        case .adapter:
            "adapter" + (origin.isEmpty ? inspection.adapter?.config == nil ? ", no config" : ", no peft_type" : origin)
        }
    }

    /// PEFT's method, or the library whose names these are.
    private var origin: String {
        let isForeign = inspection.adapter?.dialectName != nil
        if let type = inspection.peftType { return isForeign ? ", \(inspection.dialect ?? "") \(type)" : ", PEFT \(type.printable)" }
        return inspection.dialect.flatMap { $0 == "peft" ? nil : ", \($0)" } ?? ""
    }

    /// A metadata value on one line, cut where it is long: trainers store whole configs there.
    private func short(_ value: String) -> String {
        let printable = value.printable
        return printable.count <= 60 ? printable : "\(printable.prefix(57))..."
    }

    private var dtypes: String {
        var counts: [(dtype: String, tensors: Int, bytes: UInt64)] = []
        for tensor in inspection.checkpoint.storedTensors {
            let dtype = inspection.storedType(of: tensor)
            if let index = counts.firstIndex(where: { $0.dtype == dtype }) {
                counts[index].tensors += 1
                counts[index].bytes += tensor.byteCount
            } else {
                counts.append((dtype, 1, tensor.byteCount))
            }
        }
        if counts.isEmpty { return "none" }
        return counts.sorted { ($1.bytes, $0.dtype) < ($0.bytes, $1.dtype) }
            .map { "\($0.dtype) \(Text.count($0.tensors)) (\(Text.bytes($0.bytes)))" }.joined(separator: ", ")
    }

    private var tensorTable: String {
        var header = ["tensor", "dtype", "shape", "bytes"]
        if inspection.statistics != nil { header += ["min", "max", "mean", "std", "NaN", "Inf", "zeros"] }
        let rows = inspection.checkpoint.storedTensors.lazy.map { tensor in
            var row = [
                tensor.name.text.printable, inspection.storedType(of: tensor), Text.shape(inspection.storedShape(of: tensor)),
                Text.count(tensor.byteCount),
            ]
            if inspection.statistics != nil {
                if let figures = inspection.figures(of: tensor) {
                    let values = figures.count > 0
                        ? [figures.minimum, figures.maximum, figures.mean, figures.standardDeviation].map(Text.number)
                        : ["-", "-", "-", "-"]
                    row += values
                    row += [figures.nanCount, figures.infinityCount, figures.zeroCount].map { Text.count($0) }
                } else {
                    row += ["-", "-", "-", "-", "-", "-", "-"]
                }
            }
            return row
        }
        return Text.table(header, rows, right: Set(3..<header.count))
    }
}
