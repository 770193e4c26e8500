public import Adapters
import ByteAccess
import Tensors

/// Whether the expressions of an adapter's effects change anything, by the merge's own arithmetic on a stand-in for the base.
///
/// The stand-in is a matrix without structure, numbers between ½ and 1½ that no map but the identity gives back. Some rows are
/// computed first, and the others only where those rows show no change: an adapter that does something costs next to nothing.
public struct EffectPreview: Sendable {
    /// What a change leaves of the parameter.
    public enum Outcome: Sendable, Hashable {
        /// It is as it was.
        case nothing
        /// It becomes zero everywhere.
        case zero
        /// It changes.
        case something
        /// It becomes what is no finite number.
        case undefined
    }

    private let numbers: AdapterNumbers

    /// An identity may be off by the roundings of its products: a map of the adapter's 24 bits is not.
    private static let tolerance = 0x1p-36
    /// The elements of an expression that are computed at most; what is larger and shows no change in its first rows is left open.
    private static let elementLimit = 1 << 26

    /// A preview for the effects of one adapter. Its tensors are read when an outcome is asked for.
    public init(_ effects: AdapterEffects) { numbers = AdapterNumbers(adapters: [effects.adapter]) }

    /// What a sum or a map comes to; nil where that takes too much.
    ///
    /// - Throws: what reading throws.
    public func outcome(of change: ModuleEffect.Change) throws -> Outcome? {
        switch change {
        case .add(let expression, let scale):
            guard scale != 0 else { return .nothing }
            return try outcome(expression, isSum: true)
        case .become(let expression): return try outcome(expression, isSum: false)
        case .magnitude(let expression):
            return try outcome(expression, isSum: true) == .nothing ? .zero : .something
        }
    }

    private func outcome(_ expression: MatrixExpression, isSum: Bool) throws -> Outcome? {
        let (rows, columns) = expression.size
        guard rows > 0, columns > 0 else { return isSum ? .nothing : .something }
        guard expression.heldNumbers(panelRows: 1, workers: 1) <= MergePreview.wholeLimit else { return nil }
        func source(_ range: Range<Int>) -> [Double] { EffectPreview.standIn(range, columns) }
        let walk = try ExpressionWalk(
            expression, arithmetic: DefinedArithmetic(), numbers: numbers, sourceColumns: columns, source: source)
        var (isNothing, isZero, isDefined) = (true, true, true)
        func look(_ range: Range<Int>) throws {
            let values = try walk.rows(range, source: source)
            let base = isSum ? [] : source(range)
            for (index, value) in values.enumerated() {
                if value != 0 { isZero = false }
                if !value.isFinite { isDefined = false }
                let isStill = isSum ? value == 0 : abs(value - base[index]) <= EffectPreview.tolerance
                if !isStill { isNothing = false }
                if !isNothing, !isZero { return }
            }
        }
        let step = max(1, (rows + 7) / 8)
        for row in stride(from: 0, to: rows, by: step) where isNothing || isZero { try look(row..<(row + 1)) }
        guard isDefined else { return .undefined }
        guard isNothing || isZero else { return .something }
        guard rows * columns <= EffectPreview.elementLimit else { return nil }
        let panel = max(1, (1 << 16) / columns)
        for row in stride(from: 0, to: rows, by: panel) where isNothing || isZero {
            try Interruption.check()
            try look(row..<min(rows, row + panel))
        }
        return isNothing ? .nothing : isZero ? .zero : .something
    }

    /// Numbers of 32 bits from a hash of their place (the finaliser of SplitMix64: S. Vigna, xoshiro.di.unimi.it/splitmix64.c).
    private static func standIn(_ rows: Range<Int>, _ columns: Int) -> [Double] {
        rows.flatMap { row in
            (0..<columns).map { column in
                var z = UInt64(truncatingIfNeeded: row &* 0x1_0000_01B3 &+ column) &* 0x9E37_79B9_7F4A_7C15
                z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
                z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
                return 0.5 + Double((z ^ (z >> 31)) >> 32) * 0x1p-32
            }
        }
    }
}
