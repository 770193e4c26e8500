public import Adapters

/// What the conversion of an adapter may be told.
public struct ConversionOptions: Sendable {
    /// The models whose names the modules get: one, or those of a pipeline.
    public var bases: [PipelineBase]
    /// What the adapter's file leaves open, and the component that is taken from a file of several.
    public var binding: BindingOptions
    /// The component that names in kohya's and diffusers' files get, where one part is written; nil keeps or translates
    /// the file's own.
    public var componentName: String?
    /// What names and rows of llama.cpp's files depend on; the first base's own where it is nil.
    public var gguf: AdapterConversion.GGUFOptions?

    public init(
        bases: [PipelineBase] = [], binding: BindingOptions = BindingOptions(), componentName: String? = nil,
        gguf: AdapterConversion.GGUFOptions? = nil
    ) {
        self.bases = bases
        self.binding = binding
        self.componentName = componentName
        self.gguf = gguf
    }
}
