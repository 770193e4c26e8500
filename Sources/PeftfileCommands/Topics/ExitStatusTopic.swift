extension HelpTopic {
    /// `peftfile help exit-status`.
    static let exitStatus = HelpTopic(
        name: "exit-status", abstract: "what the commands tell their caller",
        blocks: [
            .list([
                ("0", "done; what deserves a look is a warning on stderr"),
                ("1", "done, with a finding"),
                ("2", "it could not be done: wrong usage, unreadable or malformed input, a refusal, a failed read or write"),
                ("129", "the terminal went away (SIGHUP); the target is as it was, and nothing half written is left"),
                ("130", "interrupted (SIGINT); the same"),
                ("143", "asked to terminate (SIGTERM); the same"),
            ]),
            .heading("What a finding is"),
            .list([
                ("check", "a finding of at least the severity of --fail-on, or something that could not be checked; so an adapter that "
                    + "cannot be read is a finding, and 2 is left for usage, base, policy and baseline"),
                ("verify", "the result is not equivalent: an element that no correct merge writes, a tensor too many or too few"),
                ("diff", "the two are different, beyond --rtol and --atol"),
                ("others", "inspect, merge, strip and convert end with 0 or 2"),
            ]),
            .heading("Errors"),
            .paragraph(
                "With 2 there is one line on stderr: the file, tensor or byte, what is wrong, the rule in brackets, and behind a "
                    + "semicolon what to do. With --json the line is a JSON object: {\"error\": {\"code\", \"message\", \"file\", "
                    + "\"tensor\", \"offset\", \"rule\", \"help\"}}, and stdout stays empty."),
            .example([
                "peftfile check adapter --base base || echo \"not fit to be served\"",
                "peftfile verify merged --json | jq .equivalent",
            ]),
        ])
}
