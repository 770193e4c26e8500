import ByteAccess

/// The components that a caller takes from a file of several: names with commas between, each as the file has it or as the
/// other vocabulary calls the same part (``PipelineComponent``).
struct ComponentChoice {
    private let names: Set<String>

    /// - Throws: `.usage` where the file has no such component.
    init(_ wanted: String, among known: [String], path: String) throws {
        var names: Set<String> = []
        for name in wanted.split(separator: ",").map(String.init) {
            let own = known.contains(name) ? [name] : known.filter { PipelineComponent($0) == PipelineComponent(name) }
            guard !own.isEmpty else {
                let all = Set(known).sorted()
                throw PeftfileError(
                    .usage, "--component \(wanted): the adapter has \(all.isEmpty ? "none" : all.joined(separator: ", "))", file: path,
                    rule: "Component", help: all.isEmpty ? "leave it out" : nil)
            }
            names.formUnion(own)
        }
        self.names = names
    }

    func contains(_ component: String?) -> Bool { component.map(names.contains) ?? false }
}
