import ByteAccess

/// Places for shards that several threads open.
final class ShardSlots: Sendable {
    private let slots: Mutex<[Shard?]>

    init(count: Int) { slots = Mutex([Shard?](repeating: nil, count: count)) }

    subscript(number: Int) -> Shard? {
        get { slots.withLock { $0[number] } }
        set { slots.withLock { $0[number] = newValue } }
    }

    /// The shards in order.
    var shards: [Shard] { slots.withLock { $0.compactMap(\.self) } }
}
