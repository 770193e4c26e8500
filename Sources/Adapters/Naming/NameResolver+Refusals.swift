import ByteAccess

extension NameResolver {
    /// Names what was not found: the first few modules, where each was looked for, and what comes nearest in the base.
    func missingError(_ missing: [MissingParameter], of requests: [ParameterRequest]) -> PeftfileError {
        let total = requests.count
        if let copies = copies(missing, of: requests) { return copies }
        if let first = missing.first(where: { UnreadLayouts.layout(of: $0.request.module.text, in: modelTypes) != nil }),
            let layout = UnreadLayouts.layout(of: first.request.module.text, in: modelTypes)
        {
            let others = missing.count == 1 ? "" : ", and \(missing.count - 1) more of the adapter's parameters have no tensor of their own"
            return PeftfileError(
                .refused, "\(first.request.module): files of model_type \(modelType?.printable ?? "") hold it in \(layout), which is not read"
                    + others, tensor: first.storedName, rule: "MissingTarget", help: UnreadLayouts.help)
        }
        let names = NearestNames(storedNames)
        let shown = missing.prefix(3).map { item -> String in
            let near = names.nearest(to: item.storedName.text)
            let hint = near.isEmpty ? "" : "; nearest: " + near.joined(separator: ", ")
            return "\(item.request.module) (no tensor \(item.storedName)\(hint))"
        }
        let more = missing.count > shown.count ? " and \(missing.count - shown.count) more" : ""
        let type = modelType.map { " (model_type \($0))" } ?? ""
        return PeftfileError(
            .refused,
            "\(missing.count) of the adapter's \(total) parameters have no tensor in the base\(type): "
                + shown.joined(separator: ", ") + more,
            tensor: missing.first?.storedName, rule: "MissingTarget",
            help: missing.count == total
                ? "give the base model that the adapter was trained on" + renamingHelp : partialHelp)
    }

    /// Where all that is missing stands in the adapter once more under another front, which has its place: an average of the weights beside them.
    private func copies(_ missing: [MissingParameter], of requests: [ParameterRequest]) -> PeftfileError? {
        guard let first = missing.first, let dot = first.request.module.text.utf8.firstIndex(of: UInt8(ascii: ".")) else { return nil }
        let front = String(first.request.module.text[...dot])
        let lost = Set(missing.map(\.request.module))
        guard lost.allSatisfy({ $0.text.hasPrefix(front) }) else { return nil }
        let rests = Set(lost.map { $0.text.dropFirst(front.count) })
        let modules = Set(requests.map(\.module))
        // Nothing stands there once: two layers of one name (`dense`) are no copies.
        guard modules.count == 2 * lost.count else { return nil }
        for other in requests where !lost.contains(other.module) {
            // The name from its beginning, and from behind each dot.
            let text = other.module.text
            let starts = [text.startIndex] + text.indices.filter { text[$0] == "." }.map { text.index(after: $0) }
            guard let start = starts.first(where: { rests.contains(text[$0...]) }) else { continue }
            let own = String(text[..<start])
            guard rests.allSatisfy({ modules.contains(ExactString(own + $0)) }) else { return nil }
            return PeftfileError(
                .refused,
                "the adapter has \(lost.count) modules twice: under \"\(front.printable)\", where the base has none, and "
                    + (own.isEmpty ? "without it" : "under \"\(own.printable)\""), tensor: first.storedName, rule: "MissingTarget",
                help: "keep one of the two, as a file of its own: the weights, or their average")
        }
        return nil
    }

    /// Where the others have their place, the base may well be the right one.
    private var partialHelp: String {
        "the base is another, or has no such modules, or " + unknownRenaming
    }

    /// Where none has a place, the base is most likely another, unless its type is one that transformers may rename throughout.
    private var renamingHelp: String {
        PlainNames.unknown(among: modelTypes) == nil ? "" : "; if this is it, " + unknownRenaming
    }

    private var unknownRenaming: String {
        let type = modelType.map { "model_type \($0.printable)" } ?? "a base without a model_type"
        return "its files name them otherwise than memory does by a renaming of \(type) that this version does not know: save the "
            + "base with transformers 5 and save_original_format=False, and merge onto that"
    }

    func ambiguityError(
        _ request: ParameterRequest, _ one: FoundParameter, _ other: FoundParameter
    ) -> PeftfileError {
        func name(_ found: FoundParameter) -> String {
            found.stored.pieces.first.map { $0.tensor.text } ?? "an empty parameter"
        }
        return PeftfileError(
            .refused,
            "\(request.module) could be \(name(one)) or \(name(other)): "
                + "two ways to complete the adapter's names fit the base",
            tensor: one.stored.pieces.first?.tensor, rule: "AmbiguousTarget",
            help:
                "give the base as the class that the adapter was trained on, or rename the adapter's keys to full names"
        )
    }
}
