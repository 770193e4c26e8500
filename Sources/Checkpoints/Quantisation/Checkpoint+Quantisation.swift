public import ByteAccess
import Tensors

/// Recognition: the stored checkpoint with its quantised weights in the place of their codes.
extension Checkpoint {
    /// The same checkpoint as a plain one, where its weights are quantised.
    ///
    /// Never throws: a scheme that cannot be read leaves the tensors as they are stored, with the reason in
    /// `quantisation.problem`.
    func dequantised() -> Checkpoint {
        // A GGUF file says itself what its tensors are; the config beside it may speak of another form of the model.
        let (settings, method) =
            isGGUF ? (nil, nil) : Checkpoint.quantisationSettings(config: config, directory: FileSystem.directoryOf(self))
        var scheme: (any QuantisationScheme.Type)?
        if let method {
            scheme = QuantisationSchemes.all.first { $0.methods.contains(method) }
            guard scheme != nil else {
                return with(
                    problem: QuantisationRule.unknownScheme.broken(
                        method.isEmpty ? "quant_method \"\"" : method, "this quantisation is not known, and codes must not be taken for numbers",
                        tensor: tensors.first { !$0.dtype.isMergeable }?.name,
                        help: "dequantise the base with the library that wrote it, then merge"), scheme: method)
            }
        } else {
            // Every scheme keeps something that is no float: most checkpoints are told from quantised ones by that alone.
            guard tensors.contains(where: { !$0.dtype.isMergeable }) else { return self }
            scheme = (isGGUF ? [GGUFBlocks.self] : QuantisationSchemes.all).first { $0.isMarked(self) }
        }
        guard let scheme else { return self }
        var base = QuantisedBase(self, settings: settings ?? JSONObject(), method: method, title: scheme.name)
        do {
            try scheme.read(&base)
            try base.requireNothingLeft(of: scheme)
        } catch {
            return with(problem: error.about(base.firstCodes), scheme: base.title)
        }
        guard !base.weights.isEmpty else {
            // A config that speaks of codes which are not there: every tensor is a number already.
            guard method != nil else { return self }
            return Checkpoint(
                stored: self, tensors: tensors,
                quantisation: Quantisation(
                    scheme: base.title,
                    warnings: ["config.json says \(base.title), and no tensor is stored so: they are taken as numbers"],
                    dtype: Quantisation.dtype(of: config), components: ComponentReader(self)))
        }
        return replacing(base)
    }

    func with(problem: PeftfileError, scheme: String) -> Checkpoint {
        Checkpoint(
            stored: self, tensors: tensors,
            quantisation: Quantisation(scheme: scheme, dtype: Quantisation.dtype(of: config), problem: problem.inFile(path)))
    }

    /// The tensors with each weight in the place of its codes, without the companions.
    private func replacing(_ base: QuantisedBase) -> Checkpoint {
        let weights = base.weights.sorted {
            (position(of: $0.codes.name) ?? 0) < (position(of: $1.codes.name) ?? 0)
        }
        let places = Dictionary(weights.enumerated().map { ($1.codes.name, $0) }) { first, _ in first }
        let gone = Set((weights.flatMap(\.components) + base.dropped).map(\.name))
        var plain: [StoredTensor] = []
        for tensor in tensors {
            if let weight = places[tensor.name] {
                plain.append(StoredTensor(weights[weight], at: weight, shard: tensor.shard))
            } else if !gone.contains(tensor.name) {
                plain.append(tensor)
            }
        }
        return Checkpoint(
            stored: self, tensors: StoredTensors(plain),
            quantisation: Quantisation(
                scheme: base.title, weights: weights, dropped: base.dropped, warnings: base.warnings,
                dtype: Quantisation.dtype(of: config), components: ComponentReader(self)))
    }

    /// Refuses a base that cannot be computed with, and says what its numbers show.
    ///
    /// - Throws: why the weights cannot be read.
    public func requireReadableWeights() throws -> [String] {
        guard let quantisation else { return [] }
        if let problem = quantisation.problem { throw problem }
        guard let components = quantisation.components else { return quantisation.warnings }
        var found: [String] = []
        var contested: [String: Int] = [:]
        for weight in quantisation.weights {
            do {
                guard let warning = try weight.inspect(components) else { continue }
                if contested.updateValue((contested[warning] ?? 0) + 1, forKey: warning) == nil {
                    found.append(warning)
                }
            } catch let error as PeftfileError {
                throw quantisation.ofScheme(error).inFile(path)
            }
        }
        return quantisation.warnings + found.map { "\(path): \(contested[$0] ?? 1) of \(quantisation.weights.count) quantised weights: \($0)" }
    }

