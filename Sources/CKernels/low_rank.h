// What the files of the fused rank-r update share. low_rank.c drives; low_rank_bounds.h says why it is right.

#ifndef CKERNELS_LOW_RANK_H
#define CKERNELS_LOW_RANK_H

#include "kernels.h"

/// A tile is BAND_ROWS rows by TILE_COLUMNS columns. With eight lanes its sums are 12 of 16 registers, which leaves two
/// for `right`, one for a factor of `left`; 12 multiply-adds in flight cover a latency of 4 at two a cycle.
enum { BAND_ROWS = 6, TILE_COLUMNS = CK_LOW_RANK_TILE, TILE_ELEMENTS = BAND_ROWS * TILE_COLUMNS };

/// Steps of k that are summed before the sum is added to a running total. The bound of the error counts the roundings
/// on one element's way, which are then RANK_CHUNK + rank / RANK_CHUNK in place of rank; 16 is best at rank 256. The
/// additions to the totals cost nothing that could be measured.
enum { RANK_CHUNK = 16 };

/// An element whose rounding float32 could not decide.
typedef struct ck_doubt {
    uint32_t row;     ///< in the band
    uint32_t column;  ///< in the matrix
    uint32_t code;    ///< W, as stored; not where it is float64
    uint32_t zero;    ///< whether the bound said that the update is zero
} ck_doubt;

/// What a band's tiles came to, beside the codes.
typedef struct ck_band_result {
    size_t same;             ///< decided elements that are stored with W's value
    double update_squares;   ///< of the decided elements
    double stored_squares;
    ck_doubt *doubts;        ///< room for every element of the band's block
    size_t doubt_count;
} ck_band_result;

/// Six rows, and `tiles` tiles of columns beside each other, of a matrix of 16-bit elements, or for `source` of doubles.
typedef struct ck_band {
    const float *left;            ///< |scale| * left, [k][6]
    const float *right;           ///< [tile][k][16]
    const float *row_bounds;      ///< 6 of them
    const float *column_bounds;   ///< [tile][16]
    const void *source;
    void *result;                 ///< may be `source`, of codes
    size_t stride;                ///< elements from one row to the next, of source and result
    size_t rank, tiles;
    uint32_t first_column;        ///< of the first tile in the matrix
    float sign;                   ///< of scale
} ck_band;

/// Lanes in which the squares of a row are summed.
enum { SQUARE_LANES = 8 };

/// A tile of full columns, on the way to V = W + scale * sums.
typedef struct ck_raise {
    const double *sums;  ///< [6][16]
    double scale;
    const char *source;  ///< W
    size_t pitch;        ///< bytes from one row of W to the next
    size_t rows;
    double *values;      ///< V
    size_t stride;       ///< elements from one row of V to the next
    double *squares;     ///< [6][8]: to which V^2 is added, column j to lane j modulo 8
} ck_raise;

/// A row on the way to round(V * factor).
typedef struct ck_stretch {
    const double *values;
    double factor;
    double low, high;    ///< between which the defined factor is
    const char *source;  ///< W
    char *result;        ///< may be `source`
    size_t groups;       ///< full groups of 16 columns
} ck_stretch;

/// The forms of one path.
typedef struct ck_low_rank_functions {
    void (*band_bf16)(const ck_band *band, ck_band_result *result);
    void (*band_f16)(const ck_band *band, ck_band_result *result);
    /// The same with W in float64.
    void (*band_bf16_of_f64)(const ck_band *band, ck_band_result *result);
    void (*band_f16_of_f64)(const ck_band *band, ck_band_result *result);
    /// sums[i][j] = the defined chain over k for one tile, in float64; left is [k][6], right [k][16].
    /// In the first, all factors are float32 numbers.
    void (*sums_exact)(const double *left, const float *right, size_t rank, double *sums);
    void (*sums_narrow)(const double *left, const float *right, size_t rank, double *sums);
    void (*sums_wide)(const double *left, const double *right, size_t rank, double *sums);
    /// round(W + scale * sums) for full rows of a tile of CK_F32, `pitch` bytes apart, and its tally. Returns the rows,
    /// one bit each, that it left alone because something in them is not finite.
    unsigned (*finish_f32)(
        const double *sums, double scale, const char *source, char *result, size_t pitch, size_t rows,
        ck_low_rank_tally *tally);
    void (*raise_bf16)(const ck_raise *tile);
    void (*raise_f16)(const ck_raise *tile);
    void (*raise_f32)(const ck_raise *tile);
    double (*chain)(const double *values, size_t count);
    /// Decides, stores and counts groups of 16 columns from `first` on. Returns the first group that is left open, and
    /// as it was, or the number of groups. low_rank_magnitude.h says why it is right.
    size_t (*stretch_bf16)(const ck_stretch *row, size_t first, ck_low_rank_tally *tally);
    size_t (*stretch_f16)(const ck_stretch *row, size_t first, ck_low_rank_tally *tally);
    size_t (*stretch_f32)(const ck_stretch *row, size_t first, ck_low_rank_tally *tally);
} ck_low_rank_functions;

extern const ck_low_rank_functions ck_low_rank_generic;
#if defined(__x86_64__)
extern const ck_low_rank_functions ck_low_rank_avx2;
extern const ck_low_rank_functions ck_low_rank_avx512;
#endif
#if defined(__aarch64__)
extern const ck_low_rank_functions ck_low_rank_neon;
#endif

/// Recomputes the doubted elements of a band in float64, stores them and counts them.
/// `left` is the band's first row of the original factor, `result` the band's first row, `wide` that of W in float64 or NULL.
void ck_low_rank_settle(
    ck_format format, const double *left, const ck_low_rank_right *right, double scale, const double *wide, void *result,
    const ck_doubt *doubts, size_t count, ck_low_rank_tally *tally);

/// Packs up to BAND_ROWS rows of the left factor as [k][6], with zeros for what is missing.
void ck_low_rank_pack_band(const double *left, size_t rows, size_t rank, double *slot);

/// W in float64 as what is stored is held against: rounded to float32, and then to the format.
static inline double ck_rounded_base(ck_format format, double value) {
    double near = (double)(float)value, rounded;
    uint32_t code = (uint32_t)ck_code(format, near);
    ck_widen(CK_PATH_GENERIC, format, &code, 1, &rounded);
    return rounded;
}

/// Adds one element to the tally.
static inline void ck_count(ck_low_rank_tally *tally, double base, double update, double stored) {
    const double infinity = __builtin_inf();
    bool finite = __builtin_fabs(stored) < infinity;
    bool was_finite = __builtin_fabs(base) < infinity;
    if (!was_finite) tally->base_nonfinite += 1;
    if (!finite && was_finite) tally->nonfinite += 1;
    if (update == 0) return;
    tally->updated += 1;
    tally->unchanged += stored == base;
    double kept = stored - base;
    if (__builtin_fabs(update) < infinity && __builtin_fabs(kept) < infinity) {
        tally->update_squares += update * update;
        tally->stored_squares += kept * kept;
    }
}

#endif
