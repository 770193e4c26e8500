/// What llama.cpp's converter makes of a tensor beside another name and another order of rows.
///
/// Sources, all `modify_tensors` in conversion/ of ggml-org/llama.cpp: `GraniteMoeModel` (rows), `GptOssModel` and `Llama4Model`
/// (columns, turned), `DeepseekV2Model` (latent keys and values), `LFM2Model` and `MambaModel` (filters, negative exponential),
/// `Mamba2Model` (vector), `Qwen3NextModel` and `_LinearAttentionVReorderBase` (heads of linear attention), `InternLM2Model` and
/// `BaichuanModel` (packed), `DbrxModel` and `NomicBertModel` (below), `Gemma3NModel` (lengthened).
public enum GGUFForm: Sendable, Hashable {
    /// The Hub's matrix, or each of a stack, is the transpose: (in, out), where GGUF has (out, in).
    case turned
    /// The first or the second half of the rows of the Hub's matrix, or of each of a stack: a gate and an up projection.
    case rows(part: Int)
    /// The first or the second half of the columns of the Hub's matrix, or of each of a stack, turned; where they alternate, every
    /// other column.
    case columns(part: Int, alternate: Bool)
    /// Of the rows that each head has in `kv_b_proj` the first, which make its keys, turned.
    case latentKeys
    /// Of the rows that each head has in `kv_b_proj` the last, which make its values.
    case latentValues
    /// A vector that is stored as a matrix.
    case vector
    /// A convolution's filters, (channels, 1, length) in the Hub, without the dimension of 1.
    case filters
    /// A = -exp(A_log), of which the Hub has A_log; as a vector where GGUF has a matrix of one column.
    case exponential(isVector: Bool)

    /// Of `in_proj_qkvz` the first part, all queries, all keys and all values, or the second, the gates z: the Hub has the four of each head
    /// of keys together.
    case linearProjection(part: Int)
    /// Rows of linear attention, of which the last belong to the heads of values, `isWide` where a head has all its rows and not one: the
    /// Hub has those of each head of keys together, GGUF the first of each, then the second of each.
    case valueRows(isWide: Bool)
    /// Columns in the same order: of `out_proj`.
    case valueColumns
    /// A vector in the same order, with a number for each head of values.
    case valueVector
    /// A convolution's filters, whose channels are such rows, without the dimension of 1.
    case valueFilters
    /// A = -exp(A_log) for each head of values, in that order.
    case valueExponential

    /// Queries, keys or values (0, 1, 2) of one matrix, the first two in the order of a rotary embedding of neighbouring pairs: the Hub has all
    /// of one kind together, or where they are grouped the queries that share a key, the key and the value.
    case packed(part: Int, isGrouped: Bool)
    /// A stack of experts, whose matrices, or their transposes, the Hub has below each other in one.
    case below(isTurned: Bool)
    /// The embedding of each layer, to which the converter adds rows of zeros up to the vocabulary's size.
    case lengthened

    /// Whether the file has an exponential in the place of the Hub's numbers.
    public var isExponential: Bool {
        switch self {
        case .exponential, .valueExponential: true
        default: false
        }
    }

    /// Whether it is one of several that make a tensor of the Hub's.
    var isPart: Bool {
        switch self {
        case .rows, .columns, .latentKeys, .latentValues, .linearProjection, .packed: true
        default: false
        }
    }
}
