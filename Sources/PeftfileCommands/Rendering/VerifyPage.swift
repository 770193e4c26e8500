import Peftfile
struct VerifyPage { let report: EquivalenceReport; let path: String; var text: String { "" } }
