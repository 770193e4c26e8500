import ByteAccess
import Tensors

/// Control LoRA of FLUX.1 (Canny, Depth): trained with the control's latents beside the image's, so that the update of the first layer has more columns
/// than the base's weight.
///
/// diffusers gives the layer columns of zeros, as many as the update has, and the model's config another `in_channels`; what comes of it answers a
/// pipeline of another class. A merge changes no shape of a layer, and says what it is.
///
/// Source: `_maybe_expand_transformer_param_shape_or_error_` in src/diffusers/loaders/lora_pipeline.py.
enum WidenedInput {
    private static let layers = ["x_embedder.weight", "img_in.weight"]

    static func refusal(of tensor: ExactString, _ shape: Shape, rows: Int, columns: Int) -> PeftfileError? {
        guard let own = layers.first(where: { tensor.text == $0 || tensor.text.hasSuffix("." + $0) }), shape.count == 2, rows <= shape[0],
            columns > shape[1]
        else { return nil }
        return PeftfileError(
            .refused,
            "has \(shape[1]) input channels and the adapter's update \(columns): a control LoRA, which takes the control's channels beside the image's",
            tensor: tensor, rule: "ShapeMismatch",
            help: "load it beside the base (FluxControlPipeline of diffusers), or merge onto a base whose \(own) has \(columns) columns")
    }
}
