// `Mutex` is the standard library's. ThreadSanitizer does not see that one on Linux: it is a futex inside a library that was
// built without the sanitizer, and whatever it guards is reported as a race. So `make test-tsan` puts one of the C library's in its
// place, with the same name and meaning; code that locks imports this module and not Synchronization.
// Source: stdlib/public/Synchronization/Mutex in github.com/swiftlang/swift.
#if THREAD_SANITIZER

import SystemLibrary

/// A value that one thread at a time can reach, by a lock that ThreadSanitizer sees.
public struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
    // `value` is touched only between lock and unlock.
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let value = UnsafeMutablePointer<Value>.allocate(capacity: 1)

    /// An unlocked mutex around `initial`.
    public init(_ initial: consuming sending Value) {
        pthread_mutex_init(lock, nil)
        value.initialize(to: initial)
    }

    deinit {
        value.deinitialize(count: 1)
        value.deallocate()
        pthread_mutex_destroy(lock)
        lock.deallocate()
    }

    /// Waits until no other thread holds the value, and lends it to `body`.
    ///
    /// - Throws: only what `body` throws; the lock is released first.
    public borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return try body(&value.pointee)
    }

    /// The same without waiting: nil where another thread holds the value.
    ///
    /// - Throws: only what `body` throws; the lock is released first.
    public borrowing func withLockIfAvailable<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result? {
        guard pthread_mutex_trylock(lock) == 0 else { return nil }
        defer { pthread_mutex_unlock(lock) }
        return try body(&value.pointee)
    }
}

#else

@_exported public import struct Synchronization.Mutex

#endif
