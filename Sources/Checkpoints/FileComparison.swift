/// The files of a result beside what its receipt says was written.
public struct FileComparison: Sendable, Hashable {
    /// Files whose SHA-256 is the receipt's.
    public var matching = 0
    /// Files that differ or are gone.
    public var changed: [String] = []
    /// Files of which the receipt has no SHA-256, so that it is only known that they are there.
    public var unhashed = 0

    /// Files and directories of which the receipt says nothing, hidden ones aside.
    public var added: [String] = []

    /// A comparison of no file.
    public init() {}
}
