public import ByteAccess
public import TestSupport

/// A parser of files from outside, as it is fuzzed: what goes in, how a good input is damaged so that the damage gets past the
/// first check, and what must hold whatever goes in.
///
/// The tests run a fixed number of seeded mutants of each (`FuzzTests`), and `make fuzz` lets libFuzzer look for paths that no
/// seed reaches (`Fuzzing`). Both run the same code.
public protocol FuzzTarget: Sendable {
    /// The name on the command line and in reports.
    var name: String { get }
    /// Small files that are good, or bad in a way that once was worth a fixture.
    func seeds() throws -> [[UInt8]]
    /// Cuts a file into the pieces that its format is made of; anything else than a file of the format is one piece.
    func pieces(of file: [UInt8]) -> Pieces
    /// The file that is made of the pieces, with lengths and checksums that fit them, so that what lies behind is reached.
    func file(from pieces: Pieces) -> [UInt8]
    /// Reads the file to its end. Throws the refusal; `FuzzFailure` where something else than a clean refusal came out.
    func read(_ reader: FileReader) throws
}

/// What is wrong with how a file was refused, or with what was read of it.
public struct FuzzFailure: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

extension FuzzTarget {
    public func file(from pieces: Pieces) -> [UInt8] { pieces.joined() }

    /// Reads one input and judges how it was refused, if it was.
    ///
    /// - Returns: whether the input was accepted.
    public func accepts(_ input: [UInt8]) throws -> Bool {
        do {
            try read(FileReader(bytes: input, path: "input"))
            return true
        } catch let error as PeftfileError {
            guard error.rule != nil else { throw FuzzFailure("a refusal without a rule: \(error)") }
            guard error.file == "input" else { throw FuzzFailure("a refusal without the file: \(error)") }
            var description = error.description
            let isClean = description.withUTF8 { bytes in
                for byte in bytes where byte < 0x20 || byte == 0x7F { return false }
                return true
            }
            guard isClean else { throw FuzzFailure("a control character in a refusal") }
            return false
        }
    }

    /// A damaged copy of a file.
    public func mutant(of pieces: Pieces, _ random: inout SplitMix64) -> [UInt8] {
        var pieces = pieces
        var count = 1 + Int(random.next() % 3)
        while count > 0 {
            pieces.mutate(&random)
            count -= 1
        }
        guard random.next() % 8 == 0 else { return file(from: pieces) }
        // One in eight keeps the old lengths and checksums wrong: a plain change of the bytes.
        var bytes = file(from: pieces)
        Pieces.flip(&bytes, &random)
        return bytes
    }
}

/// Every target, one line each.
public enum FuzzTargets {
    public static let all: [any FuzzTarget] = [
        SafetensorsTarget(), IndexTarget(), ConfigTarget(), PickleTarget(), ZipTarget(), GGUFTarget(), NPZTarget(),
    ]
}
