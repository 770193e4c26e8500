// What a panel goes through beside the rank-r update: DoRA's magnitudes, and the count of what rounding left.

#include "kernels.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

/// Rows whose sums of squares run side by side. A sum is a chain of dependent multiply-adds of 4 cycles each, of which a
/// core starts two in a cycle; 8 chains keep it busy.
enum { CHAINS = 8 };

/// `count` <= CHAINS rows. The order within a row is that of the definition; rows do not meet.
INLINE void scale_chain(double *values, size_t count, size_t columns, size_t stride, const double *magnitudes) {
    double sums[CHAINS] = {0};
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = 0; i < count; ++i) {
            double value = values[i * stride + j];
            sums[i] = __builtin_fma(value, value, sums[i]);
        }
    }
    for (size_t i = 0; i < count; ++i) {
        double factor = magnitudes[i] / sqrt(sums[i]);
        double *row = values + i * stride;
        for (size_t j = 0; j < columns; ++j) row[j] *= factor;
    }
}

INLINE void scale_all(double *values, size_t rows, size_t columns, size_t stride, const double *magnitudes) {
    size_t i = 0;
    for (; i + CHAINS <= rows; i += CHAINS) scale_chain(values + i * stride, CHAINS, columns, stride, magnitudes + i);
    for (; i < rows; ++i) scale_chain(values + i * stride, 1, columns, stride, magnitudes + i);
}

static void scale_generic(double *values, size_t rows, size_t columns, size_t stride, const double *magnitudes) {
    scale_all(values, rows, columns, stride, magnitudes);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma")))
static void scale_avx2(double *values, size_t rows, size_t columns, size_t stride, const double *magnitudes) {
    scale_all(values, rows, columns, stride, magnitudes);
}
#endif

void ck_scale_rows(
    ck_path path, double *values, size_t rows, size_t columns, size_t row_stride, const double *magnitudes) {
#if defined(__x86_64__)
    if (path != CK_PATH_GENERIC) {
        scale_avx2(values, rows, columns, row_stride, magnitudes);
        return;
    }
#endif
    (void)path;
    scale_generic(values, rows, columns, row_stride, magnitudes);
}

INLINE void add_squares_all(const double *values, size_t rows, size_t columns, size_t stride, double *squares) {
    for (size_t i = 0; i < rows; ++i) {
        const double *row = values + i * stride;
        for (size_t j = 0; j < columns; ++j) squares[j] = __builtin_fma(row[j], row[j], squares[j]);
    }
}

static void add_squares_generic(const double *values, size_t rows, size_t columns, size_t stride, double *squares) {
    add_squares_all(values, rows, columns, stride, squares);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma")))
static void add_squares_avx2(const double *values, size_t rows, size_t columns, size_t stride, double *squares) {
    add_squares_all(values, rows, columns, stride, squares);
}
#endif

void ck_add_squares(
    ck_path path, const double *values, size_t rows, size_t columns, size_t row_stride, double *squares) {
#if defined(__x86_64__)
    if (path != CK_PATH_GENERIC) {
        add_squares_avx2(values, rows, columns, row_stride, squares);
        return;
    }
#endif
    (void)path;
    add_squares_generic(values, rows, columns, row_stride, squares);
}

void ck_scale_columns(double *values, size_t rows, size_t columns, size_t row_stride, const double *factors) {
    for (size_t i = 0; i < rows; ++i) {
        double *row = values + i * row_stride;
        for (size_t j = 0; j < columns; ++j) row[j] *= factors[j];
    }
}

void ck_tally_updates(
    const double *original, const double *exact, const double *stored, size_t count, ck_low_rank_tally *tally) {
    size_t updated = 0, unchanged = 0, nonfinite = 0, base_nonfinite = 0;
    double update_squares = 0, stored_squares = 0;
    for (size_t i = 0; i < count; ++i) {
        double update = exact[i] - original[i], kept = stored[i] - original[i];
        // x - x is 0 where x is finite, and NaN where it is not.
        bool was_finite = original[i] - original[i] == 0, is_finite = stored[i] - stored[i] == 0;
        bool is_update = !(update == 0);
        nonfinite += !is_finite && was_finite;
        base_nonfinite += !was_finite;
        updated += is_update;
        unchanged += is_update && kept == 0;
        bool counts = is_update && update - update == 0 && kept - kept == 0;
        update_squares += counts ? update * update : 0;
        stored_squares += counts ? kept * kept : 0;
    }
    tally->updated += updated;
    tally->unchanged += unchanged;
    tally->nonfinite += nonfinite;
    tally->base_nonfinite += base_nonfinite;
    tally->update_squares += update_squares;
    tally->stored_squares += stored_squares;
}
