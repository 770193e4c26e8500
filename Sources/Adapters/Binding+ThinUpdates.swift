import ByteAccess
import Tensors

extension Binding {
    /// The updates that the adapters make to matrices of the base and that are products of thin factors, with the adapters'
    /// weights in their scales.
    public var thinUpdates: ThinUpdates {
        var result = ThinUpdates()
        var positions: [Key: Int] = [:]
        var reasons: [Key: String] = [:]
        var notes: [Key: String] = [:]
        for (adapter, updates) in changes.enumerated() {
            for update in updates where update.place.shape.count > 1 {
                var key = Key(adapter: adapter, module: update.module, parameter: update.place.parameter)
                guard let step = ThinStep(update, key: &key) else { continue }
                switch step {
                case .reason(let reason): reasons[key] = reasons[key] ?? reason
                case .note(let note): notes[key] = notes[key] ?? note
                case .term(let term):
                    if let position = positions[key] {
                        result.updates[position].terms.append(term)
                    } else {
                        positions[key] = result.updates.count
                        result.updates.append(update.thinUpdate(term, key))
                    }
                }
            }
        }
        for index in result.updates.indices {
            let update = result.updates[index]
            // What is said of a parameter is said of each of its experts.
            let keys = [Key(update), Key(update, withoutExpert: true)]
            result.updates[index].note = keys.compactMap { notes[$0] }.first ?? ""
            if let reason = keys.compactMap({ reasons[$0] }).first { result.skipped.append((update.name, reason)) }
        }
        result.updates.removeAll { reasons[Key($0)] != nil || reasons[Key($0, withoutExpert: true)] != nil }
        let rest = reasons.filter { positions[$0.key] == nil }.map { (module: $0.key.name, reason: $0.value) }
        result.skipped += rest.sorted { $0.module < $1.module }
        return result
    }
}

/// The matrix that a change belongs to.
private struct Key: Hashable {
    var adapter: Int
    var module: ExactString
    var parameter: String
    var expert: Int?

    init(adapter: Int, module: ExactString, parameter: String) {
        (self.adapter, self.module, self.parameter) = (adapter, module, parameter)
    }

    init(_ update: ThinUpdate, withoutExpert: Bool = false) {
        (adapter, module, parameter) = (update.adapter, update.module, update.parameter)
        expert = withoutExpert ? nil : update.expert
    }

    var name: String { parameter == "weight" ? module.text : "\(module).\(parameter)" }
}

/// What a change means for the thin form of its matrix.
private enum ThinStep {
    case term(ThinUpdate.Term)
    case note(String)
    case reason(String)

    init?(_ update: ParameterUpdate, key: inout Key) {
        switch update.change {
        case .lowRank(let expert, let left, let right, let scale, let region):
            key.expert = expert
            self = .term(.init(left: .stored(left), right: .stored(right), scale: scale, region: region))
        case .term(let expression, let scale):
            guard let thin = expression.thinForm else {
                self = .reason(ThinUpdates.noThinForm)
                return
            }
            self = .term(.init(left: thin.left, right: thin.right, scale: scale))
        case .magnitude: self = .note("the product alone, before what DoRA makes of it")
        case .decomposition(let taken, _): self = .note("without \(taken.name) of the base")
        case .transform, .bottleneck: self = .reason("its update is a function of the base's own elements")
        case .replace: self = .reason("the adapter's own tensor takes its place")
        case .replaceRows: self = .reason("rows of the adapter take the place of its own")
        case .add: return nil
        }
    }
}

extension ParameterUpdate {
    /// The module that the target names; without one the tensor stands for it.
    fileprivate var module: ExactString { target?.module ?? place.pieces.first?.tensor ?? ExactString("") }

    fileprivate func thinUpdate(_ term: ThinUpdate.Term, _ key: Key) -> ThinUpdate {
        let shape = key.expert == nil ? place.shape : Array(place.shape.dropFirst())
        let (first, second) = (shape.first ?? 0, shape.dropFirst().reduce(1, *))
        let (rows, columns) = place.updateTransposed ? (second, first) : (first, second)
        return ThinUpdate(
            module: key.module, parameter: key.parameter, expert: key.expert, adapter: key.adapter, rank: target?.rank,
            scale: target?.scale, rows: term.region == nil ? term.left.rows : rows,
            columns: term.region == nil ? term.right.columns : columns, terms: [term])
    }
}
