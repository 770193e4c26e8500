public import ByteAccess
public import Checkpoints
import Tensors

/// The update of one matrix as an adapter tells it without its base: `Σ scale · expression`.
public struct StandaloneUpdate: Sendable {
    /// One expression, on the whole matrix or on a rectangle of it.
    public struct Term: Sendable, Hashable {
        /// (rows, columns) of the region, without the scale; it reads no element of the base.
        public var expression: MatrixExpression
        /// The factor of the expression.
        public var scale: Double
        /// Nil for the whole matrix.
        public var region: Region?

        /// The two stored factors, (rows, r) and (r, columns), where the expression is their product.
        public var factors: (left: Factor, right: Factor)? {
            guard case .product(.stored(let left), .stored(let right)) = expression else { return nil }
            return (left, right)
        }
    }

    /// The in-memory path of the module, without the prefixes that files write in different ways.
    public var module: ExactString
    /// The parameter of the module: `weight`, or a name of its own.
    public var parameter: String
    /// Which of stacked experts.
    public var expert: Int?
    /// What the update needs beside the terms, and the base alone knows: empty for plain LoRA. Only updates of one form
    /// can be compared by their terms.
    public var form: String
    /// r, where the method has one.
    public var rank: Int?
    /// The module's scaling, where it has one.
    public var scale: Double?
    /// The shape of the matrix, as far as the adapter knows it.
    public var rows: Int
    /// The columns of the matrix.
    public var columns: Int
    /// What is added.
    public var terms: [Term]
    /// The tensors that the terms read, as the file names them.
    public var tensors: [ExactString]
    /// The part of a pipeline that a dialect's name begins with: `lora_te1`, `unet`.
    public var component: String?
    /// Whether `_` in the module's name stands for dots, too.
    public var isUnderscored = false

    /// Whether every term is a product of two stored factors.
    public var isLowRank: Bool { terms.allSatisfy { $0.factors != nil } }
}

/// All updates of an adapter that are told without its base.
public struct StandaloneUpdates: Sendable {
    /// A module whose update the files alone do not tell.
    public struct Skipped: Sendable {
        /// Its path, as the adapter has it.
        public var module: ExactString
        /// Why, in words.
        public var reason: String
        /// Its tensors, as the file names them.
        public var tensors: [ExactString]
    }

    /// One for each matrix that is changed.
    public var updates: [StandaloneUpdate] = []
    /// Modules that are changed in a way that only a base tells.
    public var skipped: [Skipped] = []
    /// The adapter that the terms' factors are of: in a dialect, with the views that stand for stored tensors.
    public var adapter: Adapter

    init(_ adapter: Adapter) { self.adapter = adapter }

    /// Low-rank updates, each a sum of products.
    init(_ adapter: Adapter, _ products: LowRankUpdates) {
        self.adapter = adapter
        updates = products.updates.map { update in
            StandaloneUpdate(
                module: update.module, parameter: update.parameter, expert: update.expert, form: update.form, rank: update.rank,
                scale: update.scale, rows: update.rows, columns: update.columns,
                terms: update.terms.map {
                    .init(expression: .product(.stored($0.left), .stored($0.right)), scale: $0.scale, region: $0.region)
                }, tensors: update.tensors)
        }
        skipped = products.skipped.map { module, reason in
            Skipped(
                module: module, reason: reason,
                tensors: adapter.keys.filter { $0.module == module && $0.component != nil }.map(\.stored))
        }
    }
}

extension Adapter {
    /// The updates that the adapter makes to any base, module by module; nil where its method changes no weights, or the file
    /// does not tell what they are.
    ///
    /// - Parameters:
    ///   - options: what the file leaves open.
    ///   - heads: the heads of the base, where rows are turned by them.
    /// - Throws: `.refused` where method or config are not known or contradict the tensors.
    public func standaloneUpdates(
        _ options: BindingOptions = BindingOptions(), heads: GGUFHeads? = nil
    ) throws -> StandaloneUpdates? {
        var options = options
        options.baseRole = .residual
        let bound = try BoundAdapter(self, base: nil, heads: heads, options: options)
        if let open = bound.unsettled { throw open }
        if dialect == nil, config == nil, options.scale != nil { return try bareUpdates(options) }
        var result = StandaloneUpdates(bound.whole)
        for part in bound.parts {
            guard let updates = try MethodRegistry.method(of: part).standaloneUpdates(of: part) else { return nil }
            result.updates += updates.updates.map { update in
                var update = update
                if let name = bound.names[update.module] {
                    (update.module, update.component, update.isUnderscored) = (name.module, name.component, name.isUnderscored)
                }
                update.tensors = bound.stored(update.tensors)
                return update
            }
            result.skipped += updates.skipped.map { skipped in
                var skipped = skipped
                skipped.tensors = bound.stored(skipped.tensors)
                return skipped
            }
        }
        return result
    }
}

extension Adapter {
    /// The tensors of the file that belong to other components than the one that is asked for; none where none is.
    ///
    /// - Throws: `.usage` with rule `Component` where the file has no such component, and what reading its dialect throws.
    package func tensorsOfOtherComponents(_ options: BindingOptions, heads: GGUFHeads?) throws -> Set<ExactString> {
        guard options.component != nil else { return [] }
        let bound = try BoundAdapter(self, base: nil, heads: heads, options: options)
        let others = Set(bound.leftOut.map(\.tensor))
        // Scales stand beside the factors of their modules.
        let modules = Set(others.map { $0.text.withoutLastPart })
        let scales = checkpoint.tensors.map(\.name).filter { name in
            name.text.hasSuffix(".alpha") && modules.contains { $0 == name.text.withoutLastPart || $0.hasPrefix(name.text.withoutLastPart + ".") }
        }
        return others.union(scales)
    }

    /// The products of a bare file of factors, with the scale that the caller gives.
    private func bareUpdates(_ options: BindingOptions) throws -> StandaloneUpdates {
        let (modules, views) = try BareFactors().portable(self, options)
        var adapter = self
        adapter.views = views
        var result = StandaloneUpdates(adapter)
        result.updates = modules.map { module in
            let (a, b) = (Factor(adapter: 0, info: module.a), Factor(adapter: 0, info: module.b))
            return StandaloneUpdate(
                module: module.path, parameter: "weight", form: "", rank: module.rank, scale: module.scale, rows: b.rows,
                columns: a.columns,
                terms: [.init(expression: .product(.stored(b), .stored(a)), scale: module.scale)],
                tensors: [module.a.name, module.b.name])
        }
        return result
    }

    /// The tensors of the file that a dialect made scales and settings of, or a part of a pipeline: what is in no view is
    /// accounted for all the same.
    public var dialectTensors: [ExactString] { views.isEmpty ? [] : checkpoint.tensors.map(\.name) }
}

extension BoundAdapter {
    /// The tensors of the file that the adapter's tensors are views of.
    fileprivate func stored(_ tensors: [ExactString]) -> [ExactString] {
        tensors.flatMap { name in whole.views[name]?.parts.map(\.stored.name) ?? [name] }
    }
}

extension String {
    /// What stands before the last dot.
    fileprivate var withoutLastPart: String { lastIndex(of: ".").map { String(self[..<$0]) } ?? self }
}
