import ByteAccess
import Tensors

/// A module of a model's own repository as what diffusers has in its place.
///
/// Where one layer is several, the rows of what stands for the output are cut (`lora_up`, LoHa's first factors, a magnitude, a difference), and
/// `lora_down` serves all. A Kronecker product has no factor of the output's rows; they are taken of the whole (``ProductRows``).
extension DiffusersLayers {
    /// What a module is in diffusers; nil where the table has no such layer, or the module is not of its proportions.
    static func forms(of module: DialectModule, _ table: LayerTable) -> [DialectModule]? {
        guard let (front, layers, _) = table.layers(of: module.name.text) else { return nil }
        func named(_ module: DialectModule, _ path: String) -> DialectModule {
            var module = module
            module.own = ExactString(path)
            module.name = ExactString(module.naming == .path ? path : LayerTable.underscored(path))
            return module
        }
        let size = size(of: module)
        guard let layer = layers.first(where: { layer in size.map { layer.fits(rows: $0.rows, columns: $0.columns) } ?? true }) else { return nil }
        let names = layer.parts.map { front + $0.name }
        if layer.parts.count == 1, !layer.isSwapped { return [named(module, names[0])] }
        guard let size else { return nil }
        if layer.isSwapped {
            return cut(module, LayerTable.Layer.halves(of: size.rows), of: size.rows, number: 0).map { [named($0, names[0])] }
        }
        var forms: [DialectModule] = []
        for index in layer.parts.indices {
            guard let form = cut(module, [layer.rows(of: index, among: size.rows)], of: size.rows, number: index) else { return nil }
            forms.append(named(form, names[index]))
        }
        return forms
    }

    /// What to do with a module that has its place in the repository's file alone, because its form cannot be cut as diffusers cuts the layer; nil
    /// for any other.
    static func whole(_ module: DialectModule) -> String? {
        for table in LayerTable.all {
            guard let (front, layers, _) = table.layers(of: module.name.text), let layer = layers.first(where: { $0.parts.count > 1 || $0.isSwapped }),
                forms(of: module, table) == nil, size(of: module) == nil
            else { continue }
            return "diffusers has \(layer.parts.map { front + $0.name }.joined(separator: ", ")) for it, and \(module.form.name) does not go into rows of "
                + "those: merge onto the file of the model's own repository"
        }
        return nil
    }

    /// Rows of what the module changes, and columns where it tells them; nil for what is no matrix, and for other methods than these.
    private static func size(of module: DialectModule) -> (rows: Int, columns: Int?)? {
        func shape(_ component: String, _ leaf: String) -> Shape? {
            module.tensors.first { $0.component == component && $0.leaf == leaf }?.view.info.shape
        }
        if let b = shape("lora_B", "weight"), let a = shape("lora_A", "weight") {
            return a.count == 2 && b.count == 2 ? (b[0], a[1]) : nil
        }
        if shape("hada_t1", "") == nil, let first = shape("hada_w1_a", ""), let second = shape("hada_w1_b", "") {
            return first.count == 2 && second.count == 2 ? (first[0], second[1]) : nil
        }
        if let (p, m) = kroneckerFactor("lokr_w1", of: module), let (q, n) = kroneckerFactor("lokr_w2", of: module) {
            let (rows, columns) = (p.multipliedReportingOverflow(by: q), m.multipliedReportingOverflow(by: n))
            return rows.overflow || columns.overflow ? nil : (rows.partialValue, columns.partialValue)
        }
        if let difference = shape("diff", "") { return difference.count == 2 ? (difference[0], difference[1]) : nil }
        return shape("diff_b", "").flatMap { $0.count == 1 ? ($0[0], nil) : nil }
    }

    /// Rows and columns of one factor of a Kronecker product; nil where it is a kernel's, or none.
    private static func kroneckerFactor(_ name: String, of module: DialectModule) -> (Int, Int)? {
        func shape(_ component: String) -> Shape? { module.tensors.first { $0.component == component }?.view.info.shape }
        guard shape("lokr_t2") == nil, let left = shape(name) ?? shape(name + "_a"), let right = shape(name) ?? shape(name + "_b"), left.count == 2,
            right.count == 2
        else { return nil }
        return (left[0], right[1])
    }

