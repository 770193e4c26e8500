import ByteAccess
import Containers
import Foundation
import Tensors
import TestSupport

/// Adapters and bases that are made for one test.
enum SmallAdapter {
    struct Values {
        var name: String
        var shape: Shape
        var values: [Double]
        var dtype: DType = .f32

        init(_ name: String, _ shape: Shape, _ value: Double = 0.5, dtype: DType = .f32) {
            self.name = name
            self.shape = shape
            // Not all the same, so that nothing looks like a first value.
            values = (0..<shape.reduce(1, *)).map { value * (1 + Double($0 % 3) / 4) }
            self.dtype = dtype
        }
    }

    static func write(_ tensors: [Values], to path: String, metadata: [(key: ExactString, value: String)]? = nil) throws {
        let layout = try SafetensorsLayout(
            metadata: metadata, tensors: tensors.map { (name: ExactString($0.name), dtype: $0.dtype, shape: $0.shape) })
        var bytes = layout.headerBytes
        for tensor in tensors { bytes += try Conversion.narrowed(tensor.values, to: tensor.dtype) }
        try TestFile.write(bytes, to: path)
    }

    static let root = "base_model.model.model.layers.0.self_attn.q_proj"

    /// A LoRA of one module, (out, in), and its config.
    static func lora(
        in directory: String, out: Int = 8, in width: Int = 8, rank: Int = 2, a: Double = 0.5, b: Double = 0.25,
        config: String = "", targets: String = #""q_proj""#, more: [Values] = [], weights: String = "adapter_model.safetensors",
        metadata: [(key: ExactString, value: String)]? = nil
    ) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try write(
            [Values("\(root).lora_A.weight", [rank, width], a), Values("\(root).lora_B.weight", [out, rank], b)] + more,
            to: "\(directory)/\(weights)", metadata: metadata)
        try TestFile.write(
            #"{"peft_type": "LORA", "r": \#(rank), "lora_alpha": \#(rank), "target_modules": [\#(targets)]\#(config)}"#,
            to: "\(directory)/adapter_config.json")
    }

    /// A base with that module.
    static func base(
        in directory: String, dtype: DType = .f32, value: Double = 1, config: String = "", more: [Values] = []
    ) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try write(
            [Values("model.layers.0.self_attn.q_proj.weight", [8, 8], value, dtype: dtype)] + more,
            to: "\(directory)/model.safetensors")
        try TestFile.write(
            #"{"model_type": "llama", "tie_word_embeddings": false\#(config)}"#, to: "\(directory)/config.json")
    }

    /// A bottleneck adapter of the adapters library in each of the layers.
    static func bottleneck(
        in directory: String, layers: [Int] = [0, 1], bottleneck: Int = 2, up: Double = 0.5, hasUp: Bool = true
    ) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        var tensors: [Values] = []
        for layer in layers {
            let root = "bert.encoder.layer.\(layer).output.output_adapters.adapters.task"
            tensors += [
                Values("\(root).adapter_down.0.weight", [bottleneck, 8]), Values("\(root).adapter_down.0.bias", [bottleneck]),
                Values("\(root).adapter_up.bias", [8], up),
            ]
            if hasUp { tensors.append(Values("\(root).adapter_up.weight", [8, bottleneck], up)) }
        }
        try write(tensors, to: "\(directory)/adapter.safetensors")
        try TestFile.write(
            #"{"name": "task", "config": {"architecture": null, "reduction_factor": 4, "non_linearity": "relu", "output_adapter": true, "mh_adapter": false}}"#,
            to: "\(directory)/adapter_config.json")
    }
}
