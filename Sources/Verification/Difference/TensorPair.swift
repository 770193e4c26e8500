import ByteAccess
import Checkpoints
import Tensors

/// A tensor of A and the one of B that is compared with it, element by element; both have one shape.
///
/// It is compared in parts, by any thread and in any order. Where all parts have equal bytes, that is all. Otherwise the
/// parts with equal bytes are read once more, for the norms that the figures need (`measure`).
final class TensorPair: Sendable {
    /// Bytes of a part, at most: two such parts stay in the cache that a core has to itself.
    static let partBytes = 3 << 18
    /// Elements that are widened at a time; eight of any type are whole bytes.
    private static let block = 1 << 13

    let a: StoredTensor
    let b: StoredTensor
    private let checkpointA: Checkpoint
    private let checkpointB: Checkpoint
    private let kinds: (a: ElementKind, b: ElementKind)
    private let tolerance: DifferenceTolerance
    private let pool: BufferPool
    private let elementsPerPart: Int
    private let state: Mutex<State>

    private struct State {
        /// Parts that are done while an earlier one is not.
        var waiting: [Int: DifferenceTally?] = [:]
        /// The first part that is not joined yet.
        var next = 0
        var total = DifferenceTally()
        /// Parts of equal bytes.
        var equalParts: [Int] = []
    }

    init(
        a: (tensor: StoredTensor, checkpoint: Checkpoint), b: (tensor: StoredTensor, checkpoint: Checkpoint),
        tolerance: DifferenceTolerance, pool: BufferPool
    ) {
        (self.a, checkpointA) = a
        (self.b, checkpointB) = b
        self.tolerance = tolerance
        self.pool = pool
        kinds = (ElementKind(a.tensor.dtype), ElementKind(b.tensor.dtype))
        elementsPerPart = Self.partBytes * 8 / max(kinds.a.dtype.bits, kinds.b.dtype.bits) & ~7
        state = Mutex(State())
    }

    /// The types in the files.
    var storedTypes: (a: String, b: String) { (checkpointA.storedType(of: a), checkpointB.storedType(of: b)) }

    /// Whether the elements can be held against each other: one shape, and not complex numbers against real ones.
    static func isComparable(_ a: StoredTensor, _ b: StoredTensor) -> Bool {
        a.shape == b.shape && ElementKind(a.dtype).isComplex == ElementKind(b.dtype).isComplex
    }

    /// Elements to compare; of a complex tensor the parts of its numbers.
    var elements: Int { a.info.elementCount * kinds.a.parts }
    var partCount: Int { elements == 0 ? 0 : (elements - 1) / elementsPerPart + 1 }

    /// Bytes of A's part, for the progress line.
    func byteCount(part: Int) -> UInt64 { UInt64(range(part).count * kinds.a.dtype.bits / 8) }

    private func range(_ part: Int) -> Range<Int> {
        (part * elementsPerPart)..<min((part + 1) * elementsPerPart, elements)
    }

    // MARK: Comparing

    /// Compares a part.
    func compare(part: Int) throws {
        let range = range(part)
        let tally: DifferenceTally? = try pool.withBuffers { buffers -> DifferenceTally? in
            try read(a, checkpointA, kinds.a, range, into: &buffers.raw)
            try read(b, checkpointB, kinds.b, range, into: &buffers.stored)
            // Equal bytes of one type are equal numbers.
            if a.dtype == b.dtype,
                buffers.raw.withUnsafeBytes({ raw in buffers.stored.withUnsafeBytes { raw.hasSameBytes(as: $0) } })
            {
                return nil
            }
            return try self.tally(range, &buffers, isEqual: false)
        }
        state.withLock { state in
            state.waiting.updateValue(tally, forKey: part)
            // Joined in order, so that sums do not depend on which thread was faster.
            while let tally = state.waiting.removeValue(forKey: state.next) {
                if let tally { state.total.join(tally) } else { state.equalParts.append(state.next) }
                state.next += 1
            }
        }
    }

    /// Parts of equal bytes whose norms are needed, after every part was compared.
    var partsToMeasure: [Int] {
        state.withLock { state in
            let hasFigures = state.equalParts.count < partCount
            (state.next, state.waiting) = (0, [:])
            return hasFigures ? state.equalParts : []
        }
    }

    /// Adds the norms of the `index`th of `partsToMeasure`.
    func measure(_ index: Int, part: Int) throws {
        let range = range(part)
        let tally = try pool.withBuffers { buffers in
            try read(a, checkpointA, kinds.a, range, into: &buffers.raw)
            return try self.tally(range, &buffers, isEqual: true)
        }
        state.withLock { state in
            state.waiting.updateValue(tally, forKey: index)
            while case .some(.some(let tally)) = state.waiting.removeValue(forKey: state.next) {
                state.total.join(tally)
                state.next += 1
            }
        }
    }

