import Foundation
import TestSupport
import Testing

/// `inspect --spectrum`, `--base` and `--report`, and `merge --report`, as a user meets them.
@Suite struct ReportTests {
    private let base = "Fixtures/merge/lora-sharded-bf16/base"
    private let adapter = "Fixtures/merge/lora-sharded-bf16/adapter"
    private let utf8 = ["LC_ALL": "C.UTF-8"]

    private func page(_ path: String) throws -> Markup { try Markup(TestFile.text(path)) }

    /// The rows of the tables of figures: the caption, then cells by the column's title.
    private func tables(_ page: Markup) -> [String: [[String: String]]] {
        var result: [String: [[String: String]]] = [:]
        for table in page.root.all where table.attributes["class"] == "figures" {
            let caption = table.all.first { $0.name == "caption" }?.text ?? ""
            let rows = table.all.filter { $0.name == "tr" }.map { $0.children.map(\.wholeText) }
            result[caption] = rows.dropFirst().map { Dictionary(zip(rows[0], $0)) { first, _ in first } }
        }
        return result
    }

    private func json(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    /// A page shows five digits.
    private func shows(_ cell: String?, _ number: Any?) -> Bool {
        guard let cell, let shown = Double(cell), let number = number as? Double else { return false }
        return abs(shown - number) <= 1e-3 * abs(number)
    }

    /// Two layers: the middle is between them.
    @Test func mediansOfEvenCountsLieBetween() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("out.html")
        #expect(try Tool.run(["inspect", "Fixtures/merge/lora-rank-pattern/adapter", "--report", path]).status == 0)
        let page = try page(path)
        let rows = try #require(tables(page)["Every module with a spectrum"])
        let captions = page.root.all.filter { $0.name == "figcaption" }.map(\.wholeText)
        var kinds = 0
        for kind in Set(rows.compactMap { $0["module"]?.split(separator: ".").suffix(2).joined(separator: ".") }) {
            let ranks = rows.filter { $0["module"]?.hasSuffix(kind) == true }.compactMap { Double($0["effective rank"] ?? "") }
            try #require(ranks.count == 2)
            let shown = captions.first { $0.hasPrefix(kind) }?.firstMatch(of: /median effective rank ([0-9.]+) of/)?.1
            let median = try #require(shown.flatMap { Double($0) })
            #expect(abs(median - (ranks[0] + ranks[1]) / 2) < 0.0101, "\(kind) \(median) \(ranks)")
            kinds += ranks[0] == ranks[1] ? 0 : 1
        }
        #expect(kinds > 3)
    }

    /// Dots of another colour are explained where there are some, and only there.
    @Test func coloursHaveALegend() throws {
        let directory = try TemporaryDirectory()
        let model = "Fixtures/merge/lora-sharded-bf16"
        #expect(try Tool.run(["inspect", "\(model)/adapter", "--base", "\(model)/base", "--report", directory.path("none.html")]).status == 0)
        #expect(try !TestFile.text(directory.path("none.html")).contains("most round away"))
        // A ten-thousandth of the update is lost in bf16 for most elements.
        let small = try Tool.run(
            ["merge", "\(model)/base", "\(model)/adapter", "--weights", "0.0001", "-o", directory.path("out"), "--report", directory.path("some.html")])
        #expect(small.status == 0, "\(small.errors)")
        let some = try TestFile.text(directory.path("some.html"))
        #expect(some.contains("most round away") && some.contains("dot flagged"))
    }

