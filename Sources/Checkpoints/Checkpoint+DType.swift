public import Tensors

extension Checkpoint {
    /// The floating-point dtype that most bytes of the tensors have; nil where there is none that a merge computes with.
    public var mainDType: DType? {
        var bytes: [DType: UInt64] = [:]
        for tensor in tensors where tensor.dtype.isMergeable { bytes[tensor.dtype, default: 0] += tensor.byteCount }
        // Equal counts are decided by the name, so that the answer is the same on every run.
        return bytes.max { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }?.key
    }
}
