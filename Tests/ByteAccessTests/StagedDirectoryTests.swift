import ByteAccess
import TestSupport
import Testing

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

@Suite struct StagedDirectoryTests {
    @Test func theDirectoryAppearsOnPublish() throws {
        let directory = try TemporaryDirectory()
        let staged = try StagedDirectory(target: directory.path("out"), id: "plan")
        #expect(staged.path == directory.path(".out.peftfile-plan"))
        try FileWriter.write([1], to: staged.path(of: "a"))
        try FileSystem.makeDirectory(staged.path(of: "sub"))
        try FileWriter.write([2], to: staged.path(of: "sub/b"))
        #expect(try directory.names() == [".out.peftfile-plan"])
        try staged.publish()
        #expect(try directory.names() == ["out"])
        #expect(try TestFile.bytes(directory.path("out/sub/b")) == [2])
        #expect(throws: PeftfileError.self) { try staged.publish() }
    }

    @Test func anEmptyTargetIsFilled() throws {
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("out"))
        let staged = try StagedDirectory(target: directory.path("out/"), id: "plan")
        try FileWriter.write([1], to: staged.path(of: "a"))
        try staged.publish()
        #expect(try FileSystem.list(directory.path("out")) == ["a"])
    }

    @Test func aFilledTargetIsRefusedAndKept() throws {
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("out"))
        try directory.write("old", to: "out/old")
        let staged = try StagedDirectory(target: directory.path("out"), id: "plan")
        let error = #expect(throws: PeftfileError.self) { try staged.publish() }
        #expect(error?.code == .exists)
        #expect(try FileSystem.list(directory.path("out")) == ["old"])
        staged.discard()
        #expect(try directory.names() == ["out"])
    }

    @Test func replacingExchangesAndRemovesTheOld() throws {
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("out/deep/er"), withParents: true)
        try directory.write("old", to: "out/deep/er/old")
        try directory.write("precious", to: "outside")
        #expect(symlink(directory.path("outside"), directory.path("out/link")) == 0)
        let staged = try StagedDirectory(target: directory.path("out"), id: "plan")
        try FileWriter.write([1], to: staged.path(of: "new"))
        try staged.publish(replacing: true)
        #expect(try directory.names() == ["out", "outside"])
        #expect(try FileSystem.list(directory.path("out")) == ["new"])
        #expect(try TestFile.text(directory.path("outside")) == "precious")
    }

    @Test func aFileInPlaceIsReplacedOnlyWhenAsked() throws {
        let directory = try TemporaryDirectory()
        try directory.write("old", to: "out")
        let staged = try StagedDirectory(target: directory.path("out"), id: "plan")
        #expect((#expect(throws: PeftfileError.self) { try staged.publish() })?.code == .exists)
        try staged.publish(replacing: true)
        #expect(FileSystem.isDirectory(directory.path("out")))
        #expect(try directory.names() == ["out"])
    }

    @Test func whatAnEarlierRunLeftIsTakenUpOrRemoved() throws {
        let directory = try TemporaryDirectory()
        for resuming in [true, false] {
            do {
                let first = try StagedDirectory(target: directory.path("out\(resuming)"), id: "plan")
                try FileWriter.write([1], to: first.path(of: "part"))
                first.keep()
            }
            let second = try StagedDirectory(target: directory.path("out\(resuming)"), id: "plan", resuming: resuming)
            try second.publish()
            #expect(try FileSystem.list(directory.path("out\(resuming)")) == (resuming ? ["part"] : []))
        }
    }

    @Test func aLinkPlantedAtItsNameIsNotFollowed() throws {
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.path("victim"))
        #expect(symlink("victim", directory.path(".out.peftfile-plan")) == 0)
        for resuming in [false, true] {
            #expect(throws: PeftfileError.self) {
                try StagedDirectory(target: directory.path("out"), id: "plan", resuming: resuming)
            }
        }
        #expect(try directory.names() == [".out.peftfile-plan", "victim"])
    }

    @Test func droppedWithoutPublishingLeavesNothing() throws {
        let directory = try TemporaryDirectory()
        do {
            let staged = try StagedDirectory(target: directory.path("out"), id: "plan")
            try FileWriter.write([1], to: staged.path(of: "a"))
        }
        #expect(try directory.names().isEmpty)
        #expect(throws: PeftfileError.self) { try StagedDirectory(target: directory.path("absent/out"), id: "plan") }
        #expect(throws: PeftfileError.self) { try StagedDirectory(target: "/", id: "plan") }
    }
}
