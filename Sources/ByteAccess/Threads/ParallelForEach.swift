import CPlatform
import struct Synchronization.Atomic

/// Calls `body` once for each index below `count`, on up to `jobs` threads, and returns when all calls have ended.
///
/// Indices are taken in order. After a call throws no new index is taken, and the error of the lowest index that threw
/// is thrown: every index below it had been taken before and has ended well, so it is the same error on every run.
/// A signal (`Interruption`) stops the work in the same way, between two calls. Where the system gives fewer threads than asked for, the work is done with those; the calling thread is one of them.
public func parallelForEach(count: Int, jobs: Int, _ body: @Sendable (Int) throws -> Void) throws {
    guard count > 0 else { return }
    let width = min(max(1, jobs), count)
    guard width > 1 else {
        for index in 0..<count {
            try Interruption.check()
            try body(index)
        }
        return
    }
    // The closure outlives no thread: all of them are joined below.
    try withoutActuallyEscaping(body) { body in
        let work = ParallelWork(count: count, body: body)
        let threads = (1..<width).compactMap { _ in startThread(work) }
        work.run()
        for thread in threads { _ = peftfile_join_thread(thread) }
        if let error = work.failure.withLock({ $0?.error }) { throw error }
    }
}

/// The indices that are left, and the first failure.
private final class ParallelWork: Sendable {
    private let count: Int
    private let body: @Sendable (Int) throws -> Void
    private let next = Atomic<Int>(0)
    private let stopped = Atomic<Bool>(false)
    let failure = Mutex<(index: Int, error: any Error)?>(nil)

    init(count: Int, body: @escaping @Sendable (Int) throws -> Void) {
        self.count = count
        self.body = body
    }

    /// Takes indices until none is left or a call threw.
    func run() {
        while !stopped.load(ordering: .relaxed) {
            let index = next.add(1, ordering: .relaxed).oldValue
            guard index < count else { return }
            do {
                try Interruption.check()
                try body(index)
            } catch {
                failure.withLock { if index < ($0?.index ?? .max) { $0 = (index, error) } }
                stopped.store(true, ordering: .relaxed)
            }
        }
    }
}

/// Starts a thread that runs `work`; nil where the system gives none.
private func startThread(_ work: ParallelWork) -> UInt? {
    let argument = Unmanaged.passRetained(work)
    var thread: UInt = 0
    let status = peftfile_start_thread(
        &thread,
        { pointer in
            if let pointer { Unmanaged<ParallelWork>.fromOpaque(pointer).takeRetainedValue().run() }
            return nil
        }, argument.toOpaque())
    guard status == 0 else {
        argument.release()
        return nil
    }
    return thread
}
