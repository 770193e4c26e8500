/// Why something could not be done: what, where (file, tensor, byte), which rule, and what to do about it.
///
/// Every function of the house that throws, throws this type. The command line prints it as one line on stderr and
/// exits 2; with `--json` it prints the same fields as one JSON object.
public struct PeftfileError: Error, Sendable, Hashable {
    /// The kind of failure; the raw value is the `code` of the JSON form and stable.
    public enum Code: String, Sendable, Hashable {
        /// The command line or an option's value is wrong.
        case usage
        /// A path does not exist.
        case notFound = "not_found"
        /// The operating system refused a read or a write.
        case io
        /// The bytes break a rule of their format.
        case malformed
        /// The format is known and not read (yet).
        case unsupported
        /// The input is understood, and what was asked for is not possible or not safe with it.
        case refused
        /// The target exists already.
        case exists
        /// The disk has no room.
        case noSpace = "no_space"
        /// A library that this command needs is not installed.
        case library
        /// A signal asked the process to stop.
        case interrupted
    }

    /// What kind of failure it is.
    public var code: Code
    /// What is wrong, in one sentence without a final stop.
    public var message: String
    /// The file or directory concerned.
    public var file: String?
    /// The tensor concerned.
    public var tensor: ExactString?
    /// The byte in `file` where reading stopped.
    public var offset: UInt64?
    /// The stable name of the rule that was broken, for example `InvalidOffset`.
    public var rule: String?
    /// What to do about it; where a command gets further, that command, ready to paste.
    public var help: String?

    /// An error of which more than code and message is said only where it is known; ``inFile(_:)`` can add the file later.
    public init(
        _ code: Code, _ message: String, file: String? = nil, tensor: ExactString? = nil, offset: UInt64? = nil,
        rule: String? = nil, help: String? = nil
    ) {
        self.code = code
        self.message = message
        self.file = file
        self.tensor = tensor
        self.offset = offset
        self.rule = rule
        self.help = help
    }

    /// The same error with `file` filled in where it was not known yet.
    public func inFile(_ path: String) -> PeftfileError {
        var copy = self
        if copy.file == nil { copy.file = path }
        return copy
    }

    /// The same error with `tensor` filled in where it named none.
    public func about(_ name: ExactString?) -> PeftfileError {
        var copy = self
        if copy.tensor == nil { copy.tensor = name }
        return copy
    }
}

extension PeftfileError: CustomStringConvertible {
    /// One line: `FILE: tensor "NAME": byte N: MESSAGE [RULE]; HELP`. Control characters are written as escapes, so
    /// that a hostile name cannot drive a terminal.
    public var description: String {
        var line = ""
        if let file { line += "\(file.printable): " }
        if let tensor { line += "tensor \"\(tensor.text.printable)\": " }
        if let offset { line += "byte \(offset): " }
        line += message.printable
        if let rule { line += " [\(rule)]" }
        if let help { line += "; \(help.printable)" }
        return line
    }
}

extension String {
    /// The text with control characters (C0, DEL, C1), line separators and bidirectional overrides written as
    /// `\u{..}` escapes: safe to show on a terminal, always one line.
    public var printable: String {
        func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
            switch scalar.value {
            case 0..<0x20, 0x7F..<0xA0, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069, 0x200E, 0x200F: true
            default: false
            }
        }
        guard unicodeScalars.contains(where: isUnsafe) else { return self }
        var result = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            if isUnsafe(scalar) {
                result.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }
}

extension String {
    /// The text as one word of a POSIX shell: as it is where no character has a meaning there, else in single quotes.
    public var shellQuoted: String {
        let isPlain = !isEmpty && utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || "/._-+:@%,=".utf8.contains(byte)
        }
        guard !isPlain || utf8.first == UInt8(ascii: "-") else { return self }
        // Byte by byte, as a shell reads it: with an accent behind it a quote is another Character to Swift, and still a quote.
        let quoted = utf8.flatMap { $0 == UInt8(ascii: "'") ? Array("'\\''".utf8) : [$0] }
        return "'" + String(decoding: quoted, as: UTF8.self) + "'"
    }
}
