#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

/// Processor time of the calling thread: it does not grow when other tests keep the cores busy.
public enum ThreadTime {
    /// The seconds of processor time that `body` takes on this thread.
    public static func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = now()
        try body()
        return now() - start
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
