// Codes of quantised weights to numbers: the portable forms, and the calls.

#define KERNEL
#include "codes_loops.h"

enum { RUN = 64 };

const float ck_e2m1[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6};

void ck_nearest_generic(
    const void *values, ck_format format, size_t count, size_t group, const float *factors, const float thresholds[15],
    const float table[16], const double *scales, double *result) {
    float borders[15], entries[16];
    __builtin_memcpy(borders, thresholds, sizeof borders);
    __builtin_memcpy(entries, table, sizeof entries);
    // A run at a time: floats fill twice as many lanes as the doubles that they become.
    float run[RUN];
    for (size_t start = 0, width; start < count; start += width) {
        size_t g = start / group, left = (g + 1) * group - start;
        width = count - start < RUN ? count - start : RUN;
        width = left < width ? left : width;
        if (format == CK_BF16) {
            const ck_u16 *from = (const ck_u16 *)values + start;
            for (size_t i = 0; i < width; i++) {
                uint32_t bits = (uint32_t)from[i] << 16;
                __builtin_memcpy(&run[i], &bits, sizeof bits);
            }
        } else {
            __builtin_memcpy(run, (const char *)values + start * sizeof(float), width * sizeof(float));
        }
        for (size_t i = 0; i < width; i++) {
            float value = run[i] * factors[g], entry = entries[0];
            for (int k = 0; k < 15; k++) entry = value > borders[k] ? entries[k + 1] : entry;
            run[i] = entry;
        }
        for (size_t i = 0; i < width; i++) result[start + i] = (double)run[i] * scales[g];
    }
}

void ck_mxfp4_generic(
    const uint8_t *codes, const uint8_t *scales, size_t step, size_t columns, size_t first, size_t last, double *result,
    size_t stride) {
    enum { TILE = 8 };
    // A few columns at a time: each row of them is a line of the processor's cache.
    for (size_t start = 0; start < columns; start += TILE) {
        size_t width = TILE < columns - start ? TILE : columns - start;
        double values[TILE][16];
        for (size_t c = 0; c < width; c++) {
            double power = ck_mxfp4_power(scales[(start + c) * step]);
            for (size_t code = 0; code < 16; code++) values[c][code] = ck_e2m1[code] * power;
        }
        for (size_t i = first; i < last; i++) {
            double *row = result + (i - first) * stride + start;
            const uint8_t *bytes = codes + start * step * 16 + i / 2;
            for (size_t c = 0; c < width; c++) row[c] = values[c][bytes[c * step * 16] >> i % 2 * 4 & 15];
        }
    }
}

const ck_code_functions ck_codes_generic = {
    .affine = affine, .nearest = ck_nearest_generic, .largest_16 = largest_16, .largest_32 = largest_32, .fields = fields,
    .mxfp4 = ck_mxfp4_generic};

void ck_affine(
    ck_path path, const uint8_t *codes, size_t count, size_t group, const double *zeros, const double *scales,
    const double *offsets, double *result) {
    ck_functions_of(path)->codes->affine(codes, count, group, zeros, scales, offsets, result);
}

void ck_nearest(
    ck_path path, const void *values, ck_format format, size_t count, size_t group, const float *factors,
    const float thresholds[15], const float table[16], const double *scales, double *result) {
    ck_functions_of(path)->codes->nearest(values, format, count, group, factors, thresholds, table, scales, result);
}

void ck_largest_16(ck_path path, const void *source, size_t count, size_t group, uint32_t *result) {
    ck_functions_of(path)->codes->largest_16(source, count, group, result);
}

void ck_largest_32(ck_path path, const void *source, size_t count, size_t group, uint32_t *result) {
    ck_functions_of(path)->codes->largest_32(source, count, group, result);
}

void ck_fields(ck_path path, const uint32_t *words, size_t count, unsigned shift, uint8_t *codes) {
    ck_functions_of(path)->codes->fields(words, count, shift, codes);
}

void ck_mxfp4(
    ck_path path, const uint8_t *codes, const uint8_t *scales, size_t step, size_t columns, size_t first, size_t last,
    double *result, size_t stride) {
    ck_functions_of(path)->codes->mxfp4(codes, scales, step, columns, first, last, result, stride);
}

void ck_unpack(const uint8_t *restrict bytes, unsigned bits, size_t count, uint8_t *restrict codes) {
    switch (bits) {
    case 8: __builtin_memcpy(codes, bytes, count); break;
    case 4:
        for (size_t i = 0; i < count / 2; i++) {
            codes[2 * i] = bytes[i] & 15;
            codes[2 * i + 1] = bytes[i] >> 4;
        }
        if (count % 2 != 0) codes[count - 1] = bytes[count / 2] & 15;
        break;
    default:
        for (size_t i = 0; i < count; i++) {
            // A field of up to 8 bits lies in two bytes; one that ends with its byte reads no further.
            size_t bit = i * bits, shift = bit % 8;
            unsigned field = bytes[bit / 8];
            if (shift + bits > 8) field |= (unsigned)bytes[bit / 8 + 1] << 8;
            codes[i] = (uint8_t)(field >> shift & ((1u << bits) - 1));
        }
    }
}

void ck_turn_words(const void *source, size_t stride, size_t rows, size_t columns, uint32_t *restrict result) {
    enum { LINE = 16 };
    // Sixteen words of each row are a line of the processor's cache; few lines are written at once.
    for (size_t first = 0; first < columns; first += LINE) {
        size_t last = columns - first < LINE ? columns : first + LINE;
        for (size_t row = 0; row < rows; row++) {
            const ck_u32 *words = (const ck_u32 *)source + row * stride;
            __builtin_prefetch(words + first + 8 * stride);
            for (size_t column = first; column < last; column++) result[column * rows + row] = words[column];
        }
    }
}
