import ByteAccess
import Tensors

/// Where a change to an in-memory parameter falls in the stored tensor that holds one piece of it.
struct PiecePlacement {
    let place: ParameterPlace
    let piece: ParameterPiece
    let recipe: TensorRecipe

    /// Whether the piece is the whole stored tensor and the whole parameter, in the same orientation.
    var isWhole: Bool {
        place.pieces.count == 1 && !piece.transposed && piece.storedExpert == nil && piece.expert == nil
            && piece.storedOffset == 0 && piece.rows.lowerBound == 0 && piece.rows.upperBound == storedLength
    }

    /// Rows of the stored matrix, or elements of a stored vector.
    private var storedLength: Int { recipe.shape.count > 1 ? recipe.rows : recipe.columns }

    /// Where the stored matrix of this piece begins: expert matrices lie below each other.
    private var firstRow: Int { (piece.storedExpert ?? 0) * (recipe.isExpertStack ? recipe.shape[1] : 0) }
    private var matrixRows: Int { recipe.isExpertStack ? recipe.shape[1] : recipe.rows }

    func requireWhole(_ what: String) throws {
        let coversTensor = piece.storedOffset == 0 && piece.rows.count == (piece.transposed ? recipe.columns : storedLength)
        guard coversTensor, place.pieces.count == 1, piece.storedExpert == nil else {
            throw PeftfileError(
                .unsupported, "is stored fused with other parameters, and \(what) must be whole", tensor: piece.tensor,
                rule: "FusedParameter")
        }
    }

    /// A rectangle of the stored matrix, from rows and columns of the in-memory one.
    func region(rows: Range<Int>, columns: Range<Int>) throws -> Region {
        let start = piece.storedOffset + rows.lowerBound - piece.rows.lowerBound
        let along = start..<(start + rows.count)
        let result = piece.transposed
            ? Region(rows: columns, columns: along) : Region(rows: along, columns: columns)
        guard result.rows.upperBound <= matrixRows, result.columns.upperBound <= recipe.columns else {
            throw mismatch(rows: rows.upperBound, columns: columns.upperBound)
        }
        return Region(
            rows: (result.rows.lowerBound + firstRow)..<(result.rows.upperBound + firstRow), columns: result.columns)
    }

    func mismatch(rows: Int, columns: Int) -> PeftfileError {
        if let refusal = GroupedConvolution.refusal(of: recipe.name, recipe.shape, rows: rows, columns: columns) { return refusal }
        if let refusal = WidenedInput.refusal(of: recipe.name, recipe.shape, rows: rows, columns: columns) { return refusal }
        return PeftfileError(
            .refused, "has shape \(recipe.shape), which an update of \(rows) × \(columns) does not fit", tensor: recipe.name,
            rule: "ShapeMismatch", help: "merge onto the base that the adapter was trained on")
    }

    /// The part of `left`·`right` that falls on this piece, or nil where none does.
    func lowRank(left: Factor, right: Factor, region: Region?) throws -> (region: Region, left: Factor, right: Factor)? {
        var left = left
        var right = right
        var part = region ?? Region(rows: 0..<left.rows, columns: 0..<right.columns)
        func turn() throws {
            guard left.isPlain, right.isPlain else {
                throw PeftfileError(
                    .unsupported, "is stored transposed, which this variant of LoRA does not define", tensor: recipe.name,
                    rule: "VariantLayout")
            }
            (left, right) = (right.transposed, left.transposed)
        }
        if place.updateTransposed {
            try turn()
            part = Region(rows: part.columns, columns: part.rows)
        }
        if region == nil {
            let height = place.shape.count == 3 && piece.expert != nil ? place.shape[1] : place.shape.first ?? 0
            let width = place.shape.count == 3 && piece.expert != nil
                ? place.shape[2] : place.shape.dropFirst().reduce(1, *)
            guard part.rows.upperBound == height, part.columns.upperBound == width else {
                // An embedding whose source was replaced by a resized one fits the replacement, not the base.
                guard part.rows.upperBound == recipe.rows, part.columns.upperBound == recipe.columns, isResized else {
                    throw mismatch(rows: part.rows.upperBound, columns: part.columns.upperBound)
                }
                return (part, left, right)
            }
        }
        let rows = part.rows.clamped(to: piece.rows)
        guard !rows.isEmpty else { return nil }
        left = left.rows((rows.lowerBound - part.rows.lowerBound)..<(rows.upperBound - part.rows.lowerBound))
        let target = try self.region(rows: rows, columns: part.columns)
        if piece.transposed { try turn() }
        return (target, left, right)
    }

