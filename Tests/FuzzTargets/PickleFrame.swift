import CZlib
import TestSupport

extension PickleTarget {
    /// A torch archive without its pickle: the other entries as they are, and room for `data.pkl` behind them.
    struct Frame {
        /// Local headers and contents of the other entries, then their records in the directory.
        private let front: [UInt8]
        private let records: [UInt8]
        private let count: Int
        private let name: [UInt8]
        /// Where the pickle lies in the file that the frame was taken from.
        private(set) var pickle = 0..<0

        /// Takes a frame from an archive with a stored `data.pkl`; nil for anything else.
        init?(_ file: [UInt8]) {
            guard let entries = ZipPieces.entries(of: file),
                let own = entries.first(where: { $0.name.suffix(9).elementsEqual("/data.pkl".utf8) && $0.method == 0 })
            else { return nil }
            var front: [UInt8] = []
            var records: [UInt8] = []
            for entry in entries where entry.record != own.record {
                var record = Array(file[entry.record])
                record.replaceSubrange(42..<46, with: [UInt8].little(UInt64(front.count), 4))
                records += record
                front += file[min(entry.header, entry.data.upperBound)..<entry.data.upperBound]
            }
            (self.front, self.records, count, name, pickle) = (front, records, entries.count, own.name, own.data)
        }

        /// A frame as one piece of an input.
        var encoded: [UInt8] {
            [UInt8].little(UInt64(front.count), 4) + .little(UInt64(records.count), 4) + .little(UInt64(count), 4) + front + records + name
        }

        init?(encoded: [UInt8]) {
            guard let front = encoded.little(4, at: 0), let records = encoded.little(4, at: 4), let count = encoded.little(4, at: 8),
                front + records + 12 <= UInt64(encoded.count)
            else { return nil }
            self.front = Array(encoded[12..<(12 + Int(front))])
            self.records = Array(encoded[(12 + Int(front))..<(12 + Int(front + records))])
            self.count = Int(count)
            name = Array(encoded[(12 + Int(front + records))...])
        }

        /// The archive with a pickle.
        func archive(around pickle: [UInt8]) -> [UInt8] {
            let crc = pickle.withUnsafeBufferPointer { UInt64(crc32_z(0, $0.baseAddress, $0.count)) }
            let size = [UInt8].little(UInt64(pickle.count), 4)
            var common: [UInt8] = [0, 8, 0, 0, 0, 0, 0, 0]
            common += [UInt8].little(crc, 4) + size + size + .little(UInt64(name.count), 2) + [0, 0]
            var file = front
            file += [0x50, 0x4B, 3, 4, 20, 0] + common + name
            file += pickle
            let directory = file.count
            file += records
            file += [0x50, 0x4B, 1, 2, 20, 0, 20, 0] + common + [UInt8](repeating: 0, count: 10) + .little(UInt64(front.count), 4) + name
            let length = UInt64(file.count - directory)
            let entries = [UInt8].little(UInt64(count), 2)
            file += [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + entries + entries + .little(length, 4) + .little(UInt64(directory), 4) + [0, 0]
            return file
        }
    }
}

/// A pickle cut into its operations, each with its argument.
enum PicklePieces {
    static func of(_ bytes: ArraySlice<UInt8>) -> [[UInt8]] {
        var items: [[UInt8]] = []
        var position = bytes.startIndex
        while position < bytes.endIndex {
            let end = min(bytes.endIndex, position + max(1, length(bytes[position...])))
            items.append(Array(bytes[position..<end]))
            position = end
        }
        return items
    }

    /// The bytes of the first operation. Source: CPython's Lib/pickletools.py.
    private static func length(_ bytes: ArraySlice<UInt8>) -> Int {
        func little(_ width: Int) -> Int { Array(bytes.dropFirst().prefix(width)).little(width, at: 0).map { Int(clamping: $0) } ?? 0 }
        func counted(_ width: Int) -> Int {
            let count = little(width)
            return count > bytes.count ? 1 + width : 1 + width + count
        }
        switch bytes[bytes.startIndex] {
        case 0x4B, 0x68, 0x71, 0x80, 0x82: return 2
        case 0x4D, 0x83: return 3
        case 0x4A, 0x6A, 0x72, 0x84: return 5
        case 0x47, 0x95: return 9
        case 0x55, 0x43, 0x8A, 0x8C: return counted(1)
        case 0x54, 0x42, 0x58, 0x8B: return counted(4)
        case 0x8D, 0x8E, 0x96: return counted(8)
        case 0x63:
            // Two lines.
            var lines = 0
            return (bytes.firstIndex { byte in
                lines += byte == 0x0A ? 1 : 0
                return lines == 2
            } ?? bytes.endIndex - 1) + 1 - bytes.startIndex
        default: return 1
        }
    }
}
