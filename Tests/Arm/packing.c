// The right factor of a panel, packed, and every element of it looked for where it belongs.

#include "attacks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_float(double value) {
    return isfinite(value) && fabs(value) <= 0x1.fffffep127 && (double)(float)value == value;
}

/// Element i of the packed factor is right[k, j], and zero where there is no column j.
static void look(const attack *attack, const ck_low_rank_right *right, size_t i) {
    size_t tile = i / CK_LOW_RANK_TILE / attack->rank, k = i / CK_LOW_RANK_TILE % attack->rank;
    size_t j = tile * CK_LOW_RANK_TILE + i % CK_LOW_RANK_TILE;
    double value = j < attack->columns ? attack->right[k * attack->columns + j] : 0;
    if (memcmp(&right->wide[i], &value, sizeof value) != 0) fail(NO_PATH, "packed as float64", i);
    if (right->narrow == NULL) return;
    if ((double)right->narrow[i] != value) fail(NO_PATH, "packed as float32", i);
    if (j < attack->columns && (double)right->lines[j * attack->rank + k] != value) fail(NO_PATH, "packed in lines", i);
}

ck_low_rank_right pack(const attack *attack) {
    size_t count = attack->rank * attack->columns;
    size_t columns = ck_low_rank_packed_columns(attack->columns), packed = columns * attack->rank;
    if (columns % CK_LOW_RANK_TILE != 0 || columns < attack->columns || columns >= attack->columns + CK_LOW_RANK_TILE) {
        fail(NO_PATH, "packed columns", columns);
    }
    double *wide = claim(packed * sizeof(double));
    ck_low_rank_pack_wide(attack->right, attack->rank, attack->columns, wide);
    ck_low_rank_right right = {attack->rank, attack->columns, NULL, wide, NULL, NULL, false};
    bool fits = true;
    for (size_t i = 0; i < count; i++) fits &= is_float(attack->right[i]);
    if (ck_low_rank_fits(attack->right, count) != fits) fail(NO_PATH, "fits", 0);
    if (fits) {
        float *narrow = claim(packed * sizeof(float)), *bounds = claim(columns * sizeof(float)), *lines = claim(count * sizeof(float));
        right.decides = ck_low_rank_pack_narrow(attack->right, attack->rank, attack->columns, narrow, bounds);
        ck_low_rank_pack_lines(attack->right, attack->rank, attack->columns, lines);
        right.narrow = narrow, right.bounds = bounds, right.lines = lines;
    }
    for (size_t i = 0; i < packed; i++) look(attack, &right, i);
    return right;
}

void unpack(ck_low_rank_right right) {
    free((void *)right.narrow), free((void *)right.wide), free((void *)right.lines), free((void *)right.bounds);
}
