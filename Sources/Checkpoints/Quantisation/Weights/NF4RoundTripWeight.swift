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
        let nested = simulation.doubleQuantisation ? try nestedMagnitudes(components) : nil
        let blocks = (elements.lowerBound / size)..<((elements.upperBound - 1) / size + 1)
        let start = blocks.lowerBound * size
        let width = codes.dtype.bits / 8
        let bytes = try components.bytes(codes, (start * width)..<(min(count, blocks.upperBound * size) * width))
        let values = try floats(bytes)
        values.withUnsafeBufferPointer { values in
            for block in blocks {
                let first = block * size - start
                let part = UnsafeBufferPointer(rebasing: values[first..<min(values.count, first + size)])
                let largest = bytes.withUnsafeBytes {
                    CodeKernels.largestMagnitude(UnsafeRawBufferPointer(rebasing: $0[(first * width)..<((first + part.count) * width)]), of: codes.dtype)
                }
                let wanted = (block * size..<(block * size + part.count)).clamped(to: elements)
                NF4RoundTripWeight.roundTrip(
                    part, largest: largest, isShort: part.count < size, stored: nested?[block],
                    from: wanted.lowerBound - block * size,
                    into: UnsafeMutableBufferPointer(
                        rebasing: result[(wanted.lowerBound - elements.lowerBound)..<(wanted.upperBound - elements.lowerBound)]))
            }
        }
    }

    /// One block; `result` takes the elements from `from` on. `stored` is the magnitude after its own quantisation, where it has one.
    private static func roundTrip(
        _ values: UnsafeBufferPointer<Float>, largest: Float, isShort: Bool, stored: Double?, from: Int, into result: UnsafeMutableBufferPointer<Double>
    ) {
        let clamped = largest < 1e-38 ? 1e-38 : largest
        let scale = stored ?? Double(isShort ? max(largest, 1e-38) : largest)
        let wanted = UnsafeBufferPointer(rebasing: values[from..<(from + result.count)])
        func nearest(_ values: UnsafeBufferPointer<Float>, factor: Float) {
            NF4Tables.thresholds.withUnsafeBufferPointer { thresholds in
                NF4Tables.nf4.withUnsafeBufferPointer { table in
                    CodeKernels.nearest(values, factor: factor, thresholds: thresholds, table: table, scale: scale, into: result)
                }
            }
        }
        if isShort {
            wanted.map { $0 / clamped }.withUnsafeBufferPointer { nearest($0, factor: 1) }
        } else {
            nearest(wanted, factor: 1 / clamped)
        }
    }

    /// Elements of the tensor in F32, which holds those of 16 bits exactly.
    private func floats(_ bytes: [UInt8]) throws -> [Float] {
        let count = bytes.count / (codes.dtype.bits / 8)
        guard codes.dtype == .bf16 else { return try Conversion.widened(bytes, as: codes.dtype, count: count).map { Float($0) } }
        return [Float](unsafeUninitializedCapacity: count) { values, initialized in
            bytes.withUnsafeBytes { bytes in
                for index in 0..<count {
                    let code = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
                    values.initializeElement(at: index, to: Float(bitPattern: UInt32(code) << 16))
                }
            }
            initialized = count
        }
    }

    /// The magnitudes of all blocks after their own quantisation.
    private func nestedMagnitudes(_ components: ComponentReader) throws -> [Double] {
        let size = simulation.blockSize
        let step = max(1, (1 << 18) / size) * size
        return try components.derived(codes, pieces: (count + step - 1) / step).values { piece in
            try magnitudes(components, (piece * step)..<min(count, (piece + 1) * step))
        } whole: { NF4RoundTripWeight.nested($0) }
    }

    /// The magnitudes of the blocks of some elements.
    private func magnitudes(_ components: ComponentReader, _ elements: Range<Int>) throws -> [Float] {
        let width = codes.dtype.bits / 8
        let length = simulation.blockSize * width
        let bytes = try components.bytes(codes, (elements.lowerBound * width)..<(elements.upperBound * width))
        return bytes.withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count, by: length).map { first in
                let block = UnsafeRawBufferPointer(rebasing: bytes[first..<min(bytes.count, first + length)])
                let magnitude = CodeKernels.largestMagnitude(block, of: codes.dtype)
                return block.count < length ? max(magnitude, 1e-38) : magnitude
            }
        }
    }

    /// The magnitudes after their own quantisation.
    static func nested(_ magnitudes: [Float]) -> [Double] {
        let offset = Float(magnitudes.reduce(0.0) { $0 + Double($1) } / Double(magnitudes.count))
        var result: [Double] = []
        result.reserveCapacity(magnitudes.count)
        for first in stride(from: 0, to: magnitudes.count, by: 256) {
            let rest = magnitudes[first..<min(magnitudes.count, first + 256)].map { $0 - offset }
            let scale = rest.withUnsafeBytes { CodeKernels.largestMagnitude($0, of: .f32) }
            let inverse = 1 / scale
            for value in rest {
                let code = scale == 0 ? 0 : NF4Tables.dynamicCode(value * inverse)
                result.append(Double(NF4Tables.dynamicMap[code]) * Double(scale) + Double(offset))
            }
        }
        return result
    }
}
