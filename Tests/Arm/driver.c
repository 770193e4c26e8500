// Prints one line for each suite of attacks: its name, how many panels it had, and the SHA-256 of everything that the
// kernels put out. Every path of the machine must have put out the same, and the definition too; otherwise the exit
// status is 1. `make test-arm` compares the lines of two processors.

#include "attacks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ck_sha256 hash;
static const char *suite;
static size_t panels, failures;

static void *claim(size_t size) {
    void *memory = calloc(size > 0 ? size : 1, 1);
    if (memory == NULL) exit(2);
    return memory;
}

static void finish_suite(void) {
    uint8_t digest[32];
    ck_sha256_finish(&hash, digest);
    printf("%-24s %6zu ", suite, panels);
    for (int i = 0; i < 32; i++) printf("%02x", digest[i]);
    printf("\n");
}

static void begin(const char *name) {
    if (suite != NULL) finish_suite();
    suite = name;
    panels = 0;
    ck_sha256_start(&hash, CK_PATH_GENERIC);
}

static void fail(ck_path path, const char *what, size_t index) {
    failures++;
    if (failures < 20) {
        fprintf(stderr, "%s: %s, panel %zu, element %zu: %s\n", suite, ck_path_name(path), panels, index, what);
    }
}

static size_t element_size(ck_format format) { return format == CK_F32 ? 4 : 2; }

/// The result of an update and its counts, from the definition alone.
static void define(
    const attack *attack, ck_format format, const uint8_t *source, uint8_t *result, ck_low_rank_tally *tally) {
    size_t size = element_size(format);
    for (size_t i = 0; i < attack->rows; i++) {
        for (size_t j = 0; j < attack->columns; j++) {
            size_t index = i * attack->columns + j;
            double sum = 0, old, stored;
            for (size_t k = 0; k < attack->rank; k++) {
                sum = fma(attack->left[i * attack->rank + k], attack->right[k * attack->columns + j], sum);
            }
            volatile double update = attack->scale * sum;
            ck_widen(CK_PATH_GENERIC, format, source + index * size, 1, &old);
            uint64_t code = ck_code(format, old + update);
            memcpy(result + index * size, &code, size);
            ck_widen(CK_PATH_GENERIC, format, result + index * size, 1, &stored);
            tally->nonfinite += !isfinite(stored) && isfinite(old);
            tally->updated += update != 0;
            tally->unchanged += update != 0 && stored == old;
        }
    }
}

/// The same of DoRA's rows. Magnitudes are those of rows that change a little, by a known factor, or not by much that
/// is a number.
static void define_rows(
    const attack *attack, ck_format format, const uint8_t *source, double *magnitudes, uint8_t *result,
    ck_low_rank_tally *tally) {
    static const double shares[] = {1, 1 + 0x1p-24, 0.75, 1.01, -3, 1 - 0x1p-9, 0, NAN, INFINITY, 0x1p-1000, 0x1p990, 1};
    size_t size = element_size(format);
    double *values = claim(attack->columns * sizeof(double)), *old = claim(attack->columns * sizeof(double));
    for (size_t i = 0; i < attack->rows; i++) {
        double squares = 0;
        ck_widen(CK_PATH_GENERIC, format, source + i * attack->columns * size, attack->columns, old);
        for (size_t j = 0; j < attack->columns; j++) {
            double sum = 0;
            for (size_t k = 0; k < attack->rank; k++) {
                sum = fma(attack->left[i * attack->rank + k], attack->right[k * attack->columns + j], sum);
            }
            volatile double update = attack->scale * sum;
            values[j] = old[j] + update;
            squares = fma(values[j], values[j], squares);
        }
        double norm = sqrt(squares), share = shares[i % (sizeof shares / sizeof *shares)];
        magnitudes[i] = isfinite(norm) && norm > 0 ? norm * share : share;
        double factor = magnitudes[i] / norm;
        for (size_t j = 0; j < attack->columns; j++) {
            uint8_t *to = result + (i * attack->columns + j) * size;
            volatile double exact = values[j] * factor;
            double stored;
            uint64_t code = ck_code(format, exact);
            memcpy(to, &code, size);
            ck_widen(CK_PATH_GENERIC, format, to, 1, &stored);
            double update = exact - old[j];
            tally->nonfinite += !isfinite(stored) && isfinite(old[j]);
            tally->updated += !(update == 0);
            tally->unchanged += !(update == 0) && stored == old[j];
        }
    }
    free(values), free(old);
}

