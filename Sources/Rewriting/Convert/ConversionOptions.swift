public import Adapters
import ByteAccess

/// What the conversion of an adapter may be told.
public struct ConversionOptions: Sendable {
    /// The models whose names the modules get: one, or those of a pipeline.
    public var bases: [PipelineBase]
    /// What the adapter's file leaves open, and the component that is taken from a file of several.
    public var binding: BindingOptions
    /// The component that names in kohya's and diffusers' files get; nil keeps or translates the file's own. Where several
    /// parts are written each is named, `text_encoder=lora_te1,unet=lora_unet`; a part that is not named keeps its own.
    public var componentName: String?
    /// What names and rows of llama.cpp's files depend on; the first base's own where it is nil.
    public var gguf: AdapterConversion.GGUFOptions?
    /// Who is to load what is written for PEFT; nil: PEFT itself, by the names that the model has in memory.
    public var loader: ConversionLoader?

    /// Options that by default have no base to look names up in, answer nothing that the adapter's file leaves open, and name no component.
    public init(
        bases: [PipelineBase] = [], binding: BindingOptions = BindingOptions(), componentName: String? = nil,
        gguf: AdapterConversion.GGUFOptions? = nil, loader: ConversionLoader? = nil
    ) {
        self.bases = bases
        self.binding = binding
        self.componentName = componentName
        self.gguf = gguf
        self.loader = loader
    }

    /// Refuses answers to what neither the adapter nor the target leaves open: they would be passed over in silence.
    ///
    /// - Parameters:
    ///   - architecture: whether the caller named llama.cpp's architecture.
    ///   - heads: whether the caller counted heads.
    /// - Throws: `.usage` with the option and what it is for.
    public func requireUsed(by adapter: Adapter, to target: ConversionTarget, architecture: Bool, heads: Bool) throws {
        let dialect = adapter.dialectName
        let isPEFT = dialect == nil && adapter.config != nil
        func refuse(_ option: String, _ concerns: String) -> PeftfileError {
            PeftfileError(
                .usage, "\(option) is for \(concerns), and this is \(dialect ?? "peft") to \(target.rawValue)", file: adapter.path,
                rule: "ConvertOption", help: "leave it out")
        }
        let open = try adapter.openQuestions()
        for question in OpenQuestion.allCases where question.isAnswered(by: binding) && !open.contains(question) {
            // Beside a config these have a refusal of their own.
            if isPEFT, question == .scale || question == .orientation { continue }
            throw refuse(question.rawValue, question.concerns)
        }
        if architecture, target != .gguf { throw refuse("--architecture", "the names of llama.cpp's files, --to gguf") }
        if heads, target != .gguf, dialect != "gguf", dialect != "torchtune" {
            throw refuse("--heads", "the rows of llama.cpp's and torchtune's files")
        }
        if gguf?.roundsScale == true, target != .gguf { throw refuse("--round-scale", "llama.cpp's one alpha, --to gguf") }
    }
}
