import ByteAccess

/// Brings a large output to disk at the pace at which it is written.
///
/// Left alone, the system gathers gigabytes of written pages and then stops everybody to get rid of them, at the latest
/// in fsync. Here each panel's write-back starts when it is written, and is waited for a window later; then its pages
/// leave the cache, unless they are to be kept. Measured on ext4: a shard of 748 MB durable in 0.50 s, against 0.7 to
/// 2.0 s buffered with fsync at the end.
struct Writeback: Sendable {
    private let writer: FileWriter
    private let isActive: Bool
    private let dropping: Bool
    private let range: @Sendable (Int) -> Range<UInt64>

    /// Panels between the start of a write-back and the wait for it: a few MiB for each of two workers.
    private static let window = 8
    /// Files below this size are left to fsync.
    private static let smallest: UInt64 = 64 << 20

    /// - Parameter range: the bytes of the panel with this index.
    init(
        writer: FileWriter, settings: PlanExecutor.Settings, fileSize: UInt64,
        range: @escaping @Sendable (Int) -> Range<UInt64>
    ) {
        self.writer = writer
        isActive = settings.isDurable && fileSize >= Writeback.smallest
        dropping = !settings.keepsCache
        self.range = range
    }

    /// Tells that the panel `index` is written, and all before it.
    func advance(_ index: Int, range written: Range<UInt64>) throws {
        guard isActive else { return }
        writer.startWriteback(written)
        if index >= Writeback.window { try writer.finishWriteback(range(index - Writeback.window), dropping: dropping) }
    }
}
