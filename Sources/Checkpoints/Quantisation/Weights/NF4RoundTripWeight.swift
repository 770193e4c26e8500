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

    public func read(
        _ elements: Range<Int>, from components: ComponentReader, into result: UnsafeMutableBufferPointer<Double>
    ) throws {
        guard !elements.isEmpty else { return }
        let size = simulation.blockSize
        let nested = simulation.doubleQuantisation
            ? try components.derived(codes) { NF4RoundTripWeight.nested(try magnitudes(components)) } : nil
        let blocks = (elements.lowerBound / size)..<((elements.upperBound - 1) / size + 1)
        let start = blocks.lowerBound * size
        let values = try source(start..<min(count, blocks.upperBound * size), components)
        values.withUnsafeBufferPointer { values in
            for block in blocks {
                let first = block * size - start
                let part = UnsafeBufferPointer(rebasing: values[first..<min(values.count, first + size)])
                let wanted = (block * size..<(block * size + part.count)).clamped(to: elements)
                NF4RoundTripWeight.roundTrip(
                    part, isShort: part.count < size, stored: nested?[block],
                    from: wanted.lowerBound - block * size,
                    into: UnsafeMutableBufferPointer(
                        rebasing: result[(wanted.lowerBound - elements.lowerBound)..<(wanted.upperBound - elements.lowerBound)]))
            }
        }
    }

    /// One block; `result` takes the elements from `from` on. `stored` is the magnitude after its own quantisation, where it has one.
    private static func roundTrip(
        _ values: UnsafeBufferPointer<Float>, isShort: Bool, stored: Double?, from: Int, into result: UnsafeMutableBufferPointer<Double>
    ) {
        let largest = NF4RoundTripWeight.magnitude(values)
        let clamped = largest < 1e-38 ? 1e-38 : largest
        let scale = stored ?? Double(isShort ? max(largest, 1e-38) : largest)
        let inverse = 1 / clamped
        withUnsafeTemporaryAllocation(of: Double.self, capacity: 16) { scaled in
            for code in 0..<16 { scaled.initializeElement(at: code, to: Double(NF4Tables.nf4[code]) * scale) }
            NF4Tables.stretches.withUnsafeBufferPointer { stretches in
                guard let stretches = stretches.baseAddress else { return }
                if isShort {
                    for index in result.indices { result[index] = scaled[NF4Tables.code(values[from &+ index] / clamped, stretches)] }
                } else {
                    for index in result.indices { result[index] = scaled[NF4Tables.code(values[from &+ index] * inverse, stretches)] }
                }
            }
        }
    }

    /// Elements of the 16-bit tensor in F32, which holds them exactly.
    private func source(_ range: Range<Int>, _ components: ComponentReader) throws -> [Float] {
        let size = codes.dtype.bits / 8
        let bytes = try components.bytes(codes, (range.lowerBound * size)..<(range.upperBound * size))
        if codes.dtype == .bf16 {
            return [Float](unsafeUninitializedCapacity: range.count) { values, count in
                bytes.withUnsafeBytes { bytes in
                    for index in 0..<range.count {
                        let code = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
                        values.initializeElement(at: index, to: Float(bitPattern: UInt32(code) << 16))
                    }
                }
                count = range.count
            }
        }
        return try Conversion.widened(bytes, as: codes.dtype, count: range.count).map { Float($0) }
    }

    /// max |x|; NaN where there is one.
    static func magnitude(_ values: UnsafeBufferPointer<Float>) -> Float {
        var largest: Float = 0
        var isNumber = true
        for value in values {
            largest = value.magnitude > largest ? value.magnitude : largest
            isNumber = isNumber && value == value
        }
        return isNumber ? largest : .nan
    }

    /// The magnitudes of all blocks.
    private func magnitudes(_ components: ComponentReader) throws -> [Float] {
        let size = simulation.blockSize
        let step = max(1, (1 << 20) / size) * size
        var result: [Float] = []
        var start = 0
        while start < count {
            let values = try source(start..<min(count, start + step), components)
            for first in stride(from: 0, to: values.count, by: size) {
                let end = min(values.count, first + size)
                let magnitude = values.withUnsafeBufferPointer {
                    NF4RoundTripWeight.magnitude(UnsafeBufferPointer(rebasing: $0[first..<end]))
                }
                result.append(end - first < size ? max(magnitude, 1e-38) : magnitude)
            }
            start += step
        }
        return result
    }

    /// The magnitudes after their own quantisation.
    static func nested(_ magnitudes: [Float]) -> [Double] {
        let offset = Float(magnitudes.reduce(0.0) { $0 + Double($1) } / Double(magnitudes.count))
        var result: [Double] = []
        result.reserveCapacity(magnitudes.count)
        for first in stride(from: 0, to: magnitudes.count, by: 256) {
            let rest = magnitudes[first..<min(magnitudes.count, first + 256)].map { $0 - offset }
            let scale = rest.withUnsafeBufferPointer { magnitude($0) }
            let inverse = 1 / scale
            for value in rest {
                let code = scale == 0 ? 0 : NF4Tables.dynamicCode(value * inverse)
                result.append(Double(NF4Tables.dynamicMap[code]) * Double(scale) + Double(offset))
            }
        }
        return result
    }
}
