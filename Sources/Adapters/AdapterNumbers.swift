public import ByteAccess
public import Checkpoints
import Containers
public import Tensors

/// The numbers of adapter tensors, widened to float64 once and kept while there is room.
///
/// A merge walks the base tensor by tensor, and what all panels of one share is kept with it. So an adapter tensor is
/// mostly wanted once; the cache is for those that several modules read (a projection of the whole adapter, the stacked
/// factors of experts). It holds a bounded number of bytes, or one tensor, and drops what was read first.
public final class AdapterNumbers: FactorSource, Sendable {
    private struct Key: Hashable {
        let adapter: Int
        let tensor: ExactString
    }
    private struct Cache {
        var elements: [Key: [Double]] = [:]
        var order: [Key] = []
        var bytes = 0
    }

    private let adapters: [Adapter]
    private let base: Checkpoint?
    private let limit: Int
    private let cache = Mutex(Cache())

    /// - Parameters:
    ///   - base: where factors of ``Factor/base`` come from.
    ///   - limit: bytes of widened numbers to keep.
    public init(adapters: [Adapter], base: Checkpoint? = nil, limit: Int = 8 << 20) {
        self.adapters = adapters
        self.base = base
        self.limit = limit
    }

    /// All elements of an adapter tensor, or of one of the base, widened to float64; kept for the next who asks.
    ///
    /// - Throws: `.malformed` with rule `TensorMissing` where there is no such adapter or tensor, and with rule `FactorShape` where the
    ///   stored tensors do not fit into the one that the dialect makes of them; `.unsupported` for C64; and what reading throws.
    public func elements(of tensor: ExactString, adapter: Int) throws -> [Double] {
        let key = Key(adapter: adapter, tensor: tensor)
        // Reading under the lock keeps two workers from reading one tensor twice.
        return try cache.withLock { cache in
            if let known = cache.elements[key] { return known }
            let elements = try read(tensor, adapter)
            cache.elements[key] = elements
            cache.order.append(key)
            cache.bytes += elements.count * 8
            while cache.bytes > limit, cache.order.count > 1 {
                let oldest = cache.order.removeFirst()
                cache.bytes -= (cache.elements.removeValue(forKey: oldest)?.count ?? 0) * 8
            }
            return elements
        }
    }

    /// The same from what is kept or else from the file, and then not kept.
    ///
    /// - Throws: as `elements(of:adapter:)`.
    public func takenElements(of tensor: ExactString, adapter: Int) throws -> [Double] {
        let known = cache.withLock { $0.elements[Key(adapter: adapter, tensor: tensor)] }
        return try known ?? read(tensor, adapter)
    }

    /// The bytes of an adapter tensor in F32, F16 or BF16, for who widens them a part at a time. Nil for other types, and where the dialect
    /// makes the tensor of others.
    ///
    /// - Throws: what reading throws.
    public func storedBytes(of tensor: ExactString, adapter: Int) throws -> (bytes: [UInt8], dtype: DType)? {
        guard adapters.indices.contains(adapter), adapters[adapter].views[tensor] == nil else { return nil }
        let checkpoint = adapters[adapter].checkpoint
        guard let stored = checkpoint[tensor], [.f32, .f16, .bf16].contains(stored.info.dtype) else { return nil }
        return (try checkpoint.read(stored), stored.info.dtype)
    }

    /// The type that an adapter tensor is stored in; nil where there is no such tensor.
    public func dtype(of tensor: ExactString, adapter: Int) -> DType? {
        adapters.indices.contains(adapter) ? adapters[adapter].tensor(tensor)?.dtype : nil
    }

    /// Whether an adapter's tensor holds the numbers of one of the base, compared a part at a time: both may be as large as an embedding.
    ///
    /// - Throws: as `elements(of:adapter:)`.
    public func isBase(_ tensor: ExactString, adapter: Int, _ name: ExactString) throws -> Bool {
        guard adapters.indices.contains(adapter), let own = adapters[adapter].checkpoint[tensor], let other = base?[name],
            adapters[adapter].views[tensor] == nil, own.info.shape == other.info.shape, own.dtype.bits % 8 == 0, other.dtype.bits % 8 == 0,
            own.info.columnCount > 0
        else { return try takenElements(of: tensor, adapter: adapter) == takenElements(of: name, adapter: Factor.base) }
        let rows = own.info.elementCount / own.info.columnCount, step = max(1, (1 << 18) / own.info.columnCount)
        return try stride(from: 0, to: rows, by: step).allSatisfy { first in
            let part = first..<min(rows, first + step)
            return try stored(tensor, in: adapters[adapter].checkpoint, rows: part) == stored(name, in: base, rows: part)
        }
    }

    /// One row of a tensor of the base; empty where it has no such row.
    ///
    /// - Throws: as `elements(of:adapter:)`.
    public func baseRow(_ row: Int, of name: ExactString) throws -> [Double] {
        guard let tensor = base?[name], row >= 0, tensor.info.columnCount > 0, row < tensor.info.elementCount / tensor.info.columnCount
        else { return [] }
        return try stored(name, in: base, rows: row..<(row + 1))
    }

    private func read(_ name: ExactString, _ adapter: Int) throws -> [Double] {
        if adapter == Factor.base { return try stored(name, in: base, rows: nil) }
        guard adapters.indices.contains(adapter) else { throw AdapterNumbers.missing(name) }
        let checkpoint = adapters[adapter].checkpoint
        if let view = adapters[adapter].views[name] {
            // Rows may be read a few at a time, and what is made of them is held whole.
            for part in view.parts {
                guard let tensor = checkpoint[part.stored.name], let count = Int(exactly: tensor.byteCount) else { continue }
                try checkpoint.file(of: tensor).requireRoom(for: count, of: tensor.info)
            }
            return try view.elements { try stored($0.name, in: checkpoint, rows: $1) }
        }
        return try stored(name, in: checkpoint, rows: nil)
    }

    private func stored(_ name: ExactString, in checkpoint: Checkpoint?, rows: Range<Int>?) throws -> [Double] {
        guard let checkpoint, let tensor = checkpoint[name] else { throw AdapterNumbers.missing(name) }
        if let rows, tensor.dtype.bits % 8 == 0 {
            let width = tensor.info.columnCount
            let bytes = UInt64(rows.lowerBound * width * tensor.dtype.bits / 8)..<UInt64(rows.upperBound * width * tensor.dtype.bits / 8)
            return try Conversion.widened(
                checkpoint.read(tensor, bytes: bytes), as: tensor.dtype, count: rows.count * width)
        }
        let bytes = try checkpoint.read(tensor)
        return try Conversion.widened(bytes, as: tensor.info.dtype, count: tensor.info.elementCount)
    }

    private static func missing(_ name: ExactString) -> PeftfileError {
        PeftfileError(.malformed, "is not in the adapter", tensor: name, rule: "TensorMissing")
    }
}
