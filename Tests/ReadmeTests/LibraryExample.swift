import Peftfile

/// Merges an adapter into its base, and returns whether the result is proved right.
func mergeAndVerify(base: String, adapter: String, into target: String) throws -> Bool {
    let binding = try Binding(base: .open(base), adapters: [Adapter(path: adapter)])
    let receipt = try PlanExecutor(plan: .merge(binding), target: target).run()
    print("\(receipt.total.updated) elements updated")
    return try Verifier(binding: binding, result: .open(target)).run().isEquivalent
}
