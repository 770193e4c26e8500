internal import ByteAccess

extension Conversion {
    /// `widen` into a new array, for tensors that fit in memory at once.
    ///
    /// - Parameter count: the number of elements.
    /// - Throws: as `widen(_:as:into:)`.
    public static func widened(_ source: UnsafeRawBufferPointer, as dtype: DType, count: Int) throws -> [Double] {
        // Compared before anything is allocated: `count` may be a claim that the bytes do not honour.
        guard dtype.byteCount(elements: count) == source.count else {
            throw PeftfileError(.malformed, "\(source.count) bytes are not \(count) elements of \(dtype.rawValue)")
        }
        return try [Double](unsafeUninitializedCapacity: count) { buffer, initialized in
            try widen(source, as: dtype, into: UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            initialized = count
        }
    }

    /// `narrow` into new bytes.
    ///
    /// - Throws: as `narrow(_:to:into:)`.
    public static func narrowed(_ source: [Double], to dtype: DType) throws -> [UInt8] {
        guard dtype.isMergeable, let size = dtype.byteCount(elements: source.count) else {
            throw PeftfileError(.unsupported, "results are written as F64, F32, F16 or BF16, not as \(dtype.rawValue)")
        }
        return try [UInt8](unsafeUninitializedCapacity: size) { buffer, initialized in
            try source.withUnsafeBufferPointer { values in
                let bytes = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: size)
                try narrow(values, to: dtype, into: bytes)
            }
            initialized = size
        }
    }

    /// `widened` for bytes in an array.
    ///
    /// - Throws: `.unsupported` for C64; `.malformed` where `source` is not exactly the bytes of `count` elements.
    public static func widened(_ source: [UInt8], as dtype: DType, count: Int) throws -> [Double] {
        try source.withUnsafeBytes { try widened($0, as: dtype, count: count) }
    }
}
