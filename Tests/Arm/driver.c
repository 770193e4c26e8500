// Prints one line for each suite of attacks: its name, how many cases it had, and the SHA-256 of everything that the
// kernels put out. Every path of the machine must have put out the same, and the definition too; otherwise the exit
// status is 1. `make test-arm` compares the lines of two processors. With an argument, only the active path is printed.

#include "attacks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ck_sha256 hash;
static const char *suite;
static size_t suites, cases, failures;
static uint64_t state;

uint64_t draw(void) {
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

double any(int low, int high) {
    int exponent = low + (int)(draw() % (uint64_t)(high - low + 1));
    double significand = 1 + (double)(draw() >> 12) * 0x1p-52;
    return ldexp(draw() & 1 ? -significand : significand, exponent);
}

void *claim(size_t size) {
    void *memory = calloc(size > 0 ? size : 1, 1);
    if (memory == NULL) exit(2);
    return memory;
}

static void finish_suite(void) {
    uint8_t digest[32];
    ck_sha256_finish(&hash, digest);
    printf("%-24s %6zu ", suite, cases);
    for (int i = 0; i < 32; i++) printf("%02x", digest[i]);
    printf("\n");
}

static void begin(const char *name) {
    if (suite != NULL) finish_suite();
    suite = name;
    state = suites++;
    cases = 0;
    ck_sha256_start(&hash, CK_PATH_GENERIC);
}

void count_case(void) { cases++; }

void fail(int path, const char *what, size_t index) {
    failures++;
    if (failures < 20) {
        fprintf(stderr, "%s: %s, case %zu, element %zu: %s\n", suite, path == NO_PATH ? "no path" : ck_path_name((ck_path)path),
            cases, index, what);
    }
}

void judge(int path, const char *what, const void *result, const void *expected, size_t count, size_t size) {
    for (size_t i = 0; i < count; i++) {
        if (memcmp((const char *)result + i * size, (const char *)expected + i * size, size) != 0) fail(path, what, i);
    }
    if (path == NO_PATH || path == (int)ck_path_active()) ck_sha256_update(&hash, result, count * size);
}

void judge_numbers(int path, const char *what, double *result, double *expected, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (isnan(result[i])) result[i] = NAN;
        if (isnan(expected[i])) expected[i] = NAN;
    }
    judge(path, what, result, expected, count, sizeof(double));
}

int main(int count, char **arguments) {
    (void)arguments;
    if (count > 1) {
        puts(ck_path_name(ck_path_active()));
        return 0;
    }
    attack_panels(begin);
    begin("paths"), attack_paths();
    attack_conversions(begin);
    attack_codes(begin);
    attack_matrices(begin);
    attack_elementary(begin);
    begin("sha256"), attack_sha256();
    finish_suite();
    fprintf(stderr, "active path: %s; failures: %zu\n", ck_path_name(ck_path_active()), failures);
    return failures == 0 ? 0 : 1;
}
