import CProcess
import Peftfile
import struct Synchronization.Atomic
import SystemLibrary

/// The two streams: what a person or a program reads goes to stdout, everything else to stderr.
enum Console {
    /// Writes a text to stdout as it is.
    static func output(_ text: String) {
        if !write(text, to: STDOUT_FILENO) { outputFailed.store(true, ordering: .relaxed) }
    }

    /// Whether something meant for stdout did not get there, other than to a reader that had gone.
    static let outputFailed = Atomic<Bool>(false)

    /// Writes one line to stderr.
    static func message(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

    /// Writes all bytes; a reader that is gone ends the process by SIGPIPE, as for every filter, or is ignored.
    ///
    /// - Returns: false where the system refused to take them.
    @discardableResult
    static func write(_ text: String, to descriptor: Int32) -> Bool {
        var copy = text
        return copy.withUTF8 { buffer in
            var offset = 0
            while offset < buffer.count, let base = buffer.baseAddress {
                let count = systemWrite(descriptor, base + offset, buffer.count - offset)
                if count < 0 {
                    if errno == EINTR { continue }
                    return errno == EPIPE
                }
                offset += count
            }
            return true
        }
    }

    /// Writes a text to what is no file: a pipe with a name, or a device as `/dev/stderr`.
    static func write(_ text: String, toDevice path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw PeftfileError(.io, "cannot be opened for writing", file: path) }
        defer { close(descriptor) }
        guard write(text, to: descriptor) else { throw PeftfileError(.io, "cannot be written", file: path) }
    }

    /// Whether stderr is a terminal on which a line can be drawn over.
    static var errorDrawsOver: Bool { isatty(STDERR_FILENO) == 1 && environment("TERM") != "dumb" }
    static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Whether stdout is coloured: never with NO_COLOR, always with CLICOLOR_FORCE, else on a terminal that has colours.
    static var showsColor: Bool {
        if environment("NO_COLOR") != nil { return false }
        if environment("CLICOLOR_FORCE") != nil { return true }
        return outputIsTerminal && environment("TERM") != "dumb"
    }

    /// A variable of the environment; nil where it is not set or empty.
    static func environment(_ name: String) -> String? { variable(name).flatMap { $0.isEmpty ? nil : $0 } }

    /// A variable of the environment, which may be empty; nil where it is not set.
    static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    /// All variables of the environment; of a name that stands twice the first.
    static var environment: [String: String] {
        var result: [String: String] = [:]
        var next = peftfile_environment()
        while let entry = next?.pointee {
            let text = String(cString: entry)
            if let sign = text.utf8.firstIndex(of: UInt8(ascii: "=")) {
                let name = String(text[..<sign])
                if result[name] == nil { result[name] = String(text[text.utf8.index(after: sign)...]) }
            }
            next = next?.successor()
        }
        return result
    }

    /// Columns of the terminal behind stdout; nil where it is none, and then nothing is cut.
    static var width: Int? { outputIsTerminal ? columns(of: STDOUT_FILENO) : nil }

    /// Columns of the terminal behind stderr; nil where it is none.
    static var errorWidth: Int? { isatty(STDERR_FILENO) == 1 ? columns(of: STDERR_FILENO) : nil }

    private static func columns(of descriptor: Int32) -> Int {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Reports an error as one line on stderr: for people, or with `--json` as one JSON object.
    static func report(_ error: PeftfileError, json: Bool) {
        guard json else {
            message("peftfile: \(error)")
            return
        }
        let object: JSONObject = [
            "code": .string(error.code.rawValue),
            "message": .string(error.message),
            "file": error.file.map { .string($0) } ?? .null,
            "tensor": error.tensor.map { .string($0.text) } ?? .null,
            "offset": error.offset.map { .number(JSONNumber($0)) } ?? .null,
            "rule": error.rule.map { .string($0) } ?? .null,
            "help": error.help.map { .string($0) } ?? .null,
        ]
        message(JSONValue.object(["error": .object(object)]).printable())
    }

    /// Prints a JSON document.
    static func output(_ document: JSONValue) {
        document.printable(indent: 2) { output($0) }
        output("\n")
    }
}

/// write(2), for which `Console` has a name of its own.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int { write(descriptor, bytes, count) }
