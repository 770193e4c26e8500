import Adapters
import ByteAccess
import Checkpoints
import Synchronization
import Tensors

extension UpdateComparison {
    /// Compares the updates of two adapters.
    ///
    /// - Parameters:
    ///   - selection: a module takes part where one of its factors does.
    ///   - report: what the comparison of the tensors came to.
    ///   - sameBytes: names in A of tensors whose bytes B has, with their names there.
    /// - Throws: what reading throws. A missing OpenBLAS and a method without low-rank updates are reasons, not errors.
    init(
        _ a: Adapter, _ b: Adapter, selection: TensorSelection, report: CheckpointDifference,
        sameBytes: [ExactString: ExactString], jobs: Int
    ) throws {
        methodsDiffer = a.config != nil && b.config != nil && a.config?.peftType != b.config?.peftType
        do {
            guard let updatesA = try a.lowRankUpdates(), let updatesB = try b.lowRankUpdates() else {
                let names = Set([a, b].map { $0.config?.peftType ?? "a file without adapter_config.json" }).sorted()
                reason = "updates are compared for LoRA only, and this is \(names.joined(separator: " and "))"
                return
            }
            let pairs = match(updatesA, updatesB, selection)
            try compare(pairs, a, b, sameBytes: sameBytes, jobs: jobs)
            // What stands in factors is compared as products, or named as only in A or B, or as not compared.
            let factors = (a: Set(updatesA.updates.flatMap(\.tensors)), b: Set(updatesB.updates.flatMap(\.tensors)))
            hasOtherDifferences = report.changed.contains { !factors.a.contains($0.name) }
                || report.retyped.contains { $0.values != .equal && !factors.a.contains($0.name) }
                || report.removed.contains { !factors.a.contains($0.name) }
                || report.added.contains { !factors.b.contains($0.name) }
        } catch let error as PeftfileError where [.refused, .malformed, .library, .unsupported].contains(error.code) {
            (modules, onlyInA, onlyInB, skipped) = ([], [], [], [])
            reason = error.description
        }
    }

    private struct Pair {
        let name: String
        let a: LowRankUpdate
        let b: LowRankUpdate
    }

    /// Finds the modules that both adapters change, by their canonical paths.
    private mutating func match(_ a: LowRankUpdates, _ b: LowRankUpdates, _ selection: TensorSelection) -> [Pair] {
        func selected(_ updates: LowRankUpdates) -> [(name: String, update: LowRankUpdate)] {
            updates.updates.filter { $0.tensors.contains(where: selection.contains) }.map { ($0.name, $0) }
        }
        let (inA, inB) = (selected(a), selected(b))
        let other = Dictionary(inB.map { (ExactString($0.name), $0.update) }) { first, _ in first }
        let known = Set(inA.map { ExactString($0.name) })
        onlyInB = inB.map(\.name).filter { !known.contains(ExactString($0)) }
        for (module, reason) in a.skipped { skipped.append(.init(name: module.text, reason: "in A: \(reason)")) }
        for (module, reason) in b.skipped { skipped.append(.init(name: module.text, reason: "in B: \(reason)")) }
        var pairs: [Pair] = []
        for (name, update) in inA {
            guard let other = other[ExactString(name)] else {
                onlyInA.append(name)
                continue
            }
            if update.form != other.form {
                methodsDiffer = true
                let forms = [update.form, other.form].map { $0.isEmpty ? "LoRA" : $0 }
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

    private mutating func compare(
        _ pairs: [Pair], _ a: Adapter, _ b: Adapter, sameBytes: [ExactString: ExactString], jobs: Int
    ) throws {
        // A factor is wanted by its own module alone, or by all experts of one.
        let numbers = (a: AdapterNumbers(adapters: [a], limit: 1 << 25), b: AdapterNumbers(adapters: [b], limit: 1 << 25))
        let results = Mutex([Result?](repeating: nil, count: pairs.count))
        try parallelForEach(count: pairs.count, jobs: jobs) { index in
            let pair = pairs[index]
            let result: Result
            if pair.a.tensors.count == pair.b.tensors.count,
                zip(pair.a.tensors, pair.b.tensors).allSatisfy({ sameBytes[$0] == $1 })
            {
                result = .module(try Module(sameFactors: pair.name, pair.a, pair.b, numbers.a))
            } else {
                do {
                    let product = try LowRankProduct(pair.a, from: numbers.a, pair.b, from: numbers.b)
                    result = .module(Module(pair.name, pair.a, pair.b, product))
                } catch let error as PeftfileError where error.code == .refused {
                    result = .skipped(.init(name: pair.name, reason: error.message))
                }
            }
            results.withLock { $0[index] = result }
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

extension LowRankUpdate {
    /// `<module>`, with the parameter and the expert where there is more than a weight.
    fileprivate var name: String {
        (parameter == "weight" ? module.text : "\(module).\(parameter)") + (expert.map { "[\($0)]" } ?? "")
    }
}

extension UpdateComparison.Module {
    /// Modules with the same factors differ by their scales alone.
    fileprivate init(sameFactors name: String, _ a: LowRankUpdate, _ b: LowRankUpdate, _ numbers: AdapterNumbers) throws {
        self.init(name, a, b)
        hasSameFactors = true
        (columnOverlap, rowOverlap, cos, rounding) = (1, 1, 1, 0)
        relativeDifference = 0
        isEquivalent = true
        let scales = zip(a.terms, b.terms).first { $0.scale != $1.scale }.map { ($0.scale, $1.scale) }
        guard let scales, try !a.isZero(numbers) else { return }
        relativeDifference = scales.0 == 0 ? nil : abs(scales.1 - scales.0) / abs(scales.0)
        isEquivalent = false
    }

    fileprivate init(_ name: String, _ a: LowRankUpdate, _ b: LowRankUpdate, _ product: LowRankProduct) {
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

    private init(_ name: String, _ a: LowRankUpdate, _ b: LowRankUpdate) {
        self.init(
            name: name, rankInA: a.rank, rankInB: b.rank, scaleInA: a.scale, scaleInB: b.scale, hasSameFactors: false,
            isEquivalent: false)
    }
}

extension LowRankUpdate {
    /// Whether a factor of every term is zero throughout: an adapter as training finds it.
    fileprivate func isZero(_ numbers: AdapterNumbers) throws -> Bool {
        try terms.allSatisfy { term in
            try [term.left, term.right].contains { factor in
                try factor.matrix(from: numbers).allSatisfy { $0 == 0 }
            }
        }
    }
}
