// The rank-r update for x86-64 with AVX2 and FMA. Each element sees the operations of the portable form in the same
// order; lanes only put elements side by side.

#if defined(__x86_64__)

#include "kernels.h"
#include "x86.h"

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))
#define INLINE static inline __attribute__((always_inline, target("avx2,fma,f16c")))

/// A tile of 4 rows and 12 columns keeps 12 accumulators, 3 vectors of `right` and 1 factor in the 16 registers, and
/// takes 7 loads for 12 multiply-adds; two loads and two multiply-adds are started in a cycle, so arithmetic is the
/// limit.
enum { TILE_ROWS = 4, TILE_VECTORS = 3, LANES = 4, TILE_COLUMNS = TILE_VECTORS * LANES };

// Vectors of doubles as the compilers' own arithmetic type: what intrinsics do, and in unoptimised builds three times
// faster, since every intrinsic is then a function that copies its arguments.
#if defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_fma)
#define FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
#endif
#endif
#if !defined(FMA)
#define FMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#endif

/// canonical(old + scale * sum), with a rounding after the product.
INLINE __m256d finish(__m256d old, __m256d scale, __m256d sum, __m256d canonical_nan) {
    __m256d update = scale * sum;
    __m256d total = old + update;
    return _mm256_blendv_pd(total, canonical_nan, _mm256_cmp_pd(total, total, _CMP_UNORD_Q));
}

/// `rows` and `vectors` are constants where this is called, so the loops over them unroll and `sums` lives in
/// registers.
INLINE void tile(
    int rows, int vectors, const double *left, const double *right, size_t rank, size_t columns, __m256d scale,
    double *result, size_t row_stride) {
    __m256d sums[TILE_ROWS][TILE_VECTORS];
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < vectors; v++) sums[i][v] = _mm256_setzero_pd();
    }
    for (size_t k = 0; k < rank; k++) {
        const double *run = right + k * columns;
        __m256d b[TILE_VECTORS];
        for (int v = 0; v < vectors; v++) b[v] = _mm256_loadu_pd(run + v * LANES);
        for (int i = 0; i < rows; i++) {
            __m256d factor = _mm256_broadcast_sd(left + (size_t)i * rank + k);
            for (int v = 0; v < vectors; v++) sums[i][v] = FMA(factor, b[v], sums[i][v]);
        }
    }
    __m256d canonical_nan = _mm256_set1_pd(ck_double(CK_NAN_F64));
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < vectors; v++) {
            double *place = result + (size_t)i * row_stride + v * LANES;
            _mm256_storeu_pd(place, finish(_mm256_loadu_pd(place), scale, sums[i][v], canonical_nan));
        }
    }
}

/// The one to three columns that fill no vector.
INLINE void scalar_columns(
    size_t rows, size_t width, const double *left, const double *right, size_t rank, size_t columns, double scale,
    double *result, size_t row_stride) {
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < width; j++) {
            double sum = 0;
            for (size_t k = 0; k < rank; k++) sum = __builtin_fma(left[i * rank + k], right[k * columns + j], sum);
            double update = scale * sum;
            double *place = result + i * row_stride + j;
            *place = ck_canonical(*place + update);
        }
    }
}

/// `rows` rows, all columns.
INLINE void row_band(
    int rows, const double *left, const double *right, size_t rank, size_t columns, double scale, double *result,
    size_t row_stride) {
    __m256d scales = _mm256_set1_pd(scale);
    size_t j = 0;
    for (; columns - j >= TILE_COLUMNS; j += TILE_COLUMNS) {
        tile(rows, TILE_VECTORS, left, right + j, rank, columns, scales, result + j, row_stride);
    }
    for (; columns - j >= LANES; j += LANES) {
        tile(rows, 1, left, right + j, rank, columns, scales, result + j, row_stride);
    }
    scalar_columns((size_t)rows, columns - j, left, right + j, rank, columns, scale, result + j, row_stride);
}

AVX2 void ck_add_low_rank_avx2(
    const double *left, const double *right, size_t rows, size_t rank, size_t columns, double scale, double *result,
    size_t row_stride) {
    size_t i = 0;
    for (; rows - i >= TILE_ROWS; i += TILE_ROWS) {
        row_band(TILE_ROWS, left + i * rank, right, rank, columns, scale, result + i * row_stride, row_stride);
    }
    for (; i < rows; i++) {
        row_band(1, left + i * rank, right, rank, columns, scale, result + i * row_stride, row_stride);
    }
}

#endif
