public import Adapters
import ByteAccess
public import Checkpoints
import Tensors

/// Whether an adapter in another dialect makes the update that its source makes: both are read as their dialects are
/// read, and compared module by module.
///
/// A conversion copies or turns factors and never rounds them. So every element of A, B, bias and magnitude, of LoHa's and
/// LoKr's factors, and every scale s must be the same number, and both dialects must make the same product of LoHa's and LoKr's
/// factors. Only llama.cpp's files, which have one scale for all modules, may hold another s with the rest multiplied into B;
/// there s·B must be the same to 2⁻⁵⁰ of itself, or to 2⁻²², two roundings to F32, where the conversion was allowed to round. MLX'
/// have one rank as well: there rows of A and columns of B behind the source's must be zero. A
/// repaired adapter of PEFT has the source's tensors byte for byte, whatever its method.
public struct ConversionComparison: Sendable {
    /// A module or a tensor that is not as it should be.
    public struct Fault: Sendable, Hashable {
        /// The module, or the tensor.
        public var name: String
        /// What is wrong, in words.
        public var reason: String
    }

    /// How the two are read.
    public struct Reading: Sendable {
        /// The models whose names the modules have.
        public var bases: [PipelineBase]
        /// The heads of the base, where nothing else counts them.
        public var heads: GGUFHeads?
        /// What the source's file leaves open.
        public var binding: BindingOptions
        /// How much of a module's name the result has.
        public var names: PortableAdapter.Names
        /// Whether the parts of a pipeline were given another name by the caller.
        public var renamesComponent: Bool
        /// Whether scales may be rounded to F32.
        public var roundsScale: Bool
        /// Whether a file of PEFT's has the names of the Hub's files, for another loader, and not those in memory.
        public var hasFileNames: Bool

        /// How both sides are read. By default no base is at hand, names are paths in memory of one model, components keep their names,
        /// and scales are not rounded.
        public init(
            bases: [PipelineBase] = [], heads: GGUFHeads? = nil, binding: BindingOptions = BindingOptions(),
            names: PortableAdapter.Names = .inMemory, renamesComponent: Bool = false, roundsScale: Bool = false, hasFileNames: Bool = false
        ) {
            (self.bases, self.heads, self.binding, self.names) = (bases, heads, binding, names)
            (self.renamesComponent, self.roundsScale, self.hasFileNames) = (renamesComponent, roundsScale, hasFileNames)
        }
    }

    /// Modules that were compared; tensors, where the result is a repaired adapter.
    public private(set) var compared = 0
    /// What was compared.
    public private(set) var isRepair = false
    /// Numbers that were compared.
    public private(set) var elements = 0
    /// The largest difference of s·B, relative to itself; 0 where all factors are the same numbers.
    public private(set) var worst = 0.0
    /// What is wrong.
    public private(set) var faults: [Fault] = []

    private let progress: (@Sendable (UInt64) -> Void)?
    /// Whether zeros may stand behind a factor of the source.
    private let mayPad: Bool

    /// Whether the two make the same update.
    public var isEquivalent: Bool { faults.isEmpty && compared > 0 }

    /// - Parameter progress: called with bytes of the result that have just been compared.
    /// - Throws: what reading throws: `.refused` where the result is no adapter that its dialect holds.
    public init(source: Adapter, result: Adapter, reading: Reading, progress: (@Sendable (UInt64) -> Void)? = nil) throws {
        self.progress = progress
        mayPad = result.dialectName == "mlx"
        if reading.names == .inMemory, source.dialectName == nil, result.dialectName == nil, source.config?.peftType != nil {
            isRepair = true
            try compareTensors(source, result, reading)
            return
        }
        // Names with underscores, and below a component, are told without the base that made them.
        let own = reading.names == .inMemory ? reading.bases : []
        var settled = BindingOptions()
        settled.squareOrientation = reading.binding.squareOrientation
        if reading.names != .dotted,
            let first = try PortableProducts(
                source, bases: reading.bases, options: reading.binding, toPEFT: reading.names == .inMemory, isProof: true),
            let second = try PortableProducts(
                result, bases: own, options: settled, toPEFT: reading.names == .inMemory, isProof: true)
        {
            try compare(first.modules.map(Entry.init), first.adapter, second.modules.map(Entry.init), second.adapter, reading)
            return
        }
        let first: PortableAdapter
        do {
            first = try PortableAdapter(
                source, bases: reading.bases, heads: reading.heads, options: reading.binding, names: reading.names)
        } catch let refusal as PeftfileError where refusal.rule == "NotConvertible" && reading.names == .underscored {
            guard let file = try LycorisFile(source, bases: reading.bases, options: reading.binding) else { throw refusal }
            try compareCopies(of: file.tensors, source, result)
            return
        }
        if reading.names == .inMemory, !reading.hasFileNames, result.dialectName == nil, result.config?.peftType != nil,
            let comparison = try MemoryComparison(
                first, NamesInMemory(of: first.adapter, bases: reading.bases), result, tolerance: reading.roundsScale ? 0x1p-22 : 0x1p-50)
        {
            (compared, elements, faults) = (comparison.compared, comparison.elements, comparison.faults)
            return
        }
        let second = try PortableAdapter(result, bases: own, heads: reading.heads, options: settled, names: reading.names)
        try compare(first.modules.map(Entry.init), first.adapter, second.modules.map(Entry.init), second.adapter, reading)
    }

