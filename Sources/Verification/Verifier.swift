public import Adapters
public import ByteAccess
public import Checkpoints
public import Containers
public import Tensors

/// Judges whether a checkpoint is what a base and adapters come to, by an arithmetic of its own.
///
/// Every tensor of the binding's outputs is expected, with its name, dtype and shape, and no other. Copied tensors are
/// compared bit for bit; computed ones are recomputed with OpenBLAS in float64 and accepted element by element
/// (``EquivalenceReport``), and tested once more as linear maps on probe vectors. All of it streams: memory does not
/// grow with the tensors, except where a method decomposes a base matrix.
public struct Verifier: Sendable {
    private let recipes: [TensorRecipe]
    let base: Checkpoint
    private let adapters: [Adapter]
    let configChanges: [Binding.ConfigChange]
    let configRemovals: [ExactString]
    let result: Checkpoint
    let dtype: DType?
    /// The blocks in which a merge into a GGUF file was told to write the matrices that an update reaches; nil for none.
    public var blockType: GGUFType?
    private let convertsAllDTypes: Bool
    private let maxULP: UInt64?
    private let jobs: Int
    private let probes: Int
    private let progress: (@Sendable (UInt64) -> Void)?

    /// - Parameters:
    ///   - binding: the adapters held against the base, with the options of the merge that is judged.
    ///   - result: the checkpoint to be judged.
    ///   - leavingOut: tensors of the base that the result is not to have: second names of others.
    ///   - dtype: the dtype that the merge converted to; nil where each tensor kept its own.
    ///   - convertsAllDTypes: whether that reached tensors in another floating-point dtype than most of the base.
    ///   - maxULP: how many steps of its dtype an element may be off beside what is exact; nil for none. Copied tensors
    ///     and elements that no update reaches stay exact.
    ///   - jobs: worker threads; the report does not depend on their number.
    ///   - probes: probe vectors for each computed matrix; 0 for none. With 2 or more the vectors in the row space of
    ///   the
    ///     update take part.
    ///   - progress: called with the bytes of the result that have just been compared, from any thread.
    public init(
        binding: Binding, result: Checkpoint, leavingOut: [ExactString] = [], dtype: DType? = nil, convertsAllDTypes: Bool = false,
        maxULP: UInt64? = nil, jobs: Int = Machine.availableCores, probes: Int = 4,
        progress: (@Sendable (UInt64) -> Void)? = nil
    ) {
        self.init(
            recipes: binding.outputs.map(\.recipe).filter { !leavingOut.contains($0.name) }, base: binding.base, adapters: binding.adapters,
            configChanges: binding.configChanges + binding.quantisationChanges(dtype: dtype), configRemovals: binding.configRemovals,
            result: result, dtype: dtype, convertsAllDTypes: convertsAllDTypes,
            maxULP: maxULP, jobs: jobs, probes: probes, progress: progress)
    }

    /// The same from the parts of a binding.
    init(
        recipes: [TensorRecipe], base: Checkpoint, adapters: [Adapter], configChanges: [Binding.ConfigChange],
        configRemovals: [ExactString] = [], result: Checkpoint, dtype: DType? = nil, convertsAllDTypes: Bool = false, maxULP: UInt64? = nil, jobs: Int = 1,
        probes: Int = 4, progress: (@Sendable (UInt64) -> Void)? = nil
    ) {
        self.recipes = recipes
        self.base = base
        self.adapters = adapters
        self.configChanges = configChanges
        self.configRemovals = configRemovals
        self.result = result
        self.dtype = dtype
        self.convertsAllDTypes = convertsAllDTypes
        self.maxULP = maxULP
        self.jobs = jobs
        self.probes = max(0, probes)
        self.progress = progress
    }

