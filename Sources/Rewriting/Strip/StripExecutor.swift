import Adapters
import ByteAccess
import Checkpoints
import Tensors

/// Carries out a strip: computes the prompts, copies what stays, and gives the directory its name when all is done.
public struct StripExecutor: Sendable {
    /// What is written.
    public let plan: StripPlan
    /// The directory or file to write.
    public let target: String
    /// How it is written.
    public let settings: PlanExecutor.Settings

    /// An executor for one plan and one target. Nothing is looked at or written before ``checkTarget()`` or ``run()``.
    public init(plan: StripPlan, target: String, settings: PlanExecutor.Settings = .init()) {
        self.plan = plan
        self.target = target
        self.settings = settings
    }

    /// Refuses a target that cannot be written before any work is done.
    ///
    /// - Throws: `.exists`, `.notFound` or `.refused` for the place, `.noSpace` where the disk has no room.
    public func checkTarget() throws {
        let output = OutputTarget(path: target, replacing: settings.replacing)
        try output.checkDirectory()
        try output.checkParent()
        try output.refuseInputs([plan.source.path], of: "strip")
        try output.checkRoom(for: plan.bytesWritten)
    }

    /// Writes everything and publishes it in one step.
    ///
    /// - Returns: the receipt, which also lies in the output.
    /// - Throws: any failure; the target is then as it was, and what was begun is removed.
    public func run() throws -> StripReceipt {
        try checkTarget()
        let lock = try OutputLock(target: target)
        defer { lock.release() }
        let staged = try StagedDirectory(target: target, id: plan.id)
        do {
            let digests = settings.hashing ? try InputDigests(of: plan.source.checkpoint, config: plan.source.config) : nil
            var receipt = StripReceipt(plan: plan, digests: digests)
            for file in plan.files {
                let writer = try FileWriter(path: staged.path(of: file.name))
                let digest = try write(file, to: writer, receipt: &receipt)
                try writer.commit(durable: settings.isDurable)
                receipt.add(subject: file.name, digest: digest)
            }
            for sidecar in plan.sidecars {
                receipt.add(
                    subject: sidecar.name,
                    digest: try sidecar.write(to: staged.path(of: sidecar.name), hashing: settings.hashing, durable: settings.isDurable))
            }
            try plan.source.checkpoint.requireUnchanged()
            try FileWriter.write(receipt.document, to: staged.path(of: Receipt.fileName), durable: settings.isDurable)
            try staged.publish(replacing: settings.replacing, durable: settings.isDurable)
            return receipt
        } catch {
            staged.discard()
            throw error
        }
    }

    /// Writes one file in the order of its bytes.
    private func write(_ file: StripPlan.File, to writer: FileWriter, receipt: inout StripReceipt) throws -> String? {
        try writer.allocate(file.byteCount)
        var hash = SHA256()
        var done: UInt64 = 0
        func put(_ bytes: [UInt8], at offset: UInt64) throws {
            try Interruption.check()
            try writer.write(bytes, at: offset)
            if settings.hashing { hash.update(bytes) }
            done += UInt64(bytes.count)
            settings.progress?(done)
        }
        try put(file.header, at: 0)
        // The parts of one prompt are computed together.
        var known: (formula: PromptFormula, values: [Double])?
        let evaluator = PromptEvaluator(checkpoint: plan.source.checkpoint, jobs: settings.jobs)
        for tensor in file.tensors {
            switch tensor.content {
            case .computed(let formula):
                if known?.formula != formula.whole { known = (formula.whole, try evaluator.values(of: formula.whole)) }
                let values = formula.part(of: known?.values ?? [])
                receipt.add(tensor: tensor.info, values: values)
                try put(try Conversion.narrowed(values, to: tensor.info.dtype), at: tensor.info.begin)
            case .copied(let stored):
                var offset: UInt64 = 0
                while offset < stored.byteCount {
                    let end = min(stored.byteCount, offset + (1 << 22))
                    try put(
                        try plan.source.checkpoint.read(stored, bytes: offset..<end), at: tensor.info.begin + offset)
                    offset = end
                }
            }
        }
        return settings.hashing ? SHA256.hex(hash.finalize()) : nil
    }
}
