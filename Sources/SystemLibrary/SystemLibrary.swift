// The system's C library under one name: which module has it depends on the platform, and is chosen here alone. Calls that
// differ from one platform to the next stand in `CPlatform`.
#if canImport(Darwin)
@_exported public import Darwin
#elseif canImport(Musl)
@_exported public import Musl
#else
@_exported public import Glibc
#endif
