/// Writes NumPy arrays for tests, as version 1.0 has them.
public enum NPYBuilder {
    /// An array with these bytes of elements.
    public static func array(
        _ elements: [UInt8], shape: [Int], descr: String = "<f4", isFortran: Bool = false
    ) -> [UInt8] {
        let sizes = shape.map { "\($0), " }.joined()
        return array(
            header: "{'descr': '\(descr)', 'fortran_order': \(isFortran ? "True" : "False"), 'shape': (\(sizes)), }",
            elements)
    }

    /// An array with a header of any text.
    public static func array(header: String, _ elements: [UInt8]) -> [UInt8] {
        let text = Array((header + "\n").utf8)
        return [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(text.count & 0xFF), UInt8(text.count >> 8)] + text + elements
    }
}
