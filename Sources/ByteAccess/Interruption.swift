import struct Synchronization.Atomic
import SystemLibrary

/// Ctrl-C and a request to terminate, turned into an error at the next safe point.
///
/// Work that writes files asks `check` between its pieces; the error it throws runs the same clean-up as every other
/// failure, so nothing half written is left. A second signal ends the process at once.
public enum Interruption {
    /// The signal that came, or 0.
    private static let received = Atomic<Int32>(0)

    /// Catches SIGINT and SIGTERM from now on.
    ///
    /// A file-size limit (SIGXFSZ) becomes an ordinary write error.
    public static func catchSignals() {
        signal(SIGXFSZ, SIG_IGN)
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                // Only calls that are safe in a handler: a store, and the default disposition for the next signal.
                Interruption.received.store(number, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }

    /// Throws code `interrupted` if a signal came.
    public static func check() throws {
        guard let status = exitStatus else { return }
        throw PeftfileError(
            .interrupted, status == 128 + SIGINT ? "interrupted" : "asked to terminate",
            help: "the target is as it was, and nothing half written is left")
    }

    /// 128 + the signal's number, as shells count it; nil where none came.
    public static var exitStatus: Int32? {
        let number = received.load(ordering: .relaxed)
        return number == 0 ? nil : 128 + number
    }
}
