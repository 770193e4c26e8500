import ByteAccess
import Checkpoints
import Tensors

/// One target module of an adapter with its tensors, and the reader of those tensors.
struct MethodModule {
    /// The in-memory path.
    let path: ExactString
    let config: AdapterConfig
    /// How the caller answered what the files leave open.
    private(set) var options: BindingOptions
    private let adapter: Adapter
    private let adapterIndex: Int
    /// The module's own tensors, by what their keys say after the path: `hada_w1_a`, `oft_R.weight`.
    private let own: [String: TensorInfo]
    /// Tensors of the whole adapter, which stand at no module: `vera_A`.
    private let common: [String: TensorInfo]
    /// The adapter's modules in the base; nil until they are known.
    private(set) var scope: AdapterScope?
    /// The tensors whose elements were read when the formula was stated.
    private let read = ReadTensors()

    /// Whether the elements of a tensor were read for the formula.
    func hasRead(_ tensor: ExactString) -> Bool { read.contains(tensor) }

    /// The same module among the others of its adapter.
    func inside(_ scope: AdapterScope) -> MethodModule {
        var copy = self
        copy.scope = scope
        return copy
    }

    /// The same module with other answers.
    func answering(_ options: BindingOptions) -> MethodModule {
        var copy = self
        copy.options = options
        return copy
    }

    /// The module's own tensors and those of the whole adapter, each with what its key says after the path.
    var tensorsByKey: [(key: String, name: ExactString)] {
        own.merging(common) { own, _ in own }.sorted { $0.key < $1.key }.map { ($0.key, $0.value.name) }
    }

    /// Gathers the modules in file order.
    ///
    /// - Parameter paths: the modules, where not their tensors but something else tells them.
    /// - Throws: `.refused` where two of a module's tensors have one name.
    static func collect(
        from adapter: Adapter, config: AdapterConfig, components: Set<String>, adapterIndex: Int = 0,
        options: BindingOptions = BindingOptions(),
        paths: [ExactString]? = nil
    ) throws -> [MethodModule] {
        var order: [ExactString] = []
        var tensors: [ExactString: [String: TensorInfo]] = [:]
        for key in adapter.keys where key.depth == 0 {
            guard let component = key.component, components.contains(component), let info = adapter.tensor(key.stored)
            else { continue }
            let name = key.leaf.isEmpty ? component : "\(component).\(key.leaf)"
            if tensors[key.module] == nil { order.append(key.module) }
            tensors[key.module, default: [:]][name] = info
        }
        let common = tensors[ExactString("")] ?? [:]
        return (paths ?? order).filter { !$0.text.isEmpty }.map {
            MethodModule(
                path: $0, config: config, options: options, adapter: adapter, adapterIndex: adapterIndex, own: tensors[$0] ?? [:],
                common: common)
        }
    }

    /// The module's own scale, where a dialect gives each its own.
    var scale: ModuleScale? { config.moduleScales[path] }

    /// Whether the module is an embedding, as the names of its tensors say.
    var isEmbedding: Bool { own.keys.contains { $0.utf8Contains("embedding") } }

    /// The module's own tensors, by name.
    var known: [TensorInfo] { own.keys.sorted().compactMap { own[$0] } }

    /// The names of the module's own tensors, sorted.
    var names: [String] { own.keys.sorted() }

    /// What of an inventory is not there: the names that it would have, and the module's tensor that is nearest.
    func missing(of inventory: ModuleInventory) -> [(tensor: ExactString, beside: ExactString)] {
        guard let first = names.first, let beside = own[first]?.name, beside.text.hasSuffix(first) else { return [] }
        let path = beside.text.dropLast(first.count)
        // A raw dump's keys end in the adapter's name.
        func isMissing(_ name: String, _ tensors: [String: TensorInfo]) -> Bool {
            tensors[name] == nil && !tensors.keys.contains { $0.hasPrefix("\(name).") }
        }
        return inventory.own.filter { isMissing($0, own) }.map { (ExactString("\(path)\($0)"), beside) }
            + inventory.common.filter { isMissing($0, common) }.map { (ExactString("base_model.\($0)"), beside) }
    }

    /// A tensor of the whole adapter, or what PEFT saved in its place: a copy at every module that uses it.
    ///
    /// - Throws: `.refused` where the adapter's tensor and the module's copy differ.
    func shared(_ name: String) throws -> TensorInfo? {
        guard let info = common[name] else { return own[name] }
        if let copy = own[name] {
            guard let one = adapter.checkpoint[info.name], let other = adapter.checkpoint[copy.name],
                one.dtype == other.dtype, one.shape == other.shape,
                try adapter.checkpoint.read(one) == adapter.checkpoint.read(other)
            else {
                throw PeftfileError(
                    .refused, "differs from \"\(info.name.text.printable)\", of which it is a copy", tensor: copy.name,
                    rule: "ProjectionMismatch", help: "save the adapter again; both are one tensor in memory")
            }
            read.insert(copy.name)
        }
        return info
    }

