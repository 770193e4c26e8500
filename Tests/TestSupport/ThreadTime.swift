#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

/// Processor time of the calling thread: what a test of growth measures, since other tests run at the same time and the
/// machine may be busy.
public enum ThreadTime {
    /// The least seconds that `body` took in `runs` runs.
    public static func least(of runs: Int = 3, _ body: () throws -> Void) rethrows -> Double {
        var least = Double.infinity
        for _ in 0..<runs {
            let start = now()
            try body()
            least = min(least, now() - start)
        }
        return least
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
