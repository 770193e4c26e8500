// The step of Gaussian elimination that takes nearly all of its time.

#include "kernels.h"

#define INLINE static inline __attribute__((always_inline))

INLINE void subtract_rest(
    const double *left, size_t left_stride, const double *right, size_t rows, size_t depth, size_t columns, size_t width,
    double *result, size_t result_stride) {
    for (size_t i = 0; i < rows; i++) {
        double *row = result + i * result_stride;
        for (size_t k = 0; k < depth; k++) {
            double factor = -left[i * left_stride + k];
            const double *run = right + k * columns;
            for (size_t j = 0; j < width; j++) row[j] = __builtin_fma(factor, run[j], row[j]);
        }
    }
}

static void subtract_generic(
    const double *left, size_t left_stride, const double *right, size_t rows, size_t depth, size_t columns, double *result,
    size_t result_stride) {
    subtract_rest(left, left_stride, right, rows, depth, columns, columns, result, result_stride);
}

#if defined(__x86_64__)

#include <immintrin.h>

/// As in x86_low_rank.c: 12 accumulators, 3 vectors of `right` and 1 factor fill the 16 registers.
enum { TILE_ROWS = 4, TILE_VECTORS = 3, LANES = 4, TILE_COLUMNS = TILE_VECTORS * LANES };

#define AVX2 __attribute__((target("avx2,fma")))

static inline __attribute__((always_inline, target("avx2,fma"))) void subtract_tile(
    const double *left, size_t left_stride, const double *right, size_t depth, size_t columns, double *result,
    size_t result_stride) {
    __m256d sums[TILE_ROWS][TILE_VECTORS];
    for (int i = 0; i < TILE_ROWS; i++) {
        for (int v = 0; v < TILE_VECTORS; v++) sums[i][v] = _mm256_loadu_pd(result + (size_t)i * result_stride + v * LANES);
    }
    for (size_t k = 0; k < depth; k++) {
        const double *run = right + k * columns;
        __m256d b[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++) b[v] = _mm256_loadu_pd(run + v * LANES);
        for (int i = 0; i < TILE_ROWS; i++) {
            __m256d factor = _mm256_broadcast_sd(left + (size_t)i * left_stride + k);
            for (int v = 0; v < TILE_VECTORS; v++) sums[i][v] = _mm256_fnmadd_pd(factor, b[v], sums[i][v]);
        }
    }
    for (int i = 0; i < TILE_ROWS; i++) {
        for (int v = 0; v < TILE_VECTORS; v++) _mm256_storeu_pd(result + (size_t)i * result_stride + v * LANES, sums[i][v]);
    }
}

AVX2 static void subtract_avx2(
    const double *left, size_t left_stride, const double *right, size_t rows, size_t depth, size_t columns, double *result,
    size_t result_stride) {
    size_t i = 0;
    for (; rows - i >= TILE_ROWS; i += TILE_ROWS) {
        const double *own = left + i * left_stride;
        double *to = result + i * result_stride;
        size_t j = 0;
        for (; columns - j >= TILE_COLUMNS; j += TILE_COLUMNS) {
            subtract_tile(own, left_stride, right + j, depth, columns, to + j, result_stride);
        }
        subtract_rest(own, left_stride, right + j, TILE_ROWS, depth, columns, columns - j, to + j, result_stride);
    }
    subtract_rest(
        left + i * left_stride, left_stride, right, rows - i, depth, columns, columns, result + i * result_stride,
        result_stride);
}

#endif

void ck_subtract_product(
    ck_path path, const double *left, size_t left_stride, const double *right, size_t rows, size_t depth, size_t columns,
    double *result, size_t result_stride) {
#if defined(__x86_64__)
    if (path != CK_PATH_GENERIC) {
        subtract_avx2(left, left_stride, right, rows, depth, columns, result, result_stride);
        return;
    }
#endif
    (void)path;
    subtract_generic(left, left_stride, right, rows, depth, columns, result, result_stride);
}