    /// The module with some of the rows of its output, in this order; nil for a form of which they cannot be taken.
    private static func cut(_ module: DialectModule, _ ranges: [Range<Int>], of total: Int, number: Int) -> DialectModule? {
        var result = module
        if kroneckerFactor("lokr_w1", of: module) != nil {
            let rows = ProductRows(inner: LoKr(), ranges: ranges)
            let isDecomposed = module.form.method is WeightDecomposition
            result.form = isDecomposed ? .decomposed(rows, name: rows.formName) : DialectForm(name: rows.formName, method: rows)
        }
        for (index, tensor) in module.tensors.enumerated() {
            // One tensor of several modules has a name in each.
            let name = ExactString("\(tensor.view.info.name)[\(number)]")
            switch tensor.component {
            case "lora_A", "hada_w1_b", "hada_w2_b": result.tensors[index].view.info.name = name
            case let component where component.hasPrefix("lokr_"): result.tensors[index].view.info.name = name
            case "lora_B", "hada_w1_a", "hada_w2_a", "lora_magnitude_vector", "dora_scale", "diff", "diff_b":
                guard tensor.view.info.shape.first == total, let view = tensor.view.taking(ranges, named: name) else { return nil }
                result.tensors[index].view = view
            default: return nil
            }
        }
        return ranges.count == 1 ? withoutEmptyColumns(result) : result
    }

    /// Of `split_dims` each part has rows of `lora_down` for itself, and the others' are of no use to it.
    private static func withoutEmptyColumns(_ module: DialectModule) -> DialectModule {
        guard let a = module.tensors.firstIndex(where: { $0.component == "lora_A" }),
            let b = module.tensors.firstIndex(where: { $0.component == "lora_B" && $0.leaf == "weight" }),
            let part = module.tensors[b].view.parts.first, module.tensors[b].view.parts.count == 1, let scale = module.scale
        else { return module }
        let (view, width) = (module.tensors[a].view, part.matrix.columns)
        guard width < scale.rank,
            let own = view.taking([part.column..<(part.column + width)], named: view.info.name)
        else { return module }
        var result = module
        result.tensors[a].view = own
        result.tensors[b].view.parts[0].column = 0
        result.tensors[b].view.info.shape[1] = width
        result.scale = ModuleScale(rank: width, value: scale.value)
        return result
    }
}

extension TensorView {
    /// Rows of the tensor, below each other; nil where its parts are turned or read in other rows than the tensor.
    func taking(_ ranges: [Range<Int>], named name: ExactString) -> TensorView? {
        if info.shape.count == 1 {
            // Of a vector, which is a matrix of one row, elements are taken: it is read as one of one column.
            guard parts.count == 1, let part = parts.first, part.axes == nil, part.rows == nil, part.height == nil,
                part.stored.shape.count == 1, ranges.allSatisfy({ $0.upperBound <= part.stored.elementCount })
            else { return nil }
            var (taken, height): ([Part], Int) = ([], 0)
            for range in ranges {
                var copy = part
                (copy.axes, copy.height, copy.rows, copy.row) = ([0], part.stored.elementCount, range, height)
                taken.append(copy)
                height += range.count
            }
            return TensorView(name: name, shape: [height], height: height, parts: taken)
        }
        var (cut, height): ([Part], Int) = ([], 0)
        for range in ranges {
            for part in parts {
                guard part.axes == nil, part.height == nil, parts.count > 1 || part.matrix.columns == info.shape.matrix.columns else { return nil }
                let own = part.rows ?? 0..<part.matrix.rows
                let (first, end) = (max(range.lowerBound, part.row), min(range.upperBound, part.row + own.count))
                guard first < end else { continue }
                var copy = part
                copy.rows = (own.lowerBound + first - part.row)..<(own.lowerBound + end - part.row)
                copy.row = height + first - range.lowerBound
                cut.append(copy)
            }
            height += range.count
        }
        guard !cut.isEmpty, !info.shape.isEmpty else { return nil }
        return TensorView(name: name, shape: [height] + info.shape.dropFirst(), parts: cut)
    }
}
