import Peftfile

/// Writes a base and adapters, the same bytes on every machine and with every number of threads.
///
/// It runs in a process of its own: the kernel counts the peak memory of a parent to the child that it starts, so what
/// times others must stay small.
struct Generator {
    let model: Model
    /// The folder of this model in the cache.
    let directory: String

    init(model: Model, cache: String) {
        self.model = model
        directory = FileSystem.join(cache, model.name)
    }

    var base: String { FileSystem.join(directory, "base") }
    /// The base as one torch file, and config.json.
    var torchBase: String { FileSystem.join(directory, "torch") }
    func adapter(_ kind: AdapterKind) -> String { FileSystem.join(directory, kind.rawValue) }

    /// Whether it was generated before. The file beside the folder, written last, says that those in it are whole.
    static func isComplete(_ folder: String) -> Bool { FileSystem.exists("\(folder).complete") }

    func writeBase() throws {
        try write(base) { folder in
            let shards = model.shardTensors
            let names = (1...shards.count).map { "model-0000\($0)-of-0000\(shards.count).safetensors" }
            for (name, tensors) in zip(names, shards) {
                try Self.write(tensors, to: FileSystem.join(folder, name), seed: "base")
            }
            let map = zip(names, shards).flatMap { name, tensors in tensors.map { "\"\($0.name)\": \"\(name)\"" } }
            let total = model.tensors.reduce(0) { $0 + $1.bytes }
            let index = "{\"metadata\": {\"total_size\": \(total)}, \"weight_map\": {\(map.joined(separator: ",\n"))}}\n"
            try Self.write(index, to: FileSystem.join(folder, "model.safetensors.index.json"))
            try Self.write(model.config(), to: FileSystem.join(folder, "config.json"))
        }
    }

    func quantisedBase(_ kind: QuantisedKind) -> String { FileSystem.join(directory, kind.rawValue) }

    func writeBase(_ kind: QuantisedKind) throws {
        try write(quantisedBase(kind)) { folder in
            let file = FileSystem.join(folder, kind.fileName)
            if let block = kind.block { return try GGUFFile(model, block).write(to: file) }
            try Self.write(model.tensors(kind), to: file, seed: kind.rawValue)
            let config = kind == .mxfp4
                ? model.config(kind.config, architecture: "GptOssForCausalLM", type: "gpt_oss") : model.config(kind.config)
            try Self.write(config, to: FileSystem.join(folder, "config.json"))
        }
    }

    func writeTorchBase() throws {
        try write(torchBase) { folder in
            try TorchBase(tensors: model.tensors).write(to: FileSystem.join(folder, TorchBase.fileName))
            try Self.write(model.config(), to: FileSystem.join(folder, "config.json"))
        }
    }

    func writeAdapter(_ kind: AdapterKind) throws {
        try write(adapter(kind)) { folder in
            try Self.write(
                kind.tensors(layers: model.layers), to: FileSystem.join(folder, "adapter_model.safetensors"),
                seed: kind.rawValue)
            try Self.write(kind.config, to: FileSystem.join(folder, "adapter_config.json"))
        }
    }

    private func write(_ folder: String, _ fill: (String) throws -> Void) throws {
        if Self.isComplete(folder) { return }
        try FileSystem.makeDirectory(folder, withParents: true)
        try fill(folder)
        try Self.write("", to: "\(folder).complete")
    }

    static func write(_ text: String, to path: String) throws {
        try FileWriter.write(Array(text.utf8), to: path, replacing: true)
    }

    /// A safetensors file of these tensors, pieces of 2^20 elements computed in parallel.
    static func write(_ tensors: [Tensor], to path: String, seed: String) throws {
        try write(tensors, after: Self.header(tensors), to: path, seed: seed)
    }

