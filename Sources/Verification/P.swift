public import Adapters
public import ByteAccess
public import Checkpoints
public import Tensors
public struct EquivalenceReport: Sendable { public var equivalent = false; public var warnings: [String] = []; public var json: JSONValue { .null } }
public struct Verifier { public init(binding: Binding, result: Checkpoint, dtype: DType?, convertsAllDTypes: Bool, maxULP: UInt64?, jobs: Int, probes: Int) {}
 public func run() throws -> EquivalenceReport { EquivalenceReport() } }
