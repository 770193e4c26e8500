import Peftfile

/// What is said of an option's value, the same way for every option.
extension PeftfileError {
    /// A word that is none of the option's choices.
    static func noChoice(_ option: String, _ value: String, of choices: [String], rule: String) -> PeftfileError {
        let list = choices.count == 2 ? choices.joined(separator: " or ") : "one of " + choices.joined(separator: ", ")
        return PeftfileError(.usage, "\(option) \(value.printable) is no choice", rule: rule, help: "give \(list)")
    }

    /// A value of another form than the option takes.
    static func noValue(_ option: String, _ value: String, needed: String, rule: String) -> PeftfileError {
        PeftfileError(.usage, "\(option) \(value.printable) is not possible", rule: rule, help: "give \(needed)")
    }
}
