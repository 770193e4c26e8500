// From the codes of quantised weights to numbers, element by element as ckernels.h defines it.

#include "attacks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL = 16 };

/// Memory of which every byte shows whether it was written.
static void *untouched(size_t count, size_t size) { return memset(claim((count + TAIL) * size), 0xA5, (count + TAIL) * size); }

static uint8_t *any_bytes(size_t count) {
    uint8_t *bytes = claim(count);
    for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)(draw() >> 24);
    return bytes;
}

// MARK: Tables and groups

static void affine_of(size_t count, size_t group, const double *zeros, const double *scales, const double *offsets) {
    uint8_t *codes = claim(count);
    double *expected = untouched(count, sizeof(double));
    for (size_t i = 0; i < count; i++) {
        codes[i] = (uint8_t)(i * 37);
        volatile double product = ((double)codes[i] - (zeros != NULL ? zeros[i / group] : 0)) * scales[i / group];
        expected[i] = offsets != NULL ? product + offsets[i / group] : product;
    }
    EACH_PATH(path) {
        double *result = untouched(count, sizeof(double));
        ck_affine((ck_path)path, codes, count, group, zeros, scales, offsets, result);
        judge_numbers(path, "affine", result, expected, count + TAIL);
        free(result);
    }
    count_case();
    free(codes), free(expected);
}

static void affine(void) {
    static const size_t sizes[][2] = {{0, 1}, {1, 1}, {7, 3}, {16, 16}, {255, 32}, {256, 256}, {1000, 128}, {4099, 4100}, {5000, 33}};
    static const double ends[] = {-0.0, 0, 0x1p-1074, 1e300, INFINITY, NAN};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t count = sizes[s][0], group = sizes[s][1], groups = count / group + 1;
        double *zeros = claim(groups * sizeof(double)), *scales = claim(groups * sizeof(double));
        double *offsets = claim(groups * sizeof(double));
        for (size_t g = 0; g < groups; g++) {
            zeros[g] = g % 11 == 10 ? any(-4, 8) : (double)(g % 256);
            scales[g] = g % 5 == 4 ? ends[g / 5 % 6] : any(-20, -8);
            offsets[g] = g % 7 == 6 ? ends[g / 7 % 6] : any(-10, 0);
        }
        for (int each = 0; each < 4; each++) {
            affine_of(count, group, each % 2 == 0 ? zeros : NULL, scales, each < 2 ? offsets : NULL);
        }
        free(zeros), free(scales), free(offsets);
    }
}

static void nearest_of(const float *values, ck_format format, size_t count, size_t group, const float *thresholds, const float *table) {
    static const float factors[] = {1, 0.37f, 1e-38f, INFINITY, -2};
    static const double scales[] = {0.013, -1, 3e300, NAN, 0};
    size_t groups = (count + group - 1) / group, size = format_bits(format) / 8;
    float *own_factors = claim(groups * sizeof(float));
    double *own_scales = claim(groups * sizeof(double)), *expected = untouched(count, sizeof(double));
    char *stored = claim(count * size);
    for (size_t g = 0; g < groups; g++) own_factors[g] = factors[g % 5], own_scales[g] = scales[g % 5];
    for (size_t i = 0; i < count; i++) {
        // BF16 is the upper half of the float.
        memcpy(stored + i * size, (const char *)(values + i) + (sizeof(float) - size), size);
        volatile float scaled = (float)format_read(format, stored + i * size) * own_factors[i / group];
        size_t below = 0;
        for (size_t k = 0; k < 15; k++) below += thresholds[k] < scaled;
        expected[i] = (double)table[below] * own_scales[i / group];
    }
    EACH_PATH(path) {
        double *result = untouched(count, sizeof(double));
        ck_nearest((ck_path)path, stored, format, count, group, own_factors, thresholds, table, own_scales, result);
        judge_numbers(path, "nearest", result, expected, count + TAIL);
        free(result);
    }
    count_case();
    free(own_factors), free(own_scales), free(expected), free(stored);
}

static void nearest(void) {
    enum { ENDS = 8, COUNT = 15 * 3 + ENDS + 1000 };
    static const float ends[ENDS] = {NAN, -NAN, INFINITY, -INFINITY, 0, -0.0f, 3, -3};
    float table[16], thresholds[15], values[COUNT];
    for (int k = 0; k < 16; k++) table[k] = (float)(k * k) / 100 - 1;
    for (int k = 0; k < 15; k++) thresholds[k] = (table[k] + table[k + 1]) / 2;
    for (size_t i = 0; i < COUNT; i++) {
        float threshold = thresholds[i / 3 % 15];
        if (i < 45) values[i] = i % 3 == 0 ? threshold : nextafterf(threshold, i % 3 == 1 ? 9 : -9);
        else values[i] = i < 45 + ENDS ? ends[i - 45] : (float)any(-6, 0);
    }
    static const size_t groups[] = {1000, 64, 120, 121, 7, COUNT};
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        nearest_of(values, CK_F32, COUNT, groups[g], thresholds, table);
        nearest_of(values, CK_BF16, COUNT, groups[g], thresholds, table);
        for (size_t count = 0; count < 20; count++) nearest_of(values + g, CK_F32, count, groups[g], thresholds, table);
    }
}

/// A sign, two bits of exponent with bias 1, one of fraction, times a power of two (OCP Microscaling Formats 1.0, 5.3.3 and 5.4.1).
static double mxfp4_value(unsigned code, uint8_t scale) {
    return format_value(CK_F8_E8M0, scale) * format_value(CK_F4, code);
}

