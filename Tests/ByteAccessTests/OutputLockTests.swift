import ByteAccess
import TestSupport
import Testing

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

@Suite struct OutputLockTests {
    @Test func oneAtATimeAndNothingLeft() throws {
        let directory = try TemporaryDirectory()
        for target in [directory.path("out"), directory.path("out/"), directory.path("dir.safetensors")] {
            let first = try OutputLock(target: target)
            let error = #expect(throws: PeftfileError.self) { try OutputLock(target: target) }
            #expect(error?.rule == "OutputBusy" && error?.code == .exists)
            // Another output is another matter.
            let other = try OutputLock(target: directory.path("other"))
            first.release()
            first.release()
            let second = try OutputLock(target: target)
            second.release()
            other.release()
            #expect(try directory.names().isEmpty)
        }
    }

    @Test func itGoesWithItsHolder() throws {
        let directory = try TemporaryDirectory()
        do { _ = try OutputLock(target: directory.path("out")) }
        #expect(try directory.names().isEmpty)
        // What a process that was killed leaves.
        try directory.write("", to: ".out.peftfile-lock")
        let lock = try OutputLock(target: directory.path("out"))
        #expect(throws: PeftfileError.self) { try OutputLock(target: directory.path("out")) }
        lock.release()
        #expect(try directory.names().isEmpty)
    }

    @Test func aLinkPlantedAtItsNameIsNotFollowed() throws {
        let directory = try TemporaryDirectory()
        #expect(symlink("victim", directory.path(".out.peftfile-lock")) == 0)
        #expect(throws: PeftfileError.self) { try OutputLock(target: directory.path("out")) }
        #expect(try directory.names() == [".out.peftfile-lock"])
        #expect(throws: PeftfileError.self) { try OutputLock(target: directory.path("absent/out")) }
    }

    /// Many at once: never two holders, and whoever is refused is told so.
    @Test func manyAtOnceHaveOneHolder() throws {
        let directory = try TemporaryDirectory()
        let target = directory.path("out")
        let inside = Mutex((now: 0, most: 0, turns: 0))
        try parallelForEach(count: 400, jobs: 4) { _ in
            guard let lock = try? OutputLock(target: target) else { return }
            inside.withLock {
                $0.now += 1
                $0.most = max($0.most, $0.now)
                $0.turns += 1
            }
            inside.withLock { $0.now -= 1 }
            lock.release()
        }
        #expect(inside.withLock { $0.most == 1 && $0.turns > 0 })
        #expect(try directory.names().isEmpty)
    }
}
