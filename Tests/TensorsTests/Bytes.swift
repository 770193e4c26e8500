@testable import Tensors

/// The little-endian bytes of fixed-width integers.
func bytes<T: FixedWidthInteger>(_ values: [T]) -> [UInt8] {
    values.withUnsafeBytes { Array($0) }
}

/// Fixed-width integers from their little-endian bytes.
func integers<T: FixedWidthInteger>(_ bytes: [UInt8], as type: T.Type) -> [T] {
    bytes.withUnsafeBytes { raw in
        (0..<raw.count / MemoryLayout<T>.size).map {
            raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
        }
    }
}

func bitPatterns(_ values: [Double]) -> [UInt64] { values.map(\.bitPattern) }

/// `Conversion.widen` by one form of the kernel, from an address `offset` bytes past an aligned one.
func widened(
    _ bytes: [UInt8], as dtype: DType, count: Int, by path: KernelPath, offset: Int = 0
) throws -> [Double] {
    let shifted = [UInt8](repeating: 0xA5, count: offset) + bytes
    var result = [Double](repeating: -99, count: count)
    try shifted.withUnsafeBytes { source in
        try result.withUnsafeMutableBufferPointer {
            try Conversion.widen(UnsafeRawBufferPointer(rebasing: source[offset...]), as: dtype, into: $0, by: path)
        }
    }
    return result
}

/// `Conversion.narrow` by one form of the kernel.
func narrowed(_ values: [Double], to dtype: DType, by path: KernelPath) throws -> [UInt8] {
    var result = [UInt8](repeating: 0xA5, count: values.count * dtype.bits / 8)
    try values.withUnsafeBufferPointer { source in
        try result.withUnsafeMutableBytes { try Conversion.narrow(source, to: dtype, into: $0, by: path) }
    }
    return result
}
