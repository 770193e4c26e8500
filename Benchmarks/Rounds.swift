import Foundation

/// What the runs cost, by run and round.
struct Samples {
    private(set) var costs: [String: [Int: Cost]] = [:]
    /// Why a run did not end well; it takes no part in later rounds.
    private(set) var failures: [String: String] = [:]

    /// Runs every round, one run after the other, so that what slows the machine for a while slows all of them.
    init(_ list: RunList, note: (String) -> Void) throws {
        let scratch = list.scratch
        try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
        let errors = "\(scratch)/stderr"
        // The first to write after the inputs were generated was seen to take seven times the processor time of a later run
        // (a virtual machine, whose host hands out memory late), so one run goes ahead that nobody times.
        if let first = list.runs.first {
            note("once, not timed: \(first.label)")
            first.warm.forEach(PageCache.warm)
            _ = try? ChildProcess.run(first.command)
        }
        for round in 0..<list.options.rounds {
            for run in list.order(round: round) where failures[run.id] == nil && round < run.rounds ?? .max {
                if let missing = run.needs.first(where: { !FileManager.default.fileExists(atPath: $0) }) {
                    failures[run.id] = "\(missing) is not there"
                    continue
                }
                for other in list.runs.compactMap(\.output) where !run.needs.contains(other) {
                    try? FileManager.default.removeItem(atPath: other)
                }
                sync()
                run.cold.forEach(PageCache.drop)
                run.warm.forEach(PageCache.warm)
                note("round \(round + 1) of \(list.options.rounds): \(run.label)")
                let cost: Cost
                do {
                    cost = try ChildProcess.run(run.command, output: run.prints, errors: errors)
                } catch {
                    failures[run.id] = "\(error)"
                    continue
                }
                if cost.status == 0 {
                    costs[run.id, default: [:]][round] = cost
                } else {
                    let said = (try? String(contentsOfFile: errors, encoding: .utf8)) ?? ""
                    // A command's own message comes first; of a Python traceback the last line says what it is.
                    let lines = said.split(separator: "\n")
                    let line = said.hasPrefix("Traceback") ? lines.last : lines.first
                    failures[run.id] =
                        line.map(String.init) ?? "ended with status \(cost.status.map { "\($0)" } ?? "of a signal")"
                }
            }
        }
        for output in list.runs.compactMap(\.output) { try? FileManager.default.removeItem(atPath: output) }
    }

    /// One number of each round that the run took part in.
    func values(_ id: String, _ number: (Cost) -> Double) -> [Double] {
        (costs[id] ?? [:]).sorted { $0.key < $1.key }.map { number($0.value) }
    }

    /// The ratio in each round that both runs took part in.
    func ratios(_ id: String, to other: String, _ number: (Cost) -> Double) -> [Double] {
        guard let costs = costs[id], let others = self.costs[other] else { return [] }
        return costs.sorted { $0.key < $1.key }.compactMap { round, cost in others[round].map { number(cost) / number($0) } }
    }
}

extension [Double] {
    /// The middle one, or the mean of the two in the middle; NaN of none.
    var median: Double {
        let sorted = sorted()
        guard let last = sorted.last else { return .nan }
        let middle = sorted.count / 2
        return sorted.count == 1 ? last : sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
