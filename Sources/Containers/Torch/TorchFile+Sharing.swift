public import ByteAccess
import Tensors

extension TorchFile {
    /// What a view reads.
    private struct Extent: Hashable {
        let storage: ObjectIdentifier
        let begin: UInt64
        let dtype: String
        let shape: [Int]
        let strides: [Int]
        let signs: PendingSigns

        init(_ view: StridedView, _ dtype: DType) {
            storage = ObjectIdentifier(view.storage)
            begin = view.begin
            self.dtype = dtype.rawValue
            // A dimension of 1 has any stride.
            shape = view.shape
            strides = zip(view.shape, view.strides).map { $0 == 1 ? 0 : $1 }
            signs = view.signs
        }
    }

    /// Tied tensors, and views of one storage that overlap: a pickle keeps both, a safetensors file neither.
    public var shared: [SharedTensors] {
        var groups: [Extent: [Int]] = [:]
        for position in views.indices where tensors[position].byteCount > 0 {
            groups[Extent(views[position], tensors[position].dtype), default: []].append(position)
        }
        let identical = groups.values.filter { $0.count > 1 }
        var byStorage: [ObjectIdentifier: [(begin: UInt64, end: UInt64, position: Int)]] = [:]
        for (extent, positions) in groups {
            byStorage[extent.storage, default: []].append((extent.begin, end(of: positions[0]), positions[0]))
        }
        var overlapping: [[Int]] = []
        for spans in byStorage.values where spans.count > 1 {
            var run: [Int] = []
            var end: UInt64 = 0
            for span in spans.sorted(by: { ($0.begin, $0.position) < ($1.begin, $1.position) }) {
                if span.begin >= end {
                    if run.count > 1 { overlapping.append(run) }
                    run = []
                }
                run.append(span.position)
                end = max(end, span.end)
            }
            if run.count > 1 { overlapping.append(run) }
        }
        let all = identical.map { ($0.sorted(), true) } + overlapping.map { ($0.sorted(), false) }
        return all.sorted { $0.0[0] < $1.0[0] }.map { positions, isIdentical in
            SharedTensors(names: positions.map { tensors[$0].name }, isIdentical: isIdentical)
        }
    }

    /// Where the last element of a view that has any ends in its storage.
    private func end(of position: Int) -> UInt64 {
        let view = views[position]
        let last = zip(view.shape, view.strides).reduce(0) { $0 + ($1.0 - 1) * $1.1 }
        return view.begin + UInt64(last + 1) * UInt64(view.dtype.bits / 8)
    }
}
