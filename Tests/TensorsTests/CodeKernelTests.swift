import TestSupport
import Testing
@testable import Tensors

/// The loops from codes to numbers against their definitions, element by element, by every form that this machine runs.
@Suite struct CodeKernelTests {
    @Test("codes times scales, for every code, group and offset", arguments: KernelPath.available)
    func affine(path: KernelPath) {
        var random = SplitMix64(seed: 5)
        for (count, group) in [(0, 1), (1, 1), (7, 3), (16, 16), (255, 32), (256, 256), (1000, 128), (4099, 4100)] {
            let codes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37) }
            let groups = count / group + 1
            let scales = (0..<groups).map { $0 % 5 == 4 ? -0.0 : Double.random(in: -1e-3...1e-3, using: &random) }
            let zeros = (0..<groups).map { Double($0 % 256) }
            let offsets = (0..<groups).map { _ in Double.random(in: -1...1, using: &random) }
            for (zeros, offsets) in [(zeros, offsets), (nil, offsets), (zeros, nil), (nil, nil)] as [([Double]?, [Double]?)] {
                let result = numbers(count) { result in
                    codes.withUnsafeBufferPointer { codes in
                        scales.withUnsafeBufferPointer { scales in
                            withOptional(zeros) { zeros in
                                withOptional(offsets) {
                                    CodeKernels.affine(codes, group: group, zeros: zeros, scales: scales, offsets: $0, into: result, by: path)
                                }
                            }
                        }
                    }
                }
                for index in 0..<count {
                    let g = index / group
                    let product = (Double(codes[index]) - (zeros?[g] ?? 0)) * scales[g]
                    let expected = offsets.map { product + $0[g] } ?? product
                    #expect(result[index].bitPattern == expected.bitPattern, "\(count) \(group) \(index)")
                }
            }
        }
    }

    @Test("the nearest entry, on each threshold and beside it", arguments: KernelPath.available)
    func nearest(path: KernelPath) {
        let table: [Float] = (0..<16).map { Float($0 * $0) / 100 - 1 }
        let thresholds = (0..<15).map { (table[$0] + table[$0 + 1]) / 2 }
        var random = SplitMix64(seed: 6)
        var values = thresholds.flatMap { [$0.nextDown, $0, $0.nextUp] } + [.nan, -.nan, .infinity, -.infinity, 0, -0.0, 3, -3]
        values += (0..<500).map { _ in Float.random(in: -1.5...1.5, using: &random) }
        for factor in [1, 0.37, 1e-38, Float.infinity] {
            let result = numbers(values.count) { result in
                values.withUnsafeBufferPointer { values in
                    thresholds.withUnsafeBufferPointer { thresholds in
                        table.withUnsafeBufferPointer { table in
                            CodeKernels.nearest(
                                values, factor: factor, thresholds: thresholds, table: table, scale: 0.013, into: result, by: path)
                        }
                    }
                }
            }
            for (index, value) in values.enumerated() {
                let scaled = value * factor
                let expected = Double(table[thresholds.count { $0 < scaled }]) * 0.013
                #expect(result[index].bitPattern == expected.bitPattern, "\(value) times \(factor)")
            }
        }
    }

    @Test("fields of a bit stream, bit by bit", arguments: 1...8)
    func unpack(bits: Int) {
        var random = SplitMix64(seed: 7)
        for count in [0, 1, 2, 7, 31, 32, 33, 1000] {
            let stream = (0..<((count * bits + 7) / 8)).map { _ in UInt8.random(in: 0...255, using: &random) }
            var codes = [UInt8](repeating: 0xAA, count: count)
            stream.withUnsafeBytes { stream in codes.withUnsafeMutableBufferPointer { CodeKernels.unpack(stream, bits: bits, into: $0) } }
            for index in 0..<count {
                let field = (0..<bits).reduce(0 as UInt8) { field, bit in
                    let place = index * bits + bit
                    return field | (stream[place / 8] >> UInt8(place % 8) & 1) << UInt8(bit)
                }
                #expect(codes[index] == field, "\(count) \(index)")
            }
        }
    }

    @Test func turnedWords() {
        let words = (0..<UInt32(40 * 23)).map { $0 &* 2_654_435_761 }
        for (rows, columns, skipped) in [(40, 23, 0), (40, 16, 0), (39, 17, 5), (1, 1, 22), (0, 3, 0)] {
            var result = [UInt32](repeating: 0, count: rows * columns)
            words.withUnsafeBytes { bytes in
                result.withUnsafeMutableBufferPointer {
                    CodeKernels.turnWords(
                        UnsafeRawBufferPointer(rebasing: bytes[(skipped * 4)...]), stride: 23, rows: rows, columns: columns, into: $0)
                }
            }
            for row in 0..<rows {
                for column in 0..<columns { #expect(result[column * rows + row] == words[row * 23 + column + skipped]) }
            }
        }
    }

    @Test("the largest magnitude, NaN before all", arguments: [DType.bf16, .f16, .f32])
    func magnitudes(dtype: DType) throws {
        var random = SplitMix64(seed: 8)
        for count in [0, 1, 5, 64, 300] {
            let values = (0..<count).map { _ in Double.random(in: -2...2, using: &random) }
            for extra in [[], [-5], [.infinity, 1], [-.infinity], [.nan, 7], [-0.0]] as [[Double]] {
                let bytes = try Conversion.narrowed(values + extra, to: dtype)
                let largest = bytes.withUnsafeBytes { CodeKernels.largestMagnitude($0, of: dtype) }
                let stored = try Conversion.widened(bytes, as: dtype, count: count + extra.count)
                if stored.contains(where: \.isNaN) {
                    #expect(largest.isNaN)
                } else {
                    #expect(Double(largest) == stored.map(\.magnitude).max() ?? 0)
                }
            }
        }
    }

    private func numbers(_ count: Int, _ fill: (UnsafeMutableBufferPointer<Double>) -> Void) -> [Double] {
        var result = [Double](repeating: .nan, count: count)
        result.withUnsafeMutableBufferPointer { fill($0) }
        return result
    }

    private func withOptional(_ values: [Double]?, _ body: (UnsafeBufferPointer<Double>?) -> Void) {
        guard let values else { return body(nil) }
        values.withUnsafeBufferPointer { body($0) }
    }
}
