import Adapters
import ByteAccess
import Testing

/// The resolver against `name_map` of the fixtures, which was measured by loading a base of numbered elements.
@Suite struct NamingFixtureTests {
    static let mapped = NamingCase.names { $0.hasPrefix("arch-") && !$0.hasPrefix("arch-refuse") }

    @Test func theMappedCasesAreThere() {
        #expect(Self.mapped.count == 40)
    }

    @Test(arguments: mapped) func placesEveryModuleWhereTheLibraryReadsIt(_ name: String) throws {
        let fixture = try NamingCase(name)
        let places = try fixture.resolver.resolve(fixture.requests)
        let map = try #require(fixture.caseFile["name_map"] as? [String: [[String: Any]]])
        #expect(Set(map.keys) == Set(fixture.requestsByKey.keys))
        for (key, expected) in map {
            let request = try #require(fixture.requestsByKey[key], "\(key)")
            let place = try #require(places[request], "\(key)")
            let stored = Dictionary(grouping: place.pieces, by: \.tensor)
            #expect(Set(stored.keys.map(\.text)) == Set(expected.compactMap { $0["tensor"] as? String }), "\(key)")
            for entry in expected {
                let tensor = ExactString(entry["tensor"] as? String ?? "")
                let pieces = try #require(stored[tensor], "\(key)")
                if let parameter = entry["parameter"] as? String { #expect(place.parameter == parameter, "\(key)") }
                check(pieces, of: place, in: entry, base: fixture.base.shapes[tensor] ?? [], key: key)
            }
            expectCovered(place, key: key)
        }
    }

    /// The pieces that lie in one stored tensor against its `module_part` and `tensor_part`.
    private func check(
        _ pieces: [ParameterPiece], of place: ParameterPlace, in entry: [String: Any], base: [Int], key: String
    ) {
        let transposed = entry["transposed"] as? Bool ?? false
        #expect(pieces.allSatisfy { $0.transposed == transposed }, "\(key)")
        if let part = (entry["module_part"] as? String).map(TensorPart.init) {
            #expect(pieces.count == 1 && part.axes.count == place.shape.count, "\(key)")
            let isStack = place.shape.count == 3
            #expect((isStack ? part.axes[0]?.lowerBound : nil) == pieces[0].expert, "\(key)")
            let rows = part.axes[isStack ? 1 : 0] ?? 0..<place.shape[isStack ? 1 : 0]
            #expect(rows == pieces[0].rows, "\(key)")
        }
        if let part = (entry["tensor_part"] as? String).map(TensorPart.init) {
            #expect(pieces.count == 1 && part.axes.count == base.count, "\(key)")
            let isStack = base.count == 3
            #expect((isStack ? part.axes[0]?.lowerBound : nil) == pieces[0].storedExpert, "\(key)")
            let rows = part.axes[isStack ? 1 : 0] ?? 0..<base[isStack ? 1 : 0]
            #expect(rows.lowerBound == pieces[0].storedOffset && rows.count == pieces[0].rows.count, "\(key)")
        }
        if entry["module_part"] == nil && entry["tensor_part"] == nil {
            #expect(
                pieces.reduce(0) { $0 + $1.rows.count }
                    == (base.count == 3 && pieces[0].expert != nil
                        ? base[0] * base[transposed ? 2 : 1] : base.first ?? 1),
                "\(key)")
        }
    }

    /// The pieces cover the parameter once.
    private func expectCovered(_ place: ParameterPlace, key: String) {
        let experts = Dictionary(grouping: place.pieces, by: \.expert)
        let isStack = experts[nil] == nil
        #expect(experts.count == (isStack ? place.shape[0] : 1), "\(key)")
        for pieces in experts.values {
            var row = 0
            for piece in pieces.sorted(by: { $0.rows.lowerBound < $1.rows.lowerBound }) {
                #expect(piece.rows.lowerBound == row, "\(key)")
                row = piece.rows.upperBound
            }
            #expect(row == (isStack ? place.shape[1] : place.shape.first ?? 1), "\(key)")
        }
    }

    /// `expert_delta` of case.json says how B·A lies in each stacked parameter.
    @Test(arguments: mapped) func laysStackedUpdatesAsTheLibraryDoes(_ name: String) throws {
        let fixture = try NamingCase(name)
        guard let deltas = fixture.caseFile["expert_delta"] as? [String: String] else { return }
        let places = try fixture.resolver.resolve(fixture.requests)
        for (key, text) in deltas {
            let place = try #require(fixture.requestsByKey[key].flatMap { places[$0] }, "\(key)")
            guard place.shape.count == 3 else {
                #expect(!place.updateTransposed, "a router is a plain matrix: \(key)")
                continue
            }
            #expect(place.updateTransposed == text.contains("transposed"), "\(key): \(text)")
        }
    }

