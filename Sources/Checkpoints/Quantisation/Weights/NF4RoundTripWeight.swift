public import ByteAccess
public import Tensors

/// A 16-bit weight quantised to NF4 as bitsandbytes does on the CPU, and dequantised.
///
/// The flat tensor is cut into blocks; in F32, with one rounding in each operation:
///
///     a = max |x|      t = x · (1 / max(a, 10⁻³⁸)), in a short last block x / a      q = the number of thresholds below t
///     W = table[q] · a
///
/// thresholds[k] = (table[k] + table[k + 1]) / 2. With double quantisation, over blocks of 256 of the a:
///
///     offset = mean(a)    r = a − offset    m = max |r|    c = bins[⌊(r · (1/m) + 1)/2 · 65535 + 1/2⌋]    a' = map[c] · m + offset
///
/// where bins is the nearest entry of the dynamic map for each of 65536 values. The mean is the exact one rounded to F32; torch's own
/// sum can differ in the last bit, with the order of its adding. Sources: `quantize_4bit` and `quantize_blockwise` in
/// bitsandbytes/backends/default/ops.py, `quantize_cpu_impl` in csrc/cpu_ops.cpp.
public struct NF4RoundTripWeight: QuantisedWeight {
    public let name: ExactString
    public let shape: Shape
    public let codes: StoredTensor
    /// Block size, and whether magnitudes are quantised too.
    public let simulation: NF4Simulation
    public var components: [StoredTensor] { [codes] }

    init(_ tensor: StoredTensor, _ simulation: NF4Simulation) {
        name = tensor.name
        shape = tensor.shape
        codes = tensor
        self.simulation = simulation
    }

    private var count: Int { codes.info.elementCount }

    /// Fills `result` with elements of the plain tensor, in row-major order, by the formula of the type.
    ///
    /// - Throws: what ``Checkpoint/read(_:bytes:)`` throws for the 16-bit tensor, with double quantisation for any part of it.
    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty else { return }
        let size = simulation.blockSize
        let blocks = (elements.lowerBound / size)..<((elements.upperBound - 1) / size + 1)
        let start = blocks.lowerBound * size
        let width = codes.dtype.bits / 8
        let bytes = try components.bytes(codes, (start * width)..<(min(count, blocks.upperBound * size) * width))
        let all = simulation.doubleQuantisation ? try allMagnitudes(components) : nil
        let largest = all.map { Array($0.all[blocks]) } ?? magnitudes(bytes)
        let factors = largest.map { 1 / clamped($0) }
        let scales = all.map { NF4RoundTripWeight.nested($0, blocks) } ?? largest.map { Double($0) }
        // Where the short last block begins, if there is one.
        let short = count / size * size
        var place = elements.lowerBound
        while place < elements.upperBound {
            // Up to the end of a block that is cut, else all that are whole, else the short one.
            let block = place / size
            let limit = place % size == 0 && place < short ? short : (block + 1) * size
            let end = min(elements.upperBound, limit)
            let groups = (block - blocks.lowerBound)..<((end - 1) / size + 1 - blocks.lowerBound)
            let target = UnsafeMutableBufferPointer(rebasing: result[(place - elements.lowerBound)..<(end - elements.lowerBound)])
            let source = bytes[((place - start) * width)..<((end - start) * width)]
            if place >= short {
                let quotients = try floats(source).map { $0 / clamped(largest[groups.lowerBound]) }
                quotients.withUnsafeBytes { roundTrip($0, .f32, [1], scales[groups], into: target) }
            } else if codes.dtype == .f16 {
                try floats(source).withUnsafeBytes { roundTrip($0, .f32, factors[groups], scales[groups], into: target) }
            } else {
                source.withUnsafeBytes { roundTrip($0, codes.dtype, factors[groups], scales[groups], into: target) }
            }
            place = end
        }
    }

    /// Elements of whole blocks, or of a part of one.
    private func roundTrip(
        _ values: UnsafeRawBufferPointer, _ dtype: DType, _ factors: ArraySlice<Float>, _ scales: ArraySlice<Double>,
        into result: UnsafeMutableBufferPointer<Double>
    ) {
        factors.withUnsafeBufferPointer { factors in
            scales.withUnsafeBufferPointer {
                CodeKernels.nearest(
                    values, of: dtype, group: simulation.blockSize, factors: factors, thresholds: NF4Tables.thresholds, table: NF4Tables.nf4,
                    scales: $0, into: result)
            }
        }
    }

    /// What bitsandbytes divides by.
    private func clamped(_ magnitude: Float) -> Float { magnitude < 1e-38 ? 1e-38 : magnitude }

    /// Elements in F32, which holds those of 16 bits exactly.
    private func floats(_ bytes: ArraySlice<UInt8>) throws -> [Float] {
        try Conversion.widened(Array(bytes), as: codes.dtype, count: bytes.count / (codes.dtype.bits / 8)).map { Float($0) }
    }

    /// The magnitudes of blocks that follow each other; a short last one's is clamped.
    private func magnitudes(_ bytes: [UInt8]) -> [Float] {
        var result = bytes.withUnsafeBytes { CodeKernels.largestMagnitudes($0, of: codes.dtype, group: simulation.blockSize) }
        if bytes.count / (codes.dtype.bits / 8) % simulation.blockSize != 0, let last = result.last { result[result.count - 1] = clamped(last) }
        return result
    }

    /// The magnitudes of all blocks.
    private func allMagnitudes(_ components: ComponentReader) throws -> BlockMagnitudes.Values {
        let (size, width) = (simulation.blockSize, codes.dtype.bits / 8)
        let step = max(1, (1 << 18) / size) * size
        return try components.magnitudes(codes, pieces: (count + step - 1) / step).values { piece in
            magnitudes(try components.bytes(codes, (piece * step * width)..<(min(count, (piece + 1) * step) * width)))
        }
    }

    /// The magnitudes of some blocks after their own quantisation.
    static func nested(_ magnitudes: BlockMagnitudes.Values, _ blocks: Range<Int>) -> [Double] {
        var result: [Double] = []
        result.reserveCapacity(blocks.count)
        for first in stride(from: blocks.lowerBound / 256 * 256, to: blocks.upperBound, by: 256) {
            let group = first..<min(magnitudes.all.count, first + 256)
            let rest = magnitudes.all[group].map { $0 - magnitudes.mean }
            let scale = rest.withUnsafeBytes { CodeKernels.largestMagnitudes($0, of: .f32, group: 256) }[0]
            let inverse = 1 / scale
            for value in rest[(blocks.clamped(to: group).lowerBound - first)..<(blocks.clamped(to: group).upperBound - first)] {
                let code = scale == 0 ? 0 : NF4Tables.dynamicCode(value * inverse)
                result.append(Double(NF4Tables.dynamicMap[code]) * Double(scale) + Double(magnitudes.mean))
            }
        }
        return result
    }
}
