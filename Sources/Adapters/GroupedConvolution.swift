import ByteAccess
import Tensors

/// Updates of convolutions in groups: the weight (out, in / g, k…) has the inputs of one group, and the update those of all.
///
/// The factors mix all inputs, so that the update is no weight of a grouped convolution. PEFT does not merge them either
/// (`_ConvNd.get_delta_weight` in peft/tuners/lora/layer.py).
enum GroupedConvolution {
    /// The refusal; nil where the update is too wide for another reason.
    static func refusal(of tensor: ExactString, _ shape: Shape, rows: Int, columns: Int) -> PeftfileError? {
        let width = shape.dropFirst().reduce(1, *)
        guard shape.count > 2, width > 0, columns > width, columns % width == 0, rows == shape[0], rows % (columns / width) == 0
        else { return nil }
        let groups = columns / width
        return PeftfileError(
            .refused, "has shape \(shape), and the update is \(rows) × \(columns), over the inputs of \(groups) groups: a grouped "
                + "convolution, whose weight no such update fits", tensor: tensor, rule: "GroupedConvolution", help: "serve it unmerged")
    }
}
