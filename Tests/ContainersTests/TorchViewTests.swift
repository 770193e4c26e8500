import ByteAccess
import Containers
import Tensors
import TestSupport
import Testing

/// Views of storages against their definition: element i stands at offset + Σ iₖ·strideₖ.
@Suite struct TorchViewTests {
    /// The elements of a view, by the definition.
    static func elements(_ view: TorchBuilder.View, of storage: [UInt8], width: Int) -> [UInt8] {
        var result: [UInt8] = []
        let count = view.shape.reduce(1, *)
        for element in 0..<count {
            var rest = element
            var place = view.offset
            for axis in view.shape.indices.reversed() {
                place += rest % view.shape[axis] * view.strides[axis]
                rest /= view.shape[axis]
            }
            result += storage[(place * width)..<((place + 1) * width)]
        }
        return result
    }

    @Test(arguments: [false, true]) func anyViewReadsAsItIsDefined(_ isDeflated: Bool) throws {
        var random = SplitMix64(seed: 71)
        let types: [(String, Int)] = [("FloatStorage", 4), ("HalfStorage", 2), ("ByteStorage", 1), ("LongStorage", 8)]
        let directory = try TemporaryDirectory()
        for _ in 0..<60 {
            let (type, width) = types[Int(random.next() % 4)]
            let count = 1 + Int(random.next() % 5000)
            let storage = (0..<(count * width)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            var views: [TorchBuilder.View] = []
            for number in 0..<8 {
                // Sizes and strides that fit, drawn until they do; strides of 0 and permutations among them.
                while true {
                    let rank = Int(random.next() % 5)
                    let shape = (0..<rank).map { _ in Int(random.next() % 9) }
                    var strides = (0..<rank).map { _ in Int(random.next() % 40) }
                    if random.next() % 2 == 0 {
                        var step = 1
                        for axis in (0..<rank).shuffled(using: &random) {
                            strides[axis] = step
                            step *= max(1, shape[axis])
                        }
                    }
                    let offset = Int(random.next() % UInt64(count))
                    let last = zip(shape, strides).reduce(offset) { $0 + max(0, $1.0 - 1) * $1.1 }
                    guard last < count else { continue }
                    views.append(
                        .init(
                            name: "t\(number)", key: "0", type: type, count: count, offset: offset, shape: shape,
                            strides: strides))
                    break
                }
            }
            let path = try directory.write(
                TorchBuilder.file(
                    pickle: TorchBuilder.pickle(views), storages: [("0", storage)], isDeflated: isDeflated), to: "f")
            let file = try TorchFile.open(path)
            #expect(file.tensors.count == views.count)
            for view in views {
                let info = try #require(file.tensors.first { $0.name == ExactString(view.name) })
                let expected = Self.elements(view, of: storage, width: width)
                #expect(info.shape == view.shape && info.byteCount == expected.count)
                var bytes = [UInt8](repeating: 0, count: expected.count)
                try bytes.withUnsafeMutableBytes { try file.read(info, at: 0, into: $0) }
                #expect(bytes == expected, "\(view)")
                if info.isContiguous, info.byteCount > 0 {
                    #expect(try file.reader.bytes(at: info.begin, count: Int(info.byteCount)) == expected)
                }
                guard expected.count > 1 else { continue }
                // Any part, also one that cuts elements.
                let start = Int(random.next() % UInt64(expected.count))
                let length = 1 + Int(random.next() % UInt64(expected.count - start))
                var part = [UInt8](repeating: 0, count: length)
                try part.withUnsafeMutableBytes { try file.read(info, at: UInt64(start), into: $0) }
                #expect(part == Array(expected[start..<(start + length)]), "\(view)")
            }
        }
    }

    /// Transposed matrices of 12 MiB, more than a block of a deflated one that is kept, with rows far apart in the storage: panels in order, by two
    /// threads, and then parts across the edge of a block.
    @Test(arguments: [false, true]) func largeTransposedMatricesAreReadByPanels(_ isDeflated: Bool) throws {
        let (rows, columns) = (1024, 1536)
        let storage = (0..<(rows * columns)).flatMap { number in
            withUnsafeBytes(of: UInt64(number) &* 0x9E37_79B9_0000_0001 & 0xFF_0000_FFFF) { Array($0) }
        }
        let views = [(0, 1), (1, 0)].map { first, second in
            TorchBuilder.View(
                name: "t\(first)", key: "0", type: "LongStorage", count: rows * columns, shape: first == 0 ? [rows, columns] : [columns, rows],
                strides: first == 0 ? [1, rows] : [1, columns])
        }
        let directory = try TemporaryDirectory()
        let path = try directory.write(
            TorchBuilder.file(pickle: TorchBuilder.pickle(views), storages: [("0", storage)], isDeflated: isDeflated), to: "f")
        let file = try TorchFile.open(path)
        for view in views {
            let info = try #require(file.tensors.first { $0.name == ExactString(view.name) })
            let expected = Self.elements(view, of: storage, width: 8)
            let step = 700_001
            let panels = stride(from: 0, to: expected.count, by: step).map { $0..<min($0 + step, expected.count) }
            let ranges = panels + [(8 << 20) - 9..<(8 << 20) + 9, 3..<4, expected.count - 1..<expected.count]
            try parallelForEach(count: ranges.count, jobs: 2) { number in
                var part = [UInt8](repeating: 0, count: ranges[number].count)
                try part.withUnsafeMutableBytes { try file.read(info, at: UInt64(ranges[number].lowerBound), into: $0) }
                #expect(part == Array(expected[ranges[number]]), "\(view.name) \(ranges[number])")
            }
        }
    }

    @Test func bigEndianElementsAreTurnedRound() throws {
        let directory = try TemporaryDirectory()
        let view = TorchBuilder.View(name: "w", key: "0", count: 2, shape: [2], strides: [1])
        let path = try directory.write(
            TorchBuilder.file(
                pickle: TorchBuilder.pickle([view]), storages: [("0", [1, 2, 3, 4, 5, 6, 7, 8])], byteOrder: "big"), to: "f")
        let file = try TorchFile.open(path)
        #expect(!file.tensors[0].isContiguous)
        var bytes = [UInt8](repeating: 0, count: 8)
        try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 0, into: $0) }
        #expect(bytes == [4, 3, 2, 1, 8, 7, 6, 5])
    }

    /// Reads here and there in 40 MB of content: from states of the stream kept on the way, forwards and back.
    @Test func aDeflatedStorageIsReadFromAnyPlace() throws {
        var random = SplitMix64(seed: 3)
        let storage = (0..<5_000_000).flatMap { number in
            withUnsafeBytes(of: UInt64(number) &* 0x9E37_79B9_0000_0001 & 0xFF_0000_FFFF) { Array($0) }
        }
        let view = TorchBuilder.View(
            name: "w", key: "0", type: "LongStorage", count: 5_000_000, shape: [5_000_000], strides: [1])
        let directory = try TemporaryDirectory()
        let path = try directory.write(
            TorchBuilder.file(pickle: TorchBuilder.pickle([view]), storages: [("0", storage)], isDeflated: true), to: "f")
        let file = try TorchFile.open(path)
        let offsets = (0..<24).map { _ in Int(random.next() % 39_000_000) } + [0, 1_000_000, 2_000_000, 39_999_000]
        try parallelForEach(count: offsets.count, jobs: 2) { number in
            var part = [UInt8](repeating: 0, count: 1000)
            try part.withUnsafeMutableBytes { try file.read(file.tensors[0], at: UInt64(offsets[number]), into: $0) }
            #expect(part.elementsEqual(storage[offsets[number]..<(offsets[number] + 1000)]))
        }
    }

    @Test func aFewBytesThatAreRepeatedAreListedAndNotRead() throws {
        let directory = try TemporaryDirectory()
        let view = TorchBuilder.View(name: "w", key: "0", count: 1, shape: [1 << 20, 1 << 20], strides: [0, 0])
        let path = try directory.write(
            TorchBuilder.file(pickle: TorchBuilder.pickle([view]), storages: [("0", [0, 0, 0, 0])]), to: "f")
        let file = try TorchFile.open(path)
        #expect(file.tensors[0].byteCount == 1 << 42)
        let error = #expect(throws: PeftfileError.self) { try file.validate(file.tensors[0]) }
        #expect(error?.rule == "TorchExpanded")
    }

    @Test func aWrongCRCIsSeenBeforeBytesAreGivenOut() throws {
        let directory = try TemporaryDirectory()
        let view = TorchBuilder.View(name: "w", key: "0", count: 2, shape: [2], strides: [1])
        var bytes = try TorchBuilder.file(pickle: TorchBuilder.pickle([view]), storages: [("0", [1, 2, 3, 4, 5, 6, 7, 8])])
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: [1, 2, 3, 4, 5, 6, 7, 8]) })
        bytes[place] = 9
        let file = try TorchFile.open(directory.write(bytes, to: "f"))
        var part: [UInt8] = [0]
        let error = #expect(throws: PeftfileError.self) {
            try part.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 4, into: $0) }
        }
        #expect(error?.rule == "ZipCRC" && part == [0])
    }
}
