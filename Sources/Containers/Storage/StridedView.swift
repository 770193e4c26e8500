import ByteAccess
import Tensors

/// Reads parts of a strided view of a storage as elements in C order, little-endian.
///
/// A part of the elements is cut into boxes (ranges of indices in every dimension); each box is walked in the order in
/// which its elements stand in the storage, through a window of 64 KiB or one run of elements. So a storage is never
/// held whole, and a transposed matrix costs one pass over the storage for each panel of rows that is read.
struct StridedView: Sendable {
    let storage: Storage
    let dtype: DType
    /// Where the view's first element begins in the storage, in bytes.
    let begin: UInt64
    let shape: [Int]
    /// In elements.
    let strides: [Int]
    /// Whether the storage has elements as they are read.
    let isLittleEndian: Bool
    /// What changes once they are read.
    var signs = PendingSigns()
    /// Where blocks of it are kept.
    var blocks: ViewBlocks?
    /// Bytes of an element.
    private var width: Int { dtype.bits / 8 }

    private static let windowSize = 1 << 16

    /// Whether the elements stand in the storage as in a C array.
    var isContiguous: Bool {
        var expected = 1
        for (size, stride) in zip(shape, strides).reversed() where size != 1 {
            if size == 0 { return true }
            if stride != expected { return false }
            // No overflow: the product of the shape fits.
            expected *= size
        }
        return true
    }

    /// Whether neighbouring rows of the view lie far apart in the storage, so that a few of them take a pass over all of it.
    private var isCrossing: Bool {
        let axes = shape.indices.filter { shape[$0] > 1 }
        guard let first = axes.first else { return false }
        return axes.contains { strides[$0] > strides[first] }
    }

    /// Whether the file has the elements as they are read, in one piece.
    var isVerbatim: Bool { storage.isStored && isContiguous && (isLittleEndian || width == 1) && signs.isEmpty }

