import Peftfile

/// Says what an adapter is, merges it into a base, and returns the share of the update's norm that rounding left.
func inspectAndMerge(base: String, adapter: String, into target: String) throws -> Double? {
    let inspection = try Inspection(path: adapter)
    for module in inspection.targets {
        print(module.module.text, module.method, "rank", module.rank ?? 0, "scale", module.scale ?? 1)
    }
    let binding = try Binding(base: .open(base), adapters: [Adapter(path: adapter)])
    let plan = try RewritePlan.merge(binding)
    print("\(plan.computedCount) tensors computed, \(plan.bytesWritten) bytes to write")
    let receipt = try PlanExecutor(plan: plan, target: target).run()
    return receipt.total.survival
}
