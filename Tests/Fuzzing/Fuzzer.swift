import ByteAccess
import FuzzTargets
import TestSupport

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

// What libFuzzer calls. The target is named by PEFTFILE_FUZZ_TARGET; Tests/Fuzzing/run sets it.
// Source: https://llvm.org/docs/LibFuzzer.html, and clang/docs of LLVMFuzzerCustomMutator in FuzzerInterface.h.

private let target: any FuzzTarget = {
    let name = getenv("PEFTFILE_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    // Only a person who starts the fuzzer by hand can get here; there is nothing to fuzz then, and nobody to return to.
    guard let target = FuzzTargets.all.first(where: { $0.name == name }) else {
        fatalError("PEFTFILE_FUZZ_TARGET is one of \(FuzzTargets.all.map(\.name).joined(separator: ", "))")
    }
    return target
}()

/// Reads one input. A trap, a failure or a leak ends the process, and libFuzzer keeps the input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    do {
        _ = try target.accepts(Array(UnsafeBufferPointer(start: data, count: size)))
    } catch {
        // A refusal is an answer of `accepts`. What it throws is a finding, and ending the process is how libFuzzer is told of one.
        fatalError("\(target.name): \(error)")
    }
    return 0
}

/// libFuzzer's own mutations of plain bytes.
@_silgen_name("LLVMFuzzerMutate")
private func mutateBytes(_ data: UnsafeMutablePointer<UInt8>, _ size: Int, _ limit: Int) -> Int

/// Changes an input along its structure; one time in four as plain bytes.
@_cdecl("LLVMFuzzerCustomMutator")
public func customMutator(_ data: UnsafeMutablePointer<UInt8>, _ size: Int, _ limit: Int, _ seed: UInt32) -> Int {
    var random = SplitMix64(seed: UInt64(seed))
    guard random.next() % 4 != 0 else { return mutateBytes(data, size, limit) }
    let mutant = target.mutant(of: target.pieces(of: Array(UnsafeBufferPointer(start: data, count: size))), &random)
    guard !mutant.isEmpty, mutant.count <= limit else { return mutateBytes(data, size, limit) }
    // Not empty, so it has an address.
    mutant.withUnsafeBufferPointer { data.update(from: $0.baseAddress!, count: mutant.count) }
    return mutant.count
}
