import Adapters
import ByteAccess

extension CheckSubject {
    /// The factor of each module's update, as the method reads the config; empty where it cannot.
    var scales: [ExactString: Double] {
        guard let adapter = try? adapter(), let targets = try? MethodRegistry.method(of: adapter).targets(of: adapter)
        else { return [:] }
        return Dictionary(targets.compactMap { target in target.scale.map { (target.module, $0) } }) { first, _ in first }
    }
}
