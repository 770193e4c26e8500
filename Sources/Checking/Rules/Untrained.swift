import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// Updates that are zero.
struct Untrained: CheckRule {
    let id = "untrained"
    let family = RuleFamily.numerics
    let severity = Severity.error
    let summary = "The update leaves the base as it is: in all modules (error) or in some (warning)."
    let protectsFrom = """
        A run that trained nothing: optimiser without the adapter's parameters, a learning rate of 0, a save before the first \
        step. A method begins where its update is nothing (a factor of zeros, scales of ones, rotations by 0), and is there \
        never again after one step; the adapter loads everywhere and changes nothing. The method's own formula tells, in every \
        dialect; what an adapter stores whole is compared with the base's where one is given. OSF begins with singular triplets \
        of the base, which no training keeps orthonormal, HRA with equal pairs of columns; C3A's kernels, the vectors of \
        Uni-LoRA and VB-LoRA and HRA's other columns are drawn from an interval that they fill and a step leaves, told where a \
        step of 1e-4 would put at least 16 numbers outside; DEFT's beginning is told by a base in float32. Nothing tells what is \
        drawn from a normal distribution (FourierFT's and WaveFT's spectra without init_weights, C3A's gaussian), and a draw \
        stored in 16 bits.
        """
    let needs: [RuleNeed] = [.tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        if let prompt = try emptyPrompt(subject) { return [prompt] }
        guard let table = try subject.effects() else { return [] }
        if let lost = try emptyFile(subject, table) { return [lost] }
        if let begun = try begun(subject) { return [begun] }
        let (modules, dead) = (table.modules, table.modules.filter(\.doesNothing))
        let replaced = try subject.storedWhole()
        let help = "peftfile inspect --stats \(subject.path.shellQuoted)"
        let untouched = try untouched(subject, isAlone: replaced.allSatisfy { $0.isBase == true })
        if untouched.contains(where: { $0.tensor == nil }) { return untouched }
        if modules.allSatisfy(\.needsBase), let rounding = try roundingAlone(subject) { return [rounding] }
        let half = modules.filter(\.isBiasAlone)
        if half.count == modules.count, let first = half.first {
            return [
                finding(
                    "is zero everywhere, and so is a factor of every module: of the update the biases alone are left", file: subject.weights.file,
                    tensor: first.tensor, help: "save the adapter again; all figures: \(help)")
            ]
        }
        guard dead.count == modules.count else {
            return untouched + half.map { module in
                finding(
                    "is zero everywhere, so that of the update of \"\(module.path.text.printable)\" the bias alone is left", severity: .warning,
                    file: subject.weights.file, tensor: module.tensor, help: "save the adapter again; all figures: \(help)")
            } + dead.map { module in
                finding(
                    module.tensor.map { try? subject.isAll($0, 0) } == true
                        ? "is zero everywhere, so the module does nothing"
                        : "leaves \"\(module.path.text.printable)\" as it is, so the module does nothing",
                    severity: .warning, file: subject.weights.file, tensor: module.tensor,
                    help: "see whether the module was meant to be trained; all figures: \(help)")
            }
        }
        guard !modules.isEmpty || !replaced.isEmpty else { return [] }
        if modules.isEmpty {
            guard replaced.allSatisfy({ $0.isBase == true }) else { return [] }
            return [
                finding(
                    "\(replaced.count == 1 ? "the one tensor" : "all \(replaced.count) tensors") that the adapter stores whole "
                        + "\(replaced.count == 1 ? "is" : "are") the base's own: the adapter changes nothing",
                    file: subject.weights.file, help: "train it; all figures: \(help)")
            ]
        }
        if modules.allSatisfy(\.isScaledAway), replaced.isEmpty {
            let config = subject.config.config == nil ? subject.weights.file : subject.configPath
            return [
                finding(
                    "the scale of the update is 0: the adapter changes nothing", file: config,
                    help: "correct alpha; the scales: peftfile inspect \(subject.path.shellQuoted)")
            ]
        }
        // A head or embedding that was trained beside it is something.
        let isAlone = replaced.allSatisfy { $0.isBase == true }
        let tensor = modules.count == 1 ? modules[0].tensor : nil
        return [
            finding(
                "the update of \(modules.count == 1 ? "the one module" : "all \(modules.count) modules") leaves the base as it is"
                    + (isAlone ? ": the adapter changes nothing" : "; only what was saved whole may have been trained"),
                severity: isAlone ? .error : .warning, file: subject.weights.file, tensor: tensor,
                help: "train it; all figures: \(help)")
        ]
    }

