import ByteAccess
import Testing

@Suite struct JSONTests {
    static func parse(_ text: String, _ dialect: JSONDialect = .strict) throws -> JSONValue {
        try JSONValue.parse(Array(text.utf8), file: "file.json", allowing: dialect)
    }

    @Test func keepsOrderDuplicatesAndNumberText() throws {
        let value = try Self.parse(#"{"b": 1.50, "a": 1e-05, "b": 10000000000000000000000, "A": -0}"#)
        let object = try #require(value.objectValue)
        #expect(object.keys == ["b", "a", "b", "A"])
        #expect(object.duplicateKeys == ["b"])
        #expect(value.serialized() == #"{"b": 1.50, "a": 1e-05, "b": 10000000000000000000000, "A": -0}"#)
        #expect(object["b"]?.doubleValue == 1.5)
        #expect(object["a"]?.doubleValue == 1e-05)
        #expect(object.members[2].value.intValue == nil)
        #expect(object["A"]?.intValue == 0)
    }

    @Test func keysAreComparedByTheirBytes() throws {
        // é as one scalar and as two, and CR LF: equal as Swift strings, different as keys.
        let value = try Self.parse(#"{"\u00e9": 1, "e\u0301": 2, "\r\n": 3, "\n": 4}"#)
        let object = try #require(value.objectValue)
        #expect(object.duplicateKeys.isEmpty)
        #expect(value[ExactString("e\u{301}")]?.intValue == 2)
        #expect(value["\r\n"]?.intValue == 3)
    }

    @Test(arguments: [
        (#""""#, ""), (#""a\"\\\/\b\f\n\r\t""#, "a\"\\/\u{8}\u{C}\n\r\t"), (#""\u0000\u007f""#, "\0\u{7F}"),
        (#""\ud83d\ude00\uD83D\uDE00""#, "😀😀"), (#""ü✓""#, "ü✓"), (#""12345678\n12345678""#, "12345678\n12345678"),
    ])
    func strings(text: String, value: String) throws {
        #expect(try Self.parse(text) == .string(value))
    }

    @Test(arguments: [
        "", " ", "{", "[", "]", "}", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}",
        "{\"a\" 1}", "{a:1}", "{'a':1}", "{1:1}", "[1}", "{\"a\":1]", "tru", "truex", "nul", "True", "01", "-", "+1",
        "1.",
        ".5", "1e", "1e+", "0x1", "--1", "1 1", "// c", "/**/1", "\"", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"",
        "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\n\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\u{1}\"", "\"\n\"",
        "1e400",
        "-1e400", "NaN", "Infinity", "-Infinity", "\u{FEFF}1", "\u{A0}1", "[1]\0", "\u{C}1",
    ])
    func refusesWhatIsNotJSON(text: String) throws {
        let error = #expect(throws: PeftfileError.self) { try Self.parse(text) }
        #expect(error?.code == .malformed)
        #expect(error?.rule == "InvalidJSON")
        #expect(error?.file == "file.json")
        #expect((error?.offset).map { $0 <= UInt64(text.utf8.count) } == true)
    }

    @Test(
        arguments: [
            [0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0x80],
            [0xF5, 0x80, 0x80, 0x80],
            [0xE0, 0x80, 0x80], [0xF0, 0x80, 0x80, 0x80], [0xC1, 0x80],
        ] as [[UInt8]])
    func refusesWhatIsNotUTF8(bytes: [UInt8]) throws {
        // At every place of an eight-byte word.
        for lead in 0..<17 {
            let text = [0x22] + [UInt8](repeating: 0x61, count: lead) + bytes + [0x22]
            let error = #expect(throws: PeftfileError.self) { try JSONValue.parse(text) }
            #expect(error?.rule == "InvalidUTF8")
            #expect(error?.offset == UInt64(1 + lead))
        }
    }

    @Test func wellFormedUTF8MatchesTheStandardLibrary() throws {
        // Every scalar of each length's edges, and all two-byte combinations, against Swift's own decoder.
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let bytes = [first, second, 0x80, 0x80]
                for count in 1...4 {
                    let part = Array(bytes[..<count])
                    let expected = String(validating: part, as: UTF8.self) != nil
                    #expect(
                        part.withUnsafeBytes { UTF8Validation.firstInvalidByte(in: $0) == nil } == expected, "\(part)")
                }
            }
        }
    }

    @Test func pythonsLiteralsAreReadOnlyInItsDialect() throws {
        let value = try Self.parse("[NaN, Infinity, -Infinity, -1]", .python)
        let numbers = try #require(value.arrayValue).compactMap(\.doubleValue)
        #expect(numbers[0].isNaN)
        #expect(numbers[1...] == [.infinity, -.infinity, -1])
        #expect(value.serialized() == "[NaN, Infinity, -Infinity, -1]")
        #expect(throws: PeftfileError.self) { try Self.parse("[Nan]", .python) }
    }