static void compare(
    ck_path path, const uint8_t *result, const uint8_t *expected, size_t count, size_t size,
    const ck_low_rank_tally *tally, const ck_low_rank_tally *known) {
    for (size_t i = 0; i < count; i++) {
        if (memcmp(result + i * size, expected + i * size, size) != 0) fail(path, "wrong", i);
    }
    if (tally->updated != known->updated) fail(path, "updated", tally->updated);
    if (tally->unchanged != known->unchanged) fail(path, "unchanged", tally->unchanged);
    if (tally->nonfinite != known->nonfinite) fail(path, "nonfinite", tally->nonfinite);
    // The slowest and the fastest form, so that both processors hash as much.
    if (path == CK_PATH_GENERIC || path == ck_path_active()) {
        uint64_t counts[3] = {tally->updated, tally->unchanged, tally->nonfinite};
        ck_sha256_update(&hash, result, count * size);
        ck_sha256_update(&hash, counts, sizeof counts);
    }
}

static void strike_rows(
    const attack *attack, ck_format format, const ck_low_rank_right *right, const uint8_t *source, uint8_t *expected,
    uint8_t *result) {
    size_t count = attack->rows * attack->columns, size = element_size(format);
    double *magnitudes = claim(attack->rows * sizeof(double));
    void *scratch = claim(ck_low_rank_magnify_scratch(attack->rank, attack->rows, attack->columns));
    ck_low_rank_tally known = {0};
    define_rows(attack, format, source, magnitudes, expected, &known);
    for (int path = 0; path < CK_PATH_COUNT; path++) {
        if (!ck_path_available((ck_path)path)) continue;
        ck_low_rank_tally tally = {0};
        memset(result, 0xA5, count * size);
        ck_low_rank_magnify(
            (ck_path)path, format, right, attack->left, attack->rows, attack->scale, magnitudes, source, result,
            scratch, &tally);
        compare((ck_path)path, result, expected, count, size, &tally, &known);
    }
    free(magnitudes), free(scratch);
}

/// W in float64: what is stored is held against W rounded to float32 and then to the format.
static void strike_wide(
    const attack *attack, ck_format format, const ck_low_rank_right *right, uint8_t *expected, uint8_t *result,
    void *scratch) {
    size_t count = attack->rows * attack->columns, size = element_size(format);
    ck_low_rank_tally known = {0};
    for (size_t index = 0; index < count; index++) {
        double sum = 0, stored, rounded, base = attack->base[index];
        for (size_t k = 0; k < attack->rank; k++) {
            sum = fma(
                attack->left[index / attack->columns * attack->rank + k],
                attack->right[k * attack->columns + index % attack->columns], sum);
        }
        volatile double update = attack->scale * sum;
        volatile double total = base + update;
        volatile float near = (float)base;
        uint64_t code = ck_code(format, total), old = ck_code(format, near);
        memcpy(expected + index * size, &code, size);
        ck_widen(CK_PATH_GENERIC, format, &code, 1, &stored);
        ck_widen(CK_PATH_GENERIC, format, &old, 1, &rounded);
        known.nonfinite += !isfinite(stored) && isfinite(rounded);
        known.updated += update != 0;
        known.unchanged += update != 0 && stored == rounded;
    }
    for (int path = 0; path < CK_PATH_COUNT; path++) {
        if (!ck_path_available((ck_path)path)) continue;
        ck_low_rank_tally tally = {0};
        memset(result, 0xA5, count * size);
        ck_low_rank_merge_f64(
            (ck_path)path, format, right, attack->left, attack->rows, attack->scale, attack->base, result, scratch, &tally);
        compare((ck_path)path, result, expected, count, size, &tally, &known);
    }
}

