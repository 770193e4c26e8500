// What the build says of itself. Only PeftfileCommands imports this module, so that a new commit compiles little anew.
#pragma once

/// The commit that was built, twelve hex digits with a "+" behind them where the tree had changes; empty where the sources
/// came without their history.
const char *peftfile_commit(void);
