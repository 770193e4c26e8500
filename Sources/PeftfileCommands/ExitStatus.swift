/// What the process tells its caller: 0 done and clean; 1 findings, not equivalent or different; 2 could not do it.
enum ExitStatus: Int32, Error {
    case clean = 0
    case findings = 1
    case failure = 2
}