    /// A tensor's elements, widened to float64.
    func numbers(_ info: TensorInfo) throws -> [Double] {
        guard info.dtype.isMergeable, let stored = adapter.checkpoint[info.name] else {
            throw PeftfileError(
                .refused, "has dtype \(info.dtype.rawValue), and F64, F32, F16 or BF16 is needed", tensor: info.name,
                rule: "FactorDType")
        }
        read.insert(info.name)
        return try Conversion.widened(adapter.checkpoint.read(stored), as: info.dtype, count: info.elementCount)
    }

    /// A stored tensor as a matrix of its first dimension by the product of the others.
    func matrix(of info: TensorInfo, _ shape: Shape? = nil) throws -> MatrixExpression {
        guard info.dtype.isMergeable else {
            throw PeftfileError(
                .refused, "has dtype \(info.dtype.rawValue), and a factor must be F64, F32, F16 or BF16",
                tensor: info.name, rule: "FactorDType")
        }
        if let shape, info.shape != shape { throw misfit(info, "shape \(shape)") }
        read.insert(info.name)
        return .stored(Factor(adapter: adapterIndex, info: info))
    }

    /// Whether the flag of the config lets PEFT store what the base or a seed tells too; where the config lacks it, whether any of it is there.
    func stores(_ flag: ExactString, _ components: [String]) -> Bool {
        config[flag]?.boolValue ?? components.contains(where: isAtAnyModule)
    }

    /// Whether any module of the adapter has a tensor of this component.
    func isAtAnyModule(_ component: String) -> Bool { adapter.keys.contains { $0.component == component } }

    /// How many tensors of this component the adapter has.
    func count(ofComponent component: String) -> Int { adapter.keys.count { $0.component == component } }

    /// Whether the module has a tensor.
    func has(_ name: String) -> Bool { own[name] != nil || common[name] != nil }

    /// A tensor of the module, or of the whole adapter.
    ///
    /// - Throws: `.refused` where neither has it.
    func tensor(_ name: String) throws -> TensorInfo {
        if let info = own[name] ?? common[name] { return info }
        throw PeftfileError(
            .refused, "module \"\(path)\" has no \(name)", tensor: known.first?.name, rule: "MissingTensor",
            help: "save the adapter again; part of an update is none")
    }

    func shape(_ name: String) throws -> Shape { try tensor(name).shape }

    /// A dimension of a tensor.
    func side(_ name: String, _ axis: Int) throws -> Int {
        let info = try tensor(name)
        guard info.shape.indices.contains(axis) else { throw misfit(info, "\(axis + 1) or more dimensions") }
        return info.shape[axis]
    }

    /// A tensor as a matrix of its first dimension by the product of the others; a vector is one row.
    ///
    /// - Parameter shape: the shape that it must have, where the formula tells.
    /// - Throws: `.refused` where it is missing, has another shape, or no floating-point dtype.
    func matrix(_ name: String, _ shape: Shape? = nil) throws -> MatrixExpression {
        try matrix(of: tensor(name), shape)
    }

    /// A tensor as one row, of the one shape that PEFT makes it with: it raises "size mismatch" at another of as many elements.
    ///
    /// - Parameter shape: by default one dimension of `count`.
    func vector(_ name: String, count: Int, shape: Shape? = nil) throws -> MatrixExpression {
        let info = try tensor(name)
        let wanted = shape ?? [count]
        guard info.shape == wanted else { throw misfit(info, "shape \(wanted)") }
        return try row(name, count: count)
    }

    /// A tensor of any shape as one row.
    func row(_ name: String, count: Int) throws -> MatrixExpression {
        let info = try tensor(name)
        guard info.elementCount == count else { throw misfit(info, "\(count) elements") }
        guard case .stored(var factor) = try matrix(name) else { return try matrix(name) }
        (factor.rows, factor.columns) = (1, count)
        (factor.rowStride, factor.columnStride) = (count, 1)
        return .stored(factor)
    }

    /// The elements of a tensor, widened, for what a formula must know of them when it is bound.
    func numbers(_ name: String) throws -> [Double] {
        let info = try tensor(name)
        guard let stored = adapter.checkpoint[info.name], info.dtype.isMergeable else { throw misfit(info, "bytes") }
        read.insert(info.name)
        return try Conversion.widened(try adapter.checkpoint.read(stored), as: info.dtype, count: info.elementCount)
    }

    /// Whole numbers that are not negative, from an integer tensor, or a floating-point one that holds integers.
    func indices(_ name: String, below limit: Int) throws -> [Int] {
        let info = try tensor(name)
        guard let stored = adapter.checkpoint[info.name] else { throw misfit(info, "bytes") }
        read.insert(info.name)
        let bytes = try adapter.checkpoint.read(stored)
        let values: [Int?] =
            switch info.dtype {
            case .i32: bytes.numbers(Int32.self).map { Int($0) }
            case .i64: bytes.numbers(Int64.self).map { Int(exactly: $0) }
            case .i16: bytes.numbers(Int16.self).map { Int($0) }
            case .u8: bytes.map { Int($0) }
            case _ where info.dtype.isMergeable:
                try Conversion.widened(bytes, as: info.dtype, count: info.elementCount).map { Int(exactly: $0) }
            default: []
            }
        let result = values.compactMap { $0 }
        guard result.count == info.elementCount, result.allSatisfy({ $0 >= 0 && $0 < limit }) else {
            throw PeftfileError(
                .refused, "must hold whole numbers from 0 to \(limit - 1)", tensor: info.name, rule: "IndexRange",
                help: "merge onto the base that the adapter was trained on")
        }
        return result
    }

