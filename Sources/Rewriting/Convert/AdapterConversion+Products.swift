import Adapters
import ByteAccess
import Tensors

/// LoHa and LoKr between PEFT and LyCORIS.
extension AdapterConversion {
    mutating func writePEFT(_ products: PortableProducts) throws {
        var entries: [(path: ExactString, rank: Int, alpha: Double)] = []
        for module in products.modules {
            for factor in module.factors { add("base_model.model.\(module.path).\(factor.name)", factor.info) }
            let alpha = try AdapterConversion.alpha(
                scale: module.scale, rank: module.rank, tensor: module.factors.first?.info.name)
            entries.append((module.path, module.rank, alpha))
        }
        let (rank, alpha, ranks, alphas) = AdapterConversion.patterns(entries)
        var config: JSONObject = [
            "peft_type": .string(products.peftType), "task_type": .null,
            "base_model_name_or_path": adapter.config?.baseModel.map { .string($0) } ?? .null,
            "inference_mode": true, "r": .number(JSONNumber(rank)), "alpha": .number(AdapterConversion.number(alpha)),
            "rank_pattern": .object(ranks), "alpha_pattern": .object(alphas), "rank_dropout": .number(JSONNumber(0)),
            "module_dropout": .number(JSONNumber(0)), "init_weights": true,
            "target_modules": .array(entries.map(\.path).sorted().map { .string($0.text) }), "modules_to_save": .null,
        ]
        for member in products.settings.members { config[member.key] = member.value }
        self.config = config
    }

    mutating func writeLycoris(_ products: PortableProducts, _ names: ComponentNames) throws {
        metadata = [(key: "ss_network_module", value: "lycoris.kohya")]
        for module in products.modules {
            if let layer = names.layer(of: module.own, module.component), layer.isFused || layer.isSwapped {
                throw PeftfileError(
                    .refused,
                    "module \"\(module.path)\" is \(layer.isFused ? "a part of" : "the two halves, turned, of") kohya's \(layer.name), and no "
                        + "product of that layer is made of the products of its parts", file: adapter.path,
                    tensor: module.factors.first?.info.name, rule: "NotConvertible", help: "keep it in the dialect that it is in, or merge it")
            }
            let path = try names.underscored(module.own, module.component)
            for factor in module.factors { add("\(path).\(factor.name)", factor.info) }
            let alpha = try AdapterConversion.alpha(
                scale: module.scale, rank: module.rank, tensor: module.factors.first?.info.name)
            try addAlpha(alpha, path, module.alphaDType)
        }
    }
}
