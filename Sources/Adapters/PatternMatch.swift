import ByteAccess

/// PEFT's way of picking a module's entry in `rank_pattern` and `alpha_pattern`.
///
/// The keys are tried in file order and the first wins for which Python's
/// `re.match(rf"(.*\.)?({key})$", module)` succeeds; without a hit the config's own `r` or `lora_alpha` holds. So
/// `q_proj` and `layers.0.self_attn.q_proj` match, `proj` does not match `q_proj`, and `^q_proj` never matches a nested
/// module. Source: `get_pattern_key` in peft/utils/other.py.
struct PatternMatch {
    /// A key of plain characters, wildcards (`.`) and escaped characters is compared without a regex engine; large
    /// models have thousands of such keys.
    private enum Matcher {
        case characters([UInt8?])
        case expression(RegularExpression)
    }

    private var matchers: [(key: String, matcher: Matcher)] = []

    /// - Throws: `.malformed` where a key is no regular expression.
    init(keys: [String]) throws {
        for key in keys {
            if let characters = PatternMatch.plainCharacters(of: key) {
                matchers.append((key, .characters(characters)))
                continue
            }
            matchers.append((key, .expression(try RegularExpression(modulePattern: key))))
        }
    }

    /// The first key that matches `module`.
    func firstKey(matching module: String) -> String? {
        for (key, matcher) in matchers {
            switch matcher {
            case .characters(let pattern):
                if PatternMatch.matches(pattern, module) { return key }
            case .expression(let expression):
                if expression.matchesWhole(module) { return key }
            }
        }
        return nil
    }

    /// The key as bytes with nil for a wildcard, or nil where it needs a regex engine.
    private static func plainCharacters(of key: String) -> [UInt8?]? {
        var result: [UInt8?] = []
        var escaped = false
        for byte in key.utf8 {
            let isWord = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || byte == UInt8(ascii: "_")
            if escaped {
                // `\d`, `\w`, `\b` have meanings of their own; an escaped sign stands for itself.
                guard !isWord, byte < 0x80 else { return nil }
                result.append(byte)
                escaped = false
            } else if byte == UInt8(ascii: "\\") {
                escaped = true
            } else if byte == UInt8(ascii: ".") {
                result.append(nil)
            } else if isWord || byte == UInt8(ascii: "-") {
                result.append(byte)
            } else {
                return nil
            }
        }
        return escaped || result.isEmpty ? nil : result
    }

    /// Whether `module` ends in the pattern, at its start or after a dot.
    private static func matches(_ pattern: [UInt8?], _ module: String) -> Bool {
        let bytes = Array(module.utf8)
        let start = bytes.count - pattern.count
        guard start >= 0, start == 0 || bytes[start - 1] == UInt8(ascii: ".") else { return false }
        for (offset, expected) in pattern.enumerated() {
            if let expected {
                guard bytes[start + offset] == expected else { return false }
            } else if bytes[start + offset] == UInt8(ascii: "\n") {
                return false
            }
        }
        return true
    }
}