    @Test func pageHoldsTheFiguresOfTheJSON() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path("out.html")
        let run = try Tool.run(["inspect", adapter, "--base", base, "--spectrum", "--json", "--report", path])
        #expect(run.status == 0 && run.errors.isEmpty)
        let page = try page(path)
        let tables = tables(page)
        let item = try #require((try json(run.output)["items"] as? [[String: Any]])?.first)
        let modules = try #require((item["spectrum"] as? [String: Any])?["modules"] as? [[String: Any]])
        let spectra = try #require(tables["Every module with a spectrum"])
        #expect(spectra.count == modules.count && modules.count > 3)
        for (row, module) in zip(spectra, modules) {
            #expect(row["module"] == module["module"] as? String)
            #expect(row["rank"] == (module["rank"] as? Int).map(String.init))
            for (column, key) in [
                ("‖ΔW‖", "frobenius_norm"), ("σ₁", "spectral_norm"), ("stable rank", "stable_rank"),
                ("effective rank", "effective_rank"), ("rank for 90 %", "rank_90"), ("rank for 99 %", "rank_99"),
            ] { #expect(shows(row[column], module[key]), "\(column) \(row[column] ?? "")") }
            let values = row["singular values"]?.split(separator: " ").map(String.init) ?? []
            let wanted = try #require(module["singular_values"] as? [Double])
            #expect(values.count == wanted.count && zip(values, wanted).allSatisfy { shows($0, $1) })
        }
        let changes = try #require(item["changes"] as? [[String: Any]])
        let tensors = try #require(tables["Every tensor with an update"])
        let survival = try #require(tables["What rounding left of every update"])
        #expect(tensors.count == changes.count && survival.count == changes.count && changes.count > 3)
        for ((row, left), change) in zip(zip(tensors, survival), changes) {
            #expect(row["tensor"] == change["tensor"] as? String)
            for (column, key) in [("‖W‖", "base_norm"), ("‖ΔW‖", "update_norm"), ("‖ΔW‖/‖W‖", "relative_update")] {
                #expect(shows(row[column], change[key]), "\(column)")
            }
            #expect(left["updated"]?.replacing(",", with: "") == (change["updated"] as? Int).map(String.init))
            #expect(left["rounded away"]?.replacing(",", with: "") == (change["unchanged"] as? Int).map(String.init))
            let share = try #require(change["surviving_share"] as? Double)
            #expect(left["changed"].map { $0.contains("< ") || $0.contains("> ") || abs((Double($0.dropLast(2)) ?? -1) - share * 100) <= 0.051 } == true)
        }
        // One coloured cell for every tensor that stands in a layer, one curve for every module, one dot for every tensor.
        let cells = page.root.all.filter { $0.name == "td" && $0.attributes["title"] != nil }
        #expect(cells.count == changes.count)
        #expect(page.root.all.count { $0.name == "polyline" } == modules.count)
        #expect(page.root.all.count { $0.name == "circle" } == changes.count)
    }

