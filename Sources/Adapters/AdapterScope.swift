import ByteAccess

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

        init(_ path: ExactString, _ weight: ModuleWeight, tensor: ExactString?) {
            self.path = path
            self.tensor = tensor
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