    /// The refusal of a tensor that does not have the size that the formula needs.
    func misfit(_ info: TensorInfo, _ expected: String) -> PeftfileError {
        PeftfileError(
            .refused, "has shape \(info.shape), where the formula needs \(expected)", tensor: info.name, rule: "ShapeMismatch",
            help: "merge onto the base that the adapter was trained on")
    }

    /// The refusal of a use of the method that has no formula.
    func refusal(_ message: String, rule: String, help: String? = nil) -> PeftfileError {
        PeftfileError(.refused, "module \"\(path)\" \(message)", tensor: known.first?.name, rule: rule, help: help)
    }

    /// The config's number for this module: the entry of `pattern` that matches its path, else `key`.
    ///
    /// Source: `get_pattern_key` in peft/utils/other.py.
    func number(_ key: ExactString, pattern: ExactString? = nil) throws -> Double? {
        if let pattern {
            let entries = try config.pattern(pattern)
            if let hit = try PatternMatch(keys: entries.map(\.key)).firstKey(matching: path.text) {
                return entries.first { $0.key == hit }?.value
            }
        }
        return try config.number(key)
    }

    /// The same for a positive whole number; where `zeroIsNil`, 0 says that the key is not used.
    func count(_ key: ExactString, pattern: ExactString? = nil, zeroIsNil: Bool = false) throws -> Int? {
        guard let number = try number(key, pattern: pattern), !(zeroIsNil && number == 0) else { return nil }
        guard let count = Int(exactly: number), count > 0 else { throw config.wrong(key, "a positive whole number") }
        return count
    }

    /// A value of the config on which the scale of the update depends.
    func required<Value>(_ value: Value?, _ key: ExactString) throws -> Value {
        guard let value else {
            throw PeftfileError(
                .refused, "has no \(key), and the scale of the update depends on it", file: config.path, rule: "AlphaMissing",
                help: "add the \(key) of the training run (PEFT would silently assume its default)")
        }
        return value
    }

    /// What the config says of a tensor's size must be what the tensor has: PEFT makes the tensor by the config, and would load
    /// nothing into it.
    ///
    /// - Parameters:
    ///   - stored: the size that the tensor has.
    ///   - pattern: the key that gives single modules another value.
    func require(
        _ key: ExactString, is stored: Int, of name: String, pattern: ExactString? = nil, zeroIsNil: Bool = false
    ) throws {
        guard let configured = try count(key, pattern: pattern, zeroIsNil: zeroIsNil) else { return }
        try require("\(key) \(configured)", stored == configured, "\(key) is \(stored)", of: name, pattern: pattern)
    }

    /// The same for what the keys together make of a tensor.
    func require(
        _ configured: String, _ agrees: Bool, _ stored: String, of name: String, pattern: ExactString? = nil
    ) throws {
        guard !agrees else { return }
        let info = try tensor(name)
        throw PeftfileError(
            .refused, "has shape \(info.shape), by which \(stored), and the config says \(configured)", tensor: info.name,
            rule: "ConfigMismatch",
            help: "correct adapter_config.json\(pattern.map { " or its \($0)" } ?? ""), or save the adapter again")
    }

    /// The rank: what the config says of this module must be what the tensors have.
    ///
    /// - Parameter scales: whether the rank is part of the update's scale.
    func requireRank(
        _ stored: Int, of name: String, pattern: ExactString? = "rank_pattern", scales: Bool = false
    ) throws {
        guard let rank = try count("r", pattern: pattern), rank != stored else { return }
        throw PeftfileError(
            .refused, "has rank \(stored), and the config says \(rank): "
                + (scales ? "the scale would be wrong" : "config and tensors are of two adapters"),
            tensor: try tensor(name).name, rule: "RankMismatch",
            help: "correct r\(pattern == nil ? "" : " or rank_pattern") in adapter_config.json")
    }
}

/// Names of tensors, shared by the copies of a module.
private final class ReadTensors: Sendable {
    private let names = Mutex<Set<ExactString>>([])

    func insert(_ name: ExactString) { names.withLock { _ = $0.insert(name) } }
    func contains(_ name: ExactString) -> Bool { names.withLock { $0.contains(name) } }
}

extension [UInt8] {
    /// Little-endian integers.
    fileprivate func numbers<Number: FixedWidthInteger>(_ type: Number.Type) -> [Number] {
        let size = MemoryLayout<Number>.size
        return withUnsafeBytes { bytes in
            (0..<(bytes.count / size)).map {
                Number(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * size, as: Number.self))
            }
        }
    }
}