    /// A module of either kind.
    private struct Entry {
        let path: ExactString
        let component: String?
        let own: ExactString
        let scale: Double
        /// What must be the same number by number.
        let factors: [(name: String, info: TensorInfo)]
        /// B, into which a scale may be multiplied.
        let left: TensorInfo?
        /// What the file's library makes of the factors, where that is more than B·A.
        let product: MatrixExpression?

        init(_ module: PortableAdapter.Module) {
            (path, component, own, scale, left, product) = (module.path, module.component, module.own, module.scale, module.b, nil)
            factors = [("A", module.a)] + (module.bias.map { [("bias", $0)] } ?? []) + (module.magnitude.map { [("magnitude", $0)] } ?? [])
        }

        init(_ module: PortableProducts.Module) {
            (path, component, own, scale, left, product) = (module.path, module.component, module.own, module.scale, nil, module.product)
            factors = module.factors
        }

        /// The layer of FLUX.1's own that it is, or is a part of.
        var layer: OriginalLayer? { OriginalLayer(flux: own.text) }

        /// Whether it is one of several layers of the result's, or turned there.
        func isPart(of other: Entry?) -> Bool {
            guard let layer, let other, other.own.text.map({ $0 == "." ? "_" : $0 }) == Array(layer.name) else { return false }
            return layer.isFused || layer.isSwapped
        }

        /// The factors, where it is LoRA or DoRA.
        var matrices: FusedLayerComparison.Factors? {
            guard let left, let a = factors.first(where: { $0.name == "A" })?.info else { return nil }
            return .init(a: a, b: left, magnitude: factors.first { $0.name == "magnitude" }?.info, scale: scale)
        }

        /// The names that the module may have in the result: kohya's files have one of several for a layer of a UNet.
        func keys(_ names: PortableAdapter.Names, _ usesComponent: Bool) -> [String] {
            // What has no component stands under the base's own path, where one is named.
            guard names != .inMemory else { return [component == nil ? own.text : path.text] }
            // What names no component is the denoiser's or the first text encoder's.
            let parts = component.map { [PipelineComponent($0)] } ?? [.denoiser, .textEncoder(1)]
            var isEncoder = false
            if case .textEncoder = parts[0] { isEncoder = true }
            let layer = parts[0] == .denoiser ? OriginalLayer(flux: own.text) : nil
            let spellings = names == .dotted
                ? [isEncoder ? PipelineComponent.transformersPath(own.text) : PipelineComponent.diffusersPath(own.text)]
                : [own.text] + parts.flatMap { part in [false, true].map { PipelineComponent.kohyaPath(own.text, of: part, isLarge: $0) } }
                    + (layer.map { [$0.name] } ?? [])
            return ([parts[0]] + places).flatMap { part in
                spellings.map { spelling in
                    let name = String(spelling.map { $0 == "." ? "_" : $0 })
                    return usesComponent && component != nil ? "\(part):\(name)" : name
                }
            }
        }

        /// What T5 may be in the other vocabulary: kohya's files have one name for it, and diffusers counts the text encoders of a pipeline.
        private var places: [PipelineComponent] {
            guard let component, PipelineComponent.isT5Path(own.text) else { return [] }
            switch component {
            case "lora_te3": return [.textEncoder(2), .textEncoder(1)]
            case "text_encoder_2": return [.textEncoder(3)]
            default: return []
            }
        }
    }

