import Adapters
import Foundation
import Testing

/// Holds the sources to the floor plan in `Sources/README.md`.
@Suite struct FloorPlanTests {
    let plan: FloorPlan

    init() throws { plan = try FloorPlan() }

    @Test func everyFolderHasARow() throws {
        let sources = FloorPlan.repository.appendingPathComponent("Sources")
        let folders = try FileManager.default.contentsOfDirectory(at: sources, includingPropertiesForKeys: [.isDirectoryKey])
            .filter { try $0.resourceValues(forKeys: [.isDirectoryKey]).isDirectory == true }
            .map(\.lastPathComponent)
        #expect(Set(plan.floors.map(\.module)) == Set(folders))
        #expect(plan.floors.count == folders.count)
    }

    @Test func floorsLieBelowTheirUsers() {
        var lower: Set<String> = []
        for floor in plan.floors {
            #expect(floor.package.isSubset(of: lower), "\(floor.module) may import only what stands above it in the table")
            lower.insert(floor.module)
        }
    }

    @Test func everyImportIsInTheTable() {
        var count = 0
        for file in plan.files where file.path.hasSuffix(".swift") {
            guard let floor = plan.floors.first(where: { $0.module == file.module }) else { continue }
            for module in FloorPlan.imports(of: file) {
                count += 1
                #expect(
                    floor.package.contains(module) || floor.outside.contains(module),
                    "Sources/\(file.path) imports \(module), which the table in Sources/README.md does not give \(file.module)")
            }
        }
        #expect(count > 150, "the imports are found at all")
    }

    /// C files see the system's headers and their own module's.
    @Test func headersStayInTheirModule() {
        for file in plan.files where !file.path.hasSuffix(".swift") {
            for line in file.lines {
                guard let name = line.firstMatch(of: /^\s*#\s*include\s+"([^"]+)"/)?.1 else { continue }
                #expect(
                    plan.files.contains { $0.module == file.module && $0.path.hasSuffix("/\(name)") },
                    "Sources/\(file.path) includes \(name)")
            }
        }
    }

    @Test func manifestDeclaresWhatTheTableGives() throws {
        let manifest = try FloorPlan.text("Package.swift")
        for floor in plan.floors where !floor.package.isEmpty {
            #expect(FloorPlan.declared(floor.module, manifest: manifest) == floor.package, "\(floor.module)")
        }
    }

    @Test func siblingsDoNotKnowEachOther() {
        for pair in [["LinearAlgebra", "Containers"], ["Rewriting", "Verification"], ["Verification", "Checking"]] {
            for floor in plan.floors where pair.contains(floor.module) {
                #expect(floor.package.isDisjoint(with: pair), "\(floor.module)")
            }
        }
    }

    @Test(arguments: [
        ("CKernels", "Tensors"), ("COpenBLAS", "LinearAlgebra"), ("CPlatform", "ByteAccess"), ("CYAML", "ByteAccess"),
        ("ArgumentParser", "PeftfileCommands"),
    ])
    func onlyOneModuleImports(_ module: String, _ user: String) {
        let users = plan.floors.filter { $0.package.contains(module) || $0.outside.contains(module) }.map(\.module)
        #expect(users == [user])
    }

    /// Who uses the library builds none of what the command line needs.
    @Test func libraryNeedsNoArgumentParser() throws {
        let manifest = try FloorPlan.text("Package.swift")
        var open = ["Peftfile"]
        var needed: Set<String> = []
        while let module = open.popLast() {
            guard needed.insert(module).inserted else { continue }
            let floor = try #require(plan.floors.first { $0.module == module })
            #expect(!floor.outside.contains("ArgumentParser"), "\(module)")
            open += FloorPlan.declared(module, manifest: manifest) ?? []
        }
        #expect(needed.count >= 14 && needed.isDisjoint(with: ["PeftfileCommands", "PeftfileTool", "ArgumentParser"]))
        #expect(manifest.contains(#".library(name: "Peftfile", targets: ["Peftfile"])"#))
        let users = manifest.matches(of: /product\(name: "ArgumentParser"/)
        #expect(users.count == 1, "one target names the product, PeftfileCommands")
    }

    /// `Mutex` comes from ByteAccess, so that another lock can stand in its place (`Sources/README.md`); of Synchronization the others
    /// import what they name.
    @Test func locksComeFromByteAccess() {
        for file in plan.files where file.path != "ByteAccess/Threads/Mutex.swift" {
            let imports = file.lines.filter { $0.contains("import") && $0.contains("Synchronization") }
            #expect(imports.allSatisfy { $0 == "import struct Synchronization.Atomic" }, "Sources/\(file.path)")
        }
    }

    @Test func noFoundation() {
        for file in plan.files where file.path.hasSuffix(".swift") {
            #expect(!FloorPlan.imports(of: file).contains { $0.hasPrefix("Foundation") }, "Sources/\(file.path)")
        }
    }

    /// The benchmark sees what any user of the library sees, and the product does not see the benchmark.
    @Test func benchmarksStandOutside() throws {
        let folder = FloorPlan.repository.appendingPathComponent("Benchmarks")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".swift") }
        #expect(!names.isEmpty)
        for name in names {
            let file = FloorPlan.SourceFile(path: name, module: "PeftfileBench", text: try FloorPlan.text("Benchmarks/\(name)"))
            #expect(Set(FloorPlan.imports(of: file)).isSubset(of: ["Foundation", "Peftfile"]), "Benchmarks/\(name)")
        }
        let manifest = try FloorPlan.text("Package.swift")
        #expect(FloorPlan.declared("PeftfileBench", manifest: manifest) == ["Peftfile"])
        #expect(plan.floors.allSatisfy { !$0.package.contains("PeftfileBench") })
    }

    /// The C library is used on the lowest floor, and by what writes to the terminal and ends the process.
    @Test func theSystemHasThreeDoors() {
        let doors = ["PeftfileCommands/Console.swift", "PeftfileTool/main.swift"]
        for file in plan.files where file.module != "ByteAccess" && !doors.contains(file.path) {
            #expect(!FloorPlan.imports(of: file).contains("SystemLibrary"), "Sources/\(file.path)")
        }
    }

    /// What only one system has, or has otherwise, is called in one C file, and no Swift file but one asks where it is compiled.
    @Test func callsOfOneSystemStandInOneFile() {
        let calls = [
            "renameat2", "fallocate", "copy_file_range", "sched_getaffinity", "mallopt", "sync_file_range", "posix_fadvise",
            "renamex_np", "F_FULLFSYNC", "st_mtim", "st_mtimespec", "fdatasync",
        ]
        for file in plan.files where file.path.hasSuffix(".swift") {
            for line in file.lines where !line.trimmingCharacters(in: .whitespaces).hasPrefix("//") {
                for call in calls where line.contains(call) {
                    Issue.record("Sources/\(file.path) uses \(call), which not every system has")
                }
                if line.contains("canImport") || line.contains("#if os(") {
                    #expect(file.path == "SystemLibrary/SystemLibrary.swift", "Sources/\(file.path): \(line)")
                }
            }
        }
        let platform = plan.files.first { $0.path == "CPlatform/platform.c" }?.text ?? ""
        for call in ["renameat2", "fallocate", "copy_file_range", "sync_file_range", "F_FULLFSYNC", "st_mtimespec"] { #expect(platform.contains(call)) }
    }

    /// Nothing decides by the name of a method but the method itself and the registry that lists them.
    @Test func onlyMethodsSpellTheirNames() {
        let names = MethodRegistry.methods.flatMap(\.peftTypes)
        #expect(names.contains("LORA") && names.count > 40)
        for file in plan.files where file.path.hasSuffix(".swift") {
            if file.path.hasPrefix("Adapters/Methods/") || file.path == "Adapters/MethodRegistry.swift" { continue }
            for name in names {
                #expect(!file.text.contains("\"\(name)\""), "Sources/\(file.path) names the peft_type \(name)")
            }
        }
    }

    @Test func everyRoomIsSmall() {
        for file in plan.files {
            #expect(file.lines.count <= 400, "Sources/\(file.path) has \(file.lines.count) lines: does it hold one idea?")
        }
    }

    @Test(arguments: [".build/", "Package.resolved"])
    func gitIgnores(_ entry: String) throws {
        #expect(try FloorPlan.text(".gitignore").split(separator: "\n").contains(Substring(entry)))
    }
}
