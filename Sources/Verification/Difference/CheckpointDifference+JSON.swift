public import ByteAccess
import Checkpoints
import Tensors

extension CheckpointDifference {
    /// The report as the document that `diff --json` prints, `peftfile.diff/1`.
    ///
    /// `schema`, `warnings`, `equal`, `added`, `removed`, `changed` (`name`, `max_abs`, `mean_abs`, `rel_l2`, `cos`,
    /// `max_ulp`) and `dtype_or_shape` are fixed; keys may be added. A number that is NaN, infinite or not defined is null.
    ///
    /// - Parameter limit: entries of a list at most, 0 for all; `counts` has the whole lists' lengths.
    public func json(limit: Int = 0) -> JSONValue {
        func list<Entry>(_ entries: [Entry], _ json: (Entry) -> JSONValue) -> JSONValue {
            .array((limit > 0 ? Array(entries.prefix(limit)) : entries).map(json))
        }
        func count(_ value: Int) -> JSONValue { .number(JSONNumber(value)) }
        var document = JSONObject()
        document["schema"] = "peftfile.diff/1"
        document["warnings"] = .array(warnings.map { .string($0) })
        document["equal"] = .bool(isEqual)
        document["added"] = list(added) { .string($0.name.text) }
        document["removed"] = list(removed) { .string($0.name.text) }
        document["changed"] = list(changed, \.json)
        document["dtype_or_shape"] = list(retyped, \.json)
        document["renamed"] = list(renamed) { ["name": .string($0.name.text), "name_b": .string($0.nameInB.text)] }
        document["tolerated"] = list(tolerated, \.json)
        document["notes"] = list(notes, \.json)
        document["updates"] = updates?.json(limit: limit) ?? .null
        document["counts"] = [
            "compared": count(compared), "added": count(added.count), "removed": count(removed.count),
            "changed": count(changed.count), "dtype_or_shape": count(retyped.count), "renamed": count(renamed.count),
            "tolerated": count(tolerated.count), "notes": count(notes.count),
        ]
        return .object(document)
    }
}

extension TensorDifference {
    fileprivate var json: JSONValue {
        var object = JSONObject()
        object["name"] = .string(name.text)
        object["elements"] = .number(JSONNumber(elements))
        // Over all elements these are NaN where a NaN or an infinity is among the differences.
        for (key, value) in figures { object[key] = nonfinite > 0 ? .null : value }
        object["max_ulp"] = maxULP.map { .number(JSONNumber($0)) } ?? .null
        object["ulp_dtype"] = stepDType.map { .string($0.rawValue) } ?? .null
        object["unequal"] = .number(JSONNumber(unequal))
        object["differing"] = .number(JSONNumber(differing))
        object["share"] = .finite(share)
        object["first"] = first.map { .number(JSONNumber($0)) } ?? .null
        object["nonfinite"] = .number(JSONNumber(nonfinite))
        object["nan_a"] = .number(JSONNumber(nansInA))
        object["nan_b"] = .number(JSONNumber(nansInB))
        object["inf_a"] = .number(JSONNumber(infinitiesInA))
        object["inf_b"] = .number(JSONNumber(infinitiesInB))
        object["finite"] = nonfinite > 0 ? .object(JSONObject(figures)) : .null
        return .object(object)
    }

    /// What is computed over the pairs of finite numbers.
    private var figures: [(key: ExactString, value: JSONValue)] {
        [
            ("max_abs", .finite(maxAbs)), ("mean_abs", .finite(meanAbs)), ("rel_l2", .finite(relL2)),
            ("cos", .finite(cos)),
        ]
    }
}

extension CheckpointDifference.Retyped {
    fileprivate var json: JSONValue {
        func shape(_ shape: Shape) -> JSONValue { .array(shape.map { .number(JSONNumber($0)) }) }
        return [
            "name": .string(name.text), "dtype_a": .string(typeInA), "dtype_b": .string(typeInB),
            "shape_a": shape(shapeInA), "shape_b": shape(shapeInB), "values": .string(values.rawValue),
        ]
    }
}

extension CheckpointDifference.Note {
    fileprivate var json: JSONValue {
        func text(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }
        return ["place": .string(place), "key": text(key), "a": text(inA), "b": text(inB)]
    }
}

extension UpdateComparison {
    fileprivate func json(limit: Int) -> JSONValue {
        func list<Entry>(_ entries: [Entry], _ json: (Entry) -> JSONValue) -> JSONValue {
            .array((limit > 0 ? Array(entries.prefix(limit)) : entries).map(json))
        }
        return [
            "equivalent": .bool(isEquivalent), "reason": reason.map { .string($0) } ?? .null,
            "modules": list(modules, \.json), "only_a": list(onlyInA) { .string($0) },
            "only_b": list(onlyInB) { .string($0) },
            "skipped": list(skipped) { ["name": .string($0.name), "reason": .string($0.reason)] },
            "other_tensors_differ": .bool(hasOtherDifferences), "methods_differ": .bool(methodsDiffer),
            "settings_differ": .array(differingSettings.map { .string($0) }),
        ]
    }
}

extension UpdateComparison.Module {
    fileprivate var json: JSONValue {
        [
            "name": .string(name), "equivalent": .bool(isEquivalent), "same_factors": .bool(hasSameFactors),
            "rank_a": rankInA.map { .number(JSONNumber($0)) } ?? .null,
            "rank_b": rankInB.map { .number(JSONNumber($0)) } ?? .null,
            "scale_a": .finite(scaleInA), "scale_b": .finite(scaleInB), "norm_a": .finite(normInA),
            "norm_b": .finite(normInB), "rel_difference": .finite(relativeDifference), "rounding": .finite(rounding),
            "cos": .finite(cos), "column_overlap": .finite(columnOverlap), "row_overlap": .finite(rowOverlap),
        ]
    }
}
