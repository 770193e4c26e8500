import ByteAccess
import Tensors

/// A factor that is shorter than those of the same module in all other layers, on the side that the base's module gives it: a tensor that
/// was cut. Without a base nothing else in the file contradicts it.
///
/// The layers of a transformer are of one size; where a model's are not, several differ, or several modules of a layer do. So one tensor
/// alone counts, among at least `leastLayers`, which no network of blocks for images has.
struct SiblingShapes {
    let cut: [(tensor: TensorInfo, usual: Int, layers: Int)]

    private static let leastLayers = 8

    private struct Side {
        var tensor: TensorInfo
        var layer: String
        var length: Int
    }

    init(_ pairs: [FactorTable.Pair]) {
        var slots: [String: [Side]] = [:]
        for pair in pairs where pair.isLowRank && pair.defect == nil {
            guard let (slot, layer) = SiblingShapes.place(of: pair.module.text), let a = pair.a, let b = pair.b, a.shape.count == 2, b.shape.count == 2
            else { continue }
            slots["\(slot) \(pair.depth) in", default: []].append(Side(tensor: a, layer: layer, length: a.shape[1]))
            slots["\(slot) \(pair.depth) out", default: []].append(Side(tensor: b, layer: layer, length: b.shape[0]))
        }
        var found: [(side: Side, usual: Int, layers: Int)] = []
        for sides in slots.sorted(by: { $0.key < $1.key }).map(\.value) where sides.count >= SiblingShapes.leastLayers {
            let lengths = Dictionary(grouping: sides, by: \.length).sorted { $0.value.count > $1.value.count }
            guard lengths.count == 2, lengths[1].value.count == 1, lengths[1].key < lengths[0].key else { continue }
            found.append((lengths[1].value[0], lengths[0].key, sides.count))
        }
        let layers = Dictionary(grouping: found, by: \.side.layer)
        cut = found.filter { layers[$0.side.layer]?.count == 1 }.map { ($0.side.tensor, $0.usual, $0.layers) }
    }

    /// The path without its first number, and the stack with it: `model.layers.*.q_proj` and `model.layers.3`.
    private static func place(of path: String) -> (slot: String, layer: String)? {
        var parts = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard let position = parts.firstIndex(where: { Int($0) != nil }) else { return nil }
        let layer = parts[...position].joined(separator: ".")
        parts[position] = "*"
        return (parts.joined(separator: "."), layer)
    }
}
