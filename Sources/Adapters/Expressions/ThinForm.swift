import Tensors

/// A matrix as a product of two thin factors, `left` (rows × r) times `right` (r × columns).
public struct ThinForm: Sendable, Hashable {
    /// (rows, r).
    public var left: MatrixExpression
    /// (r, columns).
    public var right: MatrixExpression
    var rank: Int { right.rows }
}

extension MatrixExpression {
    /// The expression as a product of factors thinner than itself that do not read the base; nil where its form shows none.
    ///
    /// Besides products themselves these keep thinness (⊙ element by element, ⊗ Kronecker; C. Khatri, C. Rao, Sankhyā A 30,
    /// 1968 for the last but one):
    ///
    ///     s·(L R) = (s·L) R              (L R)ᵀ = Rᵀ Lᵀ               L R + L′R′ = [L L′] [R; R′]
    ///     c ⊙ (L R) = (c ⊙ L) R          r ⊙ (L R) = L (r ⊙ R)        for a column c and a row r
    ///     (L R) ⊙ (L′R′): columns l_i ⊙ l′_j and rows r_i ⊙ r′_j      (L R) ⊗ (L′R′) = (L ⊗ L′) (R ⊗ R′)
    public var thinForm: ThinForm? {
        guard !readsBase, let form = thin, form.rank <= Swift.min(rows, columns) else { return nil }
        return form
    }

    private var thin: ThinForm? {
        switch self {
        case .product(let left, let right): MatrixExpression.thinProduct(left, right)
        case .scaled(let inner, let scale): inner.thin.map { ThinForm(left: .scaled($0.left, scale), right: $0.right) }
        case .transposed(let inner):
            inner.thin.map { ThinForm(left: .transposed($0.right), right: .transposed($0.left)) }
        case .elementwise(.sum, let left, let right): MatrixExpression.thinSum(left, right, sign: 1)
        case .elementwise(.difference, let left, let right): MatrixExpression.thinSum(left, right, sign: -1)
        case .elementwise(.product, let left, let right): MatrixExpression.thinHadamard(left, right)
        case .kronecker(let left, let right):
            MatrixExpression.thinKronecker(left.thin ?? left.trivial, right.thin ?? right.trivial)
        case .selected(let inner, let rows, let columns):
            inner.thin.map { form in
                ThinForm(
                    left: rows.map { .selected(form.left, rows: $0, columns: nil) } ?? form.left,
                    right: columns.map { .selected(form.right, rows: nil, columns: $0) } ?? form.right)
            }
        case .blockwise(let left, let right, let count):
            left.thin.map { ThinForm(left: $0.left, right: .blockwise($0.right, right, count: count)) }
        default: nil
        }
    }

    /// The matrix as itself times an identity: the thinnest form of one that has none.
    private var trivial: ThinForm {
        columns <= rows
            ? ThinForm(left: self, right: .identity(columns)) : ThinForm(left: .identity(rows), right: self)
    }

    private static func thinProduct(_ left: MatrixExpression, _ right: MatrixExpression) -> ThinForm? {
        var forms = [ThinForm(left: left, right: right)]
        if let form = left.thin { forms.append(ThinForm(left: form.left, right: form.right × right)) }
        if let form = right.thin { forms.append(ThinForm(left: left × form.left, right: form.right)) }
        return forms.min { $0.rank < $1.rank }
    }

    private static func thinSum(_ left: MatrixExpression, _ right: MatrixExpression, sign: Double) -> ThinForm? {
        guard left.size == right.size, let a = left.thin, let b = right.thin else { return nil }
        let second = sign == 1 ? b.left : MatrixExpression.scaled(b.left, sign)
        return ThinForm(
            left: .transposed(.stacked([.transposed(a.left), .transposed(second)])), right: .stacked([a.right, b.right]))
    }

    private static func thinHadamard(_ left: MatrixExpression, _ right: MatrixExpression) -> ThinForm? {
        for (matrix, vector) in [(left, right), (right, left)] where vector.rows == 1 || vector.columns == 1 {
            guard matrix.rows >= vector.rows, matrix.columns >= vector.columns, let form = matrix.thin else { continue }
            if vector.rows == 1, vector.columns == matrix.columns { return ThinForm(left: form.left, right: form.right * vector) }
            if vector.columns == 1, vector.rows == matrix.rows { return ThinForm(left: form.left * vector, right: form.right) }
        }
        guard left.size == right.size, let a = left.thin, let b = right.thin,
            !a.rank.multipliedReportingOverflow(by: b.rank).overflow,
            a.rank * b.rank <= Swift.min(left.rows, left.columns)
        else { return nil }
        let pairs = (0..<(a.rank * b.rank)).map { (i: $0 / b.rank, j: $0 % b.rank) }
        let (first, second) = (pairs.map(\.i), pairs.map(\.j))
        return ThinForm(
            left: a.left.columns(at: first) * b.left.columns(at: second),
            right: a.right.rows(at: first) * b.right.rows(at: second))
    }

    private static func thinKronecker(_ a: ThinForm, _ b: ThinForm) -> ThinForm? {
        ThinForm(left: .kronecker(a.left, b.left), right: .kronecker(a.right, b.right))
    }
}
