import SystemLibrary

/// Lets threads through one at a time, in the order of their indices.
///
/// Workers compute pieces out of order, and some things must happen in order: hashing a file, adding up sums. Each
/// worker passes the turnstile with its index; it waits until all lower indices have passed. With `parallelForEach`,
/// which hands out indices in order, the lowest index that has not passed is always being worked on, so nobody waits
/// for ever; a worker that fails calls `cancel`.
public final class Turnstile: @unchecked Sendable {
    // The two are touched only through the pthread calls below, and `next` and `failure` only under the mutex.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var next = 0
    private var failure: (any Error)?

    /// A turnstile that lets index 0 through first.
    public init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Waits for the turn of `index`, runs `body`, and lets the next index through.
    ///
    /// - Throws: what `body` throws, which cancels the turnstile; or the error with which another thread cancelled it.
    public func pass(_ index: Int, _ body: () throws -> Void) throws {
        pthread_mutex_lock(mutex)
        while next != index && failure == nil { pthread_cond_wait(condition, mutex) }
        let stopped = failure
        pthread_mutex_unlock(mutex)
        if let stopped { throw stopped }
        do {
            try body()
        } catch {
            cancel(error)
            throw error
        }
        pthread_mutex_lock(mutex)
        next += 1
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Turns everybody away who is waiting or comes later, with the error that stopped the work first.
    public func cancel(_ error: any Error) {
        pthread_mutex_lock(mutex)
        if failure == nil { failure = error }
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }
}
