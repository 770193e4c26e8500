import Adapters
public import ByteAccess
import Checkpoints
import Containers
import Tensors

/// What a merge leaves behind as proof of what it did: an in-toto Statement v1.
///
/// Subjects are the output files with the SHA-256 that was taken while they were written. The predicate names the
/// inputs by size and SHA-256 of their headers, the options, the targets, and what rounding left of each update.
/// `Formats/receipt.md` describes every key. Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
public struct Receipt: Sendable {
    /// The file's name in an output directory.
    public static let fileName = "peftfile-receipt.json"
    /// The type of the statement's predicate, for in-toto; a name, not an address.
    public static let predicateType = "https://peftfile.dev/receipt/v1"
    /// The version of this library and of the tool.
    public static let toolVersion = "0.1.0"

    private let plan: RewritePlan
    /// Of each adapter; nil where no hashes are taken.
    private let digests: [InputDigests]?
    private var subjects: [JSONValue] = []
    /// The files that are written, with what rounding left of each tensor's update.
    private var written: [(file: RewritePlan.File, statistics: [UpdateStatistics])] = []
    /// Sums over all tensors.
    public private(set) var total = UpdateStatistics()
    /// Warnings of the plan and of what the numbers showed.
    public private(set) var warnings: [String]

    init(plan: RewritePlan, digests: [InputDigests]?) {
        self.plan = plan
        self.digests = digests
        warnings = plan.warnings
    }

    mutating func add(file: RewritePlan.File, digest: String?, statistics: [UpdateStatistics]) {
        subjects.append(Receipt.subject(plan.isSingleFile ? "" : file.name, digest))
        written.append((file, statistics))
        for (tensor, statistics) in zip(file.tensors, statistics) {
            if statistics.nonfinite > 0 {
                warnings.append(
                    "\(tensor.info.name.text.printable): \(statistics.nonfinite) results are NaN or infinite"
                        + (tensor.recipe.isFromAdapter ? ", as the adapter stores them" : ""))
            }
            if statistics.baseNonfinite > 0 {
                warnings.append("\(tensor.info.name.text.printable): \(statistics.baseNonfinite) elements of the base are NaN or infinite, and stay so")
            }
            total.add(statistics)
            if !tensor.recipe.updates.isEmpty, statistics.updated == 0 {
                warnings.append("\(tensor.info.name.text.printable): the update is zero everywhere")
            }
        }
    }

    /// What rounding left of each tensor's update, of the tensors that the document lists.
    var statistics: [ExactString: UpdateStatistics] {
        var result: [ExactString: UpdateStatistics] = [:]
        for (file, statistics) in written {
            for (tensor, statistics) in zip(file.tensors, statistics) where tensor.isListed { result[tensor.info.name] = statistics }
        }
        return result
    }

    private static func entry(_ tensor: RewritePlan.Tensor, _ statistics: UpdateStatistics) -> JSONValue {
        var entry: JSONObject = [
            "name": .string(tensor.info.name.text),
            "dtype": .string(tensor.typeName),
            "elements": .number(JSONNumber(tensor.recipe.shape.elementCount ?? 0)),
            "updated": .number(JSONNumber(statistics.updated)),
            "unchanged": .number(JSONNumber(statistics.unchanged)),
            "update_norm": figure(statistics.norm),
            "update_survival": statistics.survival.map(figure) ?? .null,
            "nonfinite": .number(JSONNumber(statistics.nonfinite)),
        ]
        if let error = statistics.roundingError { entry["rounding_error"] = figure(error) }
        return .object(entry)
    }

    mutating func add(sidecar: RewritePlan.Sidecar, digest: String?) {
        subjects.append(Receipt.subject(sidecar.name, digest))
    }

    private static func subject(_ name: String, _ digest: String?) -> JSONValue {
        .object([
            "name": .string(name), "digest": digest.map { .object(["sha256": .string($0)]) } ?? .object([:]),
        ])
    }

    /// NaN and infinities have no JSON; they become null.
    static func number(_ value: Double) -> JSONValue { value.isFinite ? .number(JSONNumber(value)) : .null }

    /// Five significant digits: sums of squares are taken in float32 tile by tile, whose last digits differ between
    /// processors, and nobody needs them.
    static func figure(_ value: Double) -> JSONValue {
        guard value.isFinite, value != 0 else { return number(value) }
        // log10 from the exponent, rounded down: one digit too many where it is too small by one.
        var digits = 4 - ((Int(value.magnitude.exponent) * 1233) >> 12)
        func whole() -> Double { Double("1e\(min(300, digits.magnitude))").map { (digits >= 0 ? value * $0 : value / $0).rounded() } ?? value }
        if whole().magnitude >= 100_000 { digits -= 1 }
        return number(Double("\(whole())e\(-digits)").flatMap { $0.isFinite ? $0 : nil } ?? value)
    }

