import Foundation
import Peftfile

/// What it takes to dequantise, on one core: nanoseconds of processor time an element, codes in the page cache, float64 numbers out.
///
/// A matrix of 5632 x 2048 random codes (for MXFP4 two experts of that), read by panels as a merge reads it, each turn by a checkpoint
/// that was opened anew.
struct ReaderTimes {
    static let rows = 5632, columns = 2048, turns = 5

    /// A scheme by the name of its row.
    enum Kind {
        case stored(QuantisedKind)
        case mxfp4
        /// The number of the type in a GGUF file, the elements and the bytes of its block.
        case gguf(type: UInt32, elements: Int, bytes: Int)

        static let all: [(name: String, kind: Kind)] = QuantisedKind.allCases.map { ($0.rawValue, .stored($0)) }
            + [
                ("mxfp4", .mxfp4), ("q4_0", .gguf(type: 2, elements: 32, bytes: 18)), ("q4_1", .gguf(type: 3, elements: 32, bytes: 20)),
                ("q5_0", .gguf(type: 6, elements: 32, bytes: 22)), ("q5_1", .gguf(type: 7, elements: 32, bytes: 24)),
                ("q8_0", .gguf(type: 8, elements: 32, bytes: 34)), ("q4_k", .gguf(type: 12, elements: 256, bytes: 144)),
                ("q5_k", .gguf(type: 13, elements: 256, bytes: 176)), ("q6_k", .gguf(type: 14, elements: 256, bytes: 210)),
            ]
    }

    /// Nanoseconds an element of every turn. `folder` takes the small base, and is removed.
    static func measured(_ kind: Kind, folder: String) throws -> [Double] {
        try FileSystem.makeDirectory(folder, withParents: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = try write(kind, to: folder)
        return try (0..<turns).map { _ in
            let checkpoint = try Checkpoint.open(file)
            guard let quantisation = checkpoint.quantisation, let components = quantisation.components, !quantisation.weights.isEmpty
            else { throw Failure("\(file) has no quantised weights: \(checkpoint.quantisation?.problem.map { "\($0)" } ?? "?")") }
            var count = 0
            let start = Clock.thread()
            for weight in quantisation.weights {
                let total = weight.shape.reduce(1, *)
                let width = weight.shape.last ?? 1
                let panel = max(1, Panels.elements / width) * width
                let result = UnsafeMutableBufferPointer<Double>.allocate(capacity: panel)
                defer { result.deallocate() }
                for first in stride(from: 0, to: total, by: panel) {
                    let elements = first..<min(total, first + panel)
                    try weight.read(elements, from: components, into: UnsafeMutableBufferPointer(rebasing: result[..<elements.count]))
                }
                count += total
            }
            return (Clock.thread() - start) * 1e9 / Double(count)
        }
    }

    /// - Returns: what is opened.
    private static func write(_ kind: Kind, to folder: String) throws -> String {
        let name = "model.layers.0.mlp.up_proj"
        switch kind {
        case .stored(let kind):
            let file = FileSystem.join(folder, "model.safetensors")
            try Generator.write(kind.parts(name, rows: rows, columns: columns), to: file, seed: kind.rawValue)
            try Generator.write(Model.full.config(kind.config), to: FileSystem.join(folder, "config.json"))
            return folder
        case .mxfp4:
            let experts = "model.layers.0.mlp.experts.down_proj"
            let tensors = [
                Tensor("\(experts)_blocks", "U8", [2, rows, columns / 32, 16]),
                Tensor("\(experts)_scales", "U8", [2, rows, columns / 32], .bytes([118, 119, 120, 121])),
            ]
            try Generator.write(tensors, to: FileSystem.join(folder, "model.safetensors"), seed: "mxfp4")
            try Generator.write(
                #"{"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}"#,
                to: FileSystem.join(folder, "config.json"))
            return folder
        case .gguf(let type, let elements, let bytes):
            let file = FileSystem.join(folder, "model.gguf")
            try FileWriter.write(gguf(type: type, byteCount: rows * columns / elements * bytes), to: file, replacing: true)
            return file
        }
    }

    /// One matrix of random blocks under llama.cpp's name for it.
    private static func gguf(type: UInt32, byteCount: Int) -> [UInt8] {
        func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        func string(_ text: String) -> [UInt8] { little(UInt64(text.utf8.count)) + Array(text.utf8) }
        var bytes = Array("GGUF".utf8) + little(3 as UInt32) + little(1 as UInt64) + little(1 as UInt64)
        bytes += string("general.architecture") + little(8 as UInt32) + string("llama")
        bytes += string("blk.0.ffn_up.weight") + little(2 as UInt32) + little(UInt64(columns)) + little(UInt64(rows))
        bytes += little(type) + little(0 as UInt64)
        bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32)
        var data = [UInt8](repeating: 0, count: byteCount)
        var random = Normal(seed: "gguf \(type)")
        // Codes of every kind, and scales that are numbers: no byte has all bits of an F16's exponent.
        for index in data.indices { data[index] = UInt8(truncatingIfNeeded: random.bits()) & 0x3B }
        return bytes + data
    }
}
