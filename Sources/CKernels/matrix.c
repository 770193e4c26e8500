// Row-major matrices of doubles: the rank-r update in its portable form, transposition, a test for finite elements.

#include "kernels.h"

#include <math.h>

/// Columns whose accumulators are kept at hand while k runs: 64 doubles are eight cache lines, and a row of `right` is
/// read in runs of that length.
enum { COLUMN_BLOCK = 64 };

void ck_add_low_rank_generic(
    const double *left, const double *right, size_t rows, size_t rank, size_t columns, double scale, double *result,
    size_t row_stride) {
    double sums[COLUMN_BLOCK];
    for (size_t i = 0; i < rows; i++) {
        double *row = result + i * row_stride;
        for (size_t first = 0; first < columns; first += COLUMN_BLOCK) {
            size_t width = columns - first < COLUMN_BLOCK ? columns - first : COLUMN_BLOCK;
            for (size_t j = 0; j < width; j++) sums[j] = 0;
            for (size_t k = 0; k < rank; k++) {
                double factor = left[i * rank + k];
                const double *run = right + k * columns + first;
                for (size_t j = 0; j < width; j++) sums[j] = fma(factor, run[j], sums[j]);
            }
            for (size_t j = 0; j < width; j++) {
                double update = scale * sums[j];
                row[first + j] = ck_canonical(row[first + j] + update);
            }
        }
    }
}

void ck_add_low_rank(
    ck_path path, const double *left, const double *right, size_t rows, size_t rank, size_t columns, double scale,
    double *result, size_t row_stride) {
    ck_functions_of(path)->add_low_rank(left, right, rows, rank, columns, scale, result, row_stride);
}

/// In square blocks of 16: 16 rows of 128 bytes are whole cache lines on both sides, 4 KiB in all.
enum { TRANSPOSE_BLOCK = 16 };

void ck_transpose(const double *source, size_t rows, size_t columns, double *result) {
    for (size_t i = 0; i < rows; i += TRANSPOSE_BLOCK) {
        size_t last_i = rows - i < TRANSPOSE_BLOCK ? rows : i + TRANSPOSE_BLOCK;
        for (size_t j = 0; j < columns; j += TRANSPOSE_BLOCK) {
            size_t last_j = columns - j < TRANSPOSE_BLOCK ? columns : j + TRANSPOSE_BLOCK;
            for (size_t y = i; y < last_i; y++) {
                for (size_t x = j; x < last_j; x++) result[x * rows + y] = source[y * columns + x];
            }
        }
    }
}

bool ck_all_finite(const double *source, size_t count) {
    // The exponent field is all ones for Inf and NaN, and for nothing else. No early exit: the loop then vectorises.
    const uint64_t exponent = UINT64_C(0x7FF) << 52;
    uint64_t found = 0;
    for (size_t i = 0; i < count; i++) found |= (ck_bits64(source[i]) & exponent) == exponent;
    return found == 0;
}