    @Test(arguments: NamingCase.names { $0.hasPrefix("arch-refuse") })
    func refusesByName(_ name: String) throws {
        let fixture = try NamingCase(name)
        let error = #expect(throws: PeftfileError.self) { try fixture.resolver.resolve(fixture.requests) }
        #expect(error?.code == .refused)
        #expect(error?.message.contains("pooler.dense") == true)
    }

    /// The other LoRA cases carry no map; what they change is known all the same.
    static let unmapped = NamingCase.names { name in
        (name.hasPrefix("lora-") || name.hasPrefix("dora-"))
            && !["lora-bin", "lora-layer-replication", "lora-conv-grouped"].contains(name)
    }

    @Test(arguments: unmapped) func changesTheTensorsThatTheExpectedResultChanges(_ name: String) throws {
        let fixture = try NamingCase(name)
        let places = try fixture.resolver.resolve(fixture.requests)
        let changed = Set(fixture.caseFile["changed"] as? [String] ?? [])
        let added = Set(fixture.caseFile["added"] as? [String] ?? [])
        for (request, place) in places {
            for piece in place.pieces {
                let target = added.contains(place.untiedName?.text ?? "") ? place.untiedName : piece.tensor
                if request.update != nil || target == place.untiedName {
                    #expect(changed.union(added).contains(target?.text ?? ""), "\(request.module)")
                }
                #expect(fixture.base.shapes[piece.tensor] != nil)
            }
        }
        if !changed.isEmpty {
            let reached = Set(places.values.flatMap { $0.pieces.map(\.tensor.text) })
                .union(places.values.compactMap { $0.untiedName?.text })
            let saved =
                name.hasPrefix("lora-trainable") || name == "lora-lora-bias" || name == "lora-lora-bias-bf16"
                || name.hasPrefix("lora-bias")
            if !saved { #expect(changed.isSubset(of: reached), "\(changed.subtracting(reached).sorted())") }
        }
    }

    @Test func conv1DIsTheTransposeAndSquareOnesAreKnownByArchitecture() throws {
        for name in ["lora-gpt2", "dora-gpt2", "arch-gpt2"] {
            let fixture = try NamingCase(name)
            let places = try fixture.resolver.resolve(fixture.requests)
            for (request, place) in places where request.update != nil {
                let isConv1D = ["c_attn", "c_proj", "c_fc"].contains { request.module.text.hasSuffix($0) }
                #expect(place.updateTransposed == isConv1D, "\(name) \(request.module)")
            }
        }
        for name in ["lora-neox", "lora-t5", "lora-linear-f32", "arch-bloom", "lora-vit-patch"] {
            let fixture = try NamingCase(name)
            let places = try fixture.resolver.resolve(fixture.requests)
            #expect(places.values.allSatisfy { !$0.updateTransposed }, "\(name)")
        }
    }

    @Test func multiheadAttentionAddsItsOutputProjectionTwice() throws {
        let fixture = try NamingCase("arch-siglip_vision_model")
        let places = try fixture.resolver.resolve(fixture.requests)
        for (request, place) in places {
            #expect(place.multiplicity == (request.module == "head.attention.out_proj" ? 2 : 1), "\(request.module)")
        }
        let alone = fixture.requests.filter { $0.module == "head.attention.out_proj" }
        let place = try #require(try fixture.resolver.resolve(alone)[alone[0]])
        #expect(place.multiplicity == 1)
    }

    @Test func tiedHeadsAreReadFromTheEmbeddings() throws {
        let fixture = try NamingCase("lora-tied-mts-untied")
        let places = try fixture.resolver.resolve(fixture.requests)
        let head = try #require(places.first { $0.key.module == "lm_head" }?.value)
        #expect(head.pieces.map(\.tensor) == ["model.embed_tokens.weight"])
        #expect(head.untiedName == "lm_head.weight")
        #expect(fixture.resolver.tiedPartners(of: "model.embed_tokens.weight") == ["lm_head.weight"])
        #expect(fixture.resolver.tiedPartners(of: "model.norm.weight").isEmpty)
    }
}
