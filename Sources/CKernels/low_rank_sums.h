// The float64 sums of one tile, written once over lanes. A file that includes this one has defined D, a vector of
// WIDE_LANES doubles, WIDE_ROWS (rows kept in registers at a time: 6, 3, 2 or 1), INLINE, KERNEL, and
//
//     WIDE_STEP(a, b, c)   fma in every lane
//     EXACT_STEP(a, b, c)  the same where a * b is a double: a product of two float32 numbers has 48 bits at most and
//                          lies between 2^-298 and 2^256, so that the one rounding left is that of the addition
//     WIDE_BROADCAST(p)    the double at p, in every lane
//     WIDEN_FLOATS(p)      WIDE_LANES floats, as doubles

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
