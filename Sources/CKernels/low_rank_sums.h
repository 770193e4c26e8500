// The float64 tiles of the fused update, written once over lanes. A file that includes this one has defined D, a vector of
// WIDE_LANES doubles, WIDE_ROWS (rows kept in registers at a time: 6, 3, 2 or 1), INLINE, KERNEL, and
//
//     WIDE_STEP(a, b, c)   fma in every lane
//     EXACT_STEP(a, b, c)  the same where a * b is a double: a product of two float32 numbers has 48 bits at most and
//                          lies between 2^-298 and 2^256, so that the one rounding left is that of the addition
//     WIDE_BROADCAST(p)    the double at p, in every lane
//     WIDEN_FLOATS(p)      WIDE_LANES floats at any address, as doubles
//     STORE_FLOATS(p, d)   doubles, rounded to floats, ties to even
//     ALL_WIDE(m)          whether every lane of a mask is all ones
//
// and gets sums_exact, sums_narrow, sums_wide and finish_f32 of ck_low_rank_functions.

enum { HALF_COLUMNS = 8, HALF_VECTORS = HALF_COLUMNS / WIDE_LANES };

typedef enum wide_step { NARROW_EXACT, NARROW_FUSED, WIDE_FUSED } wide_step;

INLINE void sum_half(
    wide_step kind, const double *left, const void *right, size_t rank, int row, int half, double *sums) {
    D totals[WIDE_ROWS][HALF_VECTORS];
    for (int i = 0; i < WIDE_ROWS; i++) {
        for (int v = 0; v < HALF_VECTORS; v++) totals[i][v] = (D){0};
    }
    for (size_t k = 0; k < rank; k++) {
        D run[HALF_VECTORS];
        for (int v = 0; v < HALF_VECTORS; v++) {
            size_t place = k * TILE_COLUMNS + (size_t)(half * HALF_COLUMNS + v * WIDE_LANES);
            if (kind == WIDE_FUSED) {
                __builtin_memcpy(&run[v], (const double *)right + place, sizeof run[v]);
            } else {
                run[v] = WIDEN_FLOATS((const float *)right + place);
            }
        }
        for (int i = 0; i < WIDE_ROWS; i++) {
            D factor = WIDE_BROADCAST(left + k * BAND_ROWS + row + i);
            for (int v = 0; v < HALF_VECTORS; v++) {
                totals[i][v] = kind == NARROW_EXACT ? EXACT_STEP(factor, run[v], totals[i][v])
                                                    : WIDE_STEP(factor, run[v], totals[i][v]);
            }
        }
    }
    for (int i = 0; i < WIDE_ROWS; i++) {
        double *to = sums + (row + i) * TILE_COLUMNS + half * HALF_COLUMNS;
        for (int v = 0; v < HALF_VECTORS; v++) __builtin_memcpy(to + v * WIDE_LANES, &totals[i][v], sizeof(D));
    }
}

INLINE void sum_tile(wide_step kind, const double *left, const void *right, size_t rank, double *sums) {
    for (int half = 0; half < TILE_COLUMNS / HALF_COLUMNS; half++) {
        for (int row = 0; row < BAND_ROWS; row += WIDE_ROWS) sum_half(kind, left, right, rank, row, half, sums);
    }
}

KERNEL static void sums_exact(const double *left, const float *right, size_t rank, double *sums) {
    sum_tile(NARROW_EXACT, left, right, rank, sums);
}
KERNEL static void sums_narrow(const double *left, const float *right, size_t rank, double *sums) {
    sum_tile(NARROW_FUSED, left, right, rank, sums);
}
KERNEL static void sums_wide(const double *left, const double *right, size_t rank, double *sums) {
    sum_tile(WIDE_FUSED, left, right, rank, sums);
}

typedef int64_t M __attribute__((vector_size(WIDE_LANES * 8)));

INLINE D wide_magnitude(D value) { return (D)((M)value & INT64_MAX); }

/// One full row of a tile. False, with nothing stored, where something is not finite.
INLINE bool finish_row_f32(
    const double *sums, D scale, const char *source, char *result, D *update_squares, D *stored_squares, M *updated,
    M *unchanged) {
    enum { ROW_VECTORS = TILE_COLUMNS / WIDE_LANES };
    float rounded[TILE_COLUMNS];
    D base[ROW_VECTORS], update[ROW_VECTORS], stored[ROW_VECTORS];
    M finite = ~(M){0};
    for (int v = 0; v < ROW_VECTORS; v++) {
        D sum;
        __builtin_memcpy(&sum, sums + v * WIDE_LANES, sizeof sum);
        base[v] = WIDEN_FLOATS((const float *)(const void *)(source + v * WIDE_LANES * 4));
        update[v] = scale * sum;
        D total = base[v] + update[v];
        STORE_FLOATS(rounded + v * WIDE_LANES, total);
        stored[v] = WIDEN_FLOATS(rounded + v * WIDE_LANES);
        finite &= (M)(wide_magnitude(stored[v]) < __builtin_inf()) & (M)(wide_magnitude(update[v]) < __builtin_inf());
    }
    if (!ALL_WIDE(finite)) return false;
    __builtin_memcpy(result, rounded, sizeof rounded);
    // Finite results come of finite W. An update of zero leaves W's value, and adds nothing below.
    for (int v = 0; v < ROW_VECTORS; v++) {
        M changed = (M)(update[v] != 0);
        D kept = stored[v] - base[v];
        *updated += changed;
        *unchanged += changed & (M)(stored[v] == base[v]);
        *update_squares = WIDE_STEP(update[v], update[v], *update_squares);
        *stored_squares = WIDE_STEP(kept, kept, *stored_squares);
    }
    return true;
}

KERNEL static unsigned finish_f32(
    const double *sums, double scale, const char *source, char *result, size_t pitch, size_t rows,
    ck_low_rank_tally *tally) {
    D update_squares = {0}, stored_squares = {0}, scales = WIDE_BROADCAST(&scale);
    M updated = {0}, unchanged = {0};
    unsigned left = 0;
    for (size_t i = 0; i < rows; i++) {
        bool done = finish_row_f32(
            sums + i * TILE_COLUMNS, scales, source + i * pitch, result + i * pitch, &update_squares, &stored_squares,
            &updated, &unchanged);
        if (!done) left |= 1u << i;
    }
    for (int lane = 0; lane < WIDE_LANES; lane++) {
        tally->update_squares += update_squares[lane];
        tally->stored_squares += stored_squares[lane];
        tally->updated += (size_t)-updated[lane];
        tally->unchanged += (size_t)-unchanged[lane];
    }
    return left;
}
