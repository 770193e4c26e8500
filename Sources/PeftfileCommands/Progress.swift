import Peftfile
import Synchronization

/// Progress on stderr: a line that is drawn over on a terminal, a line every ten seconds elsewhere; nothing for work
/// under a second.
final class Progress: Sendable {
    private struct State {
        var lastLine: ContinuousClock.Instant
        var hasDrawn = false
        var done: UInt64 = 0
    }

    private let total: UInt64
    private let label: String
    private let isTerminal: Bool
    private let start = ContinuousClock.now
    private let state: Mutex<State>

    init(label: String, total: UInt64) {
        self.label = label
        self.total = total
        isTerminal = Console.errorIsTerminal
        state = Mutex(State(lastLine: ContinuousClock.now))
    }

    /// Called with the bytes done so far, from any thread.
    func update(_ done: UInt64) {
        let now = ContinuousClock.now
        guard start.duration(to: now) > .seconds(1) else { return }
        state.withLock { state in
            let pause: Duration = isTerminal ? .milliseconds(100) : .seconds(10)
            guard state.lastLine.duration(to: now) >= pause else { return }
            state.lastLine = now
            state.hasDrawn = true
            let text = line(done, now)
            Console.write(isTerminal ? "\r\u{1B}[K\(text)" : "peftfile: \(text)\n", to: 2)
        }
    }

    /// Called with bytes that have just been done, from any thread.
    func add(_ bytes: UInt64) {
        update(state.withLock { state in
            state.done += bytes
            return state.done
        })
    }

    /// Removes the line from a terminal.
    func finish() {
        state.withLock { if $0.hasDrawn, isTerminal { Console.write("\r\u{1B}[K", to: 2) } }
    }

    private func line(_ done: UInt64, _ now: ContinuousClock.Instant) -> String {
        let elapsed = Double(start.duration(to: now) / .milliseconds(1)) / 1000
        let speed = elapsed > 0 ? Double(done) / elapsed : 0
        let left = speed > 0 ? Double(total - min(done, total)) / speed : 0
        return "\(label) \(Text.percent(total > 0 ? Double(done) / Double(total) : 1)), "
            + "\(Text.bytes(UInt64(speed)))/s, \(Int(left.rounded(.up))) s left"
    }
}
