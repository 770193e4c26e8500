import PeftfileCommands

#if canImport(Darwin)
import Darwin
#elseif canImport(Musl)
import Musl
#else
import Glibc
#endif

exit(CommandLineTool.run(CommandLineTool.arguments))
