// Widening, narrowing and distances against the definition of the formats.

#include "attacks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL = 16 };

// MARK: Widening

/// Codes as a file has them, from the lowest bit of the first byte up.
static void pack_codes(const uint64_t *codes, size_t count, size_t bits, uint8_t *bytes) {
    for (size_t i = 0; i < count; i++) {
        for (size_t bit = 0; bit < bits; bit++) {
            size_t place = i * bits + bit;
            if (codes[i] >> bit & 1) bytes[place / 8] |= (uint8_t)(1u << place % 8);
        }
    }
}

/// Every path, at an address that nothing is aligned to, and nothing written beyond.
static void widen(ck_format format, const uint64_t *codes, size_t count) {
    size_t bits = format_bits(format);
    uint8_t *bytes = claim(count * bits / 8 + 2);
    double *expected = claim((count + TAIL) * sizeof(double)), *result = claim((count + TAIL) * sizeof(double));
    pack_codes(codes, count, bits, bytes + 1);
    memset(expected, 0xA5, (count + TAIL) * sizeof(double));
    for (size_t i = 0; i < count; i++) expected[i] = format_value(format, codes[i]);
    EACH_PATH(path) {
        memset(result, 0xA5, (count + TAIL) * sizeof(double));
        ck_widen((ck_path)path, format, bytes + 1, count, result);
        judge(path, "widened", result, expected, count + TAIL, sizeof(double));
    }
    count_case();
    free(bytes), free(expected), free(result);
}

/// Codes in which every exponent stands beside every kind of fraction, and any others.
static uint64_t wide_code(ck_format format, size_t index) {
    size_t bits = format_bits(format);
    uint64_t any_code = draw();
    if (index % 3 == 0) any_code >>= draw() % 64;
    if (index % 5 == 0) any_code = -any_code;
    if (index % 7 == 0) any_code |= UINT64_C(0x7FF) << (bits - 12);
    if (index % 11 == 0) any_code &= UINT64_C(0xFFF) << (bits - 12);
    return bits == 64 ? any_code : any_code & ((UINT64_C(1) << bits) - 1);
}

static void widening(void) {
    enum { COUNT = 65536 };
    uint64_t *codes = claim(COUNT * sizeof *codes);
    for (int format = CK_BOOL; format <= CK_U64; format++) {
        size_t bits = format_bits((ck_format)format);
        // Formats of 8 bits and less have another way for few elements.
        size_t count = bits > 8 ? COUNT : 1024;
        for (size_t i = 0; i < count; i++) {
            codes[i] = bits > 16 ? wide_code((ck_format)format, i) : i * 37 & ((UINT64_C(1) << bits) - 1);
        }
        widen((ck_format)format, codes, count);
        for (size_t few = 0; few <= 40; few++) widen((ck_format)format, codes + few * 23, few);
        widen((ck_format)format, codes, 255);
    }
    free(codes);
}

// MARK: Narrowing

static void narrow(ck_format format, const double *values, size_t count) {
    size_t size = format_bits(format) / 8;
    uint8_t *expected = claim(count * size + TAIL), *result = claim(count * size + TAIL + 1);
    memset(expected, 0xA5, count * size + TAIL);
    for (size_t i = 0; i < count; i++) {
        format_write(format, values[i], expected + i * size);
        uint64_t code = ck_code(format, values[i]);
        if (code != format_code(format, values[i])) fail(NO_PATH, "code", i);
    }
    EACH_PATH(path) {
        memset(result, 0xA5, count * size + TAIL + 1);
        ck_narrow((ck_path)path, format, values, count, result + 1);
        judge(path, "narrowed", result + 1, expected, count * size + TAIL, 1);
    }
    count_case();
    free(expected), free(result);
}

static double next_to(double value, int side) { return side == 0 ? value : nextafter(value, side * INFINITY); }

/// Every number of a 16-bit format, every tie between two, and the doubles beside them.
static void neighbours(ck_format format) {
    enum { RUN = 1024 };
    double *values = claim(RUN * 12 * sizeof(double));
    uint64_t infinity = format_code(format, INFINITY);
    for (uint64_t first = 0; first < infinity; first += RUN) {
        size_t count = 0;
        for (uint64_t code = first; code < first + RUN && code < infinity; code++) {
            double low = format_value(format, code), high = format_value(format, code + 1);
            // Beyond the largest number, rounding works as if the next one existed, and gives Inf for it.
            if (isinf(high)) high = 2 * low - format_value(format, code - 1);
            for (int side = -1; side <= 1; side++) {
                values[count++] = next_to(low, side), values[count++] = -next_to(low, side);
                values[count++] = next_to((low + high) / 2, side), values[count++] = -next_to((low + high) / 2, side);
            }
        }
        narrow(format, values, count);
    }
    free(values);
}

