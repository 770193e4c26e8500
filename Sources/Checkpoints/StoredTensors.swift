public import Containers
public import Tensors

/// The tensors of a checkpoint: those of its files one behind the other, or a list that stands for them.
///
/// Where every tensor is as a file has it, the files' own directories are looked at and not copied: a model has a hundred thousand
/// tensors, and the copy would be held as long as the files.
public struct StoredTensors: RandomAccessCollection, Sendable {
    /// Where the tensors come from.
    private enum Source: Sendable {
        /// The directories of the files, and how many tensors stand before each.
        case files([[TensorInfo]], starts: [Int])
        case list([StoredTensor])
    }

    private let source: Source
    /// The position behind the last tensor.
    public let endIndex: Int
    /// The position of the first tensor, 0.
    public var startIndex: Int { 0 }

    /// All tensors of some files, as they are stored.
    init(of shards: [Shard]) {
        var (parts, starts, count): ([[TensorInfo]], [Int], Int) = ([], [], 0)
        for shard in shards {
            parts.append(shard.file.tensors)
            starts.append(count)
            count += shard.file.tensors.count
        }
        source = .files(parts, starts: starts)
        endIndex = count
    }

    /// A list of tensors in the place of the stored ones.
    init(_ list: [StoredTensor]) {
        source = .list(list)
        endIndex = list.count
    }

    /// The tensor at a position, counted from 0 over all files.
    public subscript(position: Int) -> StoredTensor {
        switch source {
        case .list(let list): return list[position]
        case .files(let parts, let starts):
            // The last file that begins at or before the position and is not empty.
            var (low, high) = (0, starts.count)
            while high - low > 1 {
                let middle = (low + high) / 2
                if starts[middle] <= position { low = middle } else { high = middle }
            }
            return StoredTensor(info: parts[low][position - starts[low]], shard: low)
        }
    }
}

extension StoredTensors: ExpressibleByArrayLiteral {
    /// Tensors one by one; `[]` stands for those of a checkpoint that there is none of.
    public init(arrayLiteral elements: StoredTensor...) { self.init(elements) }
}
