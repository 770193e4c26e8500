import ByteAccess
import Tensors

/// The modules of a base under the names that a pipeline's files give them.
///
/// A base is one component of a pipeline, or a whole pipeline in one file, where each component has a front of its own
/// (`model.diffusion_model.`). Within a component a module is known by its path, or by its path with `_` for `.`.
struct BaseModules {
    /// Fronts of the denoiser in files that hold more.
    static let denoiserFronts = [
        "", "unet.", "transformer.", "model.diffusion_model.", "diffusion_model.", "model.",
    ]
    /// Fronts of text encoders, by the number that kohya and diffusers give them.
    private static let encoderFronts: [[String]] = [
        ["", "text_encoder.", "cond_stage_model.transformer.", "cond_stage_model.model.", "conditioner.embedders.0.transformer.",
         "text_encoders.clip_l.transformer."],
        ["", "text_encoder_2.", "conditioner.embedders.1.model.", "text_encoders.clip_g.transformer."],
        ["", "text_encoder_3.", "text_encoders.t5xxl.transformer."],
    ]

    let base: BaseDirectory
    /// Paths of modules, those with a `.weight` and those of bare parameters.
    private let paths: [String]
    /// The models whose own repository has the denoiser's names.
    let tables: [LayerTable]
    /// Modules of diffusers that the base holds as rows or under other names, with the shapes of their weights.
    private let rows: [String: Shape]

    init(_ base: BaseDirectory) {
        self.base = base
        var seen: Set<ExactString> = []
        var paths: [String] = []
        for name in base.names {
            if base.modelTypes.isEmpty, OriginalRows.isBare(name.text), seen.insert(name).inserted { paths.append(name.text) }
            guard let dot = name.text.utf8.lastIndex(of: UInt8(ascii: ".")) else { continue }
            let path = ExactString(String(name.text[..<dot]))
            if seen.insert(path).inserted { paths.append(path.text) }
            paths += OpenCLIPNames.thirds(of: name.text)
        }
        // A head that is stored as the embedding it is tied to is a module all the same; neither lies in a layer.
        let names = NameResolver(base: base)
        for name in base.names where name.text.hasSuffix(".weight") && !name.text.dottedComponents.contains(where: { $0.isDecimal }) {
            for partner in names.tiedPartners(of: name) where partner.text.hasSuffix(".weight") {
                let path = ExactString(String(partner.text.dropLast(".weight".count)))
                if seen.insert(path).inserted { paths.append(path.text) }
            }
        }
        tables = LayerTable.tables(of: base)
        var rows: [String: Shape] = [:]
        for (path, shape) in OriginalRows.modules(of: base, tables) where seen.insert(ExactString(path)).inserted {
            rows[path] = shape
            paths.append(path)
        }
        self.rows = rows
        self.paths = paths
    }

    /// Whether every module of a component is there.
    ///
    /// - Throws: `.refused` where two modules of the base have one name with underscores.
    func hasAll(_ modules: [DialectModule], component: String?) throws(PeftfileError) -> Bool {
        let names = Set(modules.map(\.name))
        guard let naming = modules.first?.naming else { return false }
        return try places(of: Array(names), component: component ?? "transformer", naming: naming).count == names.count
    }

    /// The number of a text encoder, from 1; nil for a denoiser.
    static func encoder(_ component: String) -> Int? {
        guard let range = ["lora_te", "oft_te", "text_encoder_", "text_encoder"].first(where: component.hasPrefix) else {
            return nil
        }
        return Int(component.dropFirst(range.count)) ?? 1
    }

    /// The fronts under which a component may stand in the base.
    static func fronts(of component: String) -> [String] {
        guard let number = encoder(component) else { return denoiserFronts }
        return encoderFronts.indices.contains(number - 1) ? encoderFronts[number - 1] : [""]
    }

    /// Where a module is.
    struct Place {
        /// The base's path.
        let path: ExactString
        /// The path below the component, spelt as the adapter spells it and with its dots.
        let own: ExactString
    }

    /// For each module name of a component its place, under the front that places most of them.
    ///
    /// - Throws: `.refused` where two modules of the base have one name with underscores.
    func places(
        of names: [ExactString], component: String, naming: DialectModule.Naming
    ) throws(PeftfileError) -> [ExactString: Place] {
        var best: [ExactString: Place] = [:]
        for front in BaseModules.fronts(of: component) {
            let found = try places(of: Set(names), front: front, isEncoder: BaseModules.encoder(component) != nil, naming)
            if found.count > best.count { best = found }
            if best.count == names.count { break }
        }
        return best
    }

    private func places(
        of names: Set<ExactString>, front: String, isEncoder: Bool, _ naming: DialectModule.Naming
    ) throws(PeftfileError) -> [ExactString: Place] {
        var found: [ExactString: Place] = [:]
        for path in paths where path.hasPrefix(front) {
            let own = String(path.dropFirst(front.count))
            var spellings = [own]
            // CLIP's text model is stored with and without its own name in front.
            if isEncoder {
                spellings += OpenCLIPNames.aliases(of: own)
                spellings += spellings.map { $0.hasPrefix("text_model.") ? String($0.dropFirst(11)) : "text_model." + $0 }
            }
            for spelling in spellings + DenoiserNames.aliases(of: own) {
                let name = ExactString(naming == .path ? spelling : String(spelling.map { $0 == "." ? "_" : $0 }))
                guard names.contains(name) else { continue }
                let place = Place(path: ExactString(path), own: ExactString(spelling))
                if let other = found.updateValue(place, forKey: name), other.path != place.path {
                    throw PeftfileError(
                        .refused,
                        "the module \"\(name)\" of the adapter is \"\(other.path)\" or \"\(path)\" of the base, and with _ for . the file's "
                            + "names cannot tell them apart",
                        rule: "AmbiguousName", help: "export it again from the trainer with dots in its names, as PEFT's and diffusers' files have them")
                }
            }
        }
        return found
    }

    /// The shape of a module's weight.
    func shape(of path: ExactString) -> [Int]? {
        if let shape = base.shape(path.text + ".weight") ?? rows[path.text] { return shape }
        guard let whole = OpenCLIPNames.whole(of: path.text), let shape = base.shape(whole), let rows = shape.first else { return nil }
        return [rows / 3] + shape.dropFirst()
    }

    /// A front under which the base holds the text encoder that a component is, whether or not its modules are known; nil for a
    /// denoiser, whose fronts say less.
    func frontHeld(of component: String) -> String? {
        guard BaseModules.encoder(component) != nil else { return nil }
        return BaseModules.fronts(of: component).first { front in
            !front.isEmpty && base.names.contains { $0.text.utf8.starts(with: front.utf8) }
        }
    }
}
