import ByteAccess

extension IndexRule {
    /// The error of an index or a directory that breaks this rule.
    func broken(
        _ message: String, file: String? = nil, tensor: ExactString? = nil, offset: UInt64? = nil, help: String? = nil
    ) -> PeftfileError {
        let code: PeftfileError.Code =
            switch self {
            case .missingIndex, .ambiguousCheckpoint: .refused
            case .missingShard: .notFound
            default: .malformed
            }
        return PeftfileError(code, message, file: file, tensor: tensor, offset: offset, rule: rawValue, help: help)
    }
}
