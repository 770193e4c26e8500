import ByteAccess
import Tensors

/// Blocks of the views of one file whose rows lie across a deflated storage, so that reading them in order, a panel at a time, does
/// not inflate the storage for each panel.
///
/// At most ``count`` blocks of ``size`` bytes are kept for a whole file, those that were used last; readers on several threads
/// take turns where one makes a block.
final class ViewBlocks: Sendable {
    /// Bytes of a block.
    static let size = 8 << 20
    /// How many are kept.
    static let count = 4

    private struct Block: Sendable {
        let storage: ObjectIdentifier
        let begin: UInt64
        let shape: [Int]
        let strides: [Int]
        /// The first element.
        let first: Int
        let bytes: [UInt8]

        func isOf(_ view: StridedView, _ first: Int) -> Bool {
            self.first == first && storage == ObjectIdentifier(view.storage) && begin == view.begin && strides == view.strides && shape == view.shape
        }
    }

    private let blocks = Mutex<[Block]>([])

    /// Fills `buffer` with some elements of a view.
    ///
    /// - Parameter make: fills a buffer with the elements from one on.
    /// - Throws: what `make` throws.
    func read(
        _ view: StridedView, elements: Range<Int>, into buffer: UnsafeMutableRawBufferPointer,
        making make: (Int, UnsafeMutableRawBufferPointer) throws -> Void
    ) throws {
        let width = view.dtype.bits / 8
        let length = ViewBlocks.size / width
        let total = view.shape.reduce(1, *)
        var position = elements.lowerBound
        while position < elements.upperBound {
            let first = position / length * length
            let end = min(first + length, elements.upperBound)
            let target = UnsafeMutableRawBufferPointer(
                rebasing: buffer[((position - elements.lowerBound) * width)..<((end - elements.lowerBound) * width)])
            try blocks.withLock { blocks in
                let known = blocks.firstIndex { $0.isOf(view, first) }.map { blocks.remove(at: $0) }
                let block: Block
                if let known {
                    block = known
                } else {
                    if blocks.count == ViewBlocks.count { blocks.removeFirst() }
                    var bytes = [UInt8](repeating: 0, count: (min(first + length, total) - first) * width)
                    try bytes.withUnsafeMutableBytes { try make(first, $0) }
                    block = Block(
                        storage: ObjectIdentifier(view.storage), begin: view.begin, shape: view.shape, strides: view.strides, first: first, bytes: bytes)
                }
                block.bytes.withUnsafeBytes {
                    let start = (position - first) * width
                    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<(start + target.count)]))
                }
                blocks.append(block)
            }
            position = end
        }
    }
}
