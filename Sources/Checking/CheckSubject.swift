public import Adapters
public import ByteAccess
public import Checkpoints
import Containers

/// An adapter to be checked: its directory, config, tensors and values, each looked at when the first rule asks, and once.
public final class CheckSubject: Sendable {
    /// The path as given, or as found in a tree that was given.
    public let path: String
    /// What the check was told.
    public let options: CheckOptions
    /// The directory that holds the adapter: `path`, or where the file `path` lies.
    public let directory: String
    /// Whether `path` is a single file.
    public let isFile: Bool

    private let listed = Once<[AdapterDirectory.Entry]>()
    private let readConfig = Once<ConfigState>()
    private let openedWeights = Once<WeightsState>()
    private let takenApart = Once<[AdapterKey]>()
    private let openedAdapter = Once<Adapter>()
    private let builtFactors = Once<FactorTable>()
    private let readValues = Once<WeightsReading>()
    private let bound = Once<BindingState>()
    private let sampled = Once<MergeSample?>()
    private let turned = Once<Transposition?>()
    let effectTable = Once<EffectTable?>()
    let untouchedModules = Once<(tensors: [ExactString], of: Int)?>()
    let statedEffects = Once<AdapterEffects>()
    private let lookedForBottlenecks = Once<BottleneckReport?>()

    /// A subject at this path. Nothing is opened yet: a path that is no directory is taken for a file, whether it is there or not.
    ///
    /// - Parameter options: by default there is no base, no loader and no policy.
    public init(path: String, options: CheckOptions = CheckOptions()) {
        self.path = path
        self.options = options
        isFile = !FileSystem.isDirectory(path)
        directory = isFile ? FileSystem.directory(of: path) : path
    }

    /// Where `adapter_config.json` is, or would be.
    public var configPath: String { FileSystem.join(directory, "adapter_config.json") }

    /// The files of the adapter's directory and of those below it that hold no adapter of their own. Empty for a bare file,
    /// whose neighbours are none of its business.
    ///
    /// - Throws: `.io` where a directory cannot be listed; ``NotChecked`` where there are too many files, or directories nested too
    ///   deeply. The error is kept: later calls throw it again.
    public func entries() throws -> [AdapterDirectory.Entry] {
        try listed.value { isFile ? [] : try AdapterDirectory.entries(of: directory) }
    }

    /// The config, or why there is none.
    public var config: ConfigState {
        readConfig.certain {
            guard FileSystem.exists(configPath), !isStranger else { return .missing }
            do { return .read(try AdapterConfig(path: configPath)) }
            catch { return .unreadable(PeftfileError(wrapping: error, file: configPath)) }
        }
    }

    /// Whether the file is one of another library beside a whole adapter, whose config says nothing of it.
    private var isStranger: Bool { isFile && Adapter.isStranger(path) }

    /// The tensors, or why there are none.
    public var weights: WeightsState {
        openedWeights.certain {
            let state = isFile ? .opening(path) : AdapterDirectory.weights(in: directory)
            // The base's weights beside an adapter are nobody's finding.
            guard case .opened(let all, let file) = state, let whole = WholeState(all, path: file, config: config.config) else { return state }
            return .opened(whole.adapterCheckpoint, file: file)
        }
    }

    /// What is to be said of the base's weights beside the adapter, and how far they were compared.
    var stateNote: String? {
        if case .refused(let error) = binding, error.rule == "FrozenWeight" { return (try? adapter())?.wholeState?.refusedNote }
        return binding.binding?.adapters.first?.stateNote ?? (try? adapter())?.stateNote
    }

    /// The tensor names, taken apart, in file order.
    public var keys: [AdapterKey] {
        takenApart.certain {
            if let whole = (try? adapter())?.wholeState { return whole.keys }
            return weights.checkpoint.map { $0.tensors.map { AdapterKey($0.name) } } ?? []
        }
    }

    /// The adapter as merging sees it.
    ///
    /// - Throws: what `Adapter` throws at opening: among others `.refused` with rule `ConfigMissing`, `SeveralAdapters` or
    ///   `AmbiguousKey`, `.notFound` with rule `AdapterWeightsMissing`, and what reading its config and weights throws. The
    ///   error is kept: later calls throw it again.
    public func adapter() throws -> Adapter {
        try openedAdapter.value { try Adapter(path: isFile ? path : weights.file ?? directory) }
    }

    /// What the file leaves open, settled by the caller: where a config stands beside it, that decides of scale and orientation.
    var bindingOptions: BindingOptions {
        var options = self.options.binding
        if let adapter = try? adapter(), adapter.config != nil, adapter.dialectName == nil {
            (options.scale, options.orientation) = (nil, .outIn)
        }
        return options
    }

    /// The pairs of factors, and what is wrong with single ones.
    var factors: FactorTable { builtFactors.certain { FactorTable(self) } }

    /// The tensors that fit once they are turned; nil where there are none.
    var transposition: Transposition? { turned.certain { Transposition(self) } }

    /// The numbers of all tensors and the file's hash, from one read.
    func values() throws -> WeightsReading {
        try readValues.value {
            guard let checkpoint = weights.checkpoint else { throw NotChecked("the tensors cannot be read") }
            return try WeightsReading(checkpoint, jobs: options.jobs, progress: options.progress)
        }
    }

    /// The SHA-256 of the weights in hex, where they are one file that was read whole.
    func sha256() -> String? { (try? values())?.sha256 }

    /// The bottleneck adapters in the file, where there are any.
    var bottlenecks: BottleneckReport? {
        lookedForBottlenecks.certain {
            guard let checkpoint = weights.checkpoint, config.config?.peftType == nil else { return nil }
            return BottleneckReport.of(checkpoint, config: config.config)
        }
    }

    /// A few rows of the merge; nil where the adapter cannot be bound.
    func mergeSample() throws -> MergeSample? {
        try sampled.value { try binding.binding.map { try MergeSample($0, jobs: options.jobs) } }
    }

    /// The adapter held against the base.
    var binding: BindingState { bound.certain { BindingState(self) } }
}

/// `adapter_config.json`, or why there is none.
public enum ConfigState: Sendable {
    /// It was read.
    case read(AdapterConfig)
    /// It is there and cannot be read.
    case unreadable(PeftfileError)
    /// There is none.
    case missing

    /// The config; nil where it was not read.
    public var config: AdapterConfig? {
        if case .read(let config) = self { return config }
        return nil
    }
}

/// The tensors, or why there are none.
public enum WeightsState: Sendable {
    /// They could be opened.
    case opened(Checkpoint, file: String)
    /// They are there and cannot be read.
    case unreadable(PeftfileError, file: String)
    /// There are none.
    case missing

    /// The file or index that holds the tensors, or should.
    public var file: String? {
        switch self {
        case .opened(_, let file), .unreadable(_, let file): file
        case .missing: nil
        }
    }

    /// The tensors; nil where they could not be opened.
    public var checkpoint: Checkpoint? {
        if case .opened(let checkpoint, _) = self { return checkpoint }
        return nil
    }

    /// Why they could not be read; nil where they could, or are missing.
    public var error: PeftfileError? {
        if case .unreadable(let error, _) = self { return error }
        return nil
    }

    static func opening(_ file: String) -> WeightsState {
        do { return .opened(try Checkpoint.open(file), file: file) }
        catch { return .unreadable(PeftfileError(wrapping: error, file: file), file: file) }
    }
}

extension PeftfileError {
    /// The error itself, or what another type of error says.
    init(wrapping error: any Error, file: String) {
        self = (error as? PeftfileError)?.inFile(file) ?? PeftfileError(.io, "\(error)", file: file)
    }
}
