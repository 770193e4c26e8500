import ByteAccess

/// A way in which prompt encoders are stored: which names belong to one, and what they compute.
///
/// A form is one file here and one line in ``PromptForms``.
public protocol PromptForm: Sendable {
    /// What people call it.
    var name: String { get }
    /// The convention of its names, as `inspect --json` spells it.
    var dialect: String { get }
    /// Where a tensor belongs, if its name is of this form: the encoder's root, what tells encoders of one root apart,
    /// and the rest of the name.
    func place(_ parts: [String]) -> PromptPlace?
    /// Whether the tensors under a root are this form, complete or not.
    func recognises(_ group: PromptGroup) -> Bool
    /// The prompt of a group that was recognised.
    ///
    /// - Throws: `.refused` naming the tensor and both shapes, where something is missing, does not fit, or is unknown.
    func module(of group: PromptGroup, config: AdapterConfig?) throws -> PromptModule
}

/// A tensor's place in a prompt encoder.
public struct PromptPlace: Sendable {
    var root: String
    var variant = ""
    var leaf: String

    /// Splits a name behind its first `count` components.
    init(_ parts: [String], after count: Int, variant: String = "") {
        root = parts[..<count].joined(separator: ".")
        leaf = parts[count...].joined(separator: ".")
        self.variant = variant
    }
}

/// The forms that the house knows, one line each.
public enum PromptForms {
    public static let all: [any PromptForm] = [
        PrefixMLP(),
        PromptMLP(),
        PromptLSTM(),
        MultitaskPrompt(),
        PlainPrompt(),
        SavedPrompt(),
        PrefixEncoder(),
        AdapterHubPrefix(),
        OpenDeltaPrefix(),
        ControlTransform(),
        PTuningEncoder(),
    ]

    /// All prompts among `tensors`, in the order of the forms and then of the file.
    static func modules(among tensors: [PromptTensor], config: AdapterConfig?) throws -> [PromptModule] {
        var modules: [PromptModule] = []
        for form in all {
            var groups: [PromptGroup] = []
            var positions: [ExactString: Int] = [:]
            for tensor in tensors {
                guard let place = form.place(tensor.parts) else { continue }
                let key = ExactString("\(place.root)\u{0}\(place.variant)")
                let position = positions[key] ?? groups.count
                if position == groups.count {
                    positions[key] = position
                    groups.append(PromptGroup(root: place.root, variant: place.variant))
                }
                try groups[position].add(tensor, as: place.leaf)
            }
            for group in groups where form.recognises(group) {
                var module = try form.module(of: group, config: config)
                module.dialect = form.dialect
                modules.append(module)
            }
        }
        return modules
    }
}

extension PromptForm {
    var dialect: String { "peft" }
}
