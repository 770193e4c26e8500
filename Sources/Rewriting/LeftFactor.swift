/// The left factor of a low-rank update while the rows of its tensor are merged, a panel of rows at a time.
///
/// Where every element is a float32 number, as of every adapter in F32, F16 or BF16, it is kept as such: half the memory of
/// a factor that a wide tensor and a high rank make large.
struct LeftFactor: Sendable {
    private let rank: Int
    private let narrow: [Float]
    private let wide: [Double]

    init(_ values: [Double], rank: Int) {
        self.rank = rank
        let isNarrow = values.allSatisfy { Double(Float($0)) == $0 }
        narrow = isNarrow ? values.map { Float($0) } : []
        wide = isNarrow ? [] : values
    }

    /// Calls `body` with the elements of some rows, widened without error.
    func withRows<Result>(_ rows: Range<Int>, _ body: (UnsafeBufferPointer<Double>) -> Result) -> Result {
        let range = (rows.lowerBound * rank)..<(rows.upperBound * rank)
        if wide.isEmpty {
            let values = narrow[range].map { Double($0) }
            return values.withUnsafeBufferPointer(body)
        }
        return wide.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[range])) }
    }
}
