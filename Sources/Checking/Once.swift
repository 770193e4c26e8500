import ByteAccess

/// A value that is made when it is first asked for, and once.
final class Once<Value: Sendable>: Sendable {
    private let result = Mutex<Result<Value, any Error>?>(nil)

    /// The value, or what making it threw; both are kept. `make` must not ask for the same value.
    func value(_ make: () throws -> Value) throws -> Value {
        try result.withLock { result in
            if let result { return try result.get() }
            let made = Result { try make() }
            result = made
            return try made.get()
        }
    }

    /// The value of a `make` that does not throw.
    func certain(_ make: () -> Value) -> Value {
        result.withLock { result in
            if case .success(let value) = result { return value }
            let value = make()
            result = .success(value)
            return value
        }
    }
}