static void strike_format(const attack *attack, ck_format format) {
    size_t count = attack->rows * attack->columns, size = element_size(format);
    size_t packed_columns = ck_low_rank_packed_columns(attack->columns), packed = packed_columns * attack->rank;
    uint8_t *source = claim(count * size), *expected = claim(count * size), *result = claim(count * size);
    float *narrow = claim(packed * sizeof(float)), *bounds = claim(packed_columns * sizeof(float));
    float *lines = claim(packed * sizeof(float));
    double *wide = claim(packed * sizeof(double));
    void *scratch = claim(ck_low_rank_scratch(attack->rank, attack->rows));
    if (attack->codes != NULL && format != CK_F32) {
        memcpy(source, attack->codes, count * size);
    } else {
        ck_narrow(CK_PATH_GENERIC, format, attack->base, count, source);
    }

    ck_low_rank_right right = {attack->rank, attack->columns, NULL, NULL, NULL, bounds, false};
    if (ck_low_rank_fits(attack->right, attack->rank * attack->columns)) {
        right.decides = ck_low_rank_pack_narrow(attack->right, attack->rank, attack->columns, narrow, bounds);
        right.narrow = narrow;
        if (attack->rank > 8) {
            ck_low_rank_pack_lines(attack->right, attack->rank, attack->columns, lines);
            right.lines = lines;
        }
    } else {
        ck_low_rank_pack_wide(attack->right, attack->rank, attack->columns, wide);
        right.wide = wide;
    }
    ck_low_rank_tally known = {0};
    define(attack, format, source, expected, &known);
    for (int path = 0; path < CK_PATH_COUNT; path++) {
        if (!ck_path_available((ck_path)path)) continue;
        ck_low_rank_tally tally = {0};
        memset(result, 0xA5, count * size);
        ck_low_rank_merge(
            (ck_path)path, format, &right, attack->left, attack->rows, attack->scale, source, result, scratch, &tally);
        compare((ck_path)path, result, expected, count, size, &tally, &known);
    }
    strike_rows(attack, format, &right, source, expected, result);
    if (attack->base != NULL) strike_wide(attack, format, &right, expected, result, scratch);
    panels++;
    free(source), free(expected), free(result), free(narrow), free(lines), free(bounds), free(wide), free(scratch);
}

void strike(const attack *attack) {
    strike_format(attack, CK_BF16);
    strike_format(attack, CK_F16);
    if (attack->codes == NULL) strike_format(attack, CK_F32);
}

void strike_conversions(const double *values, size_t count) {
    static const ck_format formats[] = {CK_BF16, CK_F16, CK_F32};
    uint8_t *codes = claim(count * 4);
    double *back = claim(count * sizeof(double));
    for (int f = 0; f < 3; f++) {
        size_t size = element_size(formats[f]);
        for (int path = 0; path < CK_PATH_COUNT; path++) {
            if (path != CK_PATH_GENERIC && path != (int)ck_path_active()) continue;
            ck_narrow((ck_path)path, formats[f], values, count, codes);
            ck_widen((ck_path)path, formats[f], codes, count, back);
            ck_sha256_update(&hash, codes, count * size);
            ck_sha256_update(&hash, back, count * sizeof(double));
        }
        panels++;
    }
    free(codes), free(back);
}

int main(void) {
    all_attacks(begin);
    finish_suite();
    fprintf(stderr, "active path: %s; failures: %zu\n", ck_path_name(ck_path_active()), failures);
    return failures == 0 ? 0 : 1;
}
