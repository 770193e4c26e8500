/// Checkpoints whose elements are all zero and take no room on the disk, as large as wanted.
public enum SparseModel {
    public struct Tensor: Sendable {
        public var name: String
        public var dtype: String
        public var shape: [Int]
        public var width: Int

        public init(_ name: String, _ dtype: String, _ shape: [Int], width: Int) {
            (self.name, self.dtype, self.shape, self.width) = (name, dtype, shape, width)
        }
    }

    /// Writes a safetensors file with a hole for its data.
    ///
    /// - Returns: the length of its header.
    @discardableResult
    public static func write(_ tensors: [Tensor], to path: String) throws -> Int {
        var header = Array("{".utf8)
        var offset = 0
        for (index, tensor) in tensors.enumerated() {
            let end = offset + tensor.shape.reduce(tensor.width, *)
            header += Array(
                "\(index > 0 ? "," : "")\"\(tensor.name)\":{\"dtype\":\"\(tensor.dtype)\",\"shape\":\(tensor.shape),\"data_offsets\":[\(offset),\(end)]}".utf8)
            offset = end
        }
        header.append(UInt8(ascii: "}"))
        while header.count % 8 != 0 { header.append(0x20) }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        try TestFile.write(length + header, to: path)
        try TestFile.lengthen(path, to: 8 + header.count + offset)
        return header.count
    }
}
