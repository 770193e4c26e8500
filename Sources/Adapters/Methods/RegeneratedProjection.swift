import ByteAccess
import Tensors

/// The seed that a config names for numbers which its file leaves out.
struct ProjectionSeed {
    /// What `torch.Generator.manual_seed` makes of the number, from −2⁶³ to 2⁶⁴ − 1: a negative one is taken modulo 2⁶⁴.
    let value: UInt64
    /// Whether the number is negative, which numpy takes none of.
    let isNegative: Bool
    /// The key and the number, as the config writes them.
    let text: String

    /// - Parameters:
    ///   - key: the config key.
    /// - Throws: `.refused` where the config says null: then no machine can make the numbers again.
    init(_ config: AdapterConfig, _ key: ExactString) throws {
        if case .null? = config.json[key] {
            throw PeftfileError(
                .refused, "\"\(key)\" is null, and without a seed the numbers that the file leaves out are lost",
                file: config.path, rule: "SeedMissing", help: "save the adapter again with its projection or indices")
        }
        guard let given = config[key] else {
            throw PeftfileError(
                .refused, "has no \(key), and without a seed the numbers that the file leaves out are lost", file: config.path,
                rule: "SeedMissing", help: "add the \(key) of the training run (PEFT would silently assume its default)")
        }
        guard case .number(let number) = given, let value = number.uint64 ?? number.int.map({ UInt64(bitPattern: Int64($0)) }) else {
            throw config.wrong(key, "a whole number from -2^63 to 2^64 - 1")
        }
        self.value = value
        isNegative = number.uint64 == nil
        text = "\(key) \(number.text)"
    }

    /// What a receipt says of the types through which the numbers went.
    static func note(roundedTo types: [DType]) -> String {
        types.isEmpty ? "" : ", rounded to " + types.map(\.torchName).joined(separator: " and to ") + " as the base's layers are"
    }

    /// What a receipt says of regenerated numbers.
    func assumption(_ what: String, _ more: String = "", as maker: String = "torch's CPU generator makes them") -> String {
        "assumed: \(what) not in the file and made again from \(text), as \(maker)\(more)"
    }
}

/// Two matrices of random numbers that all modules of an adapter share, from the file or from their seed.
struct SharedProjection {
    let first: MatrixExpression
    let second: MatrixExpression
    let warnings: [String]

    /// Numbers of a matrix that was left out of the file, by rows.
    struct Matrix: Sendable {
        let numbers: NumberTable
        let rows: Int
        let columns: Int

        func held(in types: [DType]) throws -> Matrix {
            guard !types.isEmpty else { return self }
            let values = try types.reduce(numbers.values) { try $1.holding($0) }
            return Matrix(numbers: NumberTable(values), rows: rows, columns: columns)
        }

        var expression: MatrixExpression { .constant(.table(numbers, rows: rows, columns: columns)) }
    }

    /// - Parameters:
    ///   - names: the two tensors.
    ///   - seedKey: the config key of the seed.
    ///   - isFit: whether the two stored shapes serve this module.
    ///   - sides: the shapes of both for the largest rows and columns among the adapter's modules, by which PEFT makes them.
    ///   - make: the two matrices from the seed, and what the receipt shall add.
    /// - Throws: `.refused` where one is missing, both are and the config does not say that they were left out, or their
    ///   shapes do not fit.
    init(
        _ names: (String, String), of module: MethodModule, seedKey: ExactString, isFit: (Shape, Shape) -> Bool,
        sides: (_ rows: Int, _ columns: Int) -> (Shape, Shape),
        make: (inout MersenneTwister, AdapterScope) throws -> (Matrix, Matrix, note: String)
    ) throws {
        let (one, other) = (try module.shared(names.0), try module.shared(names.1))
        if let one, let other {
            guard isFit(one.shape, other.shape) else {
                throw PeftfileError(
                    .refused, "has shape \(one.shape), and \(names.1) \(other.shape): together they do not serve the "
                        + "rank and sides of module \"\(module.path)\"", tensor: one.name, rule: "ShapeMismatch",
                    help: "merge onto the base that the adapter was trained on")
            }
            if let scope = module.scope, case let (a, b) = sides(scope.largest.rows, scope.largest.columns), (one.shape, other.shape) != (a, b) {
                let (info, wanted) = one.shape == a ? (other, b) : (one, a)
                throw PeftfileError(
                    .refused, "has shape \(info.shape), and for the largest of the adapter's modules in this base it is \(wanted)",
                    tensor: info.name, rule: "ShapeMismatch", help: "merge onto the base that the adapter was trained on")
            }
            (first, second, warnings) = (try module.matrix(of: one), try module.matrix(of: other), [])
            return
        }
        guard one == nil, other == nil, module.config["save_projection"]?.boolValue == false else {
            // The lookup of the one that is not there names it.
            _ = (try module.tensor(names.0), try module.tensor(names.1))
            throw module.refusal("has no projection", rule: "MissingTensor")
        }
        guard let scope = module.scope else { throw module.refusal("has no base", rule: "BaseNeeded") }
        let seed = try ProjectionSeed(module.config, seedKey)
        let (a, b, note) = try scope.once(names.0) {
            var generator = MersenneTwister(seed: seed.value)
            let (a, b, note) = try make(&generator, scope)
            let types = try scope.narrowings()
            return (try a.held(in: types), try b.held(in: types), note + ProjectionSeed.note(roundedTo: types))
        }
        (first, second) = (a.expression, b.expression)
        warnings = [seed.assumption("\(names.0) and \(names.1) are", note)]
    }
}

extension MethodModule {
    /// The method is defined for Linear and Conv1D alone.
    func requireLayer(_ weight: ModuleWeight) throws {
        guard weight.shape.count == 2 else {
            throw refusal("is neither a Linear nor a Conv1D, for which alone the method is defined", rule: "ModuleKind")
        }
    }

    /// The number of elements of regenerated numbers.
    ///
    /// - Throws: `.refused` above 2³¹: no training has had such a projection.
    func elementCount(_ sides: Int...) throws -> Int {
        var count = 1
        for side in sides {
            let (product, overflow) = count.multipliedReportingOverflow(by: max(0, side))
            guard !overflow, product <= 1 << 31 else {
                throw refusal("would need a projection of more than 2³¹ numbers", rule: "ProjectionSize")
            }
            count = product
        }
        return count
    }
}
