#include "CProcess.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef PEFTFILE_COMMIT
#define PEFTFILE_COMMIT ""
#endif

const char *peftfile_commit(void) { return PEFTFILE_COMMIT; }

static int argument_count;
static char **arguments;

#if defined(__GLIBC__) || defined(__APPLE__)
// glibc and Apple's loader call constructors with the arguments of main.
__attribute__((constructor)) static void keep_arguments(int count, char **values) {
    argument_count = count;
    arguments = values;
}
#endif

int peftfile_argument_count(void) { return argument_count; }

extern char **environ;

char **peftfile_environment(void) { return environ; }

const char *peftfile_home(void) {
    struct passwd *user = getpwuid(getuid());
    return user == NULL ? NULL : user->pw_dir;
}

const char *peftfile_argument(int index) { return arguments[index]; }
