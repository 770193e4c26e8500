import ByteAccess

/// The arrays that a panel is computed in. They are used again and again: half a megabyte that is newly allocated for
/// every panel costs more in page faults than the arithmetic on it.
struct PanelBuffers: Sendable {
    /// The source's bytes, with replaced rows in place where the dtype stays.
    var raw: [UInt8] = []
    /// The result's bytes.
    var stored: [UInt8] = []
    /// The source rounded to another dtype.
    var converted: [UInt8] = []
    /// v − E and v + E, rounded.
    var low: [UInt8] = []
    var high: [UInt8] = []
    /// The result's elements, widened.
    var storedValues: [Double] = []
    /// The source's elements, widened, with replaced rows in place.
    var start: [Double] = []
    /// v.
    var values: [Double] = []
    /// E.
    var bounds: [Double] = []
    /// Σ terms.
    var sums: [Double] = []
    /// left·right of one term.
    var product: [Double] = []
    /// v ∓ E before it is rounded; then what the probes' tolerance is made of.
    var scratch: [Double] = []
    /// What each row was multiplied by; empty where no magnitude runs along rows.
    var rowFactors: [Double] = []

    static func resize(_ array: inout [Double], _ count: Int) {
        if array.count > count { array.removeLast(array.count - count) }
        if array.count < count { array.append(contentsOf: repeatElement(0, count: count - array.count)) }
    }

    static func resize(_ array: inout [UInt8], _ count: Int) {
        if array.count > count { array.removeLast(array.count - count) }
        if array.count < count { array.append(contentsOf: repeatElement(0, count: count - array.count)) }
    }
}

/// Buffers that no worker uses at the moment.
final class BufferPool: Sendable {
    private let free = Mutex<[PanelBuffers]>([])

    func withBuffers<Result>(_ body: (inout PanelBuffers) throws -> Result) rethrows -> Result {
        var buffers = free.withLock { $0.popLast() } ?? PanelBuffers()
        // After an error the buffers are let go.
        let result = try body(&buffers)
        // Handed over, so that the arrays keep a single owner and are not copied when they are written to again.
        let done = buffers
        buffers = PanelBuffers()
        free.withLock { $0.append(done) }
        return result
    }
}
