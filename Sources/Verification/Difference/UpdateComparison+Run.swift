import Adapters
import ByteAccess
import Checkpoints
import struct Synchronization.Atomic
import Tensors

extension UpdateComparison {
    /// Compares the updates of two adapters.
    ///
    /// - Parameters:
    ///   - selection: a module takes part where one of its factors does.
    ///   - report: what the comparison of the tensors came to.
    ///   - sameBytes: names in A of tensors whose bytes B has, with their names there.
    ///   - progress: called with the share of the modules that has been compared, from any thread, and with 0 before the first.
    /// - Throws: what reading throws. A missing OpenBLAS and a method without low-rank updates are reasons, not errors.
    init(
        _ a: Adapter, _ b: Adapter, selection: TensorSelection, options: BindingOptions, heads: GGUFHeads?, report: CheckpointDifference,
        sameBytes: [ExactString: ExactString], jobs: Int, progress: (@Sendable (Double) -> Void)? = nil
    ) throws {
        methodsDiffer = a.config != nil && b.config != nil && a.config?.peftType != b.config?.peftType
        do {
            guard let updatesA = try a.standaloneUpdates(options, heads: heads),
                let updatesB = try b.standaloneUpdates(options, heads: heads)
            else {
                let names = Set([a, b].map { $0.config?.peftType ?? $0.dialectName ?? "a file without adapter_config.json" }).sorted()
                reason = "what \(names.joined(separator: " and ")) does to weights is not told without a base; merge both into it and "
                    + "compare the results: peftfile diff merged-a merged-b"
                differingSettings = AdapterConfig.effectiveDifferences(a, b, isUpdateKnown: false)
                return
            }
            let settings = AdapterConfig.effectiveDifferences(a, b, isUpdateKnown: false)
            skip(updatesA, updatesB, sameBytes: sameBytes, sameConfig: settings.isEmpty, selection)
            let isKnown = skipped.isEmpty
            let pairs = match(updatesA, updatesB, selection)
            try compare(pairs, updatesA.adapter, updatesB.adapter, sameBytes: sameBytes, jobs: jobs, progress)
            differingSettings = isKnown ? AdapterConfig.effectiveDifferences(a, b, isUpdateKnown: true) : settings
            // What stands in factors is compared as products, or named as only in A or B, or as not compared.
            func known(_ updates: StandaloneUpdates) -> Set<ExactString> {
                let numbers = updates.adapter.dialectTensors
                return Set(updates.updates.flatMap(\.tensors) + updates.skipped.flatMap(\.tensors) + numbers)
            }
            let factors = (a: known(updatesA), b: known(updatesB))
            hasOtherDifferences = report.changed.contains { !factors.a.contains($0.name) }
                || report.retyped.contains { $0.values != .equal && !factors.a.contains($0.name) }
                || report.removed.contains { !factors.a.contains($0.name) }
                || report.added.contains { !factors.b.contains($0.name) }
        } catch let error as PeftfileError where [.refused, .malformed, .library, .unsupported].contains(error.code) {
            (modules, onlyInA, onlyInB, skipped) = ([], [], [], [])
            reason = error.description
            differingSettings = AdapterConfig.effectiveDifferences(a, b, isUpdateKnown: false)
        }
    }

    private struct Pair {
        let name: String
        let a: StandaloneUpdate
        let b: StandaloneUpdate
    }

    /// Finds the modules that both adapters change, by their canonical paths.
    private mutating func match(_ a: StandaloneUpdates, _ b: StandaloneUpdates, _ selection: TensorSelection) -> [Pair] {
        func selected(_ updates: StandaloneUpdates) -> [StandaloneUpdate] {
            updates.updates.filter { $0.tensors.contains(where: selection.contains) }
        }
        let (inA, inB) = (selected(a), selected(b))
        let matching = UpdateMatching(inA, inB)
        onlyInB = matching.onlyInB.map(\.name)
        var pairs: [Pair] = []
        for update in inA {
            guard let other = matching.partner(of: update) else {
                onlyInA.append(update.name)
                continue
            }
            let name = update.name
            if update.form != other.form {
                (methodsDiffer, formsDiffer) = (true, true)
                let forms = [update.form, other.form].map { $0.isEmpty ? "a plain sum" : $0 }
                skipped.append(.init(name: name, reason: "\(forms[0]) in A, \(forms[1]) in B"))
            } else if update.rows != other.rows || update.columns != other.columns {
                skipped.append(
                    .init(
                        name: name,
                        reason: "\(update.rows) × \(update.columns) in A, \(other.rows) × \(other.columns) in B"))
            } else {
                pairs.append(Pair(name: name, a: update, b: other))
            }
        }
        return pairs
    }

    /// Names what was not compared; where the bytes and what the configs say of them are the same, the updates are.
    private mutating func skip(
        _ a: StandaloneUpdates, _ b: StandaloneUpdates, sameBytes: [ExactString: ExactString], sameConfig: Bool,
        _ selection: TensorSelection
    ) {
        var others = Dictionary(b.skipped.map { ($0.module, $0) }) { first, _ in first }
        for module in a.skipped where module.tensors.contains(where: selection.contains) {
            guard let other = others.removeValue(forKey: module.module) else {
                skipped.append(.init(name: module.module.text, reason: "in A: \(module.reason)"))
                continue
            }
            if sameConfig, !module.tensors.isEmpty, module.tensors.map({ sameBytes[$0] }) == other.tensors.map(Optional.some) {
                modules.append(Module(same: module.module.text))
            } else {
                let reason = module.reason == other.reason ? module.reason : "in A: \(module.reason); in B: \(other.reason)"
                skipped.append(.init(name: module.module.text, reason: reason))
            }
        }
        for module in b.skipped where others[module.module] != nil && module.tensors.contains(where: selection.contains) {
            skipped.append(.init(name: module.module.text, reason: "in B: \(module.reason)"))
        }
    }

