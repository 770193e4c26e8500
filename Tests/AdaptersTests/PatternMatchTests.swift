@testable import Adapters
import ByteAccess
import Testing

/// `rank_pattern` keys against module paths, held to what Python's
/// `re.match(rf"(.*\\.)?({key})$", module)` was seen to answer for all pairs of the two lists.
@Suite struct PatternMatchTests {
    private static let keys = [
        #"q_proj"#,
        #"layers.0.self_attn.q_proj"#,
        #"model.layers.0.self_attn.q_proj"#,
        #"^model.layers.0.self_attn.q_proj"#,
        #"^q_proj"#,
        #"proj"#,
        #"_proj"#,
        #"layers\.\d+\.self_attn\.q_proj"#,
        #".*\.gate_up_proj"#,
        #"q_proj|v_proj"#,
        #"self_attn\.(q|v)_proj"#,
        #"q.proj"#,
        #"layers\.0\.self_attn.q_proj"#,
        #"self-attn"#,
        #""#,
        #"model"#,
    ]
    private static let modules = [
        "q_proj",
        "model.layers.0.self_attn.q_proj",
        "model.layers.10.self_attn.q_proj",
        "model.layers.0.self_attn.v_proj",
        "x.experts.gate_up_proj",
        "gate_up_proj",
        "model.layers.0.xq_proj",
        "model.layers.0.self_attn.qxproj",
        "a.self-attn",
        "model",
    ]
    /// "key module" for every pair that Python 3.11 matches; it matches no other.
    private static let hits: Set<String> = [
        #"q_proj"# + " " + "q_proj",
        #"q_proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"q_proj"# + " " + "model.layers.10.self_attn.q_proj",
        #"layers.0.self_attn.q_proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"model.layers.0.self_attn.q_proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"^model.layers.0.self_attn.q_proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"^q_proj"# + " " + "q_proj",
        #"layers\.\d+\.self_attn\.q_proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"layers\.\d+\.self_attn\.q_proj"# + " " + "model.layers.10.self_attn.q_proj",
        #".*\.gate_up_proj"# + " " + "x.experts.gate_up_proj",
        #"q_proj|v_proj"# + " " + "q_proj",
        #"q_proj|v_proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"q_proj|v_proj"# + " " + "model.layers.10.self_attn.q_proj",
        #"q_proj|v_proj"# + " " + "model.layers.0.self_attn.v_proj",
        #"self_attn\.(q|v)_proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"self_attn\.(q|v)_proj"# + " " + "model.layers.10.self_attn.q_proj",
        #"self_attn\.(q|v)_proj"# + " " + "model.layers.0.self_attn.v_proj",
        #"q.proj"# + " " + "q_proj",
        #"q.proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"q.proj"# + " " + "model.layers.10.self_attn.q_proj",
        #"q.proj"# + " " + "model.layers.0.self_attn.qxproj",
        #"layers\.0\.self_attn.q_proj"# + " " + "model.layers.0.self_attn.q_proj",
        #"self-attn"# + " " + "a.self-attn",
        #"model"# + " " + "model",
    ]

    @Test(arguments: keys) func matchesAsPythonDoes(_ key: String) throws {
        let match = try PatternMatch(keys: [key])
        for module in Self.modules {
            let isHit = match.firstKey(matching: module) != nil
            #expect(isHit == Self.hits.contains(key + " " + module), "\(key) on \(module)")
        }
    }

    @Test func theFirstKeyInFileOrderWins() throws {
        let match = try PatternMatch(keys: ["v_proj", "layers.0.self_attn.q_proj", "q_proj"])
        #expect(match.firstKey(matching: "model.layers.0.self_attn.q_proj") == "layers.0.self_attn.q_proj")
        #expect(match.firstKey(matching: "model.layers.1.self_attn.q_proj") == "q_proj")
        #expect(match.firstKey(matching: "model.layers.1.self_attn.k_proj") == nil)
    }

    @Test func aBrokenExpressionIsAnErrorAndNoTrap() {
        for key in ["(", "[a", "a{2,1}", "*"] {
            #expect(throws: PeftfileError.self) { _ = try PatternMatch(keys: [key]) }
        }
    }
}
