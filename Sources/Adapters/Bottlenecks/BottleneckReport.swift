public import ByteAccess
public import Checkpoints
import Tensors

/// What a file of bottleneck adapters holds, and what about it is not as its library writes it.
public struct BottleneckReport: Sendable {
    /// The adapters, one for each place in the model.
    public let modules: [BottleneckModule]
    /// The width of the model, where all adapters agree.
    public let hidden: Int?
    /// The widths of the bottlenecks, each once, from the smallest.
    public let bottlenecks: [Int]
    /// `reduction_factor` of the config: hidden / bottleneck; nil where it differs from layer to layer.
    public let reductionFactor: Double?
    /// The function between the projections, as the config names it.
    public let nonLinearity: String?
    /// The transformer layers that have an adapter.
    public let layers: [Int]
    /// What is missing or does not fit.
    public let defects: [Defect]
    /// The same in words.
    public var findings: [String] { defects.map(\.text) }

    /// Something that is missing or does not fit.
    public struct Defect: Sendable, Hashable {
        /// What sort of defect it is.
        public enum Kind: Sendable, Hashable {
            /// Half of a pair, projections that do not meet, a bias of another width.
            case pair
            /// A bottleneck that the config contradicts.
            case width
            /// A name, a bias or a layer that one would expect.
            case coverage
        }
        /// What sort of defect it is.
        public var kind: Kind
        /// The defect in words.
        public var text: String
    }

    /// - Parameter config: `adapter_config.json` of the adapters library, or OpenDelta's `config.json`.
    init?(among tensors: [PromptTensor], config: AdapterConfig?) throws {
        modules = BottleneckModule.modules(among: tensors)
        guard !modules.isEmpty else { return nil }
        let section = try AdapterHubConfig.section(config) ?? (config?.peftType == nil ? config : nil)
        let widths = Set(modules.compactMap { $0.down?.shape.last })
        hidden = widths.count == 1 ? widths.first : nil
        bottlenecks = Set(modules.compactMap { $0.down?.shape.first }).sorted()
        reductionFactor = section?["reduction_factor"]?.doubleValue
        nonLinearity = section?["non_linearity"]?.stringValue
        layers = Set(modules.compactMap(\.layer)).sorted()
        var defects: [Defect] = []
        for module in modules where !module.isFactored {
            defects += BottleneckReport.findings(of: module)
            if let text = try BottleneckReport.widthFinding(of: module, section) {
                defects.append(Defect(kind: .width, text: text))
            }
        }
        let soft = BottleneckReport.nameFindings(modules, config) + (try BottleneckReport.coverageFindings(modules, section))
        self.defects = defects + soft.map { Defect(kind: .coverage, text: $0) }
    }

    /// Pairs, biases, and widths that meet.
    private static func findings(of module: BottleneckModule) -> [Defect] {
        let path = module.root.printable
        guard let down = module.down, let up = module.up else {
            return [
                Defect(
                    kind: .pair,
                    text: "\(path): has no \(module.down == nil ? "down" : "up")-projection; half of a pair is no adapter")
            ]
        }
        guard down.shape.count == 2, up.shape.count == 2, up.shape == [down.shape[1], down.shape[0]] else {
            return [
                Defect(kind: .pair, text: "\(path): down-projection \(down.shape) and up-projection \(up.shape) do not meet")
            ]
        }
        var result: [Defect] = []
        for (bias, what, width) in [(module.downBias, "down", down.shape[0]), (module.upBias, "up", up.shape[0])] {
            if bias == nil { result.append(Defect(kind: .coverage, text: "\(path): the \(what)-projection has no bias")) }
            if let bias, bias.shape != [width] {
                result.append(
                    Defect(
                        kind: .pair,
                        text: "\(path): the \(what)-projection's bias has shape \(bias.shape), expected \([width])"))
            }
        }
        return result
    }