    /// The document; its long lists are made when they are written.
    public func document(target: String) -> JSONValue {
        let binding = plan.binding
        var subjects = subjects
        if plan.isSingleFile, let first = subjects.first?.objectValue {
            var named = first
            named["name"] = .string(FileSystem.fileName(of: target))
            subjects[0] = .object(named)
        }
        var predicate: JSONObject = [
            "tool": .object(["name": "peftfile", "version": .string(Receipt.toolVersion)]),
            "operation": .string(plan.operation),
            "plan": .string(plan.id),
            "base": Receipt.base(binding.base),
            "adapters": .array(
                binding.adapters.enumerated().map { digests?[$0].added(to: Receipt.adapter($1)) ?? Receipt.adapter($1) }),
            "options": .object(plan.options),
            "targets": .sequence { [targets = binding.targets] add in for target in targets { add(Receipt.target(target)) } },
            "set_aside": .array(
                binding.setAside.map {
                    .object(["tensor": .string($0.tensor.text), "reason": .string($0.reason)])
                }),
            "left_out": .array(
                binding.leftOut.map {
                    .object(["tensor": .string($0.tensor.text), "component": .string($0.component)])
                }),
            "config_changes": .array(
                plan.configChanges.map {
                    .object(["key": .string($0.path.map(\.text).joined(separator: ".")), "value": $0.value])
                }),
            "decompositions": .array(decompositions.map { .string($0) }),
            "tensors": .sequence { [written] add in
                for (file, statistics) in written {
                    for (tensor, statistics) in zip(file.tensors, statistics) where tensor.isListed { add(Receipt.entry(tensor, statistics)) }
                }
            },
            "total": .object([
                "updated": .number(JSONNumber(total.updated)),
                "unchanged": .number(JSONNumber(total.unchanged)),
                "update_norm": Receipt.figure(total.norm),
                "update_survival": total.survival.map(Receipt.figure) ?? .null,
                "nonfinite": .number(JSONNumber(total.nonfinite)),
            ]),
        ]
        if !plan.dropped.isEmpty {
            predicate["dropped"] = .array(
                plan.dropped.map { .object(["tensor": .string($0.tensor.text), "kept": .string($0.kept.text)]) })
        }
        return .object([
            "_type": "https://in-toto.io/Statement/v1",
            "schema": .string("peftfile.\(plan.operation)/1"),
            "warnings": .array(warnings.map { .string($0) }),
            "subject": .array(subjects),
            "predicateType": .string(Receipt.predicateType),
            "predicate": .object(predicate),
        ])
    }

    /// Methods whose output bytes depend on LAPACK: the one exception to reproducibility, so it is named.
    private var decompositions: [String] {
        var names: [String] = []
        for placed in plan.files.lazy.flatMap(\.tensors).flatMap(\.recipe.updates) {
            if case .decomposed(let decomposition, _, _) = placed.update, !names.contains(decomposition.name) {
                names.append(decomposition.name)
            }
        }
        return names
    }

    /// The base, with the scheme that its weights are stored in, or were taken through.
    private static func base(_ checkpoint: Checkpoint) -> JSONValue {
        guard case .object(var object) = input(checkpoint), let quantisation = checkpoint.quantisation else { return input(checkpoint) }
        object["quantisation"] = quantisation.json
        return .object(object)
    }

    /// An input: its files by size and header, and where it lies in the Hub's cache by repository, commit and blobs.
    static func input(_ checkpoint: Checkpoint) -> JSONValue {
        var object: JSONObject = ["path": .string(checkpoint.path)]
        if let origin = HubOrigin(of: checkpoint.path) {
            object["hub"] = .object(["repository": .string(origin.repository), "commit": .string(origin.commit)])
        }
        object["files"] = .array(
            checkpoint.shards.map { shard in
                var file: JSONObject = [
                    "name": .string(shard.fileName),
                    "bytes": .number(JSONNumber(shard.file.reader.size)),
                    "header_sha256": (try? shard.file.headerSHA256()).map { .string(SHA256.hex($0)) } ?? .null,
                ]
                if let blob = HubOrigin.blob(of: shard.file.path) { file["hub_blob"] = .string(blob) }
                return .object(file)
            })
        return .object(object)
    }

    /// An adapter, with what its config says it is.
    static func adapter(_ adapter: Adapter) -> JSONValue {
        guard case .object(var object) = input(adapter.checkpoint) else { return .null }
        object["path"] = .string(adapter.path)
        object["dialect"] = .string(adapter.dialectName ?? "peft")
        object["peft_type"] = adapter.config?.peftType.map { .string($0) } ?? .null
        object["base_model"] = adapter.config?.baseModel.map { .string($0) } ?? .null
        if let state = adapter.wholeState { object["frozen"] = state.json }
        return .object(object)
    }

    private static func target(_ target: Binding.Target) -> JSONValue {
        .object([
            "adapter": .number(JSONNumber(target.adapter)),
            "module": .string(target.target.module.text),
            "tensors": .array(target.tensors.map { .string($0.text) }),
            "method": .string(target.target.method),
            "rank": target.target.rank.map { .number(JSONNumber($0)) } ?? .null,
            "alpha": target.target.alpha.map(number) ?? .null,
            "scale": target.target.scale.map(number) ?? .null,
        ])
    }
}

extension RewritePlan.Tensor {
    /// Whether the receipt has figures of it: what is copied or only dequantised has none.
    fileprivate var isListed: Bool { !recipe.isCopy && (!recipe.isDequantised || recipe.changesValues) }
}
