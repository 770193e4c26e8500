public import Tensors

extension Checkpoint {
    /// The floating-point dtype that most bytes of the tensors have; nil where there is none that a merge computes with.
    public var mainDType: DType? {
        var bytes: [DType: UInt64] = [:]
        for tensor in tensors {
            let dtype = plainDType(of: tensor)
            guard dtype.isMergeable else { continue }
            bytes[dtype, default: 0] += UInt64(tensor.info.elementCount) * UInt64(dtype.bits / 8)
        }
        // Equal counts are decided by the name, so that the answer is the same on every run.
        return bytes.max { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }?.key
    }
}
