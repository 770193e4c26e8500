import ByteAccess

/// What the two forms of a torch file have in common: an object, and the bytes of its storages.
struct TorchContent {
    let machine: PickleMachine
    let root: PickleValue
    /// In the order of `machine.storages`.
    let storages: [Storage]
    let isLittleEndian: Bool
    let directory: [Range<UInt64>]

    /// Runs a pickle that must end within `bytes`.
    static func run(_ machine: inout PickleMachine) throws -> PickleValue {
        do { return try machine.run() } catch is PickleMachine.EndOfBytes {
            throw machine.broken(.pickleEnd, "the pickle ends inside an operation")
        }
    }
}

extension TorchContent {
    /// The zip form: one folder with `data.pkl`, `byteorder` and the storages as `data/KEY`.
    ///
    /// Source: `_save` and `_load` in torch/serialization.py.
    init(zip reader: FileReader) throws {
        let archive = try ZipArchive(reader)
        func broken(_ message: String, _ rule: TorchRule = .layout, help: String? = nil) -> PeftfileError {
            rule.broken(message, file: reader.path, help: help)
        }
        let pickles = archive.entries.filter { entry in
            let parts = entry.name.text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            return parts.count == 2 && parts[1].elementsEqual("data.pkl".utf8)
        }
        guard pickles.count == 1, let pickle = pickles.first else {
            throw broken(
                pickles.isEmpty ? "no folder of the archive has a data.pkl" : "the archive has two folders with a data.pkl")
        }
        let root = String(pickle.name.text.dropLast("data.pkl".count))
        if let stranger = archive.entries.first(where: { !$0.name.text.utf8.starts(with: root.utf8) }) {
            throw broken("\"\(stranger.name.text.printable)\" does not lie in the folder \(root.printable)")
        }
        if archive[ExactString(root + "constants.pkl")] != nil {
            throw broken(
                "is a TorchScript program, not a checkpoint", .script,
                help: "save the module's state_dict instead of torch.jit.save")
        }
        // Absent in files from before torch 2.1, which only little-endian machines wrote.
        var isLittleEndian = true
        if let entry = archive[ExactString(root + "byteorder")] {
            let text = try archive.content(entry, limit: 16)
            guard text.elementsEqual("little".utf8) || text.elementsEqual("big".utf8) else {
                throw broken("byteorder is neither little nor big", .byteOrder)
            }
            isLittleEndian = text.elementsEqual("little".utf8)
        }
        let bytes = try archive.content(pickle, limit: PickleMachine.sizeLimit)
        var machine = PickleMachine(bytes, file: reader.path, base: pickle.isDeflated ? 0 : pickle.begin)
        let value = try TorchContent.run(&machine)
        guard machine.position == bytes.count else {
            throw machine.broken(.pickleEnd, "\(bytes.count - machine.position) bytes follow the pickle's STOP")
        }
        var storages: [Storage] = []
        for storage in machine.storages {
            let name = ExactString(root + "data/" + storage.key.text)
            guard let entry = archive[name] else {
                throw broken("there is no record \"\(name.text.printable)\"", .storage)
            }
            guard entry.size == storage.byteCount else {
                throw broken(
                    "the record \"\(name.text.printable)\" has \(entry.size) bytes, and its storage \(storage.byteCount)",
                    .storage)
            }
            storages.append(try Storage(entry, in: reader))
        }
        self.machine = machine
        self.root = value
        self.storages = storages
        self.isLittleEndian = isLittleEndian
        directory = [pickle.begin..<pickle.end, archive.directory]
    }
}
