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

    /// Fills `result` with elements of the plain tensor, in row-major order, by the formula of the type.
    ///
    /// - Throws: what ``Checkpoint/read(_:bytes:)`` throws for the codes and the scales.
    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        try readRows(of: elements, columns: shape[2], into: result) { rows, result in
            var row = rows.lowerBound
            while row < rows.upperBound {
                let end = min(rows.upperBound, (row / shape[1] + 1) * shape[1])
                let part = UnsafeMutableBufferPointer(rebasing: result[((row - rows.lowerBound) * shape[2])..<((end - rows.lowerBound) * shape[2])])
                try read(row / shape[1], (row % shape[1])..<(row % shape[1] + end - row), components, into: part)
                row = end
            }
        }
    }

    /// Rows of one expert's (in, out) matrix.
    private func read(
        _ expert: Int, _ rows: Range<Int>, _ components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        let (blocks, outputs) = (shape[1] / 32, shape[2])
        // One expert at a time: codes lie transposed, so every panel needs some of each line.
        let lines = (expert * outputs * blocks)..<((expert + 1) * outputs * blocks)
        let scales = try components.kept(scale, lines)
        let codes = try components.kept(codes, (lines.lowerBound * 16)..<(lines.upperBound * 16))
        scales.withUnsafeBufferPointer { scales in
            codes.withUnsafeBufferPointer { codes in
                for block in (rows.lowerBound / 32)..<((rows.upperBound - 1) / 32 + 1) {
                    let wanted = rows.clamped(to: (block * 32)..<(block * 32 + 32))
                    CodeKernels.mxfp4(
                        UnsafeBufferPointer(rebasing: codes[(block * 16)...]), scales: UnsafeBufferPointer(rebasing: scales[block...]),
                        step: blocks, columns: outputs, elements: (wanted.lowerBound - block * 32)..<(wanted.upperBound - block * 32),
                        into: UnsafeMutableBufferPointer(rebasing: result[((wanted.lowerBound - rows.lowerBound) * outputs)...]), stride: outputs)
                }
            }
        }
    }
}
