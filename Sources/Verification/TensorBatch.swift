/// How many tensors are compared together.
enum TensorBatch {
    /// What a tensor needs while it is compared is 1 to 2 KiB beside its bytes; a model of 100 000 tensors would hold
    /// hundreds of megabytes, were all prepared before the first is compared.
    static let count = 1024
}
