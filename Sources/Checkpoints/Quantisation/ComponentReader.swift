import ByteAccess
public import Tensors

/// Reads the component tensors of quantised weights; what every panel asks for again is kept, small tensors and pieces of large ones.
public final class ComponentReader: Sendable {
    /// The checkpoint as it is stored.
    private let checkpoint: Checkpoint
    private let cache = Mutex(Cache())

    /// Bytes that are kept at most, of one piece, and of a tensor that is kept whole.
    static let limit = 12 << 20
    static let pieceLimit = 3 << 20
    static let tensorLimit: UInt64 = 8 << 20

    private struct Key: Hashable {
        let tensor: Int
        let offset: Int
    }

    private struct Cache {
        var entries: [Key: (bytes: [UInt8], age: UInt64)] = [:]
        var magnitudes: [(name: ExactString, values: BlockMagnitudes)] = []
        var total = 0
        var clock: UInt64 = 0
    }

    init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    /// All bytes of a tensor, kept for the next reader where it is not too large.
    ///
    /// - Throws: what ``Checkpoint/read(_:)`` throws; nothing where the bytes are kept.
    public func bytes(_ tensor: StoredTensor) throws -> [UInt8] {
        guard tensor.byteCount <= ComponentReader.tensorLimit else { return try checkpoint.read(tensor) }
        return try kept(tensor, at: 0) { try checkpoint.read(tensor) }
    }

    /// Some bytes of a tensor, kept for the next reader of the same range.
    ///
    /// - Throws: as `bytes(_:_:)`; nothing where the bytes are kept.
    public func kept(_ tensor: StoredTensor, _ range: Range<Int>) throws -> [UInt8] {
        try kept(tensor, at: range.lowerBound) { try bytes(tensor, range) }
    }

    /// Neighbouring columns of every row of a matrix of 32-bit words, `column` among them, row after row; kept.
    ///
    /// - Returns: the columns, all where the matrix is small, and their bytes.
    /// - Throws: what ``Checkpoint/read(_:at:into:)`` throws, or for a small matrix ``Checkpoint/read(_:)``; nothing where the bytes
    ///   are kept.
    public func columns(_ tensor: StoredTensor, around column: Int) throws -> (columns: Range<Int>, bytes: [UInt8]) {
        let (rows, width) = (tensor.shape[0], tensor.shape[1])
        guard rows * width * 4 > ComponentReader.pieceLimit else { return (0..<width, try bytes(tensor)) }
        let size = max(16, ComponentReader.pieceLimit / (rows * 4) / 16 * 16)
        let first = column / size * size
        let columns = first..<min(width, first + size)
        let bytes = try kept(tensor, at: first * 4) {
            try [UInt8](unsafeUninitializedCapacity: rows * columns.count * 4) { buffer, count in
                try readLines(of: columns, rows: rows, width: width, tensor, into: UnsafeMutableRawBufferPointer(buffer))
                count = rows * columns.count * 4
            }
        }
        return (columns, bytes)
    }

    /// Words `columns` of every row, one row behind the other.
    private func readLines(
        of columns: Range<Int>, rows: Int, width: Int, _ tensor: StoredTensor, into result: UnsafeMutableRawBufferPointer
    ) throws {
        let length = columns.count * 4
        // Asking the system for a line costs as much as some 4 kB of reading: what lies between short lines is read with them.
        let together = (width - columns.count) * 4 > 4096 ? 1 : max(1, min(rows, (256 << 10) / (width * 4)))
        guard together > 1 else {
            for row in 0..<rows {
                let line = UnsafeMutableRawBufferPointer(rebasing: result[(row * length)..<((row + 1) * length)])
                try checkpoint.read(tensor, at: UInt64((row * width + columns.lowerBound) * 4), into: line)
            }
            return
        }
        try withUnsafeTemporaryAllocation(byteCount: together * width * 4, alignment: 8) { whole in
            for first in stride(from: 0, to: rows, by: together) {
                let some = min(together, rows - first)
                try checkpoint.read(
                    tensor, at: UInt64(first * width * 4), into: UnsafeMutableRawBufferPointer(rebasing: whole[..<(some * width * 4)]))
                for row in 0..<some {
                    let start = (row * width + columns.lowerBound) * 4
                    let line = UnsafeMutableRawBufferPointer(rebasing: result[((first + row) * length)..<((first + row + 1) * length)])
                    line.copyMemory(from: UnsafeRawBufferPointer(rebasing: whole[start..<(start + length)]))
                }
            }
        }
    }

