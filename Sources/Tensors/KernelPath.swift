internal import CKernels

/// The forms of the arithmetic kernels that a processor can run. All give the same bits; only the speed differs.
///
/// The raw value is the name that the environment variable `PEFTFILE_CPU` takes to force a form.
public enum KernelPath: String, Sendable, Hashable, CaseIterable {
    /// Portable C, on every processor.
    case generic
    /// x86-64 with AVX2, FMA and F16C.
    case avx2
    /// The same with the SHA extensions.
    case avx2sha
    /// AArch64 with NEON, which every one has.
    case neon

    /// The form that every call takes unless told otherwise: the fastest one of this machine, or the one that
    /// `PEFTFILE_CPU` names. A name unknown or not available here means `generic`. Found once per process.
    public static var active: KernelPath {
        switch ck_path_active() {
        case CK_PATH_AVX2: .avx2
        case CK_PATH_AVX2_SHA: .avx2sha
        case CK_PATH_NEON: .neon
        default: .generic
        }
    }

    /// Whether this machine can run the form.
    public var isAvailable: Bool { ck_path_available(path) }

    /// The forms that this machine can run, slowest first.
    public static var available: [KernelPath] { allCases.filter(\.isAvailable) }

    /// The kernel's own name for the form.
    var path: ck_path {
        switch self {
        case .generic: CK_PATH_GENERIC
        case .avx2: CK_PATH_AVX2
        case .avx2sha: CK_PATH_AVX2_SHA
        case .neon: CK_PATH_NEON
        }
    }
}