    private mutating func compare(
        _ pairs: [Pair], _ a: Adapter, _ b: Adapter, sameBytes: [ExactString: ExactString], jobs: Int,
        _ progress: (@Sendable (Double) -> Void)?
    ) throws {
        // A factor is wanted by its own module alone, or by all experts of one.
        let numbers = (a: AdapterNumbers(adapters: [a], limit: 1 << 25), b: AdapterNumbers(adapters: [b], limit: 1 << 25))
        let results = Mutex([Result?](repeating: nil, count: pairs.count))
        let done = Atomic(0)
        progress?(0)
        try parallelForEach(count: pairs.count, jobs: jobs) { index in
            let pair = pairs[index]
            let result: Result
            if pair.a.tensors.count == pair.b.tensors.count,
                zip(pair.a.tensors, pair.b.tensors).allSatisfy({ sameBytes[$0] == $1 }),
                pair.a.isLowRank && pair.b.isLowRank || pair.a.terms.map(\.expression) == pair.b.terms.map(\.expression)
            {
                result = .module(try Module(sameFactors: pair.name, pair.a, pair.b, numbers.a))
            } else {
                do {
                    if pair.a.isLowRank, pair.b.isLowRank {
                        let product = try LowRankProduct(pair.a, from: numbers.a, pair.b, from: numbers.b)
                        result = .module(Module(pair.name, pair.a, pair.b, product))
                    } else {
                        let rows = try UpdateRows(pair.a, from: numbers.a, pair.b, from: numbers.b)
                        result = .module(Module(pair.name, pair.a, pair.b, rows))
                    }
                } catch let error as PeftfileError where error.code == .refused {
                    result = .skipped(.init(name: pair.name, reason: error.message))
                }
            }
            results.withLock { $0[index] = result }
            progress?(Double(done.add(1, ordering: .relaxed).newValue) / Double(pairs.count))
        }
        for result in results.withLock({ $0 }) {
            switch result {
            case .module(let module): modules.append(module)
            case .skipped(let module): skipped.append(module)
            case nil: break
            }
        }
    }

    private enum Result: Sendable {
        case module(Module)
        case skipped(Skipped)
    }
}

extension StandaloneUpdate {
    /// `<module>`, with the parameter and the expert where there is more than a weight.
    var name: String {
        (parameter == "weight" ? module.text : "\(module).\(parameter)") + (expert.map { "[\($0)]" } ?? "")
    }
}

extension UpdateComparison.Module {
    /// A module whose bytes and config are the same, whatever its formula.
    fileprivate init(same name: String) {
        self.init(name: name, hasSameFactors: true, isEquivalent: true)
        (relativeDifference, rounding, cos) = (0, 0, 1)
    }

    fileprivate init(_ name: String, _ a: StandaloneUpdate, _ b: StandaloneUpdate, _ rows: UpdateRows) {
        self.init(name, a, b)
        normInA = rows.normA
        normInB = rows.normB
        if rows.normA > 0, rows.normB > 0 { cos = min(1, max(-1, rows.inner / rows.normA / rows.normB)) }
        if rows.normA > 0 {
            relativeDifference = rows.difference / rows.normA
            rounding = rows.rounding / rows.normA
        } else if rows.normB == 0 {
            (relativeDifference, rounding) = (0, 0)
        }
        isEquivalent = rows.difference <= rows.rounding
    }

    /// Modules with the same factors differ by their scales alone.
    fileprivate init(sameFactors name: String, _ a: StandaloneUpdate, _ b: StandaloneUpdate, _ numbers: AdapterNumbers) throws {
        self.init(name, a, b)
        hasSameFactors = true
        (cos, rounding) = (1, 0)
        if a.isLowRank { (columnOverlap, rowOverlap) = (1, 1) }
        relativeDifference = 0
        isEquivalent = true
        let scales = zip(a.terms, b.terms).first { $0.scale != $1.scale }.map { ($0.scale, $1.scale) }
        guard let scales, try !a.isZero(numbers) else { return }
        relativeDifference = scales.0 == 0 ? nil : abs(scales.1 - scales.0) / abs(scales.0)
        isEquivalent = false
    }

    fileprivate init(_ name: String, _ a: StandaloneUpdate, _ b: StandaloneUpdate, _ product: LowRankProduct) {
        self.init(name, a, b)
        normInA = product.normA
        normInB = product.normB
        columnOverlap = product.columnOverlap
        rowOverlap = product.rowOverlap
        if product.normA > 0, product.normB > 0 {
            cos = min(1, max(-1, product.inner / product.normA / product.normB))
        }
        if product.normA > 0 {
            relativeDifference = product.difference / product.normA
            rounding = product.rounding / product.normA
        } else if product.normB == 0 {
            (relativeDifference, rounding) = (0, 0)
        }
        isEquivalent = product.difference <= product.rounding
    }

    private init(_ name: String, _ a: StandaloneUpdate, _ b: StandaloneUpdate) {
        self.init(
            name: name, rankInA: a.rank, rankInB: b.rank, scaleInA: a.scale, scaleInB: b.scale, hasSameFactors: false,
            isEquivalent: false)
    }
}

extension StandaloneUpdate {
    /// Whether a factor of every term is zero throughout: an adapter as training finds it.
    fileprivate func isZero(_ numbers: AdapterNumbers) throws -> Bool {
        try terms.allSatisfy { term in
            guard let factors = term.factors else { return term.scale == 0 }
            return try [factors.left, factors.right].contains { factor in
                try factor.matrix(from: numbers).allSatisfy { $0 == 0 }
            }
        }
    }
}