static void narrowing(void) {
    enum { COUNT = 20000 };
    static const ck_format formats[] = {CK_BF16, CK_F16, CK_F32, CK_F64};
    static const int exponents[][2] = {{-160, 135}, {-30, 18}, {-160, -120}, {120, 130}, {-1074, 1023}};
    static const double ends[] = {
        0, -0.0, INFINITY, -INFINITY, NAN, -NAN, 0x1.fffffffffffffp1023, 0x1p-1074, -0x1p-1022, 0x1.fffffep127, 0x1.ffffffp127,
        0x1.fffffefffffffp127, 0x1p-150, 0x1.0000000000001p-150, 0x1p-149, 65504, 65519.999, 65520, 0x1p-25, 1 + 0x1p-8 + 0x1p-40,
        1 + 0x1p-11 + 0x1p-40,
    };
    double *values = claim(COUNT * sizeof(double));
    neighbours(CK_BF16);
    neighbours(CK_F16);
    for (size_t f = 0; f < 4; f++) {
        for (size_t e = 0; e < 5; e++) {
            for (size_t i = 0; i < COUNT; i++) values[i] = any(exponents[e][0], exponents[e][1]);
            // Ties of float32 and their neighbours.
            for (size_t i = 0; i < COUNT; i += 5) values[i] = next_to((float)values[i] * (1 + 0x1p-24), (int)(draw() % 3) - 1);
            // NaN of every kind, at every place of a vector.
            for (size_t i = 0; i < COUNT; i += 97) {
                uint64_t bits = UINT64_C(0x7FF) << 52 | draw();
                memcpy(&values[i], &bits, sizeof bits);
            }
            narrow(formats[f], values, COUNT);
        }
        for (size_t few = 0; few <= 41; few++) narrow(formats[f], values + few * 29, few);
        narrow(formats[f], ends, sizeof ends / sizeof *ends);
    }
    // Nothing is done for another format.
    uint8_t untouched[8], result[8];
    memset(untouched, 0xA5, 8), memset(result, 0xA5, 8);
    ck_narrow(ck_path_active(), CK_U8, ends, 8, result);
    if (memcmp(untouched, result, 8) != 0) fail(ck_path_active(), "narrowed to U8", 0);
    free(values);
}

// MARK: Distances

/// The place of a number in the ordered list of the format, zero in the middle.
static int64_t place(ck_format format, double value) {
    uint64_t sign = UINT64_C(1) << (format_bits(format) - 1), code = format_code(format, value);
    return code & sign ? -(int64_t)(code - sign) : (int64_t)code;
}

static uint64_t steps(ck_format format, double left, double right) {
    if (isnan(left) || isnan(right)) return isnan(left) && isnan(right) ? 0 : UINT64_MAX;
    int64_t a = place(format, left), b = place(format, right);
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

static void distances(void) {
    enum { COUNT = 4000 };
    static const ck_format formats[] = {CK_F64, CK_F32, CK_F16, CK_BF16};
    static const double ends[] = {0, -0.0, INFINITY, -INFINITY, NAN, 1, 2, -1, 0x1p-1074, 0x1.fffffffffffffp1023, 1 + 0x1p-9};
    enum { ENDS = sizeof ends / sizeof *ends };
    double *left = claim(COUNT * sizeof(double)), *right = claim(COUNT * sizeof(double));
    for (size_t f = 0; f < 4; f++) {
        for (size_t i = 0; i < COUNT; i++) {
            left[i] = any(-30, 15);
            right[i] = i % 4 == 0 ? left[i] : i % 4 == 1 ? any(-30, 15) : left[i] * (1 + ldexp(1, -(int)(draw() % 54)));
            if (i < ENDS * ENDS) left[i] = ends[i / ENDS], right[i] = ends[i % ENDS];
        }
        uint64_t largest = 0, differing = 0;
        for (size_t i = 0; i < COUNT; i++) {
            uint64_t known = steps(formats[f], left[i], right[i]), found = ck_ulp_distance(formats[f], left[i], right[i]);
            judge(NO_PATH, "distance", &found, &known, 1, sizeof found);
            // NaN beside a number is the largest distance of all: lists without it tell more.
            bool counts = known < UINT64_MAX;
            if (!counts) left[i] = right[i];
            largest = counts && known > largest ? known : largest;
            differing += counts && known != 0;
        }
        size_t different = 7;
        uint64_t expected[2] = {largest, differing}, found[2] = {ck_ulp_compare(formats[f], left, right, COUNT, &different), 0};
        found[1] = different;
        judge(NO_PATH, "largest, differing", found, expected, 2, sizeof *found);
        left[5] = NAN, right[5] = 1;
        if (ck_ulp_compare(formats[f], left, right, 6, &different) != UINT64_MAX) fail(NO_PATH, "beside NaN", 5);
        if (ck_ulp_compare(formats[f], left, right, 0, &different) != 0 || different != 0) fail(NO_PATH, "of none", 0);
        count_case();
    }
    if (ck_ulp_distance(CK_BF16, 1, 2) != 128 || ck_ulp_distance(CK_F16, 0, INFINITY) != 0x7C00) {
        fail(NO_PATH, "known distances", 0);
    }
    free(left), free(right);
}

void attack_conversions(void (*begin)(const char *name)) {
    begin("widening"), widening();
    begin("narrowing"), narrowing();
    begin("distances"), distances();
}