    private mutating func compare(
        _ a: [Entry], _ adapterA: Adapter, _ b: [Entry], _ adapterB: Adapter, _ reading: Reading
    ) throws {
        let usesComponent = !reading.renamesComponent && (a + b).allSatisfy { $0.component != nil }
        let found = b.map { $0.keys(reading.names, usesComponent)[0] }
        let others = Dictionary(zip(found, b)) { first, _ in first }
        let wanted = a.map { entry in
            let names = entry.keys(reading.names, usesComponent)
            return names.first { others[$0] != nil } ?? names[0]
        }
        let keys = (wanted, found)
        let numbers = (AdapterNumbers(adapters: [adapterA]), AdapterNumbers(adapters: [adapterB]))
        // Layers of diffusers that are parts of one of the result's.
        let tolerance = reading.roundsScale ? 0x1p-22 : 0x1p-50
        let fused = reading.names == .underscored ? a.indices.filter { a[$0].isPart(of: others[keys.0[$0]]) } : []
        for key in Set(fused.map { keys.0[$0] }).sorted() {
            guard let whole = others[key]?.matrices else { continue }
            let parts = fused.filter { keys.0[$0] == key }.compactMap { index in a[index].layer.flatMap { layer in a[index].matrices.map { (layer, $0) } } }
            let comparison = try FusedLayerComparison(parts, numbers.0, whole, numbers.1, tolerance: tolerance)
            compared += parts.count
            elements += comparison.elements
            faults += comparison.reasons.map { Fault(name: key, reason: $0) }
        }
        let (single, isFused) = (keys.0.indices.filter { !fused.contains($0) }, Set(fused.map { keys.0[$0] }))
        let isTwice = Set(single.map { keys.0[$0] }).count != single.count || Set(keys.1).count != keys.1.count
        if isTwice { faults.append(Fault(name: adapterB.path, reason: "two modules have one name")) }
        for (key, entry) in single.map({ (keys.0[$0], a[$0]) }) {
            guard !isFused.contains(key), let other = others[key] else {
                faults.append(Fault(name: entry.path.text, reason: "is not in the result"))
                continue
            }
            compared += 1
            try compare(entry, numbers.0, other, numbers.1, tolerance: tolerance)
        }
        let known = Set(keys.0)
        for (key, entry) in zip(keys.1, b) where !known.contains(key) {
            faults.append(Fault(name: entry.path.text, reason: "is in the result alone"))
        }
    }

    private mutating func compare(
        _ a: Entry, _ numbersA: AdapterNumbers, _ b: Entry, _ numbersB: AdapterNumbers, tolerance: Double
    ) throws {
        func fault(_ reason: String) { faults.append(Fault(name: a.path.text, reason: reason)) }
        guard a.factors.map(\.name) == b.factors.map(\.name), (a.left == nil) == (b.left == nil) else {
            return fault("has \(b.factors.map(\.name)), expected \(a.factors.map(\.name))")
        }
        // Only MLX' dialect has zeros behind smaller factors.
        let width = a.left?.shape.last ?? 0
        let isPadded = mayPad && b.left?.shape.count == 2 && (b.left?.shape[1] ?? 0) > width
        for (first, second) in zip(a.factors, b.factors) {
            var values = (
                try numbersA.elements(of: first.info.name, adapter: 0), try numbersB.elements(of: second.info.name, adapter: 0))
            elements += values.0.count
            progress?(second.info.byteCount)
            if isPadded, first.name == "A", first.info.shape.last == second.info.shape.last {
                let count = values.0.count
                guard values.1.dropFirst(count).allSatisfy({ $0 == 0 }) else { return fault("A has more than zeros behind its \(width) rows") }
                values.1 = Array(values.1.prefix(count))
            }
            // A magnitude is one number for each output, whatever ones stand around it.
            guard first.name == "magnitude" || isPadded && first.name == "A" || first.info.shape == second.info.shape, values.0.count == values.1.count else {
                return fault("\(first.name) has shape \(second.info.shape), expected \(first.info.shape)")
            }
            let wrong = zip(values.0, values.1).count { $0.bitPattern != $1.bitPattern }
            if wrong > 0 { fault("\(wrong) of \(values.0.count) elements of \(first.name) differ") }
        }
        guard let left = a.left, let other = b.left else {
            if a.scale != b.scale { fault("has scale \(b.scale), expected \(a.scale)") }
            if a.product != b.product { fault("its factors have another product in the result's dialect than in the source's") }
            return
        }
        guard left.shape == other.shape || isPadded && left.shape[0] == other.shape[0] else {
            return fault("B has shape \(other.shape), expected \(left.shape)")
        }
        var values = (try numbersA.elements(of: left.name, adapter: 0), try numbersB.elements(of: other.name, adapter: 0))
        if isPadded {
            let columns = other.shape[1]
            guard values.1.indices.allSatisfy({ $0 % columns < width || values.1[$0] == 0 }) else {
                return fault("B has more than zeros behind its \(width) columns")
            }
            values.1 = values.1.indices.filter { $0 % columns < width }.map { values.1[$0] }
        }
        elements += values.0.count
        progress?(other.byteCount)
        if a.scale == b.scale, zip(values.0, values.1).allSatisfy({ $0.bitPattern == $1.bitPattern }) { return }
        var wrong = 0
        for (x, y) in zip(values.0, values.1) {
            let (expected, found) = (a.scale * x, b.scale * y)
            if expected == found || expected.isNaN && found.isNaN { continue }
            let error = abs(found - expected) / max(abs(expected), .leastNormalMagnitude)
            worst = max(worst, error.isNaN ? .infinity : error)
            if !(error <= tolerance) { wrong += 1 }
        }
        if wrong > 0 { fault("\(wrong) of \(values.0.count) elements of \(a.scale)·B differ") }
    }