    @Test func opens127LevelsAndNoMore() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(throws: Never.self) { try Self.parse(nested(127)) }
        #expect(throws: PeftfileError.self) { try Self.parse(nested(128)) }
        #expect(throws: PeftfileError.self) { try Self.parse(String(repeating: "[", count: 1_000_000)) }
        #expect(throws: PeftfileError.self) { try Self.parse(String(repeating: "{\"a\":", count: 1_000_000)) }
    }

    @Test func numbersAtTheEdges() throws {
        #expect(try Self.parse("9223372036854775807").intValue == .max)
        #expect(try Self.parse("9223372036854775808").intValue == nil)
        guard case .number(let number) = try Self.parse("18446744073709551615") else { return #expect(Bool(false)) }
        #expect(number.uint64 == .max)
        #expect(try Self.parse("1.7976931348623157e308").doubleValue == .greatestFiniteMagnitude)
        #expect(throws: PeftfileError.self) { try Self.parse("1.7976931348623159e308") }
        #expect(try Self.parse("0e999999999").doubleValue == 0)
        #expect(try Self.parse("1e-400").doubleValue == 0)
        #expect(throws: PeftfileError.self) { try Self.parse("1" + String(repeating: "0", count: 400)) }
        #expect(try Self.parse("0." + String(repeating: "0", count: 400) + "1e400").doubleValue == 0.1)
    }

    @Test func unsignedIntegersArePlainDigits() throws {
        func read(_ text: String) throws -> UInt64 {
            try Array(text.utf8).withUnsafeBytes { bytes in
                var reader = JSONReader(bytes)
                let value = try reader.readUInt64()
                try reader.finish()
                return value
            }
        }
        #expect(try read("0") == 0)
        #expect(try read(" 18446744073709551615 ") == .max)
        for text in [
            "18446744073709551616", "99999999999999999999", "-0", "-1", "4.0", "4e0", "4E0", "04", "+4", "\"4\"", "",
            "x",
        ] {
            #expect(throws: PeftfileError.self) { try read(text) }
        }
    }

    @Test func looksAsPythonsDumps() throws {
        let value: JSONValue = [
            "zeta": [1, 2.5, nil, true], "alpha": ["inner": "ü\"\\\n\u{1}\u{7F}/"], "empty": [], "none": [:],
        ]
        // json.dumps(value, ensure_ascii=False)
        #expect(
            value.serialized()
                == #"{"zeta": [1, 2.5, null, true], "alpha": {"inner": "ü\"\\\n\u0001"# + "\u{7F}"
                + #"/"}, "empty": [], "none": {}}"#)
        // json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
        #expect(
            value.serialized(indent: 2, sortedKeys: true) == """
                {
                  "alpha": {
                    "inner": "ü\\"\\\\\\n\\u0001\u{7F}/"
                  },
                  "empty": [],
                  "none": {},
                  "zeta": [
                    1,
                    2.5,
                    null,
                    true
                  ]
                }
                """)
    }

    @Test func settingAMemberKeepsItsPlace() throws {
        var object: JSONObject = ["a": 1, "b": 2, "c": 3]
        object["b"] = "two"
        object["d"] = 4
        object["a"] = nil
        #expect(JSONValue.object(object).serialized() == #"{"b": "two", "c": 3, "d": 4}"#)
        object["absent"] = nil
        #expect(object.count == 3)
    }

    @Test func thePullParserReadsInFileOrder() throws {
        let text = Array(#" {"a" : [1 , 2], "\u0062": {"x": null}, "c": false} "#.utf8)
        try text.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            try reader.beginObject()
            let first = try #require(try reader.nextKey())
            #expect(reader.matches(first, "a"))
            #expect(!reader.matches(first, "b"))
            try reader.beginArray()
            #expect(try reader.nextElement())
            #expect(try reader.readUInt64() == 1)
            #expect(try reader.nextElement())
            #expect(try reader.readUInt64() == 2)
            #expect(try !reader.nextElement())
            let second = try #require(try reader.nextKey())
            #expect(reader.matches(second, "b"))
            #expect(reader.depth == 1)
            try reader.skipValue()
            #expect(try reader.nextKey() != nil)
            #expect(try reader.peek() == .bool)
            #expect(try reader.readBool() == false)
            #expect(try reader.nextKey() == nil)
            try reader.finish()
        }
    }

    /// A sequence is an array that is made while it is written; pieces are the text, cut.
    @Test func aSequenceIsWrittenAsAnArray() throws {
        let names = (0..<5000).map { JSONValue.string("na\u{202E}me \($0) 你好") }
        let sequence = JSONValue.sequence { add in for name in names { add(name) } }
        #expect(sequence == .array(names) && sequence.arrayValue == names)
        #expect(sequence != .array([]) && JSONValue.sequence { _ in } == .array([]))
        for indent in [nil, 2] {
            #expect(sequence.serialized(indent: indent) == JSONValue.array(names).serialized(indent: indent))
            let document: JSONValue = ["a": 1, "names": sequence, "none": .sequence { _ in }]
            nonisolated(unsafe) var pieces: [String] = []
            document.printable(indent: indent) { pieces.append($0) }
            #expect(pieces.count > 1 && pieces.allSatisfy { $0.utf8.count < 1 << 17 })
            #expect(pieces.joined() == document.printable(indent: indent))
            #expect(try JSONValue.parse(Array(pieces.joined().utf8)) == document)
        }
    }
}
