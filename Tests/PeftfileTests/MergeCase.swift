import Peftfile
import TestSupport

/// One case of Fixtures/merge: base, adapter, and the result that an independent float64 computation expects.
struct MergeCase: CustomStringConvertible {
    let name: String
    let description: String
    private let file: JSONValue

    /// All cases.
    static let names = ((try? FileSystem.list(Fixtures.path("merge"))) ?? []).filter { $0 != "index.json" }

    /// The cases of Fixtures/projections, which are of the same form.
    static let projections = (try? FileSystem.list(Fixtures.path("projections"))) ?? []

    private let folder: String

    init(_ name: String, in folder: String = "merge") throws {
        self.name = name
        description = name
        self.folder = Fixtures.path("\(folder)/\(name)")
        file = try JSONValue.parse(TestFile.bytes("\(self.folder)/case.json"), file: name)
    }

    var base: String { "\(folder)/base" }
    var adapter: String { "\(folder)/adapter" }

    /// Cases that no tool can merge, and those whose result rests on a choice that no file tells.
    var mustRefuse: Bool { file["must_refuse"]?.boolValue == true || name == "psoft" }

    /// What the case asks for beside the defaults.
    var options: BindingOptions {
        // The expected file follows PEFT's own merge, which moves both sides of the tie.
        BindingOptions(tie: name == "lora-embedding-tied" ? .keep : .break)
    }

    func expected() throws -> Checkpoint {
        try Checkpoint.open("\(folder)/expected/merged.safetensors")
    }

    var dropped: Set<ExactString> {
        Set((file["dropped_from_base"]?.arrayValue ?? []).compactMap(\.stringValue).map { ExactString($0) })
    }
    var maximumULP: UInt64 { UInt64(file["tolerance"]?["max_ulp"]?.intValue ?? 0) }
    var scaledULP: Double { file["tolerance"]?["scaled_ulp"]?.doubleValue ?? 0 }

    func binding() throws -> Binding {
        try Binding(base: Checkpoint.open(base), adapters: [Adapter(path: adapter)], options: options)
    }
}
