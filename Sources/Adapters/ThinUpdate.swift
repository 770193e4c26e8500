public import ByteAccess

/// The update of one matrix as a sum of products of thin factors: `Σ scale · left · right`, in the orientation of the update.
///
/// What a matrix of a model is too large for, singular values above all, its factors give at the cost of their rank.
public struct ThinUpdate: Sendable {
    /// One product, on the whole matrix or on a rectangle of it.
    public struct Term: Sendable {
        /// (rows, r) of the region; neither factor reads the base.
        public var left: MatrixExpression
        /// (r, columns).
        public var right: MatrixExpression
        /// What multiplies the product.
        public var scale: Double
        /// Nil for the whole matrix.
        public var region: Region?
    }

    /// The in-memory path of the module.
    public var module: ExactString
    /// The parameter of the module: `weight`, or a name of its own.
    public var parameter = "weight"
    /// Which of stacked experts.
    public var expert: Int?
    /// Which of the adapters that are merged.
    public var adapter = 0
    /// The rank that the method names; nil where it names none.
    public var rank: Int?
    /// The method's factor; nil where it has none, or none is known.
    public var scale: Double?
    /// Rows of the update: output features.
    public var rows: Int
    /// Columns of the update: input features, in·k… of a convolution.
    public var columns: Int
    /// The products that add up to the update.
    public var terms: [Term]
    /// What of the method is not in the product; empty where the product is all of it.
    public var note = ""

    /// `<module>`, with the parameter and the expert where there is more than a weight.
    public var name: String {
        (parameter == "weight" ? module.text : "\(module).\(parameter)") + (expert.map { "[\($0)]" } ?? "")
    }
}

/// The thin updates of adapters, with a reason for everything that has none.
public struct ThinUpdates: Sendable {
    /// The updates, in the order of the adapter's modules.
    public var updates: [ThinUpdate] = []
    /// Modules whose update is no product of thin factors, or none that the files tell.
    public var skipped: [(module: String, reason: String)] = []
    /// Why there is none at all.
    public var reason: String?

    /// What is said of a method whose formula has none.
    public static let noThinForm = "its update is no product of thin factors"

    init(skipped: [(module: String, reason: String)] = [], reason: String? = nil) {
        self.skipped = skipped
        self.reason = reason
    }

    init(_ updates: LowRankUpdates) {
        self.updates = updates.updates.map(ThinUpdate.init)
        skipped = updates.skipped.map { ($0.module.text, $0.reason) }
    }

    mutating func append(_ other: ThinUpdates) {
        updates += other.updates
        skipped += other.skipped
        reason = reason ?? other.reason
    }
}

extension ThinUpdate {
    fileprivate init(_ update: LowRankUpdate) {
        self.init(
            module: update.module, parameter: update.parameter, expert: update.expert, rank: update.rank, scale: update.scale,
            rows: update.rows, columns: update.columns,
            terms: update.terms.map {
                .init(left: .stored($0.left), right: .stored($0.right), scale: $0.scale, region: $0.region)
            },
            note: update.form.isEmpty ? "" : "the product alone, before what \(update.form) makes of it")
    }
}

extension Adapter {
    /// The updates that are products of thin factors, as far as the adapter alone tells.
    ///
    /// - Parameter options: what the file leaves open.
    /// - Returns: the updates, and the adapter whose tensors their factors name.
    /// - Throws: `.refused` where method or config are not known or contradict the tensors.
    public func thinUpdates(
        _ options: BindingOptions = BindingOptions()
    ) throws -> (updates: ThinUpdates, source: Adapter) {
        let bound = try BoundAdapter(self, base: nil, options: options)
        var result = ThinUpdates()
        for part in bound.parts { result.append(try MethodRegistry.method(of: part).thinUpdates(of: part)) }
        return (result, bound.whole)
    }
}

extension ModuleMethod {
    /// The formula of each module, where the adapter tells both sides of its update and the formula has a thin form.
    func thinUpdates(of adapter: Adapter) throws -> ThinUpdates {
        var result = ThinUpdates()
        for module in try filledModules(of: adapter, in: nil) {
            do {
                let extent = try extent(of: module)
                guard let rows = extent.rows, let columns = extent.columns else {
                    result.skipped.append((module.path.text, "the adapter alone does not tell its shape: try --base"))
                    continue
                }
                var weight = ModuleWeight(
                    rows: rows, columns: columns, shape: [rows, columns], hasBias: false, stored: nil)
                weight.isStandIn = true
                let changes = try changes(of: module, weight: weight)
                guard case .add(let expression, let scale)? = changes.weight, let thin = expression.thinForm else {
                    result.skipped.append((module.path.text, ThinUpdates.noThinForm))
                    continue
                }
                let summary = try summary(of: module)
                result.updates.append(
                    ThinUpdate(
                        module: module.path, rank: summary.rank, scale: summary.scale, rows: rows, columns: columns,
                        terms: [.init(left: thin.left, right: thin.right, scale: scale)],
                        note: changes.taken.map { "without \($0.name) of the base" } ?? ""))
            } catch let error as PeftfileError {
                result.skipped.append((module.path.text, error.message))
            }
        }
        return result
    }
}
