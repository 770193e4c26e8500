import ByteAccess
import Checkpoints
import Tensors

/// A dtype that the policy does not list.
struct DTypeNotAllowed: CheckRule {
    let id = "dtype-not-allowed"
    let family = RuleFamily.policy
    let severity = Severity.error
    let summary = "A tensor is stored in a dtype that the policy's dtypes do not list."
    let protectsFrom = """
        Servers that hold adapters in one dtype convert all others when they load them, which takes time and memory, or round.
        """
    let needs: [RuleNeed] = [.policy, .tensors]

    func findings(in subject: CheckSubject) throws -> [Finding] {
        guard let allowed = subject.options.policy?.dtypes, let checkpoint = subject.weights.checkpoint else { return [] }
        var offenders: [DType: (first: ExactString, count: Int)] = [:]
        for tensor in checkpoint.tensors where !allowed.contains(tensor.dtype) {
            let known = offenders[tensor.dtype]
            offenders[tensor.dtype] = (known?.first ?? tensor.name, (known?.count ?? 0) + 1)
        }
        let list = allowed.map(\.rawValue).joined(separator: ", ")
        return offenders.sorted { $0.key.rawValue < $1.key.rawValue }.map { dtype, found in
            let who = found.count == 1 ? "is" : "and \(found.count - 1) more are"
            return finding(
                "\(who) \(dtype.rawValue), and the policy allows \(list)", file: subject.weights.file, tensor: found.first,
                help: "convert the adapter before it is saved: model.to(torch.\(allowed.first?.torchName ?? "float32"))")
        }
    }
}