    /// Compares everything.
    ///
    /// - Throws: what reading throws; `.usage` for a dtype that no merge writes; `.library` where OpenBLAS is not
    ///   installed and something was computed; `.refused` where a base matrix cannot be decomposed. A difference is no
    ///   error: it is in the report.
    public func run() throws -> EquivalenceReport {
        var report = EquivalenceReport()
        if result.gguf != nil, base.gguf != nil {
            if let dtype { try requireWritten(dtype) }
            try GGUFVerification(
                base: base, result: result, recipes: recipes, adapters: adapters, dtype: dtype, blocks: blockType, jobs: jobs
            ).run(&report)
            if maxULP ?? 0 > 0 { report.warnings.append("--max-ulp has no part in the comparison of GGUF files, which is of bytes") }
            return report
        }
        if let blockType {
            throw PeftfileError(
                .usage, "--dtype \(blockType.name.lowercased()): GGUF files have such blocks, and this result or its base is none", rule: "OutputDType")
        }
        let expected = try expectedTensors()
        let names = Set(expected.map(\.name))
        report.unexpected = result.tensors.map(\.name).filter { !names.contains($0) }
        let numbers = AdapterNumbers(adapters: adapters, base: base)
        let pool = BufferPool()
        var verifications: [TensorVerification] = []
        /// Judges those that wait, and lets go what they hold.
        func judge() throws {
            try compare(verifications)
            report.tensors += verifications.map { $0.report() }
            verifications.removeAll(keepingCapacity: true)
        }
        for recipe in expected {
            guard let stored = result[recipe.name] else {
                report.missing.append(recipe.name)
                continue
            }
            guard stored.dtype == recipe.dtype, stored.shape == recipe.shape else {
                report.disagreements.append(
                    .init(
                        name: recipe.name, expectedDType: recipe.dtype, foundDType: stored.dtype,
                        expectedShape: recipe.shape, foundShape: stored.shape))
                continue
            }
            verifications.append(
                try TensorVerification(
                    recipe: recipe, stored: stored, result: result, base: base, adapters: adapters, numbers: numbers,
                    pool: pool, tolerance: maxULP ?? 0, probes: probes))
            if verifications.count == TensorBatch.count { try judge() }
        }
        try judge()
        for tensor in report.tensors where tensor.acceptedByLibraryBound > 0 {
            report.warnings.append(
                "\(tensor.name): \(tensor.acceptedByLibraryBound) elements differ from what the LAPACK of this machine "
                    + "gives, by no more than another build of it may")
        }
        compareConfig(&report)
        return report
    }

    /// Takes the parts of all tensors in order, on all workers.
    private func compare(_ verifications: [TensorVerification]) throws {
        var parts: [(tensor: Int, part: Int)] = []
        for (tensor, verification) in verifications.enumerated() {
            for part in 0..<verification.partCount { parts.append((tensor, part)) }
        }
        let all = parts  // a constant, for the workers to share
        try parallelForEach(count: all.count, jobs: jobs) { index in
            let verification = verifications[all[index].tensor]
            do {
                try verification.compare(part: all[index].part)
            } catch var error as PeftfileError {
                if error.tensor == nil, error.code != .library { error.tensor = verification.recipe.name }
                throw error
            }
            progress?(verification.byteCount(part: all[index].part))
        }
    }

    private func requireWritten(_ dtype: DType) throws {
        guard dtype.isMergeable else {
            throw PeftfileError(
                .usage, "--dtype \(dtype.rawValue): a merge writes F64, F32, F16 or BF16", rule: "OutputDType")
        }
    }

    /// The outputs' recipes, in the dtypes that the merge was told to write.
    ///
    /// Tensors in another floating-point dtype than most bytes of the base were kept in it on purpose and stay so,
    /// unless `convertsAllDTypes`, but for those of a GGUF file; integers and sub-byte codes always stay.
    private func expectedTensors() throws -> [TensorRecipe] {
        guard let dtype else { return recipes }
        try requireWritten(dtype)
        let main = base.mainDType
        let isGGUF = base.shards.first?.file.kind == .gguf
        return recipes.map { recipe in
            guard recipe.dtype.isMergeable, convertsAllDTypes || isGGUF || recipe.dtype == main || recipe.isDequantised else { return recipe }
            var converted = recipe
            converted.dtype = dtype
            return converted
        }
    }
}
