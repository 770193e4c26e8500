import SystemLibrary

/// Turns the errno of a failed system call into the house's error.
enum SystemError {
    /// The error for `number`, the errno of a call that was to do `action` ("cannot read").
    static func make(_ number: Int32, _ action: String, file: String) -> PeftfileError {
        let reason = String(cString: strerror(number))
        switch number {
        case ENOENT, ENOTDIR:
            return PeftfileError(.notFound, "\(action): no such file or directory", file: file)
        case EEXIST, ENOTEMPTY:
            return PeftfileError(.exists, "\(action): it exists already", file: file)
        case ENOSPC, EDQUOT:
            return PeftfileError(
                .noSpace, "\(action): no space left on the device", file: file,
                help: "free some space or choose another output")
        case EFBIG:
            return PeftfileError(
                .noSpace, "\(action): no file may be that large here", file: file,
                help: "raise the limit (ulimit -f) or choose another disk")
        default:
            return PeftfileError(.io, "\(action): \(reason)", file: file)
        }
    }

    /// The error for the errno that the last call of this thread left.
    static func last(_ action: String, file: String) -> PeftfileError { make(errno, action, file: file) }

    /// Runs `call` again while it fails with EINTR, and returns its result.
    static func retrying<Result: SignedInteger>(_ call: () -> Result) -> Result {
        while true {
            let result = call()
            if result >= 0 || errno != EINTR { return result }
        }
    }
}