    private func kept(_ tensor: StoredTensor, at offset: Int, _ read: () throws -> [UInt8]) throws -> [UInt8] {
        guard let position = checkpoint.position(of: tensor.name) else { return try read() }
        let key = Key(tensor: position, offset: offset)
        let known: [UInt8]? = cache.withLock { cache in
            cache.clock += 1
            cache.entries[key]?.age = cache.clock
            return cache.entries[key]?.bytes
        }
        if let known { return known }
        let bytes = try read()
        cache.withLock { cache in
            guard cache.entries[key] == nil else { return }
            while cache.total + bytes.count > ComponentReader.limit,
                let oldest = cache.entries.min(by: { $0.value.age < $1.value.age })
            {
                cache.total -= oldest.value.bytes.count
                cache.entries[oldest.key] = nil
            }
            cache.entries[key] = (bytes, cache.clock)
            cache.total += bytes.count
        }
        return bytes
    }

    /// The magnitudes of a tensor's blocks, kept for the panels that follow; of the last two tensors alone.
    func magnitudes(_ tensor: StoredTensor, pieces: Int) -> BlockMagnitudes {
        cache.withLock { cache in
            if let known = cache.magnitudes.first(where: { $0.name == tensor.name }) { return known.values }
            let magnitudes = BlockMagnitudes(pieces: pieces)
            cache.magnitudes.append((tensor.name, magnitudes))
            if cache.magnitudes.count > 2 { cache.magnitudes.removeFirst() }
            return magnitudes
        }
    }

    /// Whether `bytes` keeps the tensor.
    func keeps(_ tensor: StoredTensor) -> Bool { tensor.byteCount <= ComponentReader.tensorLimit }

    /// Some bytes of a tensor; never kept.
    ///
    /// - Throws: `.io` where the range begins before the tensor; what ``Checkpoint/read(_:bytes:)`` throws, `.io` for one that ends
    ///   behind it among it.
    public func bytes(_ tensor: StoredTensor, _ range: Range<Int>) throws -> [UInt8] {
        guard let lower = UInt64(exactly: range.lowerBound), let upper = UInt64(exactly: range.upperBound) else {
            throw PeftfileError(.io, "cannot read before a tensor", tensor: tensor.name)
        }
        return try checkpoint.read(tensor, bytes: lower..<upper)
    }

    /// All elements of a tensor, widened.
    ///
    /// - Throws: as `bytes(_:)`; `.unsupported` for C64, whose elements are not real.
    public func values(_ tensor: StoredTensor) throws -> [Double] {
        try Conversion.widened(try bytes(tensor), as: tensor.dtype, count: tensor.info.elementCount)
    }

    /// Some elements of a tensor, widened; for dtypes of whole bytes.
    func values(_ tensor: StoredTensor, _ range: Range<Int>) throws -> [Double] { try parts(tensor).values(range) }

    /// A tensor of which many parts are wanted: all its bytes where it is kept, else each part is read.
    func parts(_ tensor: StoredTensor) throws -> Parts {
        Parts(tensor: tensor, components: self, whole: keeps(tensor) ? try bytes(tensor) : nil)
    }

    /// Parts of one tensor.
    struct Parts {
        let tensor: StoredTensor
        let components: ComponentReader
        let whole: [UInt8]?

        /// Some bytes.
        func bytes(_ range: Range<Int>) throws -> ArraySlice<UInt8> {
            try whole?[range] ?? components.bytes(tensor, range)[...]
        }

        /// Some elements, widened.
        func values(_ range: Range<Int>) throws -> [Double] {
            let size = tensor.dtype.bits / 8
            let bytes = try bytes((range.lowerBound * size)..<(range.upperBound * size))
            return try [Double](unsafeUninitializedCapacity: range.count) { values, count in
                let target = UnsafeMutableBufferPointer(rebasing: values[..<range.count])
                try bytes.withUnsafeBytes { try Conversion.widen($0, as: tensor.dtype, into: target) }
                count = range.count
            }
        }
    }
}
