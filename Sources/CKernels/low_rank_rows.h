// The two passes over DoRA's rows, written once over lanes. A file that includes this one has included low_rank_tile.h
// and low_rank_sums.h, with what they ask for, has defined
//
//     SQUARE_STEP(a, b, c)  a * b + c in every lane of a D, with one rounding or two
//
// and gets raise_*, chain and stretch_* of ck_low_rank_functions. What is decided, and why, is in low_rank_magnitude.h.

#include "low_rank_magnitude.h"

enum { ROW_GROUP_VECTORS = TILE_COLUMNS / WIDE_LANES };

/// Sixteen stored elements as floats, which hold all three formats.
INLINE void load_group(ck_format format, const char *source, float *group) {
    for (int v = 0; v < VECTORS; v++) {
        V value;
        if (format == CK_F32) {
            __builtin_memcpy(&value, source + v * LANES * 4, sizeof value);
        } else if (format == CK_BF16) {
            value = (V)(LOAD_BITS(source + v * LANES * 2) << 16);
        } else {
            value = WIDEN_HALF(LOAD_HALF(source + v * LANES * 2));
        }
        __builtin_memcpy(group + v * LANES, &value, sizeof value);
    }
}

INLINE D load_doubles(const double *from) {
    D value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

INLINE void raise_tile(ck_format format, const ck_raise *tile) {
    D scale = WIDE_BROADCAST(&tile->scale);
    for (size_t i = 0; i < tile->rows; i++) {
        float base[TILE_COLUMNS];
        load_group(format, tile->source + i * tile->pitch, base);
        for (int v = 0; v < ROW_GROUP_VECTORS; v++) {
            D update = scale * load_doubles(tile->sums + i * TILE_COLUMNS + v * WIDE_LANES);
            D value = WIDEN_FLOATS(base + v * WIDE_LANES) + update;
            __builtin_memcpy(tile->values + i * tile->stride + v * WIDE_LANES, &value, sizeof value);
            double *squares = tile->squares + i * SQUARE_LANES + v * WIDE_LANES % SQUARE_LANES;
            D sum = SQUARE_STEP(value, value, load_doubles(squares));
            __builtin_memcpy(squares, &sum, sizeof sum);
        }
    }
}

KERNEL static void raise_bf16(const ck_raise *tile) { raise_tile(CK_BF16, tile); }
KERNEL static void raise_f16(const ck_raise *tile) { raise_tile(CK_F16, tile); }
KERNEL static void raise_f32(const ck_raise *tile) { raise_tile(CK_F32, tile); }

/// The defined sum of squares: s = +0, s = fma(V, V, s) in order.
KERNEL static double chain(const double *values, size_t count) {
    double sum = 0;
    for (size_t j = 0; j < count; j++) sum = __builtin_fma(values[j], values[j], sum);
    return sum;
}

/// Sixteen results on their way.
typedef struct stretched {
    U bits[VECTORS];    ///< BF16, in the upper halves
    H halves[VECTORS];  ///< F16
    V stored[VECTORS];
} stretched;

/// Rounds sixteen results to a format of 16 bits; whether all are decided.
INLINE bool decide_group(ck_format format, const float *results, const float *base, stretched *group) {
    U decided = ~(U){0};
    for (int v = 0; v < VECTORS; v++) {
        V value = load_floats(results + v * LANES);
        V size = magnitude(value), reach = size * CK_STRETCH_REACH;
        V low = value - reach, high = value + reach;
        if (format == CK_BF16) {
            U up = (U)low + 0x8000u, down = (U)high + 0x8000u;
            decided &= (U)((up ^ down) < 0x10000u);
            group->bits[v] = up;
            group->stored[v] = (V)(up & 0xFFFF0000u);
        } else {
            group->halves[v] = NARROW_HALF(low);
            decided &= SAME_HALF(group->halves[v], NARROW_HALF(high));
            group->stored[v] = WIDEN_HALF(group->halves[v]);
        }
        decided &= (U)(size < (format == CK_BF16 ? CK_LIMIT_BF16 : CK_LIMIT_F16));
        decided &= (U)(size >= CK_STRETCH_SMALLEST);
        decided &= (U)(magnitude(value - load_floats(base + v * LANES)) > 4 * reach);
    }
    return ALL(decided);
}

/// The same for F32, of which both ends are at hand.
INLINE bool decide_wide_group(const float *low, const float *high, const float *base, stretched *group) {
    U decided = ~(U){0};
    for (int v = 0; v < VECTORS; v++) {
        V value = load_floats(low + v * LANES), size = magnitude(value);
        group->stored[v] = value;
        decided &= (U)((U)value == (U)load_floats(high + v * LANES));
        decided &= (U)(size < CK_LIMIT_BF16);
        decided &= (U)(size >= CK_STRETCH_SMALLEST);
        decided &= (U)(magnitude(value - load_floats(base + v * LANES)) > size * (4 * CK_STRETCH_REACH));
    }
    return ALL(decided);
}

INLINE void store_group(ck_format format, const stretched *group, char *to) {
    for (int v = 0; v < VECTORS; v++) {
        if (format == CK_BF16) {
            STORE_BITS(to + v * LANES * 2, group->bits[v] >> 16);
        } else if (format == CK_F16) {
            STORE_HALF(to + v * LANES * 2, group->halves[v]);
        } else {
            __builtin_memcpy(to + v * LANES * 4, &group->stored[v], sizeof group->stored[v]);
        }
    }
}

/// Groups whose squares of differences are summed in float32 before float64 takes them: sixteen additions in a lane at
/// most, which lose 2^-20 of the sum.
enum { GROUPS_AT_ONCE = 4 };

INLINE size_t stretch_row(ck_format format, const ck_stretch *row, size_t first, ck_low_rank_tally *tally) {
    size_t element = format == CK_F32 ? 4 : 2, group = first;
    D factor = WIDE_BROADCAST(&row->factor), low = WIDE_BROADCAST(&row->low), high = WIDE_BROADCAST(&row->high);
    D update_squares = {0}, stored_squares = {0};
    U same = {0};
    bool open = false;
    while (!open && group < row->groups) {
        size_t last = row->groups - group < GROUPS_AT_ONCE ? row->groups : group + GROUPS_AT_ONCE;
        V squares = {0};
        for (; group < last; group++) {
            float base[TILE_COLUMNS], results[TILE_COLUMNS], ends[TILE_COLUMNS];
            D updates[ROW_GROUP_VECTORS];
            stretched made;
            load_group(format, row->source + group * TILE_COLUMNS * element, base);
            for (int v = 0; v < ROW_GROUP_VECTORS; v++) {
                D value = load_doubles(row->values + group * TILE_COLUMNS + v * WIDE_LANES);
                D result = value * factor, lower = value * low, upper = value * high;
                updates[v] = result - WIDEN_FLOATS(base + v * WIDE_LANES);
                if (format == CK_F32) {
                    STORE_FLOATS(results + v * WIDE_LANES, lower);
                    STORE_FLOATS(ends + v * WIDE_LANES, upper);
                } else {
                    STORE_FLOATS(results + v * WIDE_LANES, result);
                }
            }
            open = !(format == CK_F32 ? decide_wide_group(results, ends, base, &made)
                                      : decide_group(format, results, base, &made));
            if (open) break;
            store_group(format, &made, row->result + group * TILE_COLUMNS * element);
            for (int v = 0; v < ROW_GROUP_VECTORS; v++) update_squares = SQUARE_STEP(updates[v], updates[v], update_squares);
            for (int v = 0; v < VECTORS; v++) {
                V kept = made.stored[v] - load_floats(base + v * LANES);
                squares = STEP(kept, kept, squares);
                same += (U)(made.stored[v] == load_floats(base + v * LANES));
            }
        }
        float lanes[LANES];
        __builtin_memcpy(lanes, &squares, sizeof lanes);
        for (int v = 0; v < LANES / WIDE_LANES; v++) stored_squares += WIDEN_FLOATS(lanes + v * WIDE_LANES);
    }
    for (int lane = 0; lane < WIDE_LANES; lane++) {
        tally->update_squares += update_squares[lane];
        tally->stored_squares += stored_squares[lane];
    }
    for (int lane = 0; lane < LANES; lane++) tally->unchanged += (uint32_t)-same[lane];
    tally->updated += (group - first) * TILE_COLUMNS;
    return group;
}

KERNEL static size_t stretch_bf16(const ck_stretch *row, size_t first, ck_low_rank_tally *tally) {
    return stretch_row(CK_BF16, row, first, tally);
}
KERNEL static size_t stretch_f16(const ck_stretch *row, size_t first, ck_low_rank_tally *tally) {
    return stretch_row(CK_F16, row, first, tally);
}
KERNEL static size_t stretch_f32(const ck_stretch *row, size_t first, ck_low_rank_tally *tally) {
    return stretch_row(CK_F32, row, first, tally);
}
