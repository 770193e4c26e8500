/// An adapter to be checked: its directory, config, tensors and values, each looked at when the first rule asks, and once.
public final class CheckSubject: Sendable {
    /// The path as given, or as found in a tree that was given.
    public let path: String

    public init(path: String) { self.path = path }
}
