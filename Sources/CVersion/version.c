#include "CVersion.h"

#ifndef PEFTFILE_COMMIT
#define PEFTFILE_COMMIT ""
#endif

const char *peftfile_commit(void) { return PEFTFILE_COMMIT; }
