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
        let span = (rows.lowerBound / 32)..<((rows.upperBound - 1) / 32 + 1)
        let scales = try components.bytes(scale, (expert * outputs * blocks)..<((expert + 1) * outputs * blocks))
        let powers = scales.map { $0 == 255 ? Double.nan : Double(sign: .plus, exponent: Int($0) - 127, significand: 1) }
        let table = MXFP4Weight.values
        let isKept = components.keeps(codes)
        let all = isKept ? try components.bytes(codes) : []
        for output in 0..<outputs {
            let line = (expert * outputs + output) * blocks
            let from = (line + span.lowerBound) * 16
            let to = (line + span.upperBound) * 16
            let bytes = isKept ? all[from..<to] : try components.bytes(codes, from..<to)[...]
            for row in rows {
                let index = row * outputs + output - elements.lowerBound
                guard index >= 0, index < elements.count else { continue }
                let byte = bytes[bytes.startIndex + (row / 32 - span.lowerBound) * 16 + row % 32 / 2]
                let code = row % 2 == 0 ? byte & 15 : byte >> 4
                result[index] = table[Int(code)] * powers[output * blocks + row / 32]
            }
        }
    }
}
