#include "CProcess.h"

#include <stdlib.h>

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

const char *peftfile_argument(int index) { return arguments[index]; }
