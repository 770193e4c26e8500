// What the process knows of itself. Only PeftfileCommands imports this module, so that a new commit compiles little anew.
#pragma once

/// The commit that was built, twelve hex digits with a "+" behind them where the tree had changes; empty where the sources
/// came without their history.
const char *peftfile_commit(void);

/// The number of arguments that the process was started with, its name among them; 0 where the C library does not tell.
///
/// Swift's own `CommandLine` reads them from /proc/self/cmdline on Linux, and finds none in a chroot without /proc: a check
/// would then check nothing and end well.
int peftfile_argument_count(void);

/// The environment: NAME=VALUE each, and a null pointer at the end.
char **peftfile_environment(void);

/// The home directory that the system knows of the user who runs the process; null where it knows none.
const char *peftfile_home(void);

/// Argument number `index`, from 0.
const char *peftfile_argument(int index);
