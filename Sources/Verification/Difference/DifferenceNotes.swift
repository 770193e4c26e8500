import Adapters
import ByteAccess
import Checkpoints
import Containers

/// Differences beside the tensors: `__metadata__`, `config.json`, `adapter_config.json`.
///
/// Configs are compared by meaning: the order of keys is none, and 1 and 1.0 are one number. Objects are entered, lists
/// are compared whole.
enum DifferenceNotes {
    typealias Note = CheckpointDifference.Note

    static func between(_ a: DifferenceInput, _ b: DifferenceInput) -> [Note] {
        notes("__metadata__", metadata(of: a.checkpoint), metadata(of: b.checkpoint))
            + notes("config.json", config(of: a), config(of: b))
            + notes("adapter_config.json", a.adapter?.config?.json, b.adapter?.config?.json)
    }

    /// An adapter's directory may hold a `config.json` of the adapter's own; a bare file's neighbours are not its.
    private static func config(of input: DifferenceInput) -> JSONObject? { input.checkpoint.config }

    /// The metadata of all shards under one roof; where shards disagree the first one counts.
    private static func metadata(of checkpoint: Checkpoint) -> JSONObject? {
        JSONObject(checkpoint.shards.flatMap { $0.file.metadata ?? [] }.map { ($0.key, .string($0.value)) })
    }

    private static func notes(_ place: String, _ a: JSONObject?, _ b: JSONObject?) -> [Note] {
        switch (a, b) {
        case (nil, nil): return []
        case (let a?, let b?):
            var result: [Note] = []
            compare(place, [], a, b, &result)
            return result
        case (let a, _):
            return [Note(place: place, key: nil, inA: a == nil ? nil : "present", inB: a == nil ? "present" : nil)]
        }
    }

    private static func compare(
        _ place: String, _ path: [String], _ a: JSONObject, _ b: JSONObject, _ result: inout [Note]
    ) {
        let (membersA, membersB) = (members(a), members(b))
        for key in Set(a.keys + b.keys).sorted() {
            let (left, right) = (membersA[key], membersB[key])
            let path = path + [key.text]
            if let left = left?.objectValue, let right = right?.objectValue {
                compare(place, path, left, right, &result)
            } else if !(left.flatMap { left in right.map(left.hasMeaning) } ?? false) {
                result.append(
                    Note(
                        place: place, key: path.joined(separator: "."), inA: left?.serialized(),
                        inB: right?.serialized()))
            }
        }
    }

    /// The values by key; of a key that stands twice the first.
    private static func members(_ object: JSONObject) -> [ExactString: JSONValue] {
        Dictionary(object.members.map { ($0.key, $0.value) }) { first, _ in first }
    }
}
