import Foundation

/// ThreadSanitizer or AddressSanitizer around the tests, as `make test-tsan` and `make test-asan` say (`PEFTFILE_SANITIZER`).
public enum Sanitizer {
    /// Whether one is there.
    public static let isOn = ProcessInfo.processInfo.environment["PEFTFILE_SANITIZER"] != nil

    /// Whether a limit does not hold because a sanitizer is there; says so in the output.
    public static func lifts(_ limit: String) -> Bool {
        if isOn { print("Not held under a sanitizer: \(limit)") }
        return isOn
    }
}

/// How many mutants are tried.
public enum Mutants {
    /// `count` times PEFTFILE_MUTANTS, and not fewer than `least`: 10 for longer runs, 0.1 where everything is slow; says so in the
    /// output where it is not 1.
    public static func count(_ count: Int, least: Int = 1) -> Int {
        guard let factor = ProcessInfo.processInfo.environment["PEFTFILE_MUTANTS"].flatMap({ Double($0) }), factor > 0 else { return count }
        let scaled = max(least, Int(Double(count) * factor))
        print("PEFTFILE_MUTANTS: \(scaled) in place of \(count) mutants")
        return scaled
    }
}
