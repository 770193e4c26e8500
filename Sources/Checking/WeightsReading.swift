import ByteAccess
import Checkpoints
import Containers
import Tensors

/// The numbers of all tensors of an adapter and the SHA-256 of its file, from one read.
///
/// The file is cut at tensors, and large tensors every 3 MiB, which is a whole number of elements of every dtype. Workers
/// read and count pieces in any order; the hash takes them in file order.
struct WeightsReading: Sendable {
    /// In the order of the checkpoint's tensors; nil for dtypes without real numbers.
    let statistics: [TensorStatistics?]
    /// In hex; nil where the tensors are in several files.
    let sha256: String?

    private struct Piece {
        var bytes: Range<UInt64>
        /// The tensors in the piece, and which bytes of the file are theirs.
        var tensors: [(index: Int, bytes: Range<UInt64>)] = []
    }

    init(_ checkpoint: Checkpoint, jobs: Int, progress: (@Sendable (UInt64) -> Void)? = nil) throws {
        guard checkpoint.isSingleFile, let shard = checkpoint.shards.first else {
            statistics = try checkpoint.statistics(jobs: jobs, progress: progress)
            sha256 = nil
            return
        }
        // Only safetensors has the tensors one after the other over the whole file, if all are asked for.
        guard shard.file.kind == .safetensors, checkpoint.tensors.count == shard.file.tensors.count else {
            statistics = try checkpoint.statistics(jobs: jobs, progress: progress)
            sha256 = try WeightsReading.sha256(of: shard.file.reader)
            return
        }
        let pieces = WeightsReading.pieces(of: checkpoint, size: shard.file.reader.size)
        let partial = Mutex([[(index: Int, statistics: TensorStatistics)]](repeating: [], count: pieces.count))
        let hash = Mutex(SHA256())
        let turnstile = Turnstile()
        try parallelForEach(count: pieces.count, jobs: jobs) { number in
            do {
                let piece = pieces[number]
                let bytes = try shard.file.reader.bytes(at: piece.bytes.lowerBound, count: piece.bytes.count)
                try turnstile.pass(number) { hash.withLock { $0.update(bytes) } }
                let found = try piece.tensors.map { part in
                    let dtype = checkpoint.tensors[part.index].dtype
                    let first = Int(part.bytes.lowerBound - piece.bytes.lowerBound)
                    var statistics = TensorStatistics()
                    try bytes[first..<(first + part.bytes.count)].withUnsafeBytes {
                        statistics.add(try Conversion.widened($0, as: dtype, count: $0.count * 8 / dtype.bits))
                    }
                    return (index: part.index, statistics: statistics)
                }
                partial.withLock { $0[number] = found }
                progress?(UInt64(bytes.count))
            } catch {
                turnstile.cancel(error)
                throw error
            }
        }
        var result: [TensorStatistics?] = checkpoint.tensors.map { $0.dtype == .c64 ? nil : TensorStatistics() }
        for part in partial.withLock({ $0 }).joined() { result[part.index]?.add(part.statistics) }
        statistics = result
        sha256 = SHA256.hex(hash.withLock { $0 }.finalize())
    }

    /// The SHA-256 of a whole file, in hex.
    private static func sha256(of reader: FileReader) throws -> String {
        var hash = SHA256()
        var offset: UInt64 = 0
        while offset < reader.size {
            try Interruption.check()
            let bytes = try reader.bytes(at: offset, count: Int(min(reader.size - offset, 3 << 20)))
            hash.update(bytes)
            offset += UInt64(bytes.count)
        }
        return SHA256.hex(hash.finalize())
    }

    /// The file from its first byte to its last, in pieces.
    private static func pieces(of checkpoint: Checkpoint, size: UInt64) -> [Piece] {
        let step: UInt64 = 3 << 20
        var pieces = [Piece(bytes: 0..<(checkpoint.tensors.first?.info.begin ?? size))]
        func last() -> Piece { pieces[pieces.count - 1] }
        for (index, tensor) in checkpoint.tensors.enumerated() {
            var begin = tensor.info.begin
            while begin < tensor.info.end {
                let end = min(begin + step, tensor.info.end)
                // Small tensors share a piece.
                if UInt64(last().bytes.count) + (end - begin) > step { pieces.append(Piece(bytes: begin..<begin)) }
                pieces[pieces.count - 1].bytes = last().bytes.lowerBound..<end
                if tensor.dtype != .c64 { pieces[pieces.count - 1].tensors.append((index, begin..<end)) }
                begin = end
            }
        }
        return pieces
    }
}
