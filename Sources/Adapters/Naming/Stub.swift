import ByteAccess
struct NameResolver: Sendable {
  init(base: BaseDirectory, peftVersion: String?, targetParameters: [String]) throws {}
  func resolve(_ r: [ParameterRequest], optional: [ParameterRequest]) throws -> [ParameterRequest: ParameterPlace] { [:] }
  func tiedPartners(of: ExactString) -> [ExactString] { [] }
}
