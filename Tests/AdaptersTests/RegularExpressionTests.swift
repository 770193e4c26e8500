@testable import Adapters
import ByteAccess
import Testing

/// Patterns against module paths, held to what Python's `re.match(rf"(.*\\.)?({pattern})$", path)` was seen to answer.
@Suite struct RegularExpressionTests {
    private static let paths = [
        "model.layers.0.self_attn.q_proj",
        "model.layers.11.mlp.up_proj",
        "q_proj",
        "a.b",
        "xx",
        "layers.xx",
        "x",
        "a.k",
        "layers.3",
        "gate_up",
        "v_proj.x",
        "a-b",
        "m.0-1",
    ]

    /// A pattern and the positions of the paths that Python 3.11 matches. Drawn at random from pieces of real patterns.
    private static let cases: [(pattern: String, hits: [Int])] = [
        (#"layers[qkv][qkv]|[qkv]"#, [7]),
        (#"\.layersx{1,3}|."#, [3, 6, 7, 8, 10]),
        (#"\b(?:a|b)"#, [3]),
        (#".*.*.*?[qkv]"#, [7]),
        (#".*q_proj[0-9-].*?layers|x{2}"#, [4, 5]),
        (#"(?P<n>x)\w+\b"#, [4, 5]),
        (#"layers\w+.*x{2}layers|\w+"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"(?:a|b)^up|(?:a|b)"#, [3]),
        (#"x{1,3}|[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]),
        (#"\.x{2}|x{1,3}"#, [4, 5, 6, 10]),
        (#"_(q|k)\w+[a-z_]+(?P<n>x)|\d+"#, [8]),
        (#".*?[0-9-]"#, [8, 12]),
        (#"(?P<n>x)[0-9-]^\d\d|[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]),
        (#"layers.*|(?:a|b)"#, [0, 1, 3, 5, 8]),
        (#"^(?P<n>x)[a-z_]+|\d"#, [4, 8]),
        (#".*q_proj"#, [0, 2]),
        (#".[^.]."#, [11, 12]),
        (#".*?\w+.|"#, [0, 1, 2, 4, 5, 9]),
        (#"x{2}.*?.|x{2}"#, [4, 5]),
        (#"[a-z_]+.|^"#, [0, 1, 2, 4, 5, 9]),
        (#".*?[a-z_]+|[^.]"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (#".*\d(q|k)|[qkv]"#, [7]),
        (#"^(?:a|b).*?"#, [3, 7, 11]),
        (#".*?(?P<n>x)"#, [4, 5, 6, 10]),
        (#".*?[^.](?:a|b)"#, [11]),
        (#"\d+[^.]^_|[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]),
        (#"^\b\w+\d[qkv]|\w+"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"\.\.\d|x{2}"#, [4, 5]),
        (#"\dlayers\b\w+|(q|k)"#, [7]),
        (#"^[0-9-]\d(q|k)|[qkv]"#, [7]),
        (#"x{2}.*|."#, [3, 4, 5, 6, 7, 8, 10]),
        (#"layers.*?up|(?P<n>x)"#, [6, 10]),
        (#"\b.*?..[0-9-]"#, [8, 12]),
        (#"[0-9-]\b(?:a|b)|(q|k)"#, [7]),
        (#"[a-z_]+|[^.]"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"x{1,3}x{1,3}.*"#, [4, 5]),
        (#"(?:a|b)[0-9-]|(q|k)"#, [7]),
        (#"\w+|[0-9-]"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#".(?P<n>x)x{2}x{1,3}|[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]),
        (#"[qkv]|x{2}"#, [4, 5, 7]),
        (#"[qkv][^.].*$.*"#, [0, 2, 10]),
        (#"(q|k)[a-z_]+"#, [0, 2]),
        (#".*?q_proj[0-9-][qkv]|x{2}"#, [4, 5]),
        (#"^layers|."#, [3, 6, 7, 8, 10]),
        (#"$|[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]),
        (#".*[^.]\.^\b|."#, [3, 6, 7, 8, 10]),
        (#"[^.](?P<n>x)"#, [4, 5]),
        (#"\d+.*$[^.]|[^.]"#, [3, 6, 7, 8, 10]),
        (#"[qkv].\w+"#, [0, 2]),
        (#"\d+.*?layers.*|\w+"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#".*\d$\b|[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]),
        (#"x{1,3}[^.]|(?P<n>x)"#, [4, 5, 6, 10]),
        (#"[0-9-][qkv]|x{2}"#, [4, 5]),
        (#"q_projup|x{1,3}"#, [4, 5, 6, 10]),
        (#"[^.]x{2}$|(q|k)"#, [7]),
        (#".*?[qkv]\b\d+|x{1,3}"#, [4, 5, 6, 10]),
        (#".*?(?P<n>x)|v_proj"#, [4, 5, 6, 10]),
        (#"\d.*\w+"#, [0, 1, 12]),
        (#"x{1,3}.|[0-9-]"#, [4, 5, 8]),
        (#"\d|\b"#, [8]),
        (#".v_proj[0-9-]|x{1,3}"#, [4, 5, 6, 10]),
        (#"[a-z_]+(?P<n>x)$|layers"#, [4, 5]),
        (#"(q|k)_.*?"#, [0, 2]),
        (#".[a-z_]+"#, [0, 1, 2, 4, 5, 9]),
        (#"(?P<n>x)"#, [6, 10]),
        (#"$|(?:a|b)"#, [3]),
        (#"(q|k)v_proj.*?|\w+"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"\b(?P<n>x)|[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]),
        (#"(?:a|b)\.[0-9-][a-z_]+|q_proj"#, [0, 2]),
        (#"uplayers|(q|k)"#, [7]),
        (#"(?P<n>x)|"#, [6, 10]),
        (#".*[0-9-]"#, [8, 12]),
        (#"\w+|[^.]"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"\dx{2}\d(?:a|b)|(?P<n>x)"#, [6, 10]),
        (#"[^.](?:a|b)\w+."#, [9]),
        (#".*?x{1,3}"#, [4, 5, 6, 10]),
        (#"[qkv][a-z_]+|x{1,3}"#, [0, 2, 4, 5, 6, 10]),
        (#"..*\dlayers|."#, [3, 6, 7, 8, 10]),
        (#".*[qkv][qkv]x{1,3}|(?:a|b)"#, [3]),
        (#"[0-9-]|(q|k)"#, [7, 8]),
        (#"\d.*?(?P<n>x)|[0-9-]"#, [8]),
        (#"(?:a|b)_\..*?\.|\w+"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"q_proj|(?:a|b)"#, [0, 2, 3]),
        (#"[0-9-]\w+|x{1,3}"#, [4, 5, 6, 10]),
        (#"\d|q_proj"#, [0, 2, 8]),
        (#"\d+\w+.*"#, [1]),
        (#".*?\.x{1,3}"#, [5, 10]),
        (#"\w+up\.|q_proj"#, [0, 2]),
        (#"(?:a|b)|_"#, [3]),
        (#"..*(q|k).*?"#, [0, 7]),
        (#"\b.*?[^.]\d"#, [12]),
        (#"\d|_"#, [8]),
        (#"[^.]"#, [3, 6, 7, 8, 10]),
        (#".*?layers[^.][qkv](q|k)|x{1,3}"#, [4, 5, 6, 10]),
        (#"[0-9-]up\bx{1,3}|\d+"#, [8]),
        (#"[0-9-]$up[a-z_]+|\d+"#, [8]),
        (#"[0-9-]layersup.\.|\d+"#, [8]),
        (#"[a-z_]+[^.]"#, [0, 1, 2, 4, 5, 9]),
        (#"|[qkv]"#, [7]),
        (#"x{2}[a-z_]+q_proj\..|(?P<n>x)"#, [6, 10]),
        (#"x{2}[qkv]layersx{1,3}\w+|x{2}"#, [4, 5]),
        (#"(q|k)(?:a|b)|\d"#, [8]),
        (#"\b\d"#, [8]),
        (#".*?layers.*"#, [0, 1, 5, 8]),
        (#"(q|k).*?(?:a|b)\w+|."#, [3, 6, 7, 8, 10]),
        (#"v_proj[qkv]|[^.]"#, [3, 6, 7, 8, 10]),
        (#"^x{2}"#, [4]),
        (#"q_proj.*"#, [0, 2]),
        (#"(q|k).*$[qkv]\d|."#, [3, 6, 7, 8, 10]),
        (#"q_proj^[a-z_]+v_proj|."#, [3, 6, 7, 8, 10]),
        (#".*?_q_projv_proj\.|q_proj"#, [0, 2]),
        (#"up[0-9-]\b_|[0-9-]"#, [8]),
        (#"x{1,3}[a-z_]+_up|\d"#, [8]),
        (#"[^.]."#, [4, 5]),
        (#"x{2}|up"#, [4, 5]),
        (#"[qkv](?:a|b)v_proj|x{1,3}"#, [4, 5, 6, 10]),
        (#"(?:a|b).*?"#, [3, 7, 11]),
        (#"x{1,3}(?P<n>x)"#, [4, 5]),
        (#"up|\w+"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"x{1,3}|(?P<n>x)"#, [4, 5, 6, 10]),
        (#"\b[a-z_]+.."#, [0, 1, 2, 3, 7, 8, 9, 10, 11]),
        (#"(q|k)layers\w+|[qkv]"#, [7]),
        (#"x{2}.*?up\d+|x{1,3}"#, [4, 5, 6, 10]),
        (#"_.*\d+|."#, [3, 6, 7, 8, 10]),
        (#"v_projlayersup(q|k)|[^.]"#, [3, 6, 7, 8, 10]),
        (#"\w+"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"[0-9-]q_proj\.|(?:a|b)"#, [3]),
        (#"\d.*?\bx{2}\d+|(?:a|b)"#, [3]),
        (#"\.[a-z_]+^|[^.]"#, [3, 6, 7, 8, 10]),
        (#"^[a-z_]+"#, [2, 4, 6, 9]),
        (#".*?(q|k)|\d+"#, [7, 8]),
        (#".*?(?P<n>x)\d+(q|k).|(q|k)"#, [7]),
        (#"[0-9-](?:a|b)|[^.]"#, [3, 6, 7, 8, 10]),
        (#"_.*\b.|x{1,3}"#, [4, 5, 6, 10]),
        (#".*?upq_proj(q|k)|."#, [3, 6, 7, 8, 10]),
        (#"[^.]layers[a-z_]+|[^.]"#, [3, 6, 7, 8, 10]),
        (#"\w+|$"#, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (#"[^.]\w+"#, [0, 1, 2, 4, 5, 9]),
        (#"[qkv]|$"#, [7]),
        (#"[^.]\w+.*?q_proj"#, [0]),
        (#"x{1,3}|x{2}"#, [4, 5, 6, 10]),
        (#".*?[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]),
        (#"layersx{1,3}|(?:a|b)"#, [3]),
        (#"layersv_proj\w+.[^.]|x{2}"#, [4, 5]),
        (#"(?:a|b)|layers"#, [3]),
        (#"(q|k)[a-z_]+$"#, [0, 2]),
        (#"_(?:a|b)up[^.]|[0-9-]"#, [8]),
        (#"q_proj"#, [0, 2]),
        (#"[qkv]v_proj|[a-z_]+"#, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10]),
        (#"(?:a|b)q_proj|[^.]"#, [3, 6, 7, 8, 10]),
    ]

    @Test func matchesAsPythonDoes() throws {
        for (pattern, hits) in Self.cases {
            let expression = try RegularExpression(modulePattern: pattern)
            let found = Self.paths.indices.filter { expression.matchesWhole(Self.paths[$0]) }
            #expect(found == hits, "\(pattern)")
        }
    }

    @Test func patternsThatBlowUpElsewhereTakeNoTime() throws {
        let path = String(repeating: "a", count: 2000)
        for pattern in ["([a-z_.0-9]+)*X", "(a+)+b", "(a|a)*b", "(a*)*b", "((a{0,30}){0,20})b"] {
            #expect(try !RegularExpression(modulePattern: pattern).matchesWhole(path))
        }
    }

    @Test func whatIsNotKnownIsRefused() {
        for pattern in [
            "(", ")", "[a", "a{2,1}", "*", "a**", #"a\"#, "[z-a]", "(?=a", "(?<a)",
            String(repeating: "(", count: 500) + String(repeating: ")", count: 500),
        ] {
            let error = #expect(throws: PeftfileError.self) { _ = try RegularExpression(modulePattern: pattern) }
            #expect(error?.rule == "PatternSyntax")
        }
    }

    /// What Python knows is told from what it does not.
    @Test func whatPythonKnowsBesidesIsNamed() {
        for pattern in ["(?i)a", #"(a)\1"#, "a++", "a{2000}", "((a{500}){500}){500}", "(?=a(?!b))"] {
            let error = #expect(throws: PeftfileError.self) { _ = try RegularExpression(modulePattern: pattern) }
            #expect(error?.rule == "PatternUnsupported")
        }
    }

    /// The expectations are Python's: `re.fullmatch(pattern, path) is not None`.
    @Test(arguments: [
        (#"^(model\.language_model(?=\.).*\.(q_proj|v_proj))$"#, "model.language_model.layers.0.self_attn.q_proj", true),
        (#"^(model\.language_model(?=\.).*\.(q_proj|v_proj))$"#, "model.language_model_2.layers.0.self_attn.q_proj", false),
        (#"^(?!.*visual).*(?:q_proj|k_proj)$"#, "model.layers.3.self_attn.k_proj", true),
        (#"^(?!.*visual).*(?:q_proj|k_proj)$"#, "visual.blocks.3.attn.k_proj", false),
        (#".*(?<=self_attn\.)q_proj"#, "layers.0.self_attn.q_proj", true),
        (#".*(?<=self_attn\.)q_proj"#, "layers.0.cross_attn.q_proj", false),
        (#".*(?<!lm_)head"#, "model.score_head", true), (#".*(?<!lm_)head"#, "model.lm_head", false),
        (#"a(?=)b(?!.)"#, "ab", true),
    ])
    func looksAheadAndBehind(_ pattern: String, _ path: String, _ matches: Bool) throws {
        #expect(try RegularExpression(wholePattern: pattern).matchesWhole(path) == matches)
    }

    /// A look at every place of a long path stays within its limit.
    @Test func looksTakeBoundedTime() throws {
        let path = String(repeating: "a", count: 600)
        #expect(try !RegularExpression(wholePattern: "((?=.*b)a|(?=a*X)a)*").matchesWhole(path))
    }
}
