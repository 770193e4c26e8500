import ByteAccess
import TestSupport
import Testing

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

@Suite struct FileReaderTests {
    @Test func readsAtAnyPosition() throws {
        let directory = try TemporaryDirectory()
        let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let reader = try FileReader(path: directory.write(bytes, to: "file"))
        #expect(reader.size == 100_000)
        #expect(try reader.bytes(at: 0, count: 100_000) == bytes)
        #expect(try reader.bytes(at: 99_999, count: 1) == [bytes[99_999]])
        #expect(try reader.bytes(at: 100_000, count: 0).isEmpty)
        #expect(try reader.allBytes(limit: 100_000) == bytes)
        #expect(throws: PeftfileError.self) { try reader.allBytes(limit: 99_999) }
    }

    @Test(arguments: [(0 as UInt64, 11), (10, 1), (.max, 1), (UInt64(Int64.max), 5), (3, .max), (0, -1)])
    func refusesRangesOutsideTheFile(offset: UInt64, count: Int) throws {
        let directory = try TemporaryDirectory()
        let reader = try FileReader(path: directory.write("0123456789", to: "file"))
        let error = #expect(throws: PeftfileError.self) { try reader.bytes(at: offset, count: count) }
        #expect(error?.code == .io)
        #expect(error?.file == directory.path("file"))
    }

    @Test func saysWhenAFileShrank() throws {
        let directory = try TemporaryDirectory()
        let reader = try FileReader(path: directory.write("0123456789", to: "file"))
        #expect(truncate(directory.path("file"), 4) == 0)
        let error = #expect(throws: PeftfileError.self) { try reader.bytes(at: 0, count: 10) }
        #expect(error?.message.contains("shrank") == true)
        #expect(error?.offset == 4)
    }

    @Test func refusesWhatIsNoRegularFile() throws {
        let directory = try TemporaryDirectory()
        #expect(mkfifo(directory.path("fifo"), 0o600) == 0)
        for path in [directory.path, directory.path("fifo"), "/dev/zero"] {
            let error = #expect(throws: PeftfileError.self) { try FileReader(path: path) }
            #expect(error?.code == .refused)
        }
        for path in [directory.path("absent"), directory.path("absent/file"), "", "a\0b"] {
            let error = #expect(throws: PeftfileError.self) { try FileReader(path: path) }
            #expect(error?.code == .notFound)
        }
    }
}
