import Foundation
import Peftfile

/// The kernel on one core, against the same panel by OpenBLAS in float32: nanoseconds of processor time an element.
///
/// A panel is 512 rows of 2048 BF16 elements, 2 MiB read and 2 MiB written, and 16 of them follow one another so that
/// neither finds its panel in the cache. The right factor is packed once, outside the time, as a merge does it once for
/// each tensor. The forms take turns.
struct KernelTimes {
    static let rows = 512, columns = 2048, panels = 16, turns = 15

    let rank: Int
    private let base: [UInt8]
    private let left: [Double], right: [Double]

    init(rank: Int) {
        self.rank = rank
        var random = Normal(seed: "kernel \(rank)")
        let weights = Tensor("W", "BF16", [Self.panels * Self.rows, Self.columns], deviation: 0.02)
        var base = [UInt8](repeating: 0, count: weights.bytes)
        base.withUnsafeMutableBytes { random.fill($0, with: weights) }
        self.base = base
        left = (0..<Self.rows * rank).map { _ in Double(random.next(deviation: 0.08 / Float(rank).squareRoot())) }
        right = (0..<rank * Self.columns).map { _ in Double(random.next(deviation: 0.0128)) }
    }

    /// Nanoseconds an element of every turn, by form: `kernel`, and where OpenBLAS loads, `sgemm` (the product alone,
    /// onto a panel that is there) and `panel` (widening, the product and rounding).
    func measured() -> [String: [Double]] {
        let kernel = LowRankKernel(right: right, rank: rank, columns: Self.columns)
        let blas = Float32Panel(left: left, right: right, rank: rank)
        var result = [UInt8](repeating: 0, count: base.count)
        var times: [String: [Double]] = [:]
        for _ in 0..<Self.turns {
            each(&result, "kernel", &times) { source, target in
                left.withUnsafeBufferPointer { left in
                    _ = kernel.mergePanel(
                        source: source, dtype: .bf16, left: left, rows: Self.rows, scale: 2, into: target)
                }
            }
            guard let blas else { continue }
            each(&result, "sgemm", &times) { _, _ in blas.multiply() }
            each(&result, "panel", &times) { source, target in blas.merge(source, into: target) }
        }
        return times
    }

    private func each(
        _ result: inout [UInt8], _ name: String, _ times: inout [String: [Double]],
        _ body: (UnsafeRawBufferPointer, UnsafeMutableRawBufferPointer) -> Void
    ) {
        let bytes = base.count / Self.panels
        let start = Clock.thread()
        base.withUnsafeBytes { source in
            result.withUnsafeMutableBytes { target in
                for panel in 0..<Self.panels {
                    let range = panel * bytes..<(panel + 1) * bytes
                    body(
                        UnsafeRawBufferPointer(rebasing: source[range]),
                        UnsafeMutableRawBufferPointer(rebasing: target[range]))
                }
            }
        }
        times[name, default: []].append((Clock.thread() - start) * 1e9 / Double(base.count / 2))
    }
}

/// What one would write with OpenBLAS: 64 rows at a time widened to float32 in the cache, `sgemm` onto them, rounded.
final class Float32Panel {
    /// `cblas_sgemm`: order, transpositions, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc.
    private typealias Product = @convention(c) (
        Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>, Int32, UnsafePointer<Float>, Int32, Float,
        UnsafeMutablePointer<Float>, Int32
    ) -> Void
    private static let block = 64

    private let product: Product
    private let rank: Int
    private let left: [Float], right: [Float]
    private let panel = UnsafeMutableBufferPointer<Float>.allocate(capacity: block * KernelTimes.columns)

    /// Nil where OpenBLAS cannot be loaded.
    init?(left: [Double], right: [Double], rank: Int) {
        let names = [ProcessInfo.processInfo.environment["PEFTFILE_OPENBLAS"], "libopenblas.so.0", "libopenblas.dylib"]
        guard let library = names.lazy.compactMap({ $0 }).compactMap({ dlopen($0, RTLD_NOW) }).first,
            let symbol = dlsym(library, "cblas_sgemm")
        else { return nil }
        product = unsafeBitCast(symbol, to: Product.self)
        if let threads = dlsym(library, "openblas_set_num_threads") {
            unsafeBitCast(threads, to: (@convention(c) (Int32) -> Void).self)(1)
        }
        self.rank = rank
        self.left = left.map { Float($0) }
        self.right = right.map { Float($0) }
        panel.initialize(repeating: 0)
    }

    deinit { panel.deallocate() }

    /// The products of a panel's rows, onto what the block holds.
    func multiply() { for first in stride(from: 0, to: KernelTimes.rows, by: Self.block) { multiply(first) } }

    /// A whole panel, from BF16 to BF16.
    func merge(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) {
        let weights = source.bindMemory(to: UInt16.self)
        let results = target.bindMemory(to: UInt16.self)
        for first in stride(from: 0, to: KernelTimes.rows, by: Self.block) {
            let offset = first * KernelTimes.columns
            for index in 0..<panel.count { panel[index] = Float(bitPattern: UInt32(weights[offset &+ index]) << 16) }
            multiply(first)
            for index in 0..<panel.count {
                let bits = panel[index].bitPattern
                results[offset &+ index] = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
            }
        }
    }

    private func multiply(_ first: Int) {
        let (k, n) = (Int32(rank), Int32(KernelTimes.columns))
        guard let c = panel.baseAddress else { return }
        left.withUnsafeBufferPointer { left in
            guard let a = left.baseAddress else { return }
            // Row-major, nothing transposed.
            product(101, 111, 111, Int32(Self.block), n, k, 2, a + first * rank, k, right, n, 1, c, n)
        }
    }
}

/// A header of 100,000 tensors, parsed from memory.
enum HeaderTimes {
    /// Seconds of every turn.
    static func measured(turns: Int = 11) throws -> [Double] {
        let names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "norm", "bias", "scale"]
        let tensors = (0..<100_000).map { index in
            Tensor(
                "model.layers.\(index / 1000).mlp.experts.\(index / 10 % 100).\(names[index % 10]).weight", "BF16",
                [2048, 768], deviation: 0)
        }
        let json = Generator.header(tensors).dropFirst(8)
        return try (0..<turns).map { _ in
            let start = Clock.now()
            let header = try json.withUnsafeBytes { try SafetensorsHeader(json: $0) }
            let time = Clock.now() - start
            guard header.tensors.count == tensors.count else { throw Failure("the header was read wrong") }
            return time
        }
    }
}
