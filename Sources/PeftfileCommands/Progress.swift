import Peftfile

/// A progress bar on stderr with speed and time left, drawn over in place; on a terminal only, and for work over a second.
final class Progress: Sendable {
    private struct State {
        var start: ContinuousClock.Instant
        var lastLine: ContinuousClock.Instant
        var hasDrawn = false
        var isFinished = false
        var done: UInt64 = 0
    }

    private let total: UInt64
    private let label: String
    private let state: Mutex<State>

    init(label: String, total: UInt64) {
        self.label = label
        self.total = total
        let now = ContinuousClock.now
        state = Mutex(State(start: now, lastLine: now))
    }

    /// Called with the bytes done so far, from any thread.
    func update(_ done: UInt64) {
        let now = ContinuousClock.now
        state.withLock { state in
            guard !state.isFinished, state.start.duration(to: now) > .seconds(1), state.lastLine.duration(to: now) >= .milliseconds(100) else { return }
            state.lastLine = now
            state.hasDrawn = true
            let elapsed = Double(state.start.duration(to: now) / .milliseconds(1)) / 1000
            // The last column stays free: some terminals wrap as soon as it is written.
            let line = ProgressLine(label: label, done: done, total: total, seconds: elapsed)
                .text(width: (Console.errorWidth ?? 80) - 1)
            Console.write("\r\u{1B}[K\(line)", to: 2)
        }
    }

    /// Called with bytes that have just been done, from any thread.
    func add(_ bytes: UInt64) {
        update(state.withLock { state in
            state.done += bytes
            return state.done
        })
    }

    /// Called with the share of the whole that is done, from any thread; 0 starts the clock again.
    func share(_ share: Double) {
        if share == 0 { state.withLock { $0.start = ContinuousClock.now } }
        update(UInt64(share * Double(total)))
    }

    /// Removes the line. What comes later from other threads is drawn no more.
    func finish() {
        state.withLock {
            if $0.hasDrawn { Console.write("\r\u{1B}[K", to: 2) }
            ($0.hasDrawn, $0.isFinished) = (false, true)
        }
    }
}

/// One state of the bar, cut to a width: `merge  42.0 % [########..........] 1.20 GB/s, 1:12 left`.
struct ProgressLine {
    let label: String
    let done: UInt64
    let total: UInt64
    let seconds: Double

    /// As much as fits: the bar gives way first, then the speed, then the time left, then the label.
    func text(width: Int) -> String {
        let share = total > 0 ? min(1, Double(done) / Double(total)) : 1
        // 100 % is said when all is done, not when it is nearly so.
        let percent = "\(Text.fixed(share < 1 ? min(share, 0.999) * 100 : 100, 1)) %"
        let speed = seconds > 0 ? Double(min(done, total)) / seconds : 0
        let left = speed > 0 ? "\(ProgressLine.time(Double(total - min(done, total)) / speed)) left" : ""
        let rate = speed > 0 ? "\(Text.bytes(UInt64(speed)))/s" : ""
        let tail = [rate, left].filter { !$0.isEmpty }.joined(separator: ", ")
        let room = min(40, width - label.count - percent.count - tail.count - 5)
        if room >= 8 {
            let filled = Int(share * Double(room))
            return "\(label) \(percent) [\(String(repeating: "#", count: filled))"
                + "\(String(repeating: ".", count: room - filled))] \(tail)"
        }
        let candidates = [[label, percent, tail], [label, percent, left], [label, percent], [percent]]
        return candidates.map { $0.filter { !$0.isEmpty }.joined(separator: " ") }.first { $0.count <= width } ?? ""
    }

    /// `12 s`, `3:05`, `1:02:00`.
    static func time(_ seconds: Double) -> String {
        guard seconds < 360_000 else { return "days" }
        let whole = Int(seconds.rounded(.up))
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60):\(two(whole % 60))" }
        return "\(whole / 3600):\(two(whole / 60 % 60)):\(two(whole % 60))"
    }
}
