/// The library: everything that the commands are made of, without the command line.
///
/// ```swift
/// import Peftfile
///
/// let binding = try Binding(base: .open("llama"), adapters: [Adapter(path: "adapter")])
/// let receipt = try PlanExecutor(plan: .merge(binding), target: "merged").run()
/// print(receipt.total.survival ?? 1)
/// ```
@_exported public import Adapters
@_exported public import ByteAccess
@_exported public import Checking
@_exported public import Checkpoints
@_exported public import Containers
@_exported public import LinearAlgebra
@_exported public import Rewriting
@_exported public import Tensors
@_exported public import Verification
