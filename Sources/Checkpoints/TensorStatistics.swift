import ByteAccess
import Tensors

/// Minimum, maximum, mean, standard deviation, and counts of NaN, infinities and zeros of one tensor.
///
/// Mean and deviation are over the finite elements: μ = Σx / n, σ = √(Σ(x − μ)² / n), by Welford's update within a block
/// and Chan's rule between blocks (T. Chan, G. Golub, R. LeVeque, 1979), blocks in file order, so that the figures do not
/// depend on the number of threads.
public struct TensorStatistics: Sendable, Hashable {
    /// Finite elements.
    public private(set) var count = 0
    /// The smallest finite element; +∞ without one.
    public private(set) var minimum = Double.infinity
    /// The largest finite element; −∞ without one.
    public private(set) var maximum = -Double.infinity
    /// The mean of the finite elements, in float64.
    public private(set) var mean = 0.0
    private var squares = 0.0
    /// Elements that are NaN.
    public private(set) var nanCount = 0
    /// Elements that are infinite.
    public private(set) var infinityCount = 0
    /// Elements that are 0 or −0.
    public private(set) var zeroCount = 0

    /// The statistics of no values yet.
    public init() {}

    /// The population standard deviation of the finite elements; 0 for none.
    public var standardDeviation: Double { count > 0 ? (squares / Double(count)).squareRoot() : 0 }

    /// Adds a block of values.
    public mutating func add(_ values: [Double]) {
        var block = TensorStatistics()
        var sum = 0.0
        for value in values {
            guard value.isFinite else {
                if value.isNaN { block.nanCount += 1 } else { block.infinityCount += 1 }
                continue
            }
            block.count += 1
            if value == 0 { block.zeroCount += 1 }
            if value < block.minimum { block.minimum = value }
            if value > block.maximum { block.maximum = value }
            sum += value
        }
        if block.count > 0 {
            block.mean = sum / Double(block.count)
            for value in values where value.isFinite {
                block.squares += (value - block.mean) * (value - block.mean)
            }
        }
        add(block)
    }

    /// Adds what was counted of the values behind these.
    public mutating func add(_ other: TensorStatistics) {
        nanCount += other.nanCount
        infinityCount += other.infinityCount
        zeroCount += other.zeroCount
        guard other.count > 0 else { return }
        guard count > 0 else {
            (count, mean, squares) = (other.count, other.mean, other.squares)
            (minimum, maximum) = (other.minimum, other.maximum)
            return
        }
        let total = Double(count + other.count)
        let difference = other.mean - mean
        squares += other.squares + difference * difference * Double(count) * Double(other.count) / total
        mean += difference * Double(other.count) / total
        count += other.count
        minimum = min(minimum, other.minimum)
        maximum = max(maximum, other.maximum)
    }
}

extension Checkpoint {
    /// Statistics of every tensor, in order; nil for dtypes without real numbers (C64).
    ///
    /// Reads every byte once, in blocks of a few MiB, on `jobs` threads.
    ///
    /// - Parameter progress: called with bytes that have just been read, from any thread.
    /// - Throws: what ``Checkpoint/read(_:bytes:)`` throws, for the first block in the order of `tensors` that failed; `.interrupted`
    ///   where a signal came.
    public func statistics(jobs: Int, progress: (@Sendable (UInt64) -> Void)? = nil) throws -> [TensorStatistics?] {
        struct Block {
            let tensor: Int
            let bytes: Range<UInt64>
        }
        // A block holds whole bytes of every dtype: a multiple of 3 bytes for F6, of 8 for the widest.
        let step: UInt64 = 3 << 20
        var blocks: [Block] = []
        for (index, tensor) in tensors.enumerated() {
            var begin: UInt64 = 0
            while begin < tensor.byteCount {
                let end = min(begin + step, tensor.byteCount)
                blocks.append(Block(tensor: index, bytes: begin..<end))
                begin = end
            }
        }
        let partial = Mutex([TensorStatistics?](repeating: nil, count: blocks.count))
        let work = blocks
        try parallelForEach(count: work.count, jobs: jobs) { index in
            let block = work[index]
            let tensor = tensors[block.tensor]
            guard tensor.dtype != .c64 else { return }
            let bytes = try read(tensor, bytes: block.bytes)
            var statistics = TensorStatistics()
            statistics.add(
                try Conversion.widened(bytes, as: tensor.dtype, count: bytes.count * 8 / tensor.dtype.bits))
            let result = statistics
            partial.withLock { $0[index] = result }
            progress?(UInt64(bytes.count))
        }
        var result: [TensorStatistics?] = tensors.map { $0.dtype == .c64 ? nil : TensorStatistics() }
        for (block, statistics) in zip(blocks, partial.withLock { $0 }) {
            if let statistics { result[block.tensor]?.add(statistics) }
        }
        return result
    }
}
