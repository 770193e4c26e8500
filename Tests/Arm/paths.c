// Which path is taken. `run` tries PEFTFILE_CPU, since the path is found once in the life of a process.

#include "attacks.h"

#include <string.h>

void attack_paths(void) {
    static const char *const names[CK_PATH_COUNT] = {"generic", "avx2", "avx2sha", "avx512", "neon"};
    if (!ck_path_available(CK_PATH_GENERIC)) fail(NO_PATH, "not available", 0);
    if (!ck_path_available(ck_path_active())) fail(ck_path_active(), "active and not available", 0);
    if (ck_path_available(CK_PATH_COUNT) || ck_path_available((ck_path)-1)) fail(NO_PATH, "no path is available", 0);
#if defined(__aarch64__)
    for (int path = 0; path < CK_PATH_COUNT; path++) {
        bool has = path == CK_PATH_GENERIC || path == CK_PATH_NEON;
        if (ck_path_available((ck_path)path) != has) fail(path, "available", 0);
    }
#endif
    for (int path = 0; path < CK_PATH_COUNT; path++) {
        const char *name = ck_path_name((ck_path)path);
        if (strcmp(name, names[path]) != 0) fail(path, "named otherwise", 0);
        judge(NO_PATH, "name", name, names[path], strlen(names[path]), 1);
        count_case();
    }
    if (strcmp(ck_path_name(CK_PATH_COUNT), "generic") != 0) fail(NO_PATH, "the name of no path", 0);
}
