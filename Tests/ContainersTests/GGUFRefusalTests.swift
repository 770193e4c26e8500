import ByteAccess
import Containers
import TestSupport
import Testing

/// Bad files: each breaks one rule, and is refused under its name with one line.
@Suite struct GGUFRefusalTests {
    struct Bad: Sendable, CustomStringConvertible {
        let description: String
        let rule: GGUFRule
        let change: @Sendable (inout GGUFBuilder) -> Void

        init(_ description: String, _ rule: GGUFRule, _ change: @escaping @Sendable (inout GGUFBuilder) -> Void) {
            (self.description, self.rule, self.change) = (description, rule, change)
        }
    }

    static let base: GGUFBuilder = {
        var builder = GGUFBuilder()
        builder.add("general.architecture", "llama")
        builder.tensors = [.init("a", [4], GGUFBuilder.bytes([1, 2, 3, 4])), .init("b", [2, 2], GGUFBuilder.bytes([1, 2, 3, 4]))]
        return builder
    }()

    static let cases: [Bad] = [
        .init("version 0", .version) { $0.version = 0 },
        .init("version 1", .version) { $0.version = 1 },
        .init("version 4", .version) { $0.version = 4 },
        .init("big-endian", .byteOrder) { $0.version = 3 << 24 },
        .init("turned magic", .byteOrder) { $0.magic = Array("FUGG".utf8) },
        .init("too many tensors", .count) { $0.tensorCount = 1 << 40 },
        .init("negative tensors", .count) { $0.tensorCount = .max },
        .init("too many keys", .count) { $0.keyCount = 1 << 60 },
        .init("one tensor more than there is", .name) { $0.tensorCount = 3 },
        .init("empty key", .key) { $0.add("", "x") },
        .init("key that is not UTF-8", .key) { $0.metadata.append(([0x61, 0xFF], GGUFBuilder.little(4 as UInt32) + [0, 0, 0, 0])) },
        .init("key of 65536 bytes", .key) { $0.add(String(repeating: "k", count: 65536), "x") },
        .init("key twice", .key) { $0.add("general.architecture", "llama") },
        .init("key twice, other type", .key) { $0.add("general.architecture", 1 as UInt32) },
        .init("type 13", .value) { $0.add("a", type: 13, [0, 0, 0, 0]) },
        .init("type -1", .value) { $0.add("a", type: .max, [0, 0, 0, 0]) },
        .init("BOOL of 2", .value) { $0.add("a", type: 7, [2]) },
        .init("array of BOOL with 255", .value) { $0.add("a", type: 9, GGUFBuilder.little(7 as UInt32) + GGUFBuilder.little(2 as UInt64) + [1, 255]) },
        .init("array of arrays", .value) {
            $0.add("a", type: 9, GGUFBuilder.little(9 as UInt32) + GGUFBuilder.little(1 as UInt64) + GGUFBuilder.little(4 as UInt32) + [UInt8](repeating: 0, count: 8))
        },
        .init("array of type 99", .value) { $0.add("a", type: 9, GGUFBuilder.little(99 as UInt32) + [UInt8](repeating: 0, count: 8)) },
        .init("text that is not UTF-8", .value) { $0.add("a", type: 8, GGUFBuilder.string([0xC0, 0x80])) },
        .init("text in an array that is not UTF-8", .value) {
            $0.add("a", type: 9, GGUFBuilder.little(8 as UInt32) + GGUFBuilder.little(1 as UInt64) + GGUFBuilder.string([0xED, 0xA0, 0x80]))
        },
        .init("string of 2^63 bytes", .truncated) { $0.add("a", type: 8, GGUFBuilder.little(UInt64(1) << 63)) },
        .init("string of 2^64 - 1 bytes", .truncated) { $0.add("a", type: 8, GGUFBuilder.little(UInt64.max)) },
        .init("string beyond the end", .truncated) { $0.add("a", type: 8, GGUFBuilder.little(5000 as UInt64)) },
        .init("array of 2^61 words", .count) { $0.add("a", type: 9, GGUFBuilder.little(10 as UInt32) + GGUFBuilder.little(UInt64(1) << 61)) },
        .init("array of 2^64 - 1 bytes", .count) { $0.add("a", type: 9, GGUFBuilder.little(0 as UInt32) + GGUFBuilder.little(UInt64.max)) },
        .init("array of 2^61 strings", .count) { $0.add("a", type: 9, GGUFBuilder.little(8 as UInt32) + GGUFBuilder.little(UInt64(1) << 61)) },
        .init("alignment 0", .alignment) { $0.add("general.alignment", 0 as UInt32) },
        .init("alignment 24", .alignment) { $0.add("general.alignment", 24 as UInt32) },
        .init("alignment 2^31", .alignment) { $0.add("general.alignment", UInt32(1) << 31) },
        .init("alignment of text", .alignment) { $0.add("general.alignment", "32") },
        .init("alignment of 64 bits", .alignment) { $0.add("general.alignment", type: 10, GGUFBuilder.little(32 as UInt64)) },
        .init("name twice", .name) { $0.tensors[1].name = $0.tensors[0].name },
        .init("empty name", .name) { $0.tensors[0].name = [] },
        .init("name of 65 bytes", .name) { $0.tensors[0].name = [UInt8](repeating: 0x6E, count: 65) },
        .init("name that is not UTF-8", .name) { $0.tensors[0].name = [0x80] },
        .init("name of 2^62 bytes", .truncated) { $0.tensors[1].name = []; $0.tensorCount = 2; $0.metadata = []; $0.tail = []; $0.tensors = []
            $0.tail = GGUFBuilder.little(UInt64(1) << 62) + [UInt8](repeating: 0, count: 60) },
        .init("five dimensions", .shape) { $0.tensors[0].dimensions = [1, 1, 1, 1, 4] },
        .init("2^32 - 1 dimensions", .shape) { $0.dimensionCount = .max },
        .init("a dimension of 0", .shape) { $0.tensors[0] = .init("a", [0, 4], []) },
        .init("a dimension of 2^63", .shape) { $0.tensors[0].dimensions = [1 << 63] },
        .init("a dimension of 2^64 - 1", .shape) { $0.tensors[0].dimensions = [.max] },
        .init("2^64 elements", .shape) { $0.tensors[0].dimensions = [1 << 32, 1 << 32] },
        .init("2^64 + 4 elements", .shape) { $0.tensors[0].dimensions = [(1 << 62) + 1, 4] },
        .init("2^62 bytes", .shape) { $0.tensors[0].dimensions = [1 << 60] },
        .init("2^50 bytes", .truncated) { $0.tensors[0].dimensions = [1 << 48] },
        .init("rows that are no whole blocks", .shape) { $0.tensors[0] = .init("a", [33], type: 8, [UInt8](repeating: 0, count: 34)) },
        .init("rows of half a superblock", .shape) { $0.tensors[0] = .init("a", [128, 2], type: 12, [UInt8](repeating: 0, count: 144)) },
        .init("type 4, which was taken back", .type) { $0.tensors[0].type = 4 },
        .init("type 42", .type) { $0.tensors[0].type = 42 },
        .init("type -1", .type) { $0.tensors[0].type = .max },
        .init("offset off the alignment", .offset) { $0.tensors[1].offset = 16 },
        .init("overlap", .offset) { $0.tensors[1].offset = 0 },
        .init("hole", .offset) { $0.tensors[1].offset = 64; $0.tensors[0].data += [UInt8](repeating: 0, count: 32) },
        .init("offset of 2^64 - 32", .offset) { $0.tensors[1].offset = .max - 31 },
        .init("first tensor not at 0", .offset) { $0.tensors[0].offset = 32 },
        .init("more elements than bytes", .truncated) { $0.tensors[1].dimensions = [100, 2] },
        .init("bytes behind the tensors", .trailing) { $0.tail = [UInt8](repeating: 0, count: 1) },
        .init("an archive behind the tensors", .trailing) { $0.tail = [0x50, 0x4B, 5, 6] + [UInt8](repeating: 0, count: 60) },
    ]

