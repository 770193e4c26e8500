import ByteAccess
import TestSupport
import Testing

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

@Suite struct FileWriterTests {
    @Test func theFileAppearsOnCommitAndNotBefore() throws {
        let directory = try TemporaryDirectory()
        let writer = try FileWriter(path: directory.path("out"))
        let temporary = FileSystem.fileName(of: writer.temporaryPath)
        #expect(temporary.hasPrefix(".out.peftfile-"))
        try writer.allocate(10)
        try writer.write(Array("56789".utf8), at: 5)
        try writer.write(Array("01234".utf8), at: 0)
        #expect(try directory.names() == [temporary])
        try writer.commit()
        #expect(try directory.names() == ["out"])
        #expect(try TestFile.text(directory.path("out")) == "0123456789")
        #expect(throws: PeftfileError.self) { try writer.commit() }
        writer.discard()
        #expect(try directory.names() == ["out"])
    }

    @Test func discardLeavesNothing() throws {
        let directory = try TemporaryDirectory()
        let writer = try FileWriter(path: directory.path("out"))
        try writer.write([1, 2, 3], at: 0)
        writer.discard()
        #expect(try directory.names().isEmpty)
        // A writer that is dropped discards.
        do { _ = try FileWriter(path: directory.path("out")) }
        #expect(try directory.names().isEmpty)
    }

    @Test func anExistingTargetIsRefused() throws {
        let directory = try TemporaryDirectory()
        try directory.write("old", to: "out")
        let error = #expect(throws: PeftfileError.self) { try FileWriter(path: directory.path("out")) }
        #expect(error?.code == .exists)
        #expect(try directory.names() == ["out"])
    }

    @Test func aTargetThatComesToBeThereIsNotReplaced() throws {
        let directory = try TemporaryDirectory()
        let writer = try FileWriter(path: directory.path("out"))
        try writer.write(Array("new".utf8), at: 0)
        try directory.write("theirs", to: "out")
        let error = #expect(throws: PeftfileError.self) { try writer.commit() }
        #expect(error?.code == .exists)
        #expect(try directory.names() == ["out"])
        #expect(try TestFile.text(directory.path("out")) == "theirs")
    }

    @Test func replacingKeepsTheOldUntilCommit() throws {
        let directory = try TemporaryDirectory()
        try directory.write("old", to: "out")
        let writer = try FileWriter(path: directory.path("out"), replacing: true)
        try writer.write(Array("new!".utf8), at: 0)
        #expect(try TestFile.text(directory.path("out")) == "old")
        try writer.commit()
        #expect(try TestFile.text(directory.path("out")) == "new!")
        #expect(try directory.names() == ["out"])
    }

    @Test func replacingALinkLeavesWhatItPointsTo() throws {
        let directory = try TemporaryDirectory()
        try directory.write("blob", to: "blob")
        #expect(symlink("blob", directory.path("out")) == 0)
        try FileWriter.write(Array("new".utf8), to: directory.path("out"), replacing: true)
        #expect(try TestFile.text(directory.path("blob")) == "blob")
        #expect(try TestFile.text(directory.path("out")) == "new")
        #expect(FileSystem.kind(of: directory.path("out"), followingLinks: false) == .regularFile)
    }

    @Test func aLinkPlantedAtTheTemporaryNameIsNotFollowed() throws {
        let directory = try TemporaryDirectory()
        try directory.write("precious", to: "victim")
        for target in ["victim", "dangling"] {
            #expect(symlink(target, directory.path(".out.peftfile-part")) == 0)
            let lock = try OutputLock(target: directory.path("out"))
            let writer = try FileWriter(path: directory.path("out"), replacing: true, lock: lock)
            try writer.write(Array("new".utf8), at: 0)
            try writer.commit()
            lock.release()
            #expect(try TestFile.text(directory.path("victim")) == "precious")
            #expect(try TestFile.text(directory.path("out")) == "new")
            #expect(try directory.names() == ["out", "victim"])
        }
    }

    /// What a run that was killed has left under the name is nobody's, for who holds the lock; a directory there is refused.
    @Test func whatWasLeftUnderTheLockIsRemoved() throws {
        let directory = try TemporaryDirectory()
        try directory.write("half", to: ".out.peftfile-part")
        let lock = try OutputLock(target: directory.path("out"))
        try FileWriter(path: directory.path("out"), lock: lock).commit()
        #expect(try TestFile.bytes(directory.path("out")).isEmpty)
        try FileSystem.makeDirectory(directory.path(".out.peftfile-part"))
        #expect(throws: PeftfileError.self) { try FileWriter(path: directory.path("out"), replacing: true, lock: lock) }
    }

    @Test func missingDirectoriesAndDirectoriesInPlaceAreRefused() throws {
        let directory = try TemporaryDirectory()
        #expect(throws: PeftfileError.self) { try FileWriter(path: directory.path("absent/out")) }
        for path in [directory.path, "/", "", "..", directory.path("..")] {
            #expect(throws: PeftfileError.self) { try FileWriter(path: path, replacing: true) }
        }
        #expect(mkfifo(directory.path("fifo"), 0o600) == 0)
        let error = #expect(throws: PeftfileError.self) {
            try FileWriter(path: directory.path("fifo"), replacing: true)
        }
        #expect(error?.code == .refused)
    }

    @Test func aFullDiskIsNamed() throws {
        // No file has 2^63 bytes, and no disk here 2^62.
        let directory = try TemporaryDirectory()
        let writer = try FileWriter(path: directory.path("out"))
        #expect((#expect(throws: PeftfileError.self) { try writer.allocate(1 << 63) })?.code == .noSpace)
        let huge = #expect(throws: PeftfileError.self) { try writer.allocate(1 << 62) }
        #expect(huge?.code == .noSpace || huge?.code == .io)
        writer.discard()
        #expect(try directory.names().isEmpty)
    }

    @Test func copiesRanges() throws {
        let directory = try TemporaryDirectory()
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 >> 3) }
        let source = try FileReader(path: directory.write(bytes, to: "source"))
        let writer = try FileWriter(path: directory.path("out"))
        try writer.write([9], at: 0)
        try writer.copy(from: source, range: 10..<3_000_000, to: 1)
        try writer.copy(from: source, range: 5..<5, to: 0)
        #expect(throws: PeftfileError.self) { try writer.copy(from: source, range: 0..<3_000_001, to: 0) }
        #expect(throws: PeftfileError.self) { try writer.copy(from: source, range: 0..<2, to: .max) }
        try writer.commit()
        #expect(try TestFile.bytes(directory.path("out")) == [9] + bytes[10...])
    }

    @Test func aShrunkenSourceIsSaid() throws {
        let directory = try TemporaryDirectory()
        let source = try FileReader(path: directory.write([UInt8](repeating: 1, count: 1000), to: "source"))
        #expect(truncate(directory.path("source"), 100) == 0)
        let writer = try FileWriter(path: directory.path("out"))
        let error = #expect(throws: PeftfileError.self) { try writer.copy(from: source, range: 0..<1000, to: 0) }
        #expect(error?.message.contains("shrank") == true)
    }

    @Test func longNamesFit() throws {
        let directory = try TemporaryDirectory()
        let name = String(repeating: "é", count: 127)
        try FileWriter.write([1], to: directory.path(name))
        #expect(try directory.names() == [name])
    }
}
