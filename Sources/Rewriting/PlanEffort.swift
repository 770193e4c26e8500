import Adapters
import ByteAccess

/// What a merge says before it starts, where single tensors take long: products of whole matrices, and decompositions.
///
/// Most methods take a few multiplications for each element; FRoD and RandLoRA multiply matrices as large as the weight in the defined
/// order, and PiSSA, KaSA and OSF take a singular value decomposition, which LAPACK does on one thread.
enum PlanEffort {
    /// Multiplications of one tensor from which it is worth a word: ten seconds and more at 2·10⁹ in a second, which a core does.
    static let limit = 2e10

    static func warnings(_ recipes: [TensorRecipe]) -> [String] {
        let efforts = recipes.map { (name: $0.name, effort: multiplications($0)) }.filter { $0.effort >= limit }
        guard let most = efforts.max(by: { $0.effort < $1.effort }) else { return [] }
        let all = efforts.reduce(0) { $0 + $1.effort }
        let count = efforts.count
        return [
            "this takes long: \(count) tensor\(count == 1 ? "" : "s") need\(count == 1 ? "s" : "") \(billions(all)) billion multiplications"
                + (count == 1 ? "" : " together, \(most.name.text.printable) \(billions(most.effort))")
                + ", about \(Int((all / 2e9).rounded(.up))) s on one core; \(reason(recipes.first { $0.name == most.name }))"
        ]
    }

    /// The multiplications of a tensor's products, systems and decompositions.
    static func multiplications(_ recipe: TensorRecipe) -> Double {
        let (rows, columns) = (Double(recipe.rows), Double(recipe.columns))
        let updates = recipe.updates.reduce(0.0) { sum, placed in
            switch placed.update {
            case .computed(let expression, _): sum + expression.multiplications
            case .decomposed(let part, _, _): sum + part.multiplications(rows: rows, columns: columns)
            default: sum
            }
        }
        return recipe.transforms.reduce(updates) { $0 + $1.expression.multiplications }
    }

    private static func reason(_ recipe: TensorRecipe?) -> String {
        for placed in recipe?.updates ?? [] {
            if case .decomposed(let part, _, _) = placed.update { return "a decomposition, \(part.name)" }
        }
        return "its method multiplies matrices of the weight's own size"
    }

    private static func billions(_ count: Double) -> Int { Int((count / 1e9).rounded()) }
}

extension BaseDecomposition {
    /// G. Golub and C. Van Loan, Matrix Computations, table 8.6.1: 14·m·n² + 8·n³ operations for U, S and V of an m × n matrix,
    /// 2·m·n² − 2/3·n³ for R of QR and as many for Q; half of them are multiplications.
    fileprivate func multiplications(rows: Double, columns: Double) -> Double {
        let (m, n) = (max(rows, columns), min(rows, columns))
        switch self {
        case .principalComponents, .minorComponents: return 7 * m * n * n + 4 * n * n * n
        case .orthonormalFactors: return 2 * m * n * n
        }
    }
}
