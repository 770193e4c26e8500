// The float32 tiles of the fused update, written once over lanes. A file that includes this one has defined
//
//     V, U            vectors of LANES floats and of LANES uint32_t, with the compiler's operators
//     INLINE, KERNEL  how helpers and functions are declared, with the target they need
//     STEP(a, b, c)   a * b + c, with one rounding or two
//     BROADCAST(p)    the float at p, in every lane
//     LOAD_BITS(p)    LANES 16-bit codes at any address, one in the lower half of each lane of a U
//     STORE_BITS(p, u)  the reverse; the upper halves are 0
//     H               LANES codes of F16
//     LOAD_HALF(p)    those at any address
//     STORE_HALF(p, h)
//     WIDEN_HALF(h)   as floats
//     NARROW_HALF(v)  floats to codes, ties to even, for magnitudes below 2^15
//     SAME_HALF(h, h) all ones in the lanes of a U where codes are equal
//     NARROW_DOUBLES(p)  LANES doubles at any address as floats, ties to even
//     ALL(u)          whether every lane is all ones
//     BITS(u)         one bit for each lane of such a mask
//     GROUP_ROWS      rows whose sums are kept in registers at a time: 6, 3, 2 or 1
//
// and gets band_bf16 and band_f16, and band_*_of_f64 for W in float64. What is decided, and why that is right, is in low_rank_bounds.h.

#include "low_rank_bounds.h"

enum { VECTORS = TILE_COLUMNS / LANES };

