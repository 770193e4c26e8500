import Peftfile

/// Facts at the head of a page.
enum ReportFacts {
    /// A repository's name as it is, of a path the last part: where a trainer kept its base is nobody's business.
    static func baseName(_ name: String) -> String {
        name.hasPrefix("/") || name.hasPrefix(".") || name.hasPrefix("~") ? ReportPage.name(of: name) : name
    }

    /// `16`, or `8 to 64`.
    static func ranks(_ targets: [AdapterTarget]) -> String? {
        let ranks = targets.compactMap(\.rank)
        guard let low = ranks.min(), let high = ranks.max() else { return nil }
        return low == high ? "\(low)" : "\(low) to \(high)"
    }

    /// √Σ‖ΔW‖² / √Σ‖W‖² over all changed tensors.
    static func relative(_ changes: [WeightChange]) -> String? {
        let update = changes.reduce(0) { $0 + $1.statistics.norm * $1.statistics.norm }
        let base = changes.reduce(0) { $0 + $1.baseNorm * $1.baseNorm }
        return base > 0 ? Text.number((update / base).squareRoot()) : nil
    }
}
