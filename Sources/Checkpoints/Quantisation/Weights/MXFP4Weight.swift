public import ByteAccess
public import Tensors

/// A stack of expert matrices in MXFP4: 32 elements of E2M1 with one power of two (gpt-oss).
///
///     W[e, i, o] = E2M1[q[e, o, i]] · 2^(scale[e, o, i / 32] − 127)
///
/// On disk (experts, out, in/32, 16) bytes; byte j of a block has element 2j in its low half and 2j + 1 in its high half. The plain
/// tensor is (experts, in, out). Every value is exact in float64; scale 255 is NaN. Sources: OCP Microscaling Formats 1.0, 5.3;
/// `convert_moe_packed_tensors` in transformers/integrations/mxfp4.py.
public struct MXFP4Weight: QuantisedWeight {
    public let name: ExactString
    public let shape: Shape
    public let codes: StoredTensor
    /// One power of two for each block of 32 elements, E8M0.
    public let scale: StoredTensor
    public var components: [StoredTensor] { [codes, scale] }
    public var rowsReadTogether: Int { 32 }

    /// The values by code.
    public static let values: [Double] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]

    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty else { return }
        let (inputs, outputs) = (shape[1], shape[2])
        let matrix = inputs * outputs
        var start = elements.lowerBound
        while start < elements.upperBound {
            let expert = start / matrix
            let end = min(elements.upperBound, (expert + 1) * matrix)
            try read(
                expert, (start - expert * matrix)..<(end - expert * matrix), components,
                into: UnsafeMutableBufferPointer(
                    rebasing: result[(start - elements.lowerBound)..<(end - elements.lowerBound)]))
            start = end
        }
    }

    /// Elements of one expert's (in, out) matrix.
    private func read(
        _ expert: Int, _ elements: Range<Int>, _ components: ComponentReader,
        into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        let (inputs, outputs) = (shape[1], shape[2])
        let blocks = inputs / 32
        let rows = (elements.lowerBound / outputs)..<((elements.upperBound - 1) / outputs + 1)
        // One expert at a time: codes lie transposed, so every panel needs some of each line.
        let lines = (expert * outputs * blocks)..<((expert + 1) * outputs * blocks)
        let scales = try components.kept(scale, lines)
        let codes = try components.kept(codes, (lines.lowerBound * 16)..<(lines.upperBound * 16))
        scales.withUnsafeBufferPointer { scales in
            codes.withUnsafeBufferPointer { codes in
                for block in (rows.lowerBound / 32)..<((rows.upperBound - 1) / 32 + 1) {
                    let wanted = rows.clamped(to: (block * 32)..<(block * 32 + 32))
                    for first in stride(from: 0, to: outputs, by: 8) {
                        let tile = first..<min(outputs, first + 8)
                        MXFP4Weight.withTile(codes, scales, tile, stride: blocks, block: block, rows: wanted) { values in
                            for row in wanted {
                                let start = row &* outputs &+ first &- elements.lowerBound
                                let line = UnsafeMutableBufferPointer(rebasing: values[((row & 31) &* 8)..<((row & 31) &* 8 &+ tile.count)])
                                if start >= 0, start + tile.count <= elements.count {
                                    for index in line.indices { result[start &+ index] = line[index] }
                                } else {
                                    for index in line.indices where result.indices.contains(start + index) { result[start + index] = line[index] }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// One block of up to eight outputs as (32, 8): what is copied from it is then a line of the processor's cache for each row.
    @inline(__always)
    private static func withTile(
        _ codes: UnsafeBufferPointer<UInt8>, _ scales: UnsafeBufferPointer<UInt8>, _ outputs: Range<Int>, stride: Int, block: Int,
        rows: Range<Int>, _ body: (UnsafeMutableBufferPointer<Double>) -> Void
    ) {
        values.withUnsafeBufferPointer { table in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 256 + 16) { numbers in
                // The last sixteen: the values by code, times the power of a block.
                let (tile, scaled) = (
                    UnsafeMutableBufferPointer(rebasing: numbers[..<256]), UnsafeMutableBufferPointer(rebasing: numbers[256...])
                )
                for output in outputs {
                    let line = output * stride + block
                    let scale = scales[line]
                    // The exponent is a normal one of float64 for every code but NaN's.
                    let power = scale == 255 ? Double.nan : Double(bitPattern: (UInt64(scale) &+ 896) &<< 52)
                    for code in 0..<16 { scaled[code] = table[code] * power }
                    let column = output &- outputs.lowerBound
                    for row in rows {
                        let place = row & 31
                        let code = codes[line &* 16 &+ place &>> 1] &>> UInt8(truncatingIfNeeded: (place & 1) &* 4) & 15
                        tile[place &* 8 &+ column] = scaled[Int(code)]
                    }
                }
                body(tile)
            }
        }
    }
}