    /// Values that are still those with which PEFT began: of all modules, without a tensor to name, or of some.
    private func untouched(_ subject: CheckSubject, isAlone: Bool) throws -> [Finding] {
        guard let (tensors, count) = try subject.untouched(), !tensors.isEmpty else { return [] }
        guard tensors.count == count else {
            let help = "peftfile inspect --stats \(subject.path.shellQuoted)"
            return tensors.map {
                finding(
                    "has the values with which PEFT begins, so the module was not trained", severity: .warning, file: subject.weights.file,
                    tensor: $0, help: "see whether the module was meant to be trained; all figures: \(help)")
            }
        }
        return [asItBegan(subject, isAlone: isAlone)]
    }

    private func asItBegan(_ subject: CheckSubject, isAlone: Bool) -> Finding {
        finding(
            "all values are those with which PEFT begins: the adapter was not trained" + (isAlone ? "" : ", but for what was saved whole"),
            severity: isAlone ? .error : .warning, file: subject.weights.file,
            help: "train it; all figures: peftfile inspect --stats \(subject.path.shellQuoted)")
    }

    /// What begins as a part of the base's own matrix is told by the base alone: what the update comes to is then the rounding of that
    /// part to float32, some 2⁻²⁴ of it, and a step of training is a thousand times as large.
    private func roundingAlone(_ subject: CheckSubject) throws -> Finding? {
        guard let sample = try subject.mergeSample(), sample.total > 0, sample.obstacles.isEmpty, sample.dtype == .f32,
            let base = subject.options.base
        else { return nil }
        var squares = 0.0
        for (name, rows) in sample.tensors {
            guard let tensor = base[name], let part = try Untrained.squares(of: tensor, in: base, rows: sample.rowLimit == nil ? nil : rows)
            else { return nil }
            squares += part
        }
        guard sample.squares <= 0x1p-40 * squares else { return nil }
        return finding(
            "the update is no more than the rounding of float32 in the base (looked at \(sample.extent)): the adapter changes nothing",
            file: subject.weights.file, help: "train it; all figures: peftfile inspect --stats \(subject.path.shellQuoted)")
    }

    /// The squares of a tensor's elements, of these rows or of all; nil where a row of the merge need not be one of the tensor.
    private static func squares(of tensor: StoredTensor, in base: Checkpoint, rows: [Range<Int>]?) throws -> Double? {
        guard tensor.dtype.isMergeable, rows == nil || tensor.info.shape.count == 2 else { return nil }
        let width = UInt64(tensor.info.columnCount) * UInt64(tensor.dtype.bits / 8)
        let parts = rows?.map { UInt64($0.lowerBound) * width..<UInt64($0.upperBound) * width } ?? [0..<tensor.byteCount]
        guard parts.allSatisfy({ $0.upperBound <= tensor.byteCount }) else { return nil }
        return try parts.reduce(0) { sum, bytes in
            let count = bytes.count * 8 / tensor.dtype.bits
            return try Conversion.widened(base.read(tensor, bytes: bytes), as: tensor.dtype, count: count).reduce(sum) { $0 + $1 * $1 }
        }
    }

    /// Factors in the form that their initialisation gave them.
    private func begun(_ subject: CheckSubject) throws -> Finding? {
        guard try subject.isAsInitialised() else { return nil }
        return asItBegan(subject, isAlone: try subject.storedWhole().allSatisfy { $0.isBase == true })
    }

    /// A file of which nothing is known but that every number in it is zero.
    private func emptyFile(_ subject: CheckSubject, _ table: EffectTable) throws -> Finding? {
        // What becomes of a module where its formula tells is said of the module.
        guard !table.modules.contains(where: { $0.doesNothing || $0.makesZero || $0.isUndefined }), table.saved.isEmpty, let checkpoint = subject.weights.checkpoint, !checkpoint.tensors.isEmpty,
            try checkpoint.tensors.allSatisfy({ try subject.isAll($0.name, 0) })
        else { return nil }
        return finding(
            "every tensor is zero everywhere, and no training begins or ends there", file: subject.weights.file,
            help: "save the adapter again; all figures: peftfile inspect --stats \(subject.path.shellQuoted)")
    }

    /// A prompt whose every number is zero: none begins so, and none is trained to it.
    private func emptyPrompt(_ subject: CheckSubject) throws -> Finding? {
        let all = subject.keys.filter(\.isPrompt).map(\.stored)
        // What is multiplied for each task is nothing where the shared prompt is.
        let shared = all.filter { $0.text == "prompt_embeddings" }
        let prompts = shared.isEmpty ? all : shared
        guard !prompts.isEmpty, try prompts.allSatisfy({ try subject.isAll($0, 0) }) else { return nil }
        return finding(
            "the prompt is zero everywhere, and no training begins or ends there", file: subject.weights.file, tensor: prompts.first,
            help: "save the adapter again; all figures: peftfile inspect --stats \(subject.path.shellQuoted)")
    }
}
