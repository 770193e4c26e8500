import ByteAccess
import Tensors

/// Reads parts of a strided view of a storage as elements in C order.
///
/// A part of the elements is cut into boxes (ranges of indices in every dimension); each box is walked in the order in
/// which its elements stand in the storage, through a window of 64 KiB or one run of elements. So a storage is never
/// held whole, and a transposed matrix costs one pass over the storage for each panel of rows that is read.
struct TorchView: Sendable {
    let storage: TorchStorage
    /// Bytes of an element.
    let width: Int
    /// Of the view's first element, in elements.
    let offset: UInt64
    let shape: [Int]
    let strides: [Int]

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

    /// Fills `buffer` with the elements from `first` on; its length is a whole number of elements.
    func read(elements first: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard !isContiguous else {
            try storage.read(at: (offset + UInt64(first)) * UInt64(width), into: buffer)
            return
        }
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
        var source = offset
        for axis in lower.indices { source += UInt64(lower[axis]) * UInt64(strides[axis]) }
        // The innermost axis in one go where its elements are neighbours on both sides.
        let inner = axes.last.flatMap { strides[$0] == 1 && targets[$0] == 1 ? $0 : nil }
        let outer = inner == nil ? axes : Array(axes.dropLast())
        let run = inner.map { counts[$0] } ?? 1
        var index = [Int](repeating: 0, count: outer.count)
        var target = 0
        while true {
            try window.copy(
                at: source * UInt64(width), count: run * width,
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

    /// A few bytes of the storage, read ahead.
    private struct Window {
        let storage: TorchStorage
        private var bytes: [UInt8] = []
        private var begin: UInt64 = 0

        init(storage: TorchStorage) { self.storage = storage }

        mutating func copy(at position: UInt64, count: Int, to target: UnsafeMutableRawBufferPointer) throws {
            guard count < TorchView.windowSize else { return try storage.read(at: position, into: target) }
            if position < begin || position + UInt64(count) > begin + UInt64(bytes.count) {
                let size = Int(min(UInt64(TorchView.windowSize), storage.byteCount - position))
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
