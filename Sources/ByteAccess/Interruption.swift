import CPlatform
import struct Synchronization.Atomic
import SystemLibrary

/// Ctrl-C, a request to terminate and a terminal that goes away, turned into an error at the next safe point.
///
/// Work that writes files asks `check` between its pieces; the error it throws runs the same clean-up as every other
/// failure, so nothing half written is left. A second signal ends the process at once.
public enum Interruption {
    /// The signal that came, or 0.
    private static let received = Atomic<Int32>(0)

    /// Catches SIGINT, SIGTERM and SIGHUP from now on, but for those that are to be ignored, as nohup wants it.
    ///
    /// A file-size limit (SIGXFSZ) becomes an ordinary write error.
    public static func catchSignals() {
        signal(SIGXFSZ, SIG_IGN)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            _ = peftfile_catch(number) { number in
                // Only calls that are safe in a handler: a store, and the default disposition for the next signal.
                Interruption.received.store(number, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }

    /// Throws code `interrupted` if a signal came.
    public static func check() throws {
        guard let status = exitStatus else { return }
        let message =
            switch status - 128 {
            case SIGINT: "interrupted"
            case SIGHUP: "the terminal went away"
            default: "asked to terminate"
            }
        throw PeftfileError(.interrupted, message)
    }

    /// 128 + the signal's number, as shells count it; nil where none came.
    public static var exitStatus: Int32? {
        let number = received.load(ordering: .relaxed)
        return number == 0 ? nil : 128 + number
    }
}
