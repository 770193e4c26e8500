import Peftfile

/// What `convert` says it did.
struct ConvertPage {
    let conversion: AdapterConversion
    let source: Adapter
    let target: String
    let files: [String]
    let receipt: String

    var text: String {
        var result = "converted \(Text.place(source.path)) to \(target.printable)\n"
        func line(_ key: String, _ value: String) {
            result += "  \(key)\(String(repeating: " ", count: max(1, 10 - key.count)))\(value)\n"
        }
        line("dialect", "\(source.dialectName ?? "peft") -> \(conversion.target.rawValue)")
        line("tensors", "\(Text.count(source.checkpoint.tensors.count)) -> \(Text.count(conversion.outputs.count))")
        line("files", files.joined(separator: ", "))
        for note in conversion.notes { line("note", note.printable) }
        line("receipt", receipt.printable)
        return result
    }

    var json: JSONValue { .object(object) }

    private var object: JSONObject {
        [
            "schema": "peftfile.convert/1",
            "warnings": .array(conversion.warnings.map { .string($0) }),
            "path": .string(source.path),
            "output": .string(target),
            "from": .string(source.dialectName ?? "peft"),
            "to": .string(conversion.target.rawValue),
            "files": .array(files.map { .string($0) }),
            "receipt": .string(receipt),
            "tensors": .array(conversion.outputs.map { .string($0.name.text) }),
            "notes": .array(conversion.notes.map { .string($0) }),
            "left_out": .array(
                conversion.leftOut.map {
                    .object(["tensor": .string($0.tensor.text), "component": .string($0.component)])
                }),
        ]
    }
}

extension ConvertPage {
    /// The plan that `convert --dry-run` prints for a dialect.
    func text(of outline: ConversionExecutor.Outline, freeBytes: UInt64?) -> String {
        var result = "plan: convert \(Text.place(source.path)) to \(target.printable)\n"
        result += "  dialect  \(source.dialectName ?? "peft") -> \(conversion.target.rawValue)\n"
        result += PlanPage.needs(reads: outline.bytesRead, writes: outline.bytesWritten + outline.receiptBytes, memory: outline.peakMemory, free: freeBytes)
        for note in conversion.notes { result += "  note     \(note.printable)\n" }
        result += "\n\(outline.fileName.printable)\n"
        return result + Text.table(
            ["tensor", "dtype", "shape", "begin", "end"],
            outline.tensors.map {
                [$0.name.text.printable, $0.dtype.rawValue, Text.shape($0.shape), String($0.begin), String($0.end)]
            }, right: [3, 4])
    }

    /// The same as a document: that of the conversion, and what it takes.
    func json(of outline: ConversionExecutor.Outline, freeBytes: UInt64?) -> JSONValue {
        var document = object
        document["dry_run"] = true
        document["bytes_read"] = .number(JSONNumber(outline.bytesRead))
        document["bytes_written"] = .number(JSONNumber(outline.bytesWritten + outline.receiptBytes))
        document["receipt_bytes"] = .number(JSONNumber(outline.receiptBytes))
        document["peak_memory"] = .number(JSONNumber(outline.peakMemory))
        document["free_bytes"] = freeBytes.map { .number(JSONNumber($0)) } ?? .null
        return .object(document)
    }
}