static void mxfp4(void) {
    static const size_t shapes[][4] = {
        {1, 1, 0, 32}, {8, 3, 0, 32}, {19, 2, 5, 24}, {256, 1, 31, 32}, {16, 1, 7, 7}, {40, 5, 0, 1}, {260, 1, 3, 29},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t columns = shapes[s][0], step = shapes[s][1], first = shapes[s][2], last = shapes[s][3], stride = columns + 3;
        size_t blocks = (columns - 1) * step + 1, count = (last - first) * stride;
        uint8_t *codes = any_bytes(blocks * 16), *scales = claim(blocks);
        for (size_t b = 0; b < blocks; b++) scales[b] = (uint8_t)(b * 5 + 250);
        double *expected = untouched(count, sizeof(double));
        for (size_t i = first; i < last; i++) {
            for (size_t c = 0; c < columns; c++) {
                unsigned both = codes[c * step * 16 + i / 2];
                expected[(i - first) * stride + c] = mxfp4_value(i % 2 == 0 ? both & 15 : both >> 4, scales[c * step]);
            }
        }
        EACH_PATH(path) {
            double *result = untouched(count, sizeof(double));
            ck_mxfp4((ck_path)path, codes, scales, step, columns, first, last, result, stride);
            judge_numbers(path, "mxfp4", result, expected, count + TAIL);
            free(result);
        }
        count_case();
        free(codes), free(scales), free(expected);
    }
}

// MARK: Fields and words

static void fields_of_bits(void) {
    for (unsigned bits = 1; bits <= 8; bits++) {
        for (size_t count = 0; count < 1001; count += count < 70 ? 1 : 310) {
            uint8_t *stream = any_bytes((count * bits + 7) / 8);
            uint8_t *expected = untouched(count, 1), *result = untouched(count, 1);
            for (size_t i = 0; i < count; i++) {
                expected[i] = 0;
                for (size_t bit = 0; bit < bits; bit++) {
                    size_t place = i * bits + bit;
                    expected[i] |= (uint8_t)((stream[place / 8] >> place % 8 & 1) << bit);
                }
            }
            ck_unpack(stream, bits, count, result);
            judge(NO_PATH, "unpacked", result, expected, count + TAIL, 1);
            count_case();
            free(stream), free(expected), free(result);
        }
    }
}

static void fields(void) {
    uint32_t words[300];
    for (size_t i = 0; i < 300; i++) words[i] = (uint32_t)draw();
    for (size_t count = 0; count <= 300; count += count < 70 ? 1 : 115) {
        unsigned shift = (unsigned)(count * 4 % 32);
        uint8_t *expected = untouched(count, 1);
        for (size_t i = 0; i < count; i++) expected[i] = (uint8_t)(words[i] / (UINT32_C(1) << shift) % 16);
        EACH_PATH(path) {
            uint8_t *result = untouched(count, 1);
            ck_fields((ck_path)path, words, count, shift, result);
            judge(path, "fields", result, expected, count + TAIL, 1);
            free(result);
        }
        count_case();
        free(expected);
    }
}

static void turn_words(void) {
    static const size_t shapes[][3] = {{40, 23, 0}, {40, 16, 0}, {39, 17, 5}, {1, 1, 22}, {0, 3, 0}, {5, 0, 1}};
    uint8_t *bytes = any_bytes(40 * 23 * 4 + 1);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t rows = shapes[s][0], columns = shapes[s][1];
        // At an address that nothing is aligned to.
        const uint8_t *source = bytes + 1 + shapes[s][2] * 4;
        uint32_t *expected = untouched(rows * columns, 4), *result = untouched(rows * columns, 4);
        for (size_t i = 0; i < rows; i++) {
            for (size_t j = 0; j < columns; j++) memcpy(&expected[j * rows + i], source + (i * 23 + j) * 4, 4);
        }
        ck_turn_words(source, 23, rows, columns, result);
        judge(NO_PATH, "turned", result, expected, rows * columns + TAIL, 4);
        count_case();
        free(expected), free(result);
    }
    free(bytes);
}

/// Codes without their sign are in the order of the magnitudes, NaN above all.
static void largest_of(size_t size, size_t count, size_t group) {
    size_t groups = (count + group - 1) / group;
    uint8_t *source = any_bytes(count * size + 1);
    uint32_t *expected = untouched(groups, 4);
    for (size_t i = 0; i < count; i++) {
        // Zeros of both signs, and groups of nothing else.
        if (draw() % 8 == 0 || i / group % 5 == 4) memset(source + 1 + i * size, 0, size - 1), source[i * size + size] &= 0x80;
        uint32_t code = 0;
        memcpy(&code, source + 1 + i * size, size);
        code &= size == 2 ? 0x7FFF : 0x7FFFFFFF;
        if (i % group == 0) expected[i / group] = 0;
        if (code > expected[i / group]) expected[i / group] = code;
    }
    EACH_PATH(path) {
        uint32_t *result = untouched(groups, 4);
        if (size == 2) ck_largest_16((ck_path)path, source + 1, count, group, result);
        else ck_largest_32((ck_path)path, source + 1, count, group, result);
        judge(path, "largest", result, expected, groups + TAIL, 4);
        free(result);
    }
    count_case();
    free(source), free(expected);
}

static void largest(void) {
    static const size_t sizes[][2] = {{0, 1}, {1, 8}, {5, 8}, {64, 64}, {300, 64}, {300, 7}, {130, 128}, {1000, 1}, {4096, 32}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        largest_of(2, sizes[s][0], sizes[s][1]);
        largest_of(4, sizes[s][0], sizes[s][1]);
    }
}

void attack_codes(void (*begin)(const char *name)) {
    begin("affine"), affine();
    begin("nearest"), nearest();
    begin("mxfp4"), mxfp4();
    begin("unpacking"), fields_of_bits();
    begin("fields"), fields();
    begin("turned words"), turn_words();
    begin("largest"), largest();
}
