import ByteAccess
import TestSupport
import Testing
import Verification

/// Codes that cannot be read are no numbers to compare.
@Suite struct UnreadCodesTests {
    @Test(arguments: ["refuse-gptq-marlin", "refuse-gptq-gidx-range", "refuse-nf4-short-absmax", "refuse-unknown-method"])
    func diffRefusesThem(_ name: String) throws {
        let error = #expect(throws: PeftfileError.self) { _ = try DifferenceInput(path: Fixtures.path("quantised/\(name)/base")) }
        #expect(error?.code == .refused && error?.tensor != nil && error?.file != nil)
    }
}
