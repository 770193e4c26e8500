import Adapters
import ByteAccess
import Checkpoints

extension CheckSubject {
    /// The factor of each module's update, as the method reads the config; empty where it cannot.
    var scales: [ExactString: Double] {
        guard let adapter = try? adapter(), let targets = try? MethodRegistry.method(of: adapter).targets(of: adapter)
        else { return [:] }
        return Dictionary(targets.compactMap { target in target.scale.map { (target.module, $0) } }) { first, _ in first }
    }

    /// What is wrong with single values of the config, as its method has them.
    var configDefects: [ConfigDefect] {
        guard let config = config.config, let name = config.peftType, let method = MethodRegistry.method(named: name) else { return [] }
        return method.configDefects(of: config)
    }

    /// `model_type` of the base; nil where none was given, or its config does not say.
    var modelType: String? { options.base?.config?["model_type"]?.stringValue }

    /// That the config names none of the modules in the file, and its method needs their names; nil where it does, where PEFT has
    /// names for the base's type, or the file is of another method.
    var unnamedModules: PeftfileError? {
        guard !typeIsContradicted, let adapter = try? adapter() else { return nil }
        return (try? MethodRegistry.method(of: adapter))?.unnamedModules(of: adapter, modelType: modelType)
    }
}
