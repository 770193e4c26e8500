import Adapters
import ByteAccess

/// Which update of B is for the module of an update of A.
///
/// Names are compared as they are; where a file writes `_` for dots, or puts the part of a pipeline before its names, without
/// either. Of two modules that then have one name (those of two text encoders) the part of the pipeline decides, and where
/// it does not, neither is a partner.
struct UpdateMatching {
    private var partners: [String: Int] = [:]
    private let updates: [StandaloneUpdate]
    let onlyInB: [StandaloneUpdate]

    init(_ a: [StandaloneUpdate], _ b: [StandaloneUpdate]) {
        let isLoose = (a + b).contains { $0.isUnderscored || $0.component != nil }
        func index(_ updates: [StandaloneUpdate]) -> [String: [Int]] {
            var result: [String: [Int]] = [:]
            for (position, update) in updates.enumerated() {
                for key in UpdateMatching.keys(update, isLoose) { result[key, default: []].append(position) }
            }
            return result
        }
        let (inA, inB) = (index(a), index(b))
        var taken: Set<Int> = []
        for update in a {
            for key in UpdateMatching.keys(update, isLoose) {
                guard let own = inA[key], own.count == 1, let other = inB[key], other.count == 1, taken.insert(other[0]).inserted
                else { continue }
                partners[UpdateMatching.identity(update)] = other[0]
                break
            }
        }
        updates = b
        onlyInB = b.indices.filter { !taken.contains($0) }.map { b[$0] }
    }

    func partner(of update: StandaloneUpdate) -> StandaloneUpdate? {
        partners[UpdateMatching.identity(update)].map { updates[$0] }
    }

    private static func identity(_ update: StandaloneUpdate) -> String { "\(update.component ?? ""):\(update.name)" }

    /// The names to look for, the narrower first.
    private static func keys(_ update: StandaloneUpdate, _ isLoose: Bool) -> [String] {
        guard isLoose else { return [update.name] }
        let name = String(update.name.map { $0 == "." ? "_" : $0 })
        guard let component = update.component else { return [name] }
        return ["\(PipelineComponent(component)):\(name)", name]
    }
}