    /// A file of a header and these tensors, each at a multiple of `alignment` from the header's end.
    static func write(_ tensors: [Tensor], after header: [UInt8], alignment: Int = 1, to path: String, seed: String) throws {
        let writer = try FileWriter(path: path, replacing: true)
        var pieces: [(tensor: Tensor, first: Int, offset: Int)] = []
        var offset = header.count
        for tensor in tensors {
            for first in stride(from: 0, to: tensor.count, by: 1 << 20) {
                pieces.append((tensor, first, offset + first * tensor.width))
            }
            offset += (tensor.bytes + alignment - 1) / alignment * alignment
        }
        try writer.allocate(UInt64(offset))
        try writer.write(header, at: 0)
        let all = pieces
        try parallelForEach(count: all.count, jobs: Machine.availableCores) { index in
            let piece = all[index]
            var random = Normal(seed: "\(seed) \(piece.tensor.name) \(piece.first)")
            let count = min(1 << 20, piece.tensor.count - piece.first)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count * piece.tensor.width, alignment: 64)
            defer { buffer.deallocate() }
            random.fill(buffer, with: piece.tensor)
            try writer.write(UnsafeRawBufferPointer(buffer), at: UInt64(piece.offset))
        }
        try writer.commit()
    }

    /// The length and the JSON, padded with spaces to a multiple of 8 as the reference writer does.
    static func header(_ tensors: [Tensor]) -> [UInt8] {
        var offset = 0
        let entries = tensors.map { tensor in
            defer { offset += tensor.bytes }
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            return "\"\(tensor.name)\":{\"dtype\":\"\(tensor.dtype)\",\"shape\":[\(shape)],"
                + "\"data_offsets\":[\(offset),\(offset + tensor.bytes)]}"
        }
        var json = Array("{\"__metadata__\":{\"format\":\"pt\"},\(entries.joined(separator: ","))}".utf8)
        json += [UInt8](repeating: 0x20, count: -json.count & 7)
        return withUnsafeBytes(of: UInt64(json.count).littleEndian, Array.init) + json
    }
}

/// Normally distributed numbers, near enough: the sum of four uniform 16-bit numbers, from SplitMix64 (G. Steele, D. Lea
/// and C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
struct Normal {
    private var state: UInt64

    /// A state from a text, by FNV-1a.
    init(seed: String) {
        state = seed.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    /// The next 64 bits.
    mutating func bits() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// The next number, of mean 0. Four uniform numbers below 2^16 have the mean 131070 and the variance 4 * 2^32 / 12.
    mutating func next(deviation: Float) -> Float {
        let z = bits()
        let sum = (z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + z >> 48
        return (Float(sum) - 131_070) * (deviation / 37_837.2)
    }

    /// Stores what the tensor holds, in its type; 16-bit floats round to nearest, ties to even.
    mutating func fill(_ buffer: UnsafeMutableRawBufferPointer, with tensor: Tensor) {
        switch tensor.content {
        case .bytes(let bytes): for index in buffer.indices { buffer[index] = bytes[index % bytes.count] }
        case .codes:
            for index in stride(from: 0, to: buffer.count - buffer.count % 8, by: 8) {
                buffer.storeBytes(of: bits().littleEndian, toByteOffset: index, as: UInt64.self)
            }
            for index in (buffer.count - buffer.count % 8)..<buffer.count { buffer[index] = UInt8(truncatingIfNeeded: bits()) }
            guard tensor.dtype == "F8_E4M3" else { return }
            for index in buffer.indices where buffer[index] & 0x7F == 0x7F { buffer[index] = 0 }
        case .blocks:
            // No byte has all bits of an F16's exponent.
            for index in buffer.indices { buffer[index] = UInt8(truncatingIfNeeded: bits()) & 0x3B }
        case .normal(let mean, let deviation): fill(buffer, of: tensor.dtype, mean: mean, deviation: deviation)
        }
    }

    private mutating func fill(_ buffer: UnsafeMutableRawBufferPointer, of dtype: String, mean: Float, deviation: Float) {
        if dtype == "F16" {
            for index in 0..<(buffer.count / 2) {
                let code = Float16(next(deviation: deviation) + mean).bitPattern
                buffer.storeBytes(of: code.littleEndian, toByteOffset: index * 2, as: UInt16.self)
            }
        } else if dtype == "BF16" {
            for index in 0..<(buffer.count / 2) {
                let bits = (next(deviation: deviation) + mean).bitPattern
                let rounded = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
                buffer.storeBytes(of: rounded.littleEndian, toByteOffset: index * 2, as: UInt16.self)
            }
        } else {
            for index in 0..<(buffer.count / 4) {
                let bits = (next(deviation: deviation) + mean).bitPattern
                buffer.storeBytes(of: bits.littleEndian, toByteOffset: index * 4, as: UInt32.self)
            }
        }
    }
}