    /// The result is the source's own file, or a part of it: the same tensors, byte for byte.
    private mutating func compareCopies(of names: [ExactString], _ a: Adapter, _ b: Adapter) throws {
        var others = Set(b.checkpoint.tensors.map(\.name))
        for name in names {
            guard let tensor = a.checkpoint[name], let other = b.checkpoint[name], others.remove(name) != nil else {
                faults.append(Fault(name: name.text, reason: "is not in the result"))
                continue
            }
            compared += 1
            elements += tensor.info.elementCount
            progress?(other.byteCount)
            if tensor.dtype != other.dtype || tensor.shape != other.shape {
                faults.append(Fault(name: name.text, reason: "has another dtype or shape than in the source"))
            } else if try a.checkpoint.read(tensor) != b.checkpoint.read(other) {
                faults.append(Fault(name: name.text, reason: "has other bytes than in the source"))
            }
        }
        for name in others.sorted() { faults.append(Fault(name: name.text, reason: "is in the result alone")) }
    }

    /// Both are PEFT's: the same tensors under names that mean the same, and the same config.
    private mutating func compareTensors(_ a: Adapter, _ b: Adapter, _ reading: Reading) throws {
        let experts = try UnslothExperts(of: a)
        let order = try experts.order(reading.binding)
        let repaired = try RepairedAdapter(a, bases: reading.bases, options: reading.binding, isRepair: true)
        var others = Dictionary(b.keys.map { ($0.canonical, $0.stored) }) { first, _ in first }
        for key in repaired.adapter.keys where key.component != "original_module" {
            guard let tensor = a.checkpoint[key.stored], let name = others.removeValue(forKey: key.canonical),
                let other = b.checkpoint[name]
            else {
                faults.append(Fault(name: key.stored.text, reason: "is not in the result"))
                continue
            }
            compared += 1
            elements += tensor.info.elementCount
            progress?(other.byteCount)
            if tensor.dtype != other.dtype || tensor.shape != other.shape {
                faults.append(Fault(name: name.text, reason: "has another dtype or shape than in the source"))
            } else if order == .expertMajor, let stack = experts.stacks.first(where: { $0.tensor == key.stored }) {
                let values = try (a.checkpoint.read(tensor), b.checkpoint.read(other))
                if !isRankMajor(values.1, of: values.0, stack, size: tensor.dtype.bits / 8) {
                    faults.append(Fault(name: name.text, reason: "is not the source's with its columns in PEFT's order"))
                }
            } else if try a.checkpoint.read(tensor) != b.checkpoint.read(other) {
                faults.append(Fault(name: name.text, reason: "has other bytes than in the source"))
            }
        }
        for name in others.values.sorted() { faults.append(Fault(name: name.text, reason: "is in the result alone")) }
        var expected = repaired.adapter.config?.json
        if order != nil, var mapping = expected?["auto_mapping"]?.objectValue {
            mapping["unsloth_fixed"] = nil
            expected?["auto_mapping"] = .object(mapping)
        }
        if expected != b.config?.json { faults.append(Fault(name: "adapter_config.json", reason: "is not the source's")) }
    }

    /// Whether column k·E + e of each row is the source's column e·r + k.
    private func isRankMajor(_ bytes: [UInt8], of source: [UInt8], _ stack: UnslothExperts.Stack, size: Int) -> Bool {
        let width = stack.experts * stack.rank
        guard bytes.count == source.count, bytes.count % (width * size) == 0 else { return false }
        for column in 0..<(bytes.count / size) {
            let (k, e) = (column % width / stack.experts, column % width % stack.experts)
            let from = column - column % width + e * stack.rank + k
            for byte in 0..<size where bytes[column * size + byte] != source[from * size + byte] { return false }
        }
        return true
    }
}