    /// `quantization_config` and its method, or what older writers put in its place.
    static func quantisationSettings(config: JSONObject?, directory: String) -> (JSONObject?, String?) {
        for part in [config, config?["text_config"]?.objectValue] {
            if let mlx = part?["quantization"]?.objectValue, part?["quantization_config"]?["quant_method"] == nil {
                return (mlx, "mlx")
            }
            for key: ExactString in ["quantization_config", "compression_config"] {
                guard let settings = part?[key]?.objectValue else { continue }
                return (settings, method(of: settings))
            }
        }
        for name in ["quantize_config.json", "quant_config.json"] {
            guard let settings = json(FileSystem.join(directory, name)) else { continue }
            if let method = settings["quant_method"]?.stringValue { return (settings, method.lowercased()) }
            return (settings, name == "quantize_config.json" ? "gptq" : "awq")
        }
        return (nil, nil)
    }

    /// A JSON object in a file; nil where there is none.
    private static func json(_ path: String) -> JSONObject? {
        guard FileSystem.isRegularFile(path), let bytes = try? FileReader(path: path).allBytes(limit: configLimit) else { return nil }
        return try? JSONValue.parse(bytes, file: path, allowing: .python).objectValue
    }

    /// A JSON object in a file beside the weights; nil where there is none.
    func json(besides name: String) -> JSONObject? { Self.json(FileSystem.join(FileSystem.directoryOf(self), name)) }

    private static func method(of settings: JSONObject) -> String {
        if let method = settings["quant_method"]?.stringValue { return method.lowercased() }
        if let other = settings["quant_method"], !other.isNull { return "quant_method \(other.serialized())" }
        if settings["load_in_4bit"] != nil || settings["load_in_8bit"] != nil { return "bitsandbytes" }
        if settings["group_size"] != nil, settings["bits"] != nil { return settings["desc_act"] == nil ? "mlx" : "gptq" }
        return "a quantization_config without quant_method"
    }
}

extension FileSystem {
    /// The directory that a checkpoint's config stands in.
    static func directoryOf(_ checkpoint: Checkpoint) -> String {
        checkpoint.directory ?? FileSystem.directory(of: checkpoint.path)
    }
}

extension QuantisedBase {
    /// Codes that nobody claimed would pass for numbers, and companions without codes for weights.
    func requireNothingLeft(of scheme: any QuantisationScheme.Type) throws(PeftfileError) {
        // A GGUF file says of each tensor what it is: its integers are numbers, and no codes.
        guard !checkpoint.isGGUF else { return }
        for tensor in tensors where !isClaimed(tensor) {
            let text = tensor.name.text
            if scheme.marks.contains(where: text.hasSuffix) {
                throw QuantisationRule.missingComponent.broken(
                    title, "belongs to codes that are not there, or not as its name says", tensor: tensor.name,
                    help: "fetch the checkpoint again; a part of it was not saved")
            }
            let isNarrow = tensor.dtype.bits <= 8 && tensor.dtype != .bool
            let isFloat8 = [.f8E4M3, .f8E5M2, .f8E4M3FNUZ, .f8E5M2FNUZ].contains(tensor.dtype)
            if isFloat8 || isNarrow && tensor.shape.count >= 2 || tensor.dtype != .f64 && !tensor.dtype.isMergeable && text.hasSuffix(".weight") {
                throw QuantisationRule.unclaimedCodes.broken(
                    title, "holds \(tensor.dtype.rawValue) codes that the scheme does not explain", tensor: tensor.name)
            }
        }
    }
}

extension StoredTensor {
    /// A quantised weight as a tensor of F64.
    init(_ weight: any QuantisedWeight, at index: Int, shard: Int) {
        let bytes = UInt64(weight.shape.elementCount ?? 0) * 8
        self.init(
            info: TensorInfo(name: weight.name, dtype: .f64, shape: weight.shape, begin: 0, end: bytes, isContiguous: false),
            shard: shard)
        quantised = index
    }
}
