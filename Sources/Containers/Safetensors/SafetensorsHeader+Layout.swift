import ByteAccess
public import Tensors

/// Rules 6 to 9, tensor by tensor in the order of the offsets, as the reference reader evaluates them.
extension SafetensorsHeader {
    func checkLayout(file: String?) throws {
        var previousEnd: UInt64 = 0
        for tensor in tensors {
            // Rule 6.
            guard tensor.begin == previousEnd, tensor.end >= tensor.begin else {
                let reason =
                    tensor.end < tensor.begin
                    ? "the end is before the begin"
                    : (tensor.begin < previousEnd ? "an overlap" : "a hole")
                        + ", the tensors before it end at \(previousEnd)"
                throw SafetensorsRule.invalidOffset.broken(
                    "data_offsets [\(tensor.begin), \(tensor.end)]: \(reason)", file: file, tensor: tensor.name)
            }
            previousEnd = tensor.end
            // Rules 7 to 9.
            let size = try Self.byteCount(tensor.shape, tensor.dtype, name: tensor.name, file: file)
            guard tensor.byteCount == size else {
                throw SafetensorsRule.tensorInvalidInfo.broken(
                    "\(tensor.dtype.rawValue) \(tensor.shape.unsignedDimensions) takes \(size) bytes, "
                        + "data_offsets give \(tensor.byteCount)",
                    file: file, tensor: tensor.name)
            }
        }
    }

    /// The bytes of a tensor: the product of the dimensions, from left to right, times the bits of an element, by 8.
    ///
    /// Throws ValidationOverflow where a step does not fit 64 bits (so [0, 2^63, 2^63] is legal and [2^63, 2^63, 0] is
    /// not, as in the reference reader), and MisalignedSlice where sub-byte elements do not fill their last byte.
    static func byteCount(_ shape: Shape, _ dtype: DType, name: ExactString, file: String?) throws -> UInt64 {
        var bits: UInt64 = 1
        var overflow = false
        for dimension in shape {
            (bits, overflow) = bits.multipliedReportingOverflow(by: UInt64(UInt(bitPattern: dimension)))
            if overflow { break }
        }
        if !overflow { (bits, overflow) = bits.multipliedReportingOverflow(by: UInt64(dtype.bits)) }
        guard !overflow else {
            throw SafetensorsRule.validationOverflow.broken(
                "the size of \(dtype.rawValue) \(shape.unsignedDimensions) does not fit 64 bits", file: file,
                tensor: name)
        }
        guard bits % 8 == 0 else {
            throw SafetensorsRule.misalignedSlice.broken(
                "\(dtype.rawValue) \(shape.unsignedDimensions) is \(bits) bits, not a whole number of bytes",
                file: file,
                tensor: name)
        }
        return bits / 8
    }

    /// Counts the offsets from the start of the file, where the tensors begin at `start`.
    mutating func moveOffsets(to start: UInt64, file: String?) throws {
        // The ends rise, so that the last one tells for all.
        if let last = tensors.last, last.end.addingReportingOverflow(start).overflow {
            throw SafetensorsRule.metadataIncompleteBuffer.broken(
                "the tensors end beyond any file", file: file, tensor: last.name)
        }
        for index in tensors.indices {
            tensors[index].begin += start
            tensors[index].end += start
        }
    }
}

extension Shape {
    /// The dimensions as the file has them. They differ from the `Int`s only in empty tensors of hostile files, where a
    /// dimension behind a zero may be 2^63 or more and is held as its bit pattern.
    public var unsignedDimensions: [UInt] { map { UInt(bitPattern: $0) } }
}