    /// Fills `buffer` with the elements' bytes from `offset` on, counted from the view's first.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard buffer.count > 0 else { return }
        // Whole elements around what is asked for.
        let first = Int(offset) / width
        let last = (Int(offset) + buffer.count + width - 1) / width
        guard Int(offset) % width != 0 || buffer.count % width != 0 else {
            try read(elements: first, into: buffer)
            return
        }
        var whole = [UInt8](repeating: 0, count: (last - first) * width)
        try whole.withUnsafeMutableBytes { whole in
            try read(elements: first, into: whole)
            let skipped = Int(offset) - first * width
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: whole[skipped..<(skipped + buffer.count)]))
        }
    }

    /// Fills `buffer` with the elements from `first` on; its length is a whole number of elements.
    private func read(elements first: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        defer {
            if !isLittleEndian { swapBytes(buffer) }
            if !signs.isEmpty { signs.change(buffer, of: dtype) }
        }
        guard !isContiguous else {
            try storage.read(at: begin + UInt64(first) * UInt64(width), into: buffer)
            return
        }
        guard let blocks, !storage.isStored, isCrossing else { return try fill(buffer, from: first) }
        try blocks.read(self, elements: first..<(first + buffer.count / width), into: buffer) { try fill($1, from: $0) }
    }

    /// Fills `buffer` with the elements from `first` on, box by box.
    private func fill(_ buffer: UnsafeMutableRawBufferPointer, from first: Int) throws {
        var window = Window(storage: storage)
        var position = first
        let end = first + buffer.count / width
        while position < end {
            let (lower, counts) = box(from: position, to: end)
            let count = counts.reduce(1, *)
            let start = (position - first) * width
            try read(
                lower, counts, &window,
                into: UnsafeMutableRawBufferPointer(rebasing: buffer[start..<(start + count * width)]))
            position += count
        }
    }

    /// The largest box of elements that begins at `position`, is contiguous in C order and ends before `end`: its first
    /// index and its size in each dimension.
    private func box(from position: Int, to end: Int) -> (lower: [Int], counts: [Int]) {
        var lower = [Int](repeating: 0, count: shape.count)
        var rest = position
        for axis in shape.indices.reversed() {
            lower[axis] = rest % shape[axis]
            rest /= shape[axis]
        }
        var counts = [Int](repeating: 1, count: shape.count)
        var block = 1
        for axis in shape.indices.reversed() {
            let most = min(shape[axis] - lower[axis], (end - position) / block)
            counts[axis] = most
            // The next dimension can only be taken where this one is taken from its start to its end.
            guard lower[axis] == 0, most == shape[axis] else { break }
            block *= shape[axis]
        }
        return (lower, counts)
    }

    /// Reads a box, in the order of the storage.
    private func read(
        _ lower: [Int], _ counts: [Int], _ window: inout Window, into buffer: UnsafeMutableRawBufferPointer
    ) throws {
        // Where elements go: strides of the box in C order.
        var targets = [Int](repeating: 1, count: counts.count)
        for axis in counts.indices.dropLast().reversed() { targets[axis] = targets[axis + 1] * counts[axis + 1] }
        let axes = counts.indices.filter { counts[$0] > 1 }.sorted { (strides[$0], targets[$0]) > (strides[$1], targets[$1]) }
        var source: UInt64 = 0
        for axis in lower.indices { source += UInt64(lower[axis]) * UInt64(strides[axis]) }
        // The innermost axis in one go where its elements are neighbours on both sides.
        let inner = axes.last.flatMap { strides[$0] == 1 && targets[$0] == 1 ? $0 : nil }
        let outer = inner == nil ? axes : Array(axes.dropLast())
        let run = inner.map { counts[$0] } ?? 1
        window.size = storage.isStored ? neighbours(axes, counts) : StridedView.windowSize
        var index = [Int](repeating: 0, count: outer.count)
        var target = 0
        while true {
            try window.copy(
                at: begin + source * UInt64(width), count: run * width,
                to: UnsafeMutableRawBufferPointer(rebasing: buffer[(target * width)..<((target + run) * width)]))
            var axis = outer.count - 1
            while axis >= 0 {
                index[axis] += 1
                source += UInt64(strides[outer[axis]])
                target += targets[outer[axis]]
                if index[axis] < counts[outer[axis]] { break }
                source -= UInt64(strides[outer[axis]]) * UInt64(index[axis])
                target -= targets[outer[axis]] * index[axis]
                index[axis] = 0
                axis -= 1
            }
            if axis < 0 { return }
        }
    }

    /// How many bytes are worth reading together: those up to a gap that takes longer to read than to leave out.
    ///
    /// - Parameter axes: by falling strides.
    private func neighbours(_ axes: [Int], _ counts: [Int]) -> Int {
        var extent = width
        for axis in axes.reversed() {
            let (step, overflow) = strides[axis].multipliedReportingOverflow(by: width)
            guard !overflow, step <= extent + 4096 else { break }
            let (length, isLong) = step.multipliedReportingOverflow(by: counts[axis] - 1)
            guard !isLong, length < StridedView.windowSize else { return StridedView.windowSize }
            extent += length
        }
        return min(extent, StridedView.windowSize)
    }

    /// Turns big-endian elements round; a complex number has two.
    private func swapBytes(_ buffer: UnsafeMutableRawBufferPointer) {
        let width = dtype == .c64 ? 4 : width
        guard width > 1 else { return }
        for start in stride(from: 0, to: buffer.count - buffer.count % width, by: width) {
            buffer[start..<(start + width)].reverse()
        }
    }

    /// A few bytes of the storage, read ahead.
    private struct Window {
        let storage: Storage
        /// How many, at least those that are asked for.
        var size = StridedView.windowSize
        private var bytes: [UInt8] = []
        private var begin: UInt64 = 0

        init(storage: Storage) { self.storage = storage }

        mutating func copy(at position: UInt64, count: Int, to target: UnsafeMutableRawBufferPointer) throws {
            guard count < size else { return try storage.read(at: position, into: target) }
            if position < begin || position + UInt64(count) > begin + UInt64(bytes.count) {
                let size = Int(min(UInt64(size), storage.byteCount - position))
                if bytes.count != size { bytes = [UInt8](repeating: 0, count: size) }
                begin = position
                try bytes.withUnsafeMutableBytes { try storage.read(at: position, into: $0) }
            }
            bytes.withUnsafeBytes { bytes in
                let start = Int(position - begin)
                target.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<(start + count)]))
            }
        }
    }
}
