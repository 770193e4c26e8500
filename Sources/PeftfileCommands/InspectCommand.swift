import ArgumentParser
import Peftfile

/// `peftfile inspect`: what a file, shard set or adapter is.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Say what a checkpoint or adapter is: tensors, dtypes, method, rank, alpha, scale.",
        usage: "peftfile inspect PATH... [options]",
        discussion: "Reads headers and configs only; tensor bytes are read for --stats alone.",
        aliases: ["info", "ls"])

    @Argument(help: "Safetensors files, shard indexes, checkpoint directories or adapter directories.")
    var paths: [String]

    @Flag(help: "List every tensor.")
    var tensors = false

    @Flag(help: "Read all tensors and show min, max, mean, std, NaN, Inf and zeros.")
    var stats = false

    @OptionGroup var common: CommonOptions

    func run() throws {
        var items: [Inspection] = []
        for path in paths {
            var inspection = try Inspection(path: try InputPaths.located(path))
            if stats {
                inspection.statistics = try inspection.checkpoint.statistics(jobs: try common.workerCount())
            }
            items.append(inspection)
        }
        let warnings = items.flatMap(\.warnings)
        if common.json {
            Console.output(
                .object([
                    "schema": "peftfile.inspect/1", "warnings": .array(warnings.map { .string($0) }),
                    "items": .array(items.map(\.json)),
                ]))
            return
        }
        common.warn(warnings)
        let pages = items.map { InspectPage(inspection: $0, listsTensors: tensors).text }
        Console.output(pages.joined(separator: "\n"))
    }
}