    @Test(arguments: cases) func refused(_ bad: Bad) throws {
        let directory = try TemporaryDirectory()
        #expect(throws: Never.self) { try ContainerKind.open(directory.write(Self.base.file(), to: "good")) }
        var builder = Self.base
        bad.change(&builder)
        let path = try directory.write(builder.file(), to: "bad")
        let error = #expect(throws: PeftfileError.self) { try ContainerKind.open(path) }
        #expect(error?.rule == bad.rule.rawValue, "\(error as Any)")
        #expect(error?.file == path)
        #expect([.malformed, .unsupported].contains(error?.code))
    }

    /// Cut anywhere, a file is refused, and never read as another.
    @Test func cutAnywhere() throws {
        let whole = GGUFFileTests.everything().file()
        let directory = try TemporaryDirectory()
        let end = whole.count - 24  // the last tensor has 8 bytes, and its padding need not be there
        for count in 4..<end {
            let path = try directory.write(Array(whole.prefix(count)), to: "cut")
            let error = #expect(throws: PeftfileError.self) { try ContainerKind.open(path) }
            #expect(error.flatMap { GGUFRule(rawValue: $0.rule ?? "") } != nil, "\(count): \(error as Any)")
        }
        #expect(throws: Never.self) { try ContainerKind.open(directory.write(Array(whole.prefix(end)), to: "cut")) }
    }

    /// Memory follows what the file has: a few bytes that declare exabytes are refused without an allocation of that size,
    /// which would end the process here.
    @Test func everyRuleIsTested() {
        #expect(Set(Self.cases.map(\.rule)) == Set(GGUFRule.allCases))
    }
}
