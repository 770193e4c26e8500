import ByteAccess
import Tensors

/// What a method may know of all modules of an adapter when it states the formula of one: how large they are in the base,
/// and in which order the model holds them; and what was derived for all of them together.
final class AdapterScope: Sendable {
    /// A module with the sides of its weight, in the orientation of the update.
    struct Target: Sendable {
        let path: ExactString
        let rows: Int
        let columns: Int
        /// The tensor of the base that holds it, or the first of several.
        let tensor: ExactString?
        /// The type in which training held the weight, as far as the base tells.
        let dtype: DType?

        init(_ path: ExactString, _ weight: ModuleWeight, tensor: ExactString?, dtype: DType?) {
            self.path = path
            self.tensor = tensor
            self.dtype = dtype
            rows = weight.rows
            columns = weight.columns
        }
    }

    let targets: [Target]
    private let base: BaseDirectory
    private let derived = Mutex<[String: any Sendable]>([:])

    init(targets: [Target], base: BaseDirectory) {
        self.targets = targets
        self.base = base
    }

    /// The largest number of rows and of columns.
    var largest: (rows: Int, columns: Int) {
        targets.reduce((0, 0)) { (max($0.0, $1.rows), max($0.1, $1.columns)) }
    }

    /// The types of 16 bits through which PEFT takes a buffer that all modules share: it moves the one buffer to the type of each
    /// base layer in turn, and what was rounded once is not brought back. The wider types change nothing.
    ///
    /// Source: `BaseTunerLayer._move_adapter_to_device_of_base_layer` in peft/tuners/tuners_utils.py.
    /// - Throws: `.refused` where several such types stand among modules whose order is not known, and for layers of eight bits.
    func narrowings() throws -> [DType] {
        for target in targets { try target.dtype?.requireWiderThanBytes(target.path) }
        let narrow = targets.filter { $0.dtype?.isHalf == true }
        guard Set(narrow.map(\.dtype)).count > 1 else { return narrow.first?.dtype.map { [$0] } ?? [] }
        let positions = try positions()
        return narrow.sorted { positions[$0.path] ?? 0 < positions[$1.path] ?? 0 }.compactMap(\.dtype)
            .reduce(into: []) { if $0.last != $1 { $0.append($1) } }
    }

    /// Of `count` for each module, as many as its size is of all: at least 1, rounded half to even, as PEFT's WaveFT does it.
    ///
    /// Source: `WaveFTModel._calculate_proportional_parameters` in peft/tuners/waveft/model.py.
    func share(of size: Int, times count: Int) -> Int {
        let all = targets.reduce(0.0) { $0 + Double($1.rows) * Double($1.columns) }
        let share = Double(size) / all * Double(count) * Double(targets.count)
        return max(1, Int(exactly: share.rounded(.toNearestOrEven)) ?? 1)
    }

    /// What `make` gives, computed once for the adapter.
    func once<Value: Sendable>(_ name: String, _ make: () throws -> Value) rethrows -> Value {
        if let known = derived.withLock({ $0[name] }) as? Value { return known }
        let value = try make()
        derived.withLock { $0[name] = value }
        return value
    }

    /// The positions of the modules in the order in which the model registers them.
    ///
    /// - Throws: `.refused` where the order of two modules is not known.
    func positions() throws -> [ExactString: Int] {
        try once("positions") {
            let tensors = targets.compactMap { target in target.tensor.map { (target.path, $0) } }
            let order = ModuleOrder(base: base, tensors: Dictionary(tensors) { first, _ in first })
            let sorted = try order.sorted(targets.map(\.path))
            return Dictionary(zip(sorted, sorted.indices)) { first, _ in first }
        }
    }
}

extension DType {
    /// Whether PEFT's cast to the base layer's type rounds float32 numbers.
    var isHalf: Bool { self == .bf16 || self == .f16 }

    /// Refuses what PEFT moves to a layer of float8: the trained numbers are then those of a projection in eight bits, or of one in a
    /// wider type where training had the weights dequantised, and no file tells which.
    ///
    /// - Throws: `.refused` with rule `BaseDType`.
    func requireWiderThanBytes(_ module: ExactString) throws {
        guard self == .f8E4M3 else { return }
        throw PeftfileError(
            .refused, "module \"\(module)\" has weights of float8, to which PEFT moves the numbers that the file leaves out as well, unless "
                + "the training had the weights dequantised: which of the two is in no file", rule: "BaseDType",
            help: "save the adapter again with its projection or indices in the file, or merge onto the dequantised base that it was trained on")
    }

    /// Numbers as the type holds them.
    func holding(_ numbers: [Double]) throws -> [Double] {
        try Conversion.widened(Conversion.narrowed(numbers, to: self), as: self, count: numbers.count)
    }
}
