import ByteAccess
import Checkpoints
import Containers
import Tensors
import TestSupport
import Testing

/// Codes of more bytes than are read at once: a panel's columns lie in two pieces.
@Suite struct LargeCodesTests {
    static let size = 4096, groupSize = 128, groups = size / groupSize

    /// How codes lie in words, said once more: GPTQ fills words down the inputs, AWQ along the outputs in its own order.
    enum Packing: String, CaseIterable {
        case gptq, awq

        var codes: Shape { self == .gptq ? [size / 8, size] : [size, size / 8] }

        var config: String {
            let more = self == .gptq ? #""checkpoint_format": "gptq_v2", "desc_act": false"# : #""version": "gemm", "zero_point": true"#
            return "{\"quantization_config\": {\"quant_method\": \"\(rawValue)\", \"bits\": 4, \"group_size\": \(groupSize), \(more)}}"
        }

        /// Code (input, output) of a (rows, size / 8) or (rows, size) matrix of words.
        func code(_ words: [UInt32], input: Int, output: Int) -> Int {
            switch self {
            case .gptq: Int(words[input / 8 * size + output] >> UInt32(input % 8 * 4)) & 15
            case .awq: along(words, row: input, output: output)
            }
        }

        /// A field of a row that is packed along the outputs, which zero points are in both.
        func along(_ words: [UInt32], row: Int, output: Int) -> Int {
            let order = self == .gptq ? [0, 1, 2, 3, 4, 5, 6, 7] : [0, 2, 4, 6, 1, 3, 5, 7]
            let place = order.firstIndex(of: output % 8) ?? 0
            return Int(words[row * (size / 8) + output / 8] >> UInt32(place * 4)) & 15
        }
    }

    @Test(arguments: Packing.allCases) func panelsOfTwoPieces(_ packing: Packing) throws {
        var random = SplitMix64(seed: 11)
        func words(_ shape: Shape) -> [UInt32] {
            (0..<shape.reduce(1, *)).map { _ in UInt32(truncatingIfNeeded: random.next()) }
        }
        let (codes, zeros) = (words(packing.codes), words([Self.groups, Self.size / 8]))
        let scales = (0..<(Self.groups * Self.size)).map { _ in Float(Int.random(in: 1...2047, using: &random)) / 4096 }
        let layout = try SafetensorsLayout(
            metadata: [("format", "pt")],
            tensors: [
                ("m.qweight", .i32, packing.codes), ("m.qzeros", .i32, [Self.groups, Self.size / 8]),
                ("m.scales", .f32, [Self.groups, Self.size]),
            ])
        let directory = try TemporaryDirectory()
        let data = (codes + zeros + scales.map(\.bitPattern)).withUnsafeBytes { Array($0) }
        try FileWriter.write(layout.headerBytes + data, to: directory.path("model.safetensors"))
        try FileWriter.write(Array(packing.config.utf8), to: directory.path("config.json"))

        let base = try Checkpoint.open(directory.path)
        _ = try base.requireReadableWeights()
        let weight = try #require(base["m.weight"])
        #expect(weight.shape == [Self.size, Self.size])
        for rows in [0..<3, 3063..<3081, (Self.size - 3)..<Self.size] {
            let bytes = UInt64(rows.lowerBound * Self.size * 8)..<UInt64(rows.upperBound * Self.size * 8)
            let values = try Conversion.widened(base.read(weight, bytes: bytes), as: .f64, count: rows.count * Self.size)
            var wrong = 0
            for row in rows {
                for input in 0..<Self.size {
                    let group = input / Self.groupSize
                    let number = packing.code(codes, input: input, output: row) - packing.along(zeros, row: group, output: row)
                    let expected = Double(scales[group * Self.size + row]) * Double(number)
                    wrong += values[(row - rows.lowerBound) * Self.size + input] == expected ? 0 : 1
                }
            }
            #expect(wrong == 0, "\(packing) \(rows)")
        }
    }
}
