public import Adapters
import ByteAccess
import struct Synchronization.Atomic

/// The spectra of the updates that adapters make, module by module.
public struct SpectrumReport: Sendable {
    /// What is worth a second look.
    public enum Flag: String, Sendable {
        /// The update is zero, or its elements' root mean square is below a thousandth of the adapter's median: the module
        /// trained nothing, or was left out of training.
        case dead
        /// At most a quarter of the rank, 4 or more, holds 99 % of the energy: an adapter of a quarter of the rank could be within
        /// a tenth of this one in norm (√0.01).
        case overparameterised = "over-parameterised"
    }

    /// One matrix.
    public struct Module: Sendable {
        /// What the matrix is changed by.
        public var update: ThinUpdate
        /// Its singular values.
        public var spectrum: Spectrum
        /// What is worth a second look; nil for most.
        public var flag: Flag?
        /// The module's path, with parameter and expert where there is more than a weight.
        public var name: String { update.name }

        /// The root mean square of the update's elements.
        var size: Double { spectrum.frobeniusNorm / (Double(update.rows) * Double(update.columns)).squareRoot() }
    }

    /// The matrices that have one, in the order of the adapter's modules.
    public private(set) var modules: [Module] = []
    /// Modules without a spectrum, each with the reason.
    public private(set) var skipped: [(module: String, reason: String)]
    /// Why there is none at all.
    public private(set) var reason: String?

    /// What is no adapter has no updates.
    public init(reason: String) {
        self.reason = reason
        skipped = []
    }

    /// The spectra of an adapter, as far as it tells them without its base.
    ///
    /// - Parameter progress: called with the share that has been done, from 0 to 1, from any thread.
    /// - Throws: `.library` without OpenBLAS; `.refused` where method or config are not known or contradict the tensors.
    public init(of adapter: Adapter, options: BindingOptions = BindingOptions(), jobs: Int, progress: (@Sendable (Double) -> Void)? = nil) throws {
        let (updates, source) = try adapter.thinUpdates(options)
        try self.init(updates, numbers: AdapterNumbers(adapters: [source], limit: 1 << 25), jobs: jobs, progress)
    }

    /// The spectra of adapters that are bound to a base, with their weights; VeRA's and others' shapes are the base's.
    ///
    /// - Parameter progress: called with the share that has been done, from 0 to 1, from any thread.
    /// - Throws: `.library` without OpenBLAS.
    public init(of binding: Binding, jobs: Int, progress: (@Sendable (Double) -> Void)? = nil) throws {
        let numbers = AdapterNumbers(adapters: binding.adapters, base: binding.base, limit: 1 << 25)
        try self.init(binding.thinUpdates, numbers: numbers, jobs: jobs, progress)
    }

    private init(_ updates: ThinUpdates, numbers: AdapterNumbers, jobs: Int, _ progress: (@Sendable (Double) -> Void)?) throws {
        skipped = updates.skipped
        let list = updates.updates
        let results = Mutex([Result<Spectrum, PeftfileError>?](repeating: nil, count: list.count))
        let done = Atomic(0)
        try parallelForEach(count: list.count, jobs: jobs) { index in
            let result: Result<Spectrum, PeftfileError>
            do {
                result = .success(try Spectrum(of: list[index], numbers: numbers))
            } catch let error as PeftfileError where [.refused, .malformed].contains(error.code) {
                result = .failure(error)
            }
            results.withLock { $0[index] = result }
            progress?(Double(done.add(1, ordering: .relaxed).newValue) / Double(list.count))
        }
        for (update, result) in zip(list, results.withLock { $0 }) {
            switch result {
            case .success(let spectrum): modules.append(Module(update: update, spectrum: spectrum))
            case .failure(let error): skipped.append((update.name, error.message))
            case nil: break
            }
        }
        reason = modules.isEmpty ? updates.reason ?? skipped.first?.reason ?? "it changes no matrix" : nil
        let sizes = modules.map(\.size).filter { $0 > 0 }.sorted()
        let median = sizes.isEmpty ? 0 : sizes[sizes.count / 2]
        for index in modules.indices { modules[index].flag = Flag(modules[index], median: median) }
    }
}

extension SpectrumReport.Flag {
    fileprivate init?(_ module: SpectrumReport.Module, median: Double) {
        let held = module.spectrum.rank(holding: 0.99)
        let rank = module.spectrum.singularValues.count
        if module.size == 0 || module.size < median / 1000 {
            self = .dead
        } else if rank >= 4, held * 4 <= rank {
            self = .overparameterised
        } else {
            return nil
        }
    }
}
