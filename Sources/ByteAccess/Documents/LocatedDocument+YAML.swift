internal import CYAML

extension LocatedDocument {
    /// Reads YAML by libyaml: one document, without anchors, aliases and tags.
    ///
    /// A plain scalar is null, a boolean or a number only where it is one in JSON (and `~` or nothing for null, as in the
    /// core schema of YAML 1.2): `no`, `off` and `2026-01-31` are text. Everything in quotes is text.
    init(yaml bytes: [UInt8], file: String?, library: OpaquePointer? = nil) throws {
        self.init(file: file)
        let library = try LocatedDocument.ready(library ?? cy_shared(), file: file)
        value = try bytes.withUnsafeBytes { buffer in
            let start = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
            // Where there are no bytes libyaml still asks for an address; that of the empty string will do.
            let parser = start.map { cy_parse(library, $0, buffer.count) } ?? cy_parse(library, "", 0)
            guard let parser else { throw PeftfileError(.io, "memory is out", file: file) }
            defer { cy_end(parser) }
            var walk = YAMLWalk(parser: parser)
            return try walk.document(into: &self)
        }
    }

    /// The library, where it can be used.
    private static func ready(_ library: OpaquePointer?, file: String?) throws -> OpaquePointer {
        guard let library else { throw PeftfileError(.io, "memory is out", file: file) }
        let detail = String(cString: cy_library_detail(library))
        let help = "apt install libyaml-0-2, or write the file as JSON"
        switch cy_library_status(library) {
        case CY_READY: return library
        case CY_INCOMPLETE:
            throw PeftfileError(.library, "libyaml, which reads YAML, lacks \(detail)", file: file, help: help)
        default:
            throw PeftfileError(.library, "libyaml, which reads YAML, cannot be loaded: \(detail)", file: file, help: help)
        }
    }

    /// The events of libyaml, read one after the other.
    private struct YAMLWalk {
        let parser: OpaquePointer

        /// The next event, unless the text is no YAML or has what is not read.
        private func next(_ document: LocatedDocument) throws -> cy_event {
            let event = cy_next(parser)
            func failure(_ message: String, help: String? = nil) -> PeftfileError {
                PeftfileError(
                    .malformed, "line \(event.line + 1): \(message)", file: document.file, rule: "InvalidYAML", help: help)
            }
            if event.kind == CY_FAILED { throw failure("no YAML: \(text(of: event))", help: "indent with spaces, quote what begins with a sign") }
            if event.kind == CY_ALIAS || event.has_anchor {
                throw failure("anchors and aliases are not read", help: "write the value out; text that begins with * or & needs quotes")
            }
            if event.has_tag { throw failure("tags are not read", help: "leave it out; text that begins with ! needs quotes") }
            return event
        }

        private func text(of event: cy_event) -> String {
            guard let value = event.value else { return "" }
            return String(decoding: UnsafeRawBufferPointer(start: value, count: event.length), as: UTF8.self)
        }

        mutating func document(into document: inout LocatedDocument) throws -> JSONValue {
            var value: JSONValue?
            while true {
                let event = try next(document)
                switch event.kind {
                case CY_STREAM_END: return value ?? .null
                case CY_DOCUMENT_START:
                    guard value == nil else {
                        throw PeftfileError(
                            .malformed, "line \(event.line + 1): a second document begins", file: document.file,
                            rule: "InvalidYAML", help: "leave one")
                    }
                    value = try self.value(try next(document), at: [], into: &document)
                default: break
                }
            }
        }

        private func value(
            _ event: cy_event, at path: [Step], into document: inout LocatedDocument
        ) throws -> JSONValue {
            guard path.count <= LocatedDocument.depthLimit else {
                throw document.error("more than \(LocatedDocument.depthLimit) levels", at: path, rule: "DocumentDepth")
            }
            switch event.kind {
            case CY_SEQUENCE_START:
                var elements: [JSONValue] = []
                while case let event = try next(document), event.kind != CY_SEQUENCE_END {
                    let place = path + [.index(elements.count)]
                    document.note(place, line: event.line + 1)
                    elements.append(try value(event, at: place, into: &document))
                }
                return .array(elements)
            case CY_MAPPING_START:
                var members: [(key: ExactString, value: JSONValue)] = []
                var seen: Set<ExactString> = []
                while case let event = try next(document), event.kind != CY_MAPPING_END {
                    guard event.kind == CY_SCALAR else {
                        throw PeftfileError(
                            .malformed, "line \(event.line + 1): a key that is no text", file: document.file, rule: "InvalidYAML")
                    }
                    let key = ExactString(text(of: event))
                    let place = path + [.key(key)]
                    document.note(place, line: event.line + 1)
                    guard seen.insert(key).inserted else { throw document.duplicate(key, at: place) }
                    members.append((key, try value(try next(document), at: place, into: &document)))
                }
                return .object(JSONObject(members))
            default:
                let text = text(of: event)
                return event.is_plain ? LocatedDocument.plain(text) : .string(text)
            }
        }
    }

    /// What a scalar without quotes stands for.
    static func plain(_ text: String) -> JSONValue {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default:
            guard let first = text.utf8.first, first == UInt8(ascii: "-") || (0x30...0x39).contains(first),
                let value = try? JSONValue.parse(Array(text.utf8)), case .number = value
            else { return .string(text) }
            return value
        }
    }
}
