import ArgumentParser
import Peftfile

/// What an adapter's file may leave open, and the caller settles.
struct AdapterArguments: ParsableArguments {
    @Option(parsing: .unconditional, help: ArgumentHelp("The whole factor of the update, for a file without adapter_config.json.", valueName: "x"))
    var scale: Double?

    @Option(
        help: ArgumentHelp("How the factors of a file without a config lie.", valueName: "out-in|in-out"),
        completion: .list(["out-in", "in-out"]))
    var orientation: String = "out-in"

    @Option(help: ArgumentHelp("The component to take from a file of several: lora_te1.", valueName: "name"))
    var component: String?

    @Option(help: ArgumentHelp("Which parts of a fused layer loralib's MergedLinear adapts: true,false,true.", valueName: "flags"))
    var enableLora: String?

    @Option(
        help: ArgumentHelp("How lora_B's columns run in stacked experts that Unsloth trained.", valueName: "rank-major|expert-major"),
        completion: .list(["rank-major", "expert-major"]))
    var expertOrder: String?

    @Option(
        help: ArgumentHelp("How BASE holds square matrices, where nothing in the files tells.", valueName: "out-in|in-out"),
        completion: .list(["out-in", "in-out"]))
    var squareOrientation: String?

    /// The first option that was given a value of its own, by its name.
    var firstGiven: String? {
        let given: [(Bool, String)] = [
            (component != nil, "--component"), (enableLora != nil, "--enable-lora"), (expertOrder != nil, "--expert-order"),
            (squareOrientation != nil, "--square-orientation"), (scale != nil, "--scale"), (orientation != "out-in", "--orientation"),
        ]
        return given.first { $0.0 }?.1
    }

    func options() throws -> BindingOptions {
        guard let orientation = BindingOptions.Orientation(rawValue: orientation) else {
            throw PeftfileError.noChoice("--orientation", orientation, of: ["out-in", "in-out"], rule: "Orientation")
        }
        if let scale, !scale.isFinite { throw PeftfileError.noValue("--scale", "\(scale)", needed: "a finite number", rule: "Scale") }
        var options = BindingOptions(orientation: orientation, scale: scale)
        options.component = component
        options.enableLoRA = try enabledParts()
        options.squareOrientation = try squareOrientation.map { text in
            guard let orientation = BindingOptions.Orientation(rawValue: text) else {
                throw PeftfileError.noChoice("--square-orientation", text, of: ["out-in", "in-out"], rule: "Orientation")
            }
            return orientation
        }
        options.expertOrder = try expertOrder.map { text in
            guard let order = BindingOptions.ExpertOrder(rawValue: text) else {
                throw PeftfileError.noChoice("--expert-order", text, of: ["rank-major", "expert-major"], rule: "ExpertOrder")
            }
            return order
        }
        return options
    }

    private func enabledParts() throws -> [Bool] {
        try (enableLora ?? "").split(separator: ",").map { part in
            guard let flag = Bool(part.lowercased()) else {
                throw PeftfileError.noValue(
                    "--enable-lora", enableLora ?? "", needed: "true and false with commas between: true,false,true", rule: "EnableLoRA")
            }
            return flag
        }
    }
}
