import ByteAccess
import Tensors

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
    /// All forms; the first that recognises a file has it.
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
        OpenDeltaSlots(),
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
                try requireSize(of: module, group)
                modules.append(module)
            }
        }
        return modules
    }
}

extension PromptForms {
    /// Refuses a prompt far larger than what it is computed from, as a few crafted bytes could ask for.
    ///
    /// A prompt is tokens × width, its last layer width × (an encoder's width): there are more tokens than 16 times that
    /// width in no training. Up to 2^26 numbers anything goes.
    private static func requireSize(of module: PromptModule, _ group: PromptGroup) throws {
        let stored = group.tensors.values.reduce(0) { $0 + ($1.shape.elementCount ?? 0) }
        guard module.elements > 1 << 26, module.elements / 16 > stored else { return }
        throw PeftfileError(
            .refused, "makes a prompt of \(module.elements) numbers from \(stored) stored ones", tensor: module.sourceName,
            rule: "PromptShape", help: "no trained prompt is of that kind")
    }
}

extension PromptForm {
    var dialect: String { "peft" }
}
