import ByteAccess
import Testing
@testable import LinearAlgebra

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@Suite struct OpenBLASTests {
    @Test("a missing library is an error that says what to install")
    func missing() {
        #expect { try OpenBLAS.open("/nowhere/libopenblas.so.0") } throws: {
            let error = $0 as? PeftfileError
            return error?.code == .library && error?.help?.contains("libopenblas0-pthread") == true
                && error?.message.contains("/nowhere/libopenblas.so.0") == true
        }
    }

    #if os(Linux)
    @Test("a library without the functions is named as incomplete")
    func incomplete() {
        #expect { try OpenBLAS.open("libm.so.6") } throws: {
            let error = $0 as? PeftfileError
            return error?.code == .library && error?.message.contains("cblas_dgemm") == true
        }
    }
    #endif

    @Test("PEFTFILE_OPENBLAS names the library, and nothing else is tried")
    func environment() async {
        await #expect(processExitsWith: .success) {
            setenv("PEFTFILE_OPENBLAS", "/nowhere/libopenblas.so.0", 1)
            #expect { try BLAS.product([1], [1], rows: 1, columns: 1, depth: 1) } throws: {
                ($0 as? PeftfileError)?.code == .library
            }
            #expect { try LAPACK.svd([1], rows: 1, columns: 1) } throws: { ($0 as? PeftfileError)?.code == .library }
            #expect { try LAPACK.qr([1], rows: 1, columns: 1) } throws: { ($0 as? PeftfileError)?.code == .library }
        }
    }

    @Test("a size that fits and one that does not")
    func integers() throws {
        #expect(try OpenBLAS.integer(Int(Int32.max), "rows") == .max)
        #expect(throws: PeftfileError.self) { try OpenBLAS.integer(Int(Int32.max) + 1, "rows") }
    }
}
