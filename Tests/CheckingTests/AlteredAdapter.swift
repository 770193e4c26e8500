import Foundation
import Testing

/// A copy of an adapter from the fixtures, of which a test changes tensors, names and config.
struct AlteredAdapter {
    /// A stored tensor.
    struct Tensor {
        var name: String
        var dtype: String
        var shape: [Int]
        var bytes: Data

        /// A matrix with its elements as the transpose has them, whatever their type.
        var transposed: Tensor {
            guard shape.count == 2, shape[0] * shape[1] > 0 else { return self }
            let size = bytes.count / (shape[0] * shape[1])
            var turned = Data()
            for column in 0..<shape[1] {
                for row in 0..<shape[0] {
                    let start = bytes.startIndex + (row * shape[1] + column) * size
                    turned += bytes[start..<(start + size)]
                }
            }
            return Tensor(name: name, dtype: dtype, shape: [shape[1], shape[0]], bytes: turned)
        }

        /// The first rows alone.
        func rows(_ count: Int) -> Tensor {
            Tensor(name: name, dtype: dtype, shape: [count] + shape.dropFirst(), bytes: Data(bytes.prefix(bytes.count / shape[0] * count)))
        }

        /// With the last slice along an axis twice.
        func lengthened(_ axis: Int) -> Tensor {
            let outer = shape[..<axis].reduce(1, *), size = bytes.count / max(1, outer), slice = size / max(1, shape[axis])
            var longer = Data()
            for block in 0..<outer {
                let part = bytes.dropFirst(block * size).prefix(size)
                longer += part + part.suffix(slice)
            }
            var copy = self
            (copy.bytes, copy.shape[axis]) = (longer, shape[axis] + 1)
            return copy
        }

        /// Zeros in place of the elements.
        var zeroed: Tensor { Tensor(name: name, dtype: dtype, shape: shape, bytes: Data(count: bytes.count)) }
    }

    let path: String
    var tensors: [Tensor]
    var config: [String: Any]
    private let file: String

    /// - Parameter weights: the file of the tensors, which the copy keeps.
    init(_ source: String, in directory: String, weights: String = "adapter_model.safetensors") throws {
        path = directory
        file = "\(directory)/\(weights)"
        try FileManager.default.copyItem(atPath: source, toPath: directory)
        let data = try Data(contentsOf: URL(filePath: file))
        let length = data.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
        let header = try #require(try JSONSerialization.jsonObject(with: data[8..<(8 + length)]) as? [String: Any])
        tensors = try header.filter { $0.key != "__metadata__" }.sorted { $0.key < $1.key }.map { name, value in
            let entry = try #require(value as? [String: Any])
            let offsets = try #require(entry["data_offsets"] as? [Int])
            return Tensor(
                name: name, dtype: try #require(entry["dtype"] as? String), shape: try #require(entry["shape"] as? [Int]),
                bytes: Data(data[(8 + length + offsets[0])..<(8 + length + offsets[1])]))
        }
        let json = try? Data(contentsOf: URL(filePath: "\(directory)/adapter_config.json"))
        config = try json.map { try JSONSerialization.jsonObject(with: $0) as? [String: Any] ?? [:] } ?? [:]
    }

    /// Names as `change` makes them.
    mutating func rename(_ change: (String) -> String) {
        for index in tensors.indices { tensors[index].name = change(tensors[index].name) }
    }

    /// Writes file and config.
    func write() throws {
        var header: [String: Any] = ["__metadata__": ["format": "pt"]]
        var body = Data()
        for tensor in tensors {
            header[tensor.name] = [
                "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [body.count, body.count + tensor.bytes.count],
            ] as [String: Any]
            body += tensor.bytes
        }
        var text = try JSONSerialization.data(withJSONObject: header, options: [.sortedKeys, .withoutEscapingSlashes])
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        let length = Data((0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) })
        try (length + text + body).write(to: URL(filePath: file))
        if !config.isEmpty {
            try JSONSerialization.data(withJSONObject: config).write(to: URL(filePath: "\(path)/adapter_config.json"))
        }
    }
}
