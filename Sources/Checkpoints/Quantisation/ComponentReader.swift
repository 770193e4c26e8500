import ByteAccess
import Synchronization
public import Tensors

/// Reads the component tensors of quantised weights; small ones are kept, since every panel asks for them again.
public final class ComponentReader: Sendable {
    /// The checkpoint as it is stored.
    private let checkpoint: Checkpoint
    private let cache = Mutex(Cache())

    /// Bytes that are kept at most, and of one tensor.
    static let limit: UInt64 = 32 << 20
    static let tensorLimit: UInt64 = 32 << 20

    private struct Cache {
        var entries: [Int: (bytes: [UInt8], age: UInt64)] = [:]
        var derived: [(name: ExactString, values: [Double])] = []
        var total: UInt64 = 0
        var clock: UInt64 = 0
    }

    init(_ checkpoint: Checkpoint) { self.checkpoint = checkpoint }

    /// All bytes of a tensor, kept for the next reader where it is not too large.
    public func bytes(_ tensor: StoredTensor) throws -> [UInt8] {
        guard tensor.byteCount <= ComponentReader.tensorLimit, let key = checkpoint.position(of: tensor.name) else {
            return try checkpoint.read(tensor)
        }
        let known: [UInt8]? = cache.withLock { cache in
            cache.clock += 1
            cache.entries[key]?.age = cache.clock
            return cache.entries[key]?.bytes
        }
        if let known { return known }
        let bytes = try checkpoint.read(tensor)
        cache.withLock { cache in
            guard cache.entries[key] == nil else { return }
            while cache.total + UInt64(bytes.count) > ComponentReader.limit,
                let oldest = cache.entries.min(by: { $0.value.age < $1.value.age })
            {
                cache.total -= UInt64(oldest.value.bytes.count)
                cache.entries[oldest.key] = nil
            }
            cache.entries[key] = (bytes, cache.clock)
            cache.total += UInt64(bytes.count)
        }
        return bytes
    }

    /// Numbers made of a whole tensor, kept for the panels that follow; of the last few tensors alone.
    func derived(_ tensor: StoredTensor, _ make: () throws -> [Double]) rethrows -> [Double] {
        if let known = cache.withLock({ $0.derived.first { $0.name == tensor.name }?.values }) { return known }
        let values = try make()
        cache.withLock { cache in
            cache.derived.append((tensor.name, values))
            if cache.derived.count > 4 { cache.derived.removeFirst() }
        }
        return values
    }

    /// Whether `bytes` keeps the tensor.
    func keeps(_ tensor: StoredTensor) -> Bool { tensor.byteCount <= ComponentReader.tensorLimit }

    /// Some bytes of a tensor; never kept.
    public func bytes(_ tensor: StoredTensor, _ range: Range<Int>) throws -> [UInt8] {
        guard let lower = UInt64(exactly: range.lowerBound), let upper = UInt64(exactly: range.upperBound) else {
            throw PeftfileError(.io, "cannot read before a tensor", tensor: tensor.name)
        }
        return try checkpoint.read(tensor, bytes: lower..<upper)
    }

    /// All elements of a tensor, widened.
    public func values(_ tensor: StoredTensor) throws -> [Double] {
        try Conversion.widened(try bytes(tensor), as: tensor.dtype, count: tensor.info.elementCount)
    }

    /// Some elements of a tensor, widened; for dtypes of whole bytes.
    func values(_ tensor: StoredTensor, _ range: Range<Int>) throws -> [Double] {
        let size = tensor.dtype.bits / 8
        let bytes = keeps(tensor)
            ? Array(try self.bytes(tensor)[(range.lowerBound * size)..<(range.upperBound * size)])
            : try self.bytes(tensor, (range.lowerBound * size)..<(range.upperBound * size))
        return try Conversion.widened(bytes, as: tensor.dtype, count: range.count)
    }
}