INLINE V load_floats(const float *from) {
    V value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

INLINE V magnitude(V value) { return (V)((U)value & 0x7FFFFFFFu); }

/// sums = the products of GROUP_ROWS rows from `row` on with 16 columns, for `steps` values of k.
INLINE void add_products(const float *left, const float *right, size_t steps, V sums[GROUP_ROWS][VECTORS]) {
    for (int i = 0; i < GROUP_ROWS; i++) {
        for (int v = 0; v < VECTORS; v++) sums[i][v] = (V){0};
    }
    for (size_t k = 0; k < steps; k++) {
        V run[VECTORS];
        for (int v = 0; v < VECTORS; v++) run[v] = load_floats(right + k * TILE_COLUMNS + v * LANES);
        for (int i = 0; i < GROUP_ROWS; i++) {
            V factor = BROADCAST(left + k * BAND_ROWS + i);
            for (int v = 0; v < VECTORS; v++) sums[i][v] = STEP(factor, run[v], sums[i][v]);
        }
    }
}

/// The sums of a tile's rows from `row` on: in chunks, each from zero, and then the sum of the chunks.
INLINE void sum_rows(const ck_band *band, const float *right, int row, V totals[GROUP_ROWS][VECTORS]) {
    size_t first = band->rank < RANK_CHUNK ? band->rank : RANK_CHUNK;
    add_products(band->left + row, right, first, totals);
    for (size_t k = first; k < band->rank; k += RANK_CHUNK) {
        size_t steps = band->rank - k < RANK_CHUNK ? band->rank - k : RANK_CHUNK;
        V sums[GROUP_ROWS][VECTORS];
        add_products(band->left + k * BAND_ROWS + row, right + k * TILE_COLUMNS, steps, sums);
        for (int i = 0; i < GROUP_ROWS; i++) {
            for (int v = 0; v < VECTORS; v++) totals[i][v] += sums[i][v];
        }
    }
}

/// One tile's statistics while it is worked on.
typedef struct tile_tally {
    V update_squares, stored_squares;
    U same;  ///< minus the count, per lane
} tile_tally;

/// A float as the nearest number of the format, ties to even; of magnitudes below the format's limit.
INLINE V round_to(ck_format format, V value) {
    if (format == CK_F16) return WIDEN_HALF(NARROW_HALF(value));
    U bits = (U)value;
    return (V)((bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u);
}

/// Decides, stores and counts LANES elements, and returns which were decided. An undecided one is stored as anything.
/// `wide` says that W is float64; what is stored is then held against W as a float and rounded.
INLINE U finish(
    ck_format format, bool wide, V sum, V sign, V row_bound, V column_bound, const char *source, char *result,
    tile_tally *tally) {
    V base;
    if (wide) {
        base = NARROW_DOUBLES((const double *)(const void *)source);
    } else {
        base = format == CK_BF16 ? (V)(LOAD_BITS(source) << 16) : WIDEN_HALF(LOAD_HALF(source));
    }
    V value = STEP(sum, sign, base);
    V bound = row_bound * column_bound;
    V size = magnitude(value);
    V reach = STEP(size, (V){0} + CK_VALUE_ERROR, bound);
    V base_size = magnitude(base);
    if (wide) reach = STEP(base_size, (V){0} + CK_BASE_ERROR, reach);
    V low = value - reach, high = value + reach;
    U decided;
    V stored;
    if (format == CK_BF16) {
        // Rounding to nearest with ties away from zero serves: R is strictly inside, so no tie at an end is R.
        U up = (U)low + 0x8000u, down = (U)high + 0x8000u;
        decided = (U)((up ^ down) < 0x10000u);
        STORE_BITS(result, up >> 16);
        stored = (V)(up & 0xFFFF0000u);
    } else {
        H codes = NARROW_HALF(low);
        decided = SAME_HALF(codes, NARROW_HALF(high));
        STORE_HALF(result, codes);
        stored = WIDEN_HALF(codes);
    }
    decided &= (U)(size < (format == CK_BF16 ? CK_LIMIT_BF16 : CK_LIMIT_F16));
    decided &= (U)(magnitude(sum) >= bound);
    if (wide) {
        decided &= (U)(base_size >= CK_BASE_SMALLEST) | (U)((U)base == 0u) | (U)(((U)base == 0x80000000u) & (U)(bound > 0));
        decided &= (U)(base_size < (format == CK_BF16 ? CK_LIMIT_BF16 : CK_LIMIT_F16));
        base = round_to(format, base);
    }
    V update = (V)((U)sum & decided), kept = (V)((U)(stored - base) & decided);
    tally->update_squares = STEP(update, update, tally->update_squares);
    tally->stored_squares = STEP(kept, kept, tally->stored_squares);
    tally->same += decided & (U)(stored == base);
    return decided;
}

/// Notes the undecided elements of one row of a tile. In place, `source` no longer holds W: `old` is a copy, of codes.
INLINE void note_doubts(
    const ck_band *band, size_t tile, int row, const U decided[VECTORS], const uint16_t *old,
    ck_band_result *result) {
    uint32_t open = 0;
    for (int v = 0; v < VECTORS; v++) open |= (uint32_t)BITS(~decided[v]) << (v * LANES);
    for (; open != 0; open &= open - 1) {
        uint32_t j = (uint32_t)__builtin_ctz(open);
        float bound = band->row_bounds[row] * band->column_bounds[tile * TILE_COLUMNS + j];
        ck_doubt *doubt = &result->doubts[result->doubt_count++];
        doubt->row = (uint32_t)row;
        doubt->column = band->first_column + (uint32_t)(tile * TILE_COLUMNS) + j;
        doubt->code = old[j];
        doubt->zero = bound == 0;
    }
}

/// Adds up the lanes: the squares in float64 from here on.
INLINE void add_lanes(const tile_tally *tile, ck_band_result *result) {
    float update_squares[LANES], stored_squares[LANES];
    __builtin_memcpy(update_squares, &tile->update_squares, sizeof update_squares);
    __builtin_memcpy(stored_squares, &tile->stored_squares, sizeof stored_squares);
    double updates = 0, stored = 0;
    for (int lane = 0; lane < LANES; lane++) {
        updates += update_squares[lane];
        stored += stored_squares[lane];
    }
    result->update_squares += updates;
    result->stored_squares += stored;
}

INLINE void run_band(ck_format format, bool wide, const ck_band *band, ck_band_result *result) {
    const size_t element = wide ? sizeof(double) : sizeof(uint16_t);
    U same = {0};
    V sign = BROADCAST(&band->sign);
    for (size_t tile = 0; tile < band->tiles; tile++) {
        const float *right = band->right + tile * band->rank * TILE_COLUMNS;
        const float *column_bounds = band->column_bounds + tile * TILE_COLUMNS;
        tile_tally tally = {(V){0}, (V){0}, (U){0}};
        for (int first = 0; first < BAND_ROWS; first += GROUP_ROWS) {
            V sums[GROUP_ROWS][VECTORS];
            sum_rows(band, right, first, sums);
            for (int i = 0; i < GROUP_ROWS; i++) {
                size_t offset = (size_t)(first + i) * band->stride + tile * TILE_COLUMNS;
                const char *source = (const char *)band->source + offset * element;
                char *to = (char *)band->result + offset * sizeof(uint16_t);
                uint16_t old[TILE_COLUMNS] = {0};
                if (!wide) __builtin_memcpy(old, source, sizeof old);
                V row_bound = BROADCAST(band->row_bounds + first + i);
                U decided[VECTORS], all = ~(U){0};
                for (int v = 0; v < VECTORS; v++) {
                    decided[v] = finish(
                        format, wide, sums[i][v], sign, row_bound, load_floats(column_bounds + v * LANES),
                        source + (size_t)(v * LANES) * element, to + v * LANES * 2, &tally);
                    all &= decided[v];
                }
                if (!ALL(all)) note_doubts(band, tile, first + i, decided, old, result);
            }
        }
        same += tally.same;
        add_lanes(&tally, result);
    }
    uint32_t lanes[LANES];
    __builtin_memcpy(lanes, &same, sizeof lanes);
    for (int lane = 0; lane < LANES; lane++) result->same += (uint32_t)-lanes[lane];
}

KERNEL static void band_bf16(const ck_band *band, ck_band_result *result) { run_band(CK_BF16, false, band, result); }
KERNEL static void band_f16(const ck_band *band, ck_band_result *result) { run_band(CK_F16, false, band, result); }
KERNEL static void band_bf16_of_f64(const ck_band *band, ck_band_result *result) { run_band(CK_BF16, true, band, result); }
KERNEL static void band_f16_of_f64(const ck_band *band, ck_band_result *result) { run_band(CK_F16, true, band, result); }