    /// What the comparison came to; nil where all bytes are equal.
    var result: DifferenceTally? {
        state.withLock { $0.equalParts.count == partCount && a.dtype == b.dtype ? nil : $0.total }
    }

    /// The type that `maxULP` counts steps of.
    var stepDType: DType? { ElementKind.steps(kinds.a, kinds.b) }

    private func read(
        _ tensor: StoredTensor, _ checkpoint: Checkpoint, _ kind: ElementKind, _ range: Range<Int>,
        into buffer: inout [UInt8]
    ) throws {
        // A part begins at a multiple of eight elements, which are whole bytes of every type, and ends at one or with
        // the tensor, whose bytes are whole.
        let begin = range.lowerBound / 8 * kind.dtype.bits
        let end = range.upperBound == elements ? Int(tensor.byteCount) : range.upperBound / 8 * kind.dtype.bits
        PanelBuffers.resize(&buffer, end - begin)
        try buffer.withUnsafeMutableBytes { try checkpoint.read(tensor, at: UInt64(begin), into: $0) }
    }

    /// Tallies a part whose bytes are in `raw` (A) and `stored` (B), or in `raw` alone where they are equal.
    private func tally(_ range: Range<Int>, _ buffers: inout PanelBuffers, isEqual: Bool) throws -> DifferenceTally {
        PanelBuffers.resize(&buffers.start, Self.block)
        PanelBuffers.resize(&buffers.storedValues, Self.block)
        PanelBuffers.resize(&buffers.scratch, Self.block)
        var tally = DifferenceTally()
        try buffers.raw.withUnsafeBytes { raw in
            try buffers.stored.withUnsafeBytes { stored in
                try buffers.start.withUnsafeMutableBufferPointer { start in
                    try buffers.storedValues.withUnsafeMutableBufferPointer { values in
                        try buffers.scratch.withUnsafeMutableBufferPointer { scratch in
                            for begin in stride(from: 0, to: range.count, by: Self.block) {
                                let count = min(Self.block, range.count - begin)
                                try add(
                                    to: &tally, bytesA: bytes(raw, kinds.a, begin, count),
                                    bytesB: isEqual ? nil : bytes(stored, kinds.b, begin, count),
                                    start: range.lowerBound + begin,
                                    a: .init(rebasing: start[..<count]), b: .init(rebasing: values[..<count]),
                                    differences: .init(rebasing: scratch[..<count]))
                            }
                        }
                    }
                }
            }
        }
        return tally
    }

    /// The bytes of `count` elements from `begin` on, a multiple of eight; the last may end with the buffer.
    private func bytes(
        _ buffer: UnsafeRawBufferPointer, _ kind: ElementKind, _ begin: Int, _ count: Int
    ) -> UnsafeRawBufferPointer {
        let first = begin / 8 * kind.dtype.bits
        return UnsafeRawBufferPointer(rebasing: buffer[first..<(first + (count * kind.dtype.bits + 7) / 8)])
    }

    private func add(
        to tally: inout DifferenceTally, bytesA: UnsafeRawBufferPointer, bytesB: UnsafeRawBufferPointer?, start: Int,
        a: UnsafeMutableBufferPointer<Double>, b: UnsafeMutableBufferPointer<Double>,
        differences: UnsafeMutableBufferPointer<Double>
    ) throws {
        try Conversion.widen(bytesA, as: kinds.a.dtype, into: a)
        try Conversion.widen(bytesB ?? bytesA, as: kinds.b.dtype, into: b)
        if let bytesB {
            noteSteps(bytesA, bytesB, a, b, &tally)
            if kinds.a.isWideInteger || kinds.b.isWideInteger {
                WideIntegers.differences(bytesA, bytesB, kinds: kinds, valuesA: a, valuesB: b, into: differences)
            } else {
                for index in differences.indices { differences[index] = b[index] - a[index] }
            }
        } else {
            differences.update(repeating: 0)
        }
        tally.add(
            a: a, b: b, differences: differences, start: start, tolerance: tolerance,
            isWide: kinds.a.dtype == .f64 || kinds.b.dtype == .f64)
    }

    private func noteSteps(
        _ bytesA: UnsafeRawBufferPointer, _ bytesB: UnsafeRawBufferPointer,
        _ a: UnsafeMutableBufferPointer<Double>, _ b: UnsafeMutableBufferPointer<Double>,
        _ tally: inout DifferenceTally
    ) {
        guard let dtype = stepDType else { return }
        if kinds.a == kinds.b {
            guard let (steps, hasUncounted) = CodeSteps.largest(bytesA, bytesB, dtype) else { return }
            tally.maxULP = max(tally.maxULP, steps)
            if hasUncounted { tally.hasUncountedDistance = true }
        } else {
            let steps = Ulp.compare(UnsafeBufferPointer(a), UnsafeBufferPointer(b), in: dtype).largest
            if steps == .max { tally.hasUncountedDistance = true } else { tally.maxULP = max(tally.maxULP, steps) }
        }
    }
}
