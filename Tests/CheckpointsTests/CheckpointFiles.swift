import ByteAccess
import Containers
import Tensors
import TestSupport

/// Small checkpoints for the tests, made of tensors of one U8 row.
enum CheckpointFiles {
    /// A safetensors file with tensors of `count` bytes each, filled with their number.
    static func file(_ names: [ExactString], count: Int = 4) throws -> [UInt8] {
        let layout = try SafetensorsLayout(metadata: [("format", "pt")], tensors: names.map { ($0, .u8, [count]) })
        return layout.headerBytes
            + names.indices.flatMap { [UInt8](repeating: UInt8(truncatingIfNeeded: $0), count: count) }
    }

    /// An index text as a person would write it.
    static func index(_ entries: [(String, String)]) -> String {
        let lines = entries.map { "\"\($0.0)\": \"\($0.1)\"" }
        return "{\"metadata\": {\"total_size\": 8}, \"weight_map\": {\(lines.joined(separator: ", "))}}"
    }
}
