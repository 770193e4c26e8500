import ByteAccess
import Tensors

/// A method whose update is a product of factors that PEFT and LyCORIS both have, under the same names.
protocol FactorProduct: ModuleMethod {
    /// The update without its scale, as the library multiplies it that the module's file is of.
    func product(of module: MethodModule) throws -> MatrixExpression
}

extension MatrixExpression {
    /// The same of factors under other names, so that those of two files can be compared.
    func naming(_ factors: [(name: String, info: TensorInfo)]) -> MatrixExpression {
        let names = Dictionary(factors.map { ($0.info.name, $0.name) }) { first, _ in first }
        return mapLeaves { leaf in
            guard case .stored(var factor) = leaf, let name = names[factor.tensor] else { return leaf }
            factor.tensor = ExactString(name)
            return .stored(factor)
        }
    }
}
