import Peftfile

/// What `convert` says it did.
struct ConvertPage {
    let conversion: AdapterConversion
    let source: Adapter
    let target: String
    let files: [String]
    let receipt: String

    var text: String {
        var result = "converted \(source.path.printable) to \(target.printable)\n"
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

    var json: JSONValue {
        .object([
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
        ])
    }
}
