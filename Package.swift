// swift-tools-version: 6.2
import PackageDescription

/// Settings that every Swift target shares: the Swift 6 language mode with the upcoming features that make imports
/// and existentials explicit.
let house: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// The commit that is built, for `peftfile --version`; `make build` gives it. (What `Context.gitInformation` says is kept with
/// the manifest from one commit to the next.)
let commit = (Context.environment["PEFTFILE_COMMIT"] ?? "").filter { $0.isHexDigit || $0 == "+" }

/// The fuzzer, which links with libFuzzer's main alone: `make fuzz` asks for it.
let fuzzer: [Target] =
    Context.environment["PEFTFILE_FUZZ"] == nil
    ? []
    : [
        .executableTarget(
            name: "peftfile-fuzz", dependencies: ["ByteAccess", "FuzzTargets", "TestSupport"], path: "Tests/Fuzzing", exclude: ["run"],
            swiftSettings: house)
    ]

/// The floors of the house, lowest first. `Sources/README.md` draws them, and `Tests/FloorPlanTests` holds the imports
/// to this table.
let package = Package(
    name: "peftfile",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "Peftfile", targets: ["Peftfile"]),
        .executable(name: "peftfile", targets: ["PeftfileTool"]),
        .executable(name: "peftfile-bench", targets: ["PeftfileBench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        // C floors.
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "COpenBLAS", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
        .target(name: "CKernels"),
        .target(name: "CPlatform"),
        .target(name: "CProcess", cSettings: [.define("PEFTFILE_COMMIT", to: "\"\(commit)\"")]),
        .target(name: "CYAML", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),

        // Swift floors, lowest first.
        .target(name: "SystemLibrary", swiftSettings: house),
        .target(name: "ByteAccess", dependencies: ["CPlatform", "CYAML", "SystemLibrary"], swiftSettings: house),
        .target(name: "Tensors", dependencies: ["ByteAccess", "CKernels"], swiftSettings: house),
        .target(name: "LinearAlgebra", dependencies: ["ByteAccess", "Tensors", "COpenBLAS"], swiftSettings: house),
        .target(name: "Containers", dependencies: ["ByteAccess", "Tensors", "CZlib"], swiftSettings: house),
        .target(name: "Checkpoints", dependencies: ["ByteAccess", "Tensors", "Containers"], swiftSettings: house),
        .target(
            name: "Adapters",
            dependencies: ["ByteAccess", "Tensors", "LinearAlgebra", "Containers", "Checkpoints"],
            swiftSettings: house),
        .target(
            name: "Rewriting",
            dependencies: ["ByteAccess", "Tensors", "LinearAlgebra", "Containers", "Checkpoints", "Adapters"],
            swiftSettings: house),
        .target(
            name: "Verification",
            dependencies: ["ByteAccess", "Tensors", "LinearAlgebra", "Containers", "Checkpoints", "Adapters"],
            swiftSettings: house),
        .target(
            name: "Checking",
            dependencies: [
                "ByteAccess", "Tensors", "LinearAlgebra", "Containers", "Checkpoints", "Adapters", "Rewriting",
            ],
            swiftSettings: house),
        .target(
            name: "Peftfile",
            dependencies: [
                "ByteAccess", "Tensors", "LinearAlgebra", "Containers", "Checkpoints", "Adapters", "Rewriting",
                "Verification", "Checking",
            ],
            swiftSettings: house),
        .target(
            name: "PeftfileCommands",
            dependencies: [
                "Peftfile", "CProcess", "SystemLibrary", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: house),
        .executableTarget(name: "PeftfileTool", dependencies: ["PeftfileCommands", "SystemLibrary"], swiftSettings: house),

        // Outside the house: it times what stands in it.
        .executableTarget(
            name: "PeftfileBench", dependencies: ["Peftfile"], path: "Benchmarks", exclude: ["README.md", "Peers"],
            swiftSettings: house),

        // Tests mirror the floors. TestSupport finds fixtures, makes temporary directories and unpacks gzip.
        .target(name: "TestSupport", dependencies: ["CZlib"], path: "Tests/TestSupport", swiftSettings: house),
        .executableTarget(name: "peftfile-measure", path: "Tests/Measure"),
        // What the mutant tests and the fuzzer share.
        .target(
            name: "FuzzTargets",
            dependencies: ["ByteAccess", "Tensors", "Containers", "Checkpoints", "Adapters", "CZlib", "TestSupport"], path: "Tests/FuzzTargets",
            swiftSettings: house),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets", "TestSupport"], swiftSettings: house),
        .testTarget(
            name: "ByteAccessTests", dependencies: ["ByteAccess", "CYAML", "TestSupport"], swiftSettings: house),
        .testTarget(
            name: "TensorsTests", dependencies: ["ByteAccess", "Tensors", "TestSupport"], swiftSettings: house),
        .testTarget(
            name: "LinearAlgebraTests", dependencies: ["ByteAccess", "Tensors", "LinearAlgebra"], swiftSettings: house),
        .testTarget(
            name: "ContainersTests", dependencies: ["ByteAccess", "Tensors", "Containers", "TestSupport"],
            swiftSettings: house),
        .testTarget(
            name: "CheckpointsTests",
            dependencies: ["ByteAccess", "Tensors", "Containers", "Checkpoints", "TestSupport"], swiftSettings: house),
        .testTarget(name: "AdaptersTests", dependencies: ["Adapters", "ByteAccess", "Tensors"], swiftSettings: house),
        .testTarget(name: "PeftfileTests", dependencies: ["Peftfile", "TestSupport"], swiftSettings: house),
        .testTarget(
            name: "CommandTests", dependencies: ["ByteAccess", "PeftfileCommands", "PeftfileTool", "peftfile-measure", "TestSupport"],
            exclude: ["Transcripts"],
            swiftSettings: house),
        .testTarget(
            name: "FormatsTests",
            dependencies: [
                "ByteAccess", "Tensors", "Containers", "Checkpoints", "Adapters", "Rewriting", "TestSupport",
            ], swiftSettings: house),
        // The pages against the code.
        .testTarget(
            name: "VerificationTests",
            dependencies: [
                "ByteAccess", "Tensors", "LinearAlgebra", "Containers", "Checkpoints", "Adapters", "Verification",
                "TestSupport",
            ], swiftSettings: house),
        .testTarget(
            name: "CheckingTests",
            dependencies: [
                "ByteAccess", "Tensors", "Containers", "Checkpoints", "Adapters", "Checking", "PeftfileTool", "TestSupport",
            ], swiftSettings: house),
        .testTarget(name: "DocumentationTests", dependencies: ["Peftfile", "PeftfileTool", "TestSupport"], swiftSettings: house),
        .testTarget(name: "FloorPlanTests", dependencies: ["Adapters"], swiftSettings: house),
        .testTarget(
            name: "ManualTests", dependencies: ["PeftfileCommands", "PeftfileTool", "TestSupport"], swiftSettings: house),
        .testTarget(
            name: "ReadmeTests", dependencies: ["Adapters", "Peftfile", "PeftfileTool", "TestSupport"], swiftSettings: house),
    ] + fuzzer,
    swiftLanguageModes: [.v6]
)
