import Foundation
import Peftfile

/// What it takes to dequantise, on one core: nanoseconds of processor time an element, codes in the page cache, float64 numbers out.
///
/// A matrix of 5632 x 2048 random codes (for MXFP4 twice that, in four experts), read by panels as a merge reads it, each turn by a checkpoint
/// that was opened anew.
struct ReaderTimes {
    static let rows = 5632, columns = 2048, turns = 5

    /// A scheme by the name of its row.
    enum Kind {
        case stored(QuantisedKind)
        case gguf(GGUFFile.Block)

        static let all: [(name: String, kind: Kind)] = QuantisedKind.allCases.filter { $0.block == nil }.map { ($0.rawValue, .stored($0)) }
            + GGUFFile.blocks.map { ($0.name, .gguf($0.block)) }
    }

    /// Nanoseconds an element of every turn. `folder` takes the small base, and is removed.
    static func measured(_ kind: Kind, folder: String) throws -> [Double] {
        try FileSystem.makeDirectory(folder, withParents: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = try write(kind, to: folder)
        return try (0..<turns).map { _ in
            let checkpoint = try Checkpoint.open(file)
            guard let quantisation = checkpoint.quantisation, let components = quantisation.components, !quantisation.weights.isEmpty
            else { throw Failure("\(file) has no quantised weights: \(checkpoint.quantisation?.problem.map { "\($0)" } ?? "?")") }
            var count = 0
            let start = Clock.thread()
            for weight in quantisation.weights {
                let total = weight.shape.reduce(1, *)
                let width = weight.shape.last ?? 1
                let panel = max(1, Panels.elements / width) * width
                let result = UnsafeMutableBufferPointer<Double>.allocate(capacity: panel)
                defer { result.deallocate() }
                for first in stride(from: 0, to: total, by: panel) {
                    let elements = first..<min(total, first + panel)
                    try weight.read(elements, from: components, into: UnsafeMutableBufferPointer(rebasing: result[..<elements.count]))
                }
                count += total
            }
            return (Clock.thread() - start) * 1e9 / Double(count)
        }
    }

    /// - Returns: what is opened.
    private static func write(_ kind: Kind, to folder: String) throws -> String {
        switch kind {
        case .stored(let kind):
            let file = FileSystem.join(folder, "model.safetensors")
            // Of MXFP4 experts: twice these rows in all.
            let name = kind == .mxfp4 ? "model.layers.0.mlp.gate_proj" : "model.layers.0.mlp.up_proj"
            try Generator.write(kind.parts(name, rows: rows, columns: columns), to: file, seed: kind.rawValue)
            try Generator.write(Model.full.config(kind.config), to: FileSystem.join(folder, "config.json"))
            return folder
        case .gguf(let block):
            let file = FileSystem.join(folder, "model.gguf")
            try GGUFFile("blk.0.ffn_up.weight", block, rows: rows, columns: columns).write(to: file)
            return file
        }
    }
}
