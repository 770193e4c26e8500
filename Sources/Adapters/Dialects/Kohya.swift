import ByteAccess
import Tensors

/// The files of kohya-ss/sd-scripts and of LyCORIS: `<component>_<path with underscores>.<tensor>`.
///
/// | component | model |
/// |---|---|
/// | `lora_unet`, `lora_transformer`, `lycoris`, `oft_unet`, `oft_diffusers` | the denoiser, or whatever was wrapped |
/// | `lora_te`, `lora_te1`, `lora_te2`, `lora_te3`, `oft_te` | the text encoders |
///
/// `_` stands for `.` and for itself, so the base's own names are written in this form and looked up. What the tensors
/// of a module mean is told by their names (``LycorisModule``); the scale is `alpha / r` with r from the tensors, and
/// without an `alpha` tensor 1.
///
/// Source: `LoRAModule.__init__`, `LoRANetwork.__init__` in networks/lora.py, `merge_to_sd_model` in
/// networks/merge_lora.py of sd-scripts; `create_lycoris` in lycoris/wrapper.py.
struct Kohya: Dialect {
    let name = "kohya"

    /// Prefixes with the component that they name; a longer one stands before its own beginning.
    static let prefixes = [
        "lora_unet_", "lora_te1_", "lora_te2_", "lora_te3_", "lora_te_", "lora_transformer_", "lora_diffusers_",
        "lycoris_", "oft_unet_", "oft_te1_", "oft_te2_", "oft_te_", "oft_diffusers_",
    ]

    func recognises(_ file: DialectFile) -> Bool {
        var known = 0
        for info in file.tensors {
            guard let key = Kohya.key(info.name) else { return false }
            if LycorisModule.tensorNames.contains(key.tensor) || LycorisModule.isSplit(key.tensor) { known += 1 }
        }
        return known > 0
    }

    /// `<component>_<module>.<tensor>`; nil for any other name.
    private static func key(_ name: ExactString) -> (component: String, module: String, tensor: String)? {
        guard let dot = name.text.utf8.firstIndex(of: UInt8(ascii: ".")),
            let prefix = prefixes.first(where: { name.text.utf8.starts(with: $0.utf8) })
        else { return nil }
        let front = name.text.utf8[..<dot].dropFirst(prefix.utf8.count)
        guard !front.isEmpty else { return nil }
        return (
            String(prefix.dropLast()), String(Substring(front)),
            String(Substring(name.text.utf8[dot...].dropFirst()))
        )
    }

    func read(_ file: DialectFile, context: DialectContext) throws -> DialectReading {
        struct Slot: Hashable {
            let component: String
            let module: ExactString
        }
        var order: [Slot] = []
        var tensors: [Slot: [String: TensorInfo]] = [:]
        for info in file.tensors {
            guard let key = Kohya.key(info.name) else { continue }
            let slot = Slot(component: key.component, module: ExactString(key.module))
            if tensors[slot] == nil { order.append(slot) }
            tensors[slot, default: [:]][key.tensor] = info
        }
        var reading = DialectReading()
        for slot in order {
            let isKohyaRotation = slot.component.hasPrefix("oft_")
            var own = tensors[slot] ?? [:]
            let bias = LycorisModule.separateBias(&own)
            var module = LycorisModule(name: "\(slot.component)_\(slot.module)", tensors: own, isKohyaRotation: isKohyaRotation)
            let read = try module.read(file, as: slot.module, naming: .underscored, component: slot.component)
            if module.isLycoris || slot.component == "lycoris" { reading.name = "lycoris" }
            reading.modules.append(read)
            reading.addBias(bias)
            reading.consumed += module.consumed
        }
        return reading
    }
}
