internal import ByteAccess
internal import COpenBLAS

/// A loaded OpenBLAS, or the error that says how to install it.
struct OpenBLAS {
    /// The functions, all resolved. The record lives as long as the process.
    let library: OpaquePointer

    /// The library that the process shares, loaded at the first call.
    ///
    /// - Throws: `PeftfileError` `.library` where it cannot be loaded or used.
    static func shared() throws -> OpenBLAS { try OpenBLAS(checking: cob_shared()) }

    /// Loads the library at `path`, apart from the shared one.
    ///
    /// - Throws: as `shared()`.
    static func open(_ path: String) throws -> OpenBLAS {
        // The record of a library that failed is small and errors are rare: it is kept, like that of one that loaded.
        try OpenBLAS(checking: cob_open(path))
    }

    private init(checking library: OpaquePointer?) throws {
        guard let library else {
            throw PeftfileError(.library, "there is no memory left to load OpenBLAS")
        }
        let detail = String(cString: cob_library_detail(library))
        // The run-time library alone is what dlopen finds; the development package is for who compiles.
        let install = "apt install libopenblas0-pthread, or your system's package of OpenBLAS"
        switch cob_library_status(library) {
        case COB_READY:
            self.library = library
        case COB_INCOMPLETE:
            throw PeftfileError(
                .library, "the BLAS library has no function \(detail)", rule: "OpenBLASIncomplete",
                help: "let PEFTFILE_OPENBLAS name an OpenBLAS with LAPACK: \(install)")
        case COB_WIDE_INTEGERS:
            throw PeftfileError(
                .library, "this OpenBLAS was built with 64-bit integers (\(detail))", rule: "OpenBLASIntegers",
                help: "let PEFTFILE_OPENBLAS name one with 32-bit integers: \(install)")
        default:
            throw PeftfileError(
                .library, "OpenBLAS is needed for this and cannot be loaded (\(detail))", rule: "OpenBLASMissing",
                help: install)
        }
    }

    /// A size as the library's integer.
    ///
    /// - Throws: `PeftfileError` `.unsupported` beyond 2^31 - 1.
    static func integer(_ size: Int, _ what: String) throws -> Int32 {
        guard let integer = Int32(exactly: size) else {
            throw PeftfileError(
                .unsupported, "\(size) \(what) are more than the 32-bit integers of OpenBLAS can count",
                rule: "OpenBLASIntegers")
        }
        return integer
    }
}
