import PeftfileCommands
import SystemLibrary

exit(CommandLineTool.run(CommandLineTool.arguments))
