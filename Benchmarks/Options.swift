import Foundation

/// What was typed: `peftfile-bench [--size small|full|8g] [--rounds N] [--only GROUP,...] [--json FILE] [--tool FILE]
/// [--cache DIR] [--peers N]`.
struct Options {
    /// Which base is generated and merged into.
    var model = Model.full
    /// Rounds of all runs, interleaved.
    var rounds = 5
    /// The rounds in which the slow peers (numpy, PEFT) take part; 0 leaves them out.
    var peerRounds = 1
    /// The groups that are measured.
    var groups = Set(Group.allCases)
    var json: String?
    var tool = "\(FileManager.default.currentDirectoryPath)/.build/release/peftfile"
    /// Bases, adapters and, while it runs, outputs. Inputs stay for the next time.
    var cache = ".build/bench"

    static let usage = """
        usage: peftfile-bench [options]
          --size small|full|8g  the base: 0.5, 2.2 (default) or 8 GB
          --rounds N            interleaved rounds, 5 by default
          --peers N             rounds in which numpy and PEFT take part, 1 by default; 0: none
          --only GROUP,...      of \(Group.allCases.map(\.rawValue).joined(separator: ", "))
          --json FILE           also write everything as JSON
          --tool FILE           the binary, .build/release/peftfile by default
          --cache DIR           where inputs are kept, .build/bench by default
        """

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let option = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Failure(Self.usage) }
            switch option {
            case "--size":
                guard let model = Model(size: value) else { throw Failure("--size \(value): small, full or 8g") }
                self.model = model
            case "--rounds": rounds = try Self.count(value, option, from: 1)
            case "--peers": peerRounds = try Self.count(value, option, from: 0)
            case "--only":
                groups = try Set(value.split(separator: ",").map { name in
                    guard let group = Group(rawValue: String(name)) else { throw Failure("--only \(name): no such group") }
                    return group
                })
            case "--json": json = value
            case "--tool": tool = URL(fileURLWithPath: value).path
            case "--cache": cache = value
            default: throw Failure("\(option): no such option\n\(Self.usage)")
            }
        }
    }

    private static func count(_ text: String, _ option: String, from least: Int) throws -> Int {
        guard let count = Int(text), count >= least else { throw Failure("\(option) \(text): a number from \(least)") }
        return count
    }
}

/// What can be measured apart from the rest.
enum Group: String, CaseIterable {
    case merge, hash, nosync, qv, r256, dora, quantised, convert, verify, rounding, inspect, header, kernel, readers, peers
}

/// A reason to stop, in words.
struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
