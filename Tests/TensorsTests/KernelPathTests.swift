import Testing
@testable import Tensors

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@Suite struct KernelPathTests {
    @Test("the portable form is everywhere, and the active form can be run")
    func availability() {
        #expect(KernelPath.available.first == .generic)
        #expect(KernelPath.active.isAvailable)
    }

    @Test("PEFTFILE_CPU forces a form")
    func forced() async {
        await #expect(processExitsWith: .success) {
            setenv("PEFTFILE_CPU", "generic", 1)
            #expect(KernelPath.active == .generic)
            // Found once: what is set later changes nothing.
            setenv("PEFTFILE_CPU", "avx2", 1)
            #expect(KernelPath.active == .generic)
        }
        await #expect(processExitsWith: .success) {
            // Not the one that would be taken anyway, where the machine has more than two.
            let lesser = KernelPath.available.dropLast().last ?? .generic
            setenv("PEFTFILE_CPU", lesser.rawValue, 1)
            #expect(KernelPath.active == lesser)
        }
        await #expect(processExitsWith: .success) {
            unsetenv("PEFTFILE_CPU")
            #expect(KernelPath.active == KernelPath.available.last)
        }
        await #expect(processExitsWith: .success) {
            setenv("PEFTFILE_CPU", "abacus", 1)
            #expect(KernelPath.active == .generic)
        }
    }
}
