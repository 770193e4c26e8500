import Checking
import Foundation
import TestSupport
import Testing

/// What loaders reject or ignore, each case as its source has it.
@Suite struct ServingTests {
    static func findings(_ target: ServingTarget, config: String = "", more: [SmallAdapter.Values] = [], rank: Int = 2) throws -> [Finding] {
        let folder = try TemporaryDirectory()
        try SmallAdapter.lora(in: folder.path("a"), out: 1024, in: 1024, rank: rank, config: config, more: more)
        return try Checker(options: CheckOptions(targets: [target])).check(folder.path("a")).findings
            .filter { $0.rule.hasPrefix("serving-") }
    }

    @Test(arguments: [
        (#", "use_dora": true"#, Severity.error), (#", "modules_to_save": ["lm_head"]"#, .error), (#", "bias": "all""#, .error),
        (#", "rank_pattern": {"q_proj": 2}"#, .warning), (#", "alpha_pattern": {"q_proj": 2}"#, .warning),
        (#", "alora_invocation_tokens": [1]"#, .warning),
    ])
    func vLLM(_ config: String, _ severity: Severity) throws {
        #expect(try Self.findings(.vllm, config: config).map(\.severity) == [severity])
    }

    @Test func vLLMTakesWhatItTakes() throws {
        #expect(try Self.findings(.vllm, config: #", "use_rslora": true, "bias": "none", "modules_to_save": null"#) == [])
        #expect(try Self.findings(.vllm, more: [.init("\(SmallAdapter.root).bias", [8])]).map(\.severity) == [.error])
    }

    /// `MaxLoRARanks`: 16 unless the server is told otherwise, 512 at most.
    @Test(arguments: [(16, []), (17, [Severity.note]), (512, [.note]), (513, [.error])])
    func vLLMHasLargestRanks(_ rank: Int, _ severities: [Severity]) throws {
        #expect(try Self.findings(.vllm, rank: rank).map(\.severity) == severities)
    }

    @Test func llamaCppDropsTheScale() throws {
        #expect(try Self.findings(.llamaCpp) == [])
        #expect(try Self.findings(.llamaCpp, config: #", "use_rslora": true"#).map(\.severity) == [.warning])
        #expect(try Self.findings(.llamaCpp, config: #", "alpha_pattern": {"q_proj": 2}"#).map(\.severity) == [.warning])
        // Each tensor's own rank divides: a rank_pattern is taken.
        #expect(try Self.findings(.llamaCpp, config: #", "rank_pattern": {"q_proj": 2}"#) == [])
    }

    @Test func mlxNeedsItsOwnFiles() throws {
        let findings = try Self.findings(.mlx)
        #expect(findings.map(\.severity) == [.error] && findings[0].message.contains("adapters.safetensors"))
        #expect(findings[0].help?.contains("--to mlx --for mlx") == true)
    }
}
