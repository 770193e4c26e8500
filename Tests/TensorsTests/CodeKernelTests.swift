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
        let factors = [1, 0.37, 1e-38, Float.infinity, -2], scales = [0.013, -1, 3e300, .nan, 0]
        for (dtype, group) in [(DType.f32, 1000), (.f32, 64), (.f32, 120), (.bf16, 200), (.bf16, 121), (.f32, values.count)] {
            let groups = 0..<((values.count + group - 1) / group)
            let (factors, scales) = (groups.map { factors[$0 % 5] }, groups.map { scales[$0 % 5] })
            let codes: [UInt16] = values.map { UInt16(truncatingIfNeeded: $0.bitPattern >> 16) }
            let bytes = dtype == .bf16 ? codes.withUnsafeBytes { [UInt8]($0) } : values.withUnsafeBytes { [UInt8]($0) }
            let result = numbers(values.count) { result in
                bytes.withUnsafeBytes { bytes in
                    factors.withUnsafeBufferPointer { factors in
                        scales.withUnsafeBufferPointer {
                            CodeKernels.nearest(
                                bytes, of: dtype, group: group, factors: factors, thresholds: thresholds, table: table, scales: $0,
                                into: result, by: path)
                        }
                    }
                }
            }
            for (index, value) in values.enumerated() {
                let given = dtype == .bf16 ? Float(bitPattern: UInt32(codes[index]) << 16) : value
                let scaled = given * factors[index / group]
                let expected = Double(table[thresholds.count { $0 < scaled }]) * scales[index / group]
                #expect(
                    expected.isNaN ? result[index].isNaN : result[index].bitPattern == expected.bitPattern, "\(dtype) \(given) in groups of \(group)")
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

    @Test("one field of every word", arguments: KernelPath.available)
    func fields(path: KernelPath) {
        let words = (0..<UInt32(101)).map { $0 &* 2_654_435_761 &+ 0x9E37_79B9 }
        for (count, shift) in [(0, 4), (1, 28), (31, 0), (64, 12), (101, 20)] {
            var codes = [UInt8](repeating: 0xAA, count: count)
            words.withUnsafeBufferPointer { words in
                codes.withUnsafeMutableBufferPointer { CodeKernels.fields(words, shift: shift, into: $0, by: path) }
            }
            #expect(codes == words.prefix(count).map { UInt8($0 >> UInt32(shift) & 15) }, "\(count) \(shift)")
        }
    }

    /// By the definition of E2M1: a sign, two bits of exponent with bias 1, one of mantissa (OCP Microscaling Formats 1.0, 5.3.3).
    @Test("blocks of MXFP4, with every code and scale", arguments: KernelPath.available)
    func mxfp4(path: KernelPath) {
        func value(_ code: Int, _ scale: UInt8) -> Double {
            guard scale != 255 else { return .nan }
            let (exponent, mantissa) = (code >> 1 & 3, Double(code & 1))
            let magnitude = exponent == 0 ? mantissa / 2 : (1 + mantissa / 2) * Double(1 << (exponent - 1))
            return Double(sign: code & 8 == 0 ? .plus : .minus, exponent: Int(scale) - 127, significand: magnitude)
        }
        var random = SplitMix64(seed: 9)
        for (columns, step, elements) in [(1, 1, 0..<32), (8, 3, 0..<32), (19, 2, 5..<24), (256, 1, 31..<32), (16, 1, 7..<7), (40, 5, 0..<1)] {
            let blocks = (columns - 1) * step + 1
            let codes = (0..<(blocks * 16)).map { _ in UInt8.random(in: 0...255, using: &random) }
            let scales = (0..<blocks).map { UInt8(truncatingIfNeeded: $0 &* 5 &+ 250) }
            let stride = columns + 3
            let result = numbers(elements.count * stride) { result in
                codes.withUnsafeBufferPointer { codes in
                    scales.withUnsafeBufferPointer {
                        CodeKernels.mxfp4(
                            codes, scales: $0, step: step, columns: columns, elements: elements, into: result, stride: stride, by: path)
                    }
                }
            }
            for (row, element) in elements.enumerated() {
                for column in 0..<stride {
                    guard column < columns else {
                        #expect(result[row * stride + column].bitPattern == Double.nan.bitPattern, "written beside its columns")
                        continue
                    }
                    let byte = codes[column * step * 16 + element / 2]
                    let expected = value(Int(element % 2 == 0 ? byte & 15 : byte >> 4), scales[column * step])
                    let got = result[row * stride + column]
                    #expect(expected.isNaN ? got.isNaN : got.bitPattern == expected.bitPattern, "\(columns) \(element) \(column)")
                }
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

    @Test("the largest magnitude of each group, NaN before all", arguments: KernelPath.available)
    func magnitudes(path: KernelPath) throws {
        var random = SplitMix64(seed: 8)
        for dtype in [DType.bf16, .f16, .f32] {
            for (count, group) in [(0, 1), (1, 8), (5, 8), (64, 64), (300, 64), (300, 7), (130, 128)] {
                let values = (0..<count).map { _ in Double.random(in: -2...2, using: &random) }
                for extra in [[], [-5], [.infinity, 1], [-.infinity], [.nan, 7], [-0.0]] as [[Double]] {
                    let bytes = try Conversion.narrowed(values + extra, to: dtype)
                    let largest = bytes.withUnsafeBytes { CodeKernels.largestMagnitudes($0, of: dtype, group: group, by: path) }
                    let stored = try Conversion.widened(bytes, as: dtype, count: count + extra.count)
                    #expect(largest.count == (stored.count + group - 1) / group)
                    for (index, value) in largest.enumerated() {
                        let part = stored[(index * group)..<min(stored.count, (index + 1) * group)]
                        #expect(part.contains(where: \.isNaN) ? value.isNaN : Double(value) == part.map(\.magnitude).max())
                    }
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