    @Test func pageStandsAloneAndCanBeReadAloud() throws {
        let directory = try TemporaryDirectory()
        let (first, second) = (directory.path("first.html"), directory.path("second.html"))
        for path in [first, second] {
            #expect(try Tool.run(["inspect", adapter, "--base", base, "--report", path, "--jobs", path == first ? "1" : "3"]).status == 0)
        }
        #expect(try TestFile.bytes(first) == TestFile.bytes(second))
        let text = try TestFile.text(first)
        #expect(!text.contains("http:") && !text.contains("https:") && !text.contains("<script") && !text.contains("url("))
        #expect(!text.contains(directory.path) && !text.contains(Fixtures.repository) && !text.contains("Fixtures/"))
        let page = try page(first)
        #expect(page.root.attributes["lang"] == "en")
        let all = page.root.all
        #expect(all.contains { $0.name == "meta" && $0.attributes["name"] == "viewport" })
        #expect(all.first { $0.name == "style" }?.text.contains("prefers-color-scheme: dark") == true)
        for picture in all.filter({ $0.name == "svg" }) {
            #expect(picture.attributes["role"] == "img" && picture.attributes["aria-label"]?.isEmpty == false)
            #expect(picture.children.first?.name == "title")
        }
        for table in all.filter({ $0.name == "table" }) { #expect(table.all.contains { $0.attributes["scope"] != nil }) }
        let ids = Set(all.compactMap { $0.attributes["id"] })
        for section in all.filter({ $0.name == "section" }) { #expect(ids.contains(section.attributes["aria-labelledby"] ?? "")) }
    }

    @Test func mergeWritesItsPage() throws {
        let directory = try TemporaryDirectory()
        let (target, path) = (directory.path("merged"), directory.path("merged/report.html"))
        let run = try Tool.run(["merge", base, adapter, "-o", target, "--report", path, "--json"])
        #expect(run.status == 0)
        let rows = try #require((try json(run.output)["predicate"] as? [String: Any])?["tensors"] as? [[String: Any]])
        let shown = try #require(tables(try page(path))["Every tensor with an update"])
        #expect(shown.map { $0["tensor"] } == rows.map { $0["name"] as? String } && rows.count > 3)
        for (row, tensor) in zip(shown, rows) { #expect(shows(row["‖ΔW‖"], tensor["update_norm"])) }
        // The page beside the result is none of its files.
        #expect(try Tool.run(["verify", target]).status == 0)
    }

    @Test func namesFromOutsideAreText() throws {
        let directory = try TemporaryDirectory()
        let evil = directory.path("<b onclick=\"x()\">&'")
        try FileManager.default.copyItem(atPath: "\(Fixtures.repository)/\(adapter)", toPath: evil)
        let config = try TestFile.text(evil + "/adapter_config.json")
        try TestFile.write(
            config.replacing(/"base_model_name_or_path": "[^"]*"/, with: #""base_model_name_or_path": "</style><script>alert(1)</script>\u202e""#),
            to: evil + "/adapter_config.json")
        let path = directory.path("out.html")
        #expect(try Tool.run(["inspect", evil, "--report", path]).status == 0)
        let text = try TestFile.text(path)
        #expect(!text.contains("<script") && !text.contains("<b ") && !text.contains("\u{202e}"))
        let page = try page(path)
        #expect(page.root.all.first { $0.name == "h1" }?.text == "<b onclick=\"x()\">&'")
        #expect(page.root.all.contains { $0.name == "dd" && $0.text.contains("<script>alert(1)</script>\\u{202e}") })
    }

    @Test func nothingIsWrittenOver() throws {
        let directory = try TemporaryDirectory()
        try directory.write("precious", to: "out.html")
        let path = directory.path("out.html")
        let refused = try Tool.run(["inspect", adapter, "--report", path])
        #expect(refused.status == 2 && refused.errors.contains("--force") && refused.output.isEmpty)
        let merge = try Tool.run(["merge", base, adapter, "-o", directory.path("merged"), "--report", path])
        #expect(merge.status == 2 && !FileManager.default.fileExists(atPath: directory.path("merged")))
        #expect(try TestFile.text(path) == "precious")
        #expect(try Tool.run(["inspect", adapter, "--report", path, "--force"]).status == 0)
        _ = try page(path)
        for (arguments, rule) in [
            (["inspect", adapter, "--report", directory.path("none/out.html")], "ParentMissing"),
            (["inspect", adapter, "--report", directory.path], "ReportPlace"),
            (["inspect", base, "--report", directory.path("b.html")], "NoAdapter"),
            (["inspect", adapter, adapter, "--report", directory.path("c.html")], "ReportPaths"),
            (["inspect", adapter, "--force"], "ForceUnused"),
            (["inspect", adapter, "--force", "--report", adapter + "/adapter_config.json"], "OutputIsInput"),
            (["merge", base, adapter, "-o", directory.path("m"), "--dry-run", "--report", directory.path("d.html")], "ReportPlace"),
        ] {
            let result = try Tool.run(arguments)
            #expect(result.status == 2 && result.errors.contains(rule), "\(arguments) \(result.errors)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["out.html"])
    }

    @Test func spectraNeedOpenBLASAndNothingElseDoes() throws {
        let directory = try TemporaryDirectory()
        let without = ["PEFTFILE_OPENBLAS": directory.path("no-such-library.so")]
        #expect(try Tool.run(["inspect", adapter, "--base", base], environment: without).status == 0)
        for arguments in [
            ["inspect", adapter, "--spectrum"], ["inspect", adapter, "--report", directory.path("a.html")],
            ["merge", base, adapter, "-o", directory.path("merged"), "--report", directory.path("b.html")],
        ] {
            let result = try Tool.run(arguments, environment: without)
            #expect(result.status == 2 && result.output.isEmpty && result.errors.contains("libopenblas"), "\(arguments)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }

    @Test func picturesAreASCIIWhereTheLocaleIs() throws {
        for (locale, isUnicode) in [("C", false), ("POSIX", false), ("C.UTF-8", true), ("de_DE.utf8", true), ("en_US.ISO-8859-1", false)] {
            let result = try Tool.run(["inspect", adapter, "--spectrum", "--base", base], environment: ["LC_ALL": locale])
            #expect(result.status == 0 && result.output.contains("█") == isUnicode)
            #expect(result.output.utf8.allSatisfy { $0 < 0x80 } != isUnicode, "\(locale)")
            // Colours are for terminals.
            #expect(!result.output.contains("\u{1B}"))
        }
    }

    @Test func whatHasNoThinFormIsSaid() throws {
        for name in ["oft-block", "ia3-llama", "c3a"] {
            let result = try Tool.run(["inspect", "Fixtures/merge/\(name)/adapter", "--spectrum"], environment: utf8)
            #expect(result.status == 0 && result.output.contains("no spectrum: "), "\(name)")
            let directory = try TemporaryDirectory()
            let path = directory.path("out.html")
            #expect(try Tool.run(["inspect", "Fixtures/merge/\(name)/adapter", "--report", path]).status == 0)
            _ = try page(path)
        }
        let checkpoint = try Tool.run(["inspect", base, "--spectrum"], environment: utf8)
        #expect(checkpoint.status == 0 && checkpoint.output.contains("no spectrum: it is no adapter"))
        let dora = try Tool.run(["inspect", "Fixtures/merge/dora-linear-f32/adapter", "--spectrum"], environment: utf8)
        #expect(dora.output.contains("before what DoRA makes of it"))
    }
}
