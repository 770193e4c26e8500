import SystemLibrary

extension UnsafeRawBufferPointer {
    /// Whether two buffers have the same length and the same bytes: memcmp, which is several times as fast as comparing
    /// arrays element by element.
    public func hasSameBytes(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let left = baseAddress, let right = other.baseAddress else { return true }
        return memcmp(left, right, count) == 0
    }
}