    /// The bottleneck against the config: hidden / reduction_factor, at least 1, or OpenDelta's bottleneck_dim.
    private static func widthFinding(of module: BottleneckModule, _ section: AdapterConfig?) throws -> String? {
        guard let section, let down = module.down, down.shape.count == 2 else { return nil }
        let (bottleneck, hidden) = (down.shape[0], down.shape[1])
        if let wanted = try section.count("bottleneck_dim"), wanted != bottleneck {
            return "\(module.root.printable): the bottleneck is \(bottleneck), and bottleneck_dim says \(wanted)"
        }
        var factor = section["reduction_factor"]?.doubleValue
        if let map = section["reduction_factor"]?.objectValue {
            factor = (module.layer.flatMap { map[ExactString(String($0))] } ?? map["default"])?.doubleValue
        }
        guard let factor, factor > 0, factor.isFinite else { return nil }
        let wanted = max(1, Int((Double(hidden) / factor).rounded(.down)))
        guard wanted != bottleneck else { return nil }
        return "\(module.root.printable): the bottleneck is \(bottleneck), and hidden \(hidden) / reduction_factor "
            + "\(section["reduction_factor"]?.serialized() ?? "") makes it \(wanted)"
    }

    private static func nameFindings(_ modules: [BottleneckModule], _ config: AdapterConfig?) -> [String] {
        guard let wanted = config?["name"]?.stringValue else { return [] }
        let others = Set(modules.compactMap(\.name)).subtracting([wanted]).sorted()
        return others.map { "an adapter is named \"\($0.printable)\" in the tensors, and the config says \"\(wanted.printable)\"" }
    }

    /// At every location the layers from 0 to the last one, but those that the config leaves out.
    private static func coverageFindings(_ modules: [BottleneckModule], _ section: AdapterConfig?) throws -> [String] {
        let last = modules.compactMap(\.layer).max() ?? 0
        let leftOut = try section?["leave_out"].map { try section?.indices($0, key: "leave_out") ?? [] } ?? []
        var found: [ExactString: Set<Int>] = [:]
        var order: [String] = []
        for module in modules {
            guard let layer = module.layer else { continue }
            if found[ExactString(module.location)] == nil { order.append(module.location) }
            found[ExactString(module.location), default: []].insert(layer)
        }
        // A hostile index would make a list without end.
        guard last < 1 << 16 else { return ["a layer has the index \(last)"] }
        return order.compactMap { location in
            let missing = (0...last).filter { !leftOut.contains($0) && found[ExactString(location)]?.contains($0) != true }
            guard !missing.isEmpty else { return nil }
            return "\(location.printable): no adapter in layer\(missing.count > 1 ? "s" : "") "
                + missing.prefix(12).map(String.init).joined(separator: ", ") + (missing.count > 12 ? " …" : "")
        }
    }

    /// The bottleneck adapters of an adapter; nil where it has none, or its config cannot be read.
    public static func of(_ checkpoint: Checkpoint, config: AdapterConfig?) -> BottleneckReport? {
        try? BottleneckReport(among: checkpoint.tensors.map { PromptTensor($0) }, config: config)
    }

    /// The adapters whose up-projection is zero everywhere: they give back what they get, as before training.
    ///
    /// - Parameter isZero: whether all elements of a tensor are zero; asked for the numbers of `--stats`.
    public func untrained(where isZero: (ExactString) -> Bool) -> [String] {
        modules.filter { module in
            guard let up = module.up, isZero(up.stored) else { return false }
            return module.upBias.map { isZero($0.stored) } ?? true
        }.map(\.root)
    }

    /// What `inspect --json` says.
    public func json(untrained: [String]?) -> JSONValue {
        func number(_ value: Int?) -> JSONValue { value.map { .number(JSONNumber($0)) } ?? .null }
        return .object([
            "library": .string(modules[0].library.rawValue),
            "adapters": .number(JSONNumber(modules.count)),
            "hidden": number(hidden),
            "bottleneck": .array(bottlenecks.map { .number(JSONNumber($0)) }),
            "reduction_factor": reductionFactor.map { .number(JSONNumber($0)) } ?? .null,
            "non_linearity": nonLinearity.map { .string($0) } ?? .null,
            "layers": .array(layers.map { .number(JSONNumber($0)) }),
            "findings": .array(findings.map { .string($0) }),
            "untrained": untrained.map { .array($0.map { .string($0) }) } ?? .null,
        ])
    }
}