    var isResized: Bool {
        if case .adapter = recipe.source { return true }
        return false
    }

    /// The part of a vector that falls on this piece.
    func vector(_ values: Factor) throws -> (region: Region, values: Factor) {
        guard recipe.shape.count == 1, values.rows == 1, values.columns == place.shape.first, !piece.transposed else {
            throw PeftfileError(
                .refused, "has shape \(recipe.shape), and the adapter has \(values.columns) values for it",
                tensor: recipe.name, rule: "ShapeMismatch")
        }
        let target = piece.storedOffset..<(piece.storedOffset + piece.rows.count)
        guard target.upperBound <= recipe.columns else { throw mismatch(rows: 1, columns: target.upperBound) }
        return (Region(rows: 0..<1, columns: target), values.columns(piece.rows))
    }

    func magnitude(_ values: Factor, perColumn: Bool) throws -> TensorRecipe.Magnitude {
        // Along the rows of the in-memory parameter, or along its columns.
        let alongRows = perColumn == place.updateTransposed
        let height = place.shape.first ?? 0
        let width = place.shape.dropFirst().reduce(1, *)
        guard values.columns == (alongRows ? height : width) else {
            throw PeftfileError(
                .refused, "holds \(values.columns) magnitudes for \(alongRows ? height : width) lines",
                tensor: values.tensor, rule: "ShapeMismatch")
        }
        if !alongRows { try requireWhole("a magnitude for each column") }
        let target = try region(rows: piece.rows, columns: 0..<width)
        return .init(
            region: target, axis: alongRows != piece.transposed ? .rows : .columns,
            values: alongRows ? values.columns(piece.rows) : values)
    }

    func rowReplacement(indices: [Int], values: Factor) throws -> TensorRecipe.RowReplacement {
        // One matrix of a stack, all of it.
        if !isWhole, !isResized, indices.count == place.shape.first, indices == Array(0..<values.rows) {
            return try partReplacement(values, shape: [values.rows, values.columns])
        }
        guard isWhole || isResized, values.columns == recipe.columns else {
            throw PeftfileError(
                .refused, "has shape \(recipe.shape), and the replaced rows have \(values.columns) columns",
                tensor: recipe.name, rule: "ShapeMismatch")
        }
        if let bad = indices.first(where: { $0 >= recipe.rows }) {
            throw PeftfileError(
                .refused, "has \(recipe.rows) rows, and a token index is \(bad)", tensor: recipe.name, rule: "TokenIndices",
                help: "merge onto the base that the adapter was trained on")
        }
        return .init(rows: indices, columns: 0..<recipe.columns, values: values)
    }

    /// The part of a whole saved parameter that falls on this piece: rows of a fused matrix, or one expert's of a stack.
    func partReplacement(_ values: Factor, shape: Shape) throws -> TensorRecipe.RowReplacement {
        if recipe.shape.count == 1 {
            let (region, part) = try vector(values)
            return .init(rows: [0], columns: region.columns, values: part)
        }
        guard shape == place.shape else {
            throw PeftfileError(
                .refused, "has shape \(shape), and the base's parameter is \(place.shape)", tensor: values.tensor, rule: "ShapeMismatch",
                help: "merge onto the base that the adapter was trained on")
        }
        var values = values
        if let expert = piece.expert {
            // A row of the view is a whole expert.
            let (height, width) = (shape[1], shape[2])
            (values.rows, values.columns, values.rowStride, values.columnStride) = (height, width, width, 1)
            values.offset += expert * height * width
        }
        let target = try region(rows: piece.rows, columns: 0..<values.columns)
        let part = values.rows(piece.rows)
        return .init(rows: Array(target.rows), columns: target.columns, values: piece.transposed ? part.transposed : part)
    }
}
