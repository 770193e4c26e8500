// The fused rank-r update of one panel, by every path, against the loops that define it.

#include "attacks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// A panel in one format, as the kernels take it, and what is to come of it.
typedef struct panel {
    const attack *attack;
    ck_format format;
    size_t count, size;  ///< elements, and the bytes of one
    ck_low_rank_right right;
    uint8_t *source, *expected, *result;
    void *scratch, *row_scratch;
    ck_low_rank_tally known;
    double update_slack;  ///< what the sum of the squared updates may be off, beside 1e-6 of itself
} panel;

/// acc of the definition.
static double chain(const attack *attack, size_t row, size_t column) {
    double sum = 0;
    for (size_t k = 0; k < attack->rank; k++) {
        sum = fma(attack->left[row * attack->rank + k], attack->right[k * attack->columns + column], sum);
    }
    return sum;
}

/// Adds an element to what is known: see ck_low_rank_tally.
static void count_element(ck_low_rank_tally *known, double base, double update, double stored) {
    double kept = stored - base;
    known->base_nonfinite += !isfinite(base);
    known->nonfinite += !isfinite(stored) && isfinite(base);
    if (update == 0) return;
    known->updated++;
    known->unchanged += stored == base;
    if (!isfinite(update) || !isfinite(kept)) return;
    known->update_squares += update * update;
    known->stored_squares += kept * kept;
}

static void expect_sum(const panel *panel, int path, const char *what, double sum, double known, double slack) {
    // Squares of float32's smallest numbers are lost where they are summed in float32.
    slack += 1e-6 * known + (double)panel->count * 0x1p-149;
    if (!(fabs(sum - known) <= slack || sum == known)) fail(path, what, 0);
}

static void compare(const panel *panel, int path, const ck_low_rank_tally *tally) {
    const ck_low_rank_tally *known = &panel->known;
    judge(path, "wrong", panel->result, panel->expected, panel->count, panel->size);
    const uint64_t found[4] = {tally->updated, tally->unchanged, tally->nonfinite, tally->base_nonfinite};
    const uint64_t counts[4] = {known->updated, known->unchanged, known->nonfinite, known->base_nonfinite};
    judge(path, "updated, unchanged, nonfinite, base_nonfinite", found, counts, 4, sizeof *counts);
    expect_sum(panel, path, "update_squares", tally->update_squares, known->update_squares, panel->update_slack);
    expect_sum(panel, path, "stored_squares", tally->stored_squares, known->stored_squares, 0);
}

/// `source` of the next run: W apart from the result, or in its place.
static const uint8_t *lay_out(const panel *panel, int in_place) {
    if (!in_place) {
        memset(panel->result, 0xA5, panel->count * panel->size);
        return panel->source;
    }
    memcpy(panel->result, panel->source, panel->count * panel->size);
    return panel->result;
}

// MARK: W as stored

/// What a sum of squared updates in float32 may be off where the factors are made for it: 2 g of the sum of A^2, and g^2 of it for
/// what is of second order; low_rank_bounds.h has g and A.
static double hostile_slack(const attack *attack) {
    double squares = 0, roundings = (double)((attack->rank < 16 ? attack->rank : 16) + attack->rank / 16 + 2);
    for (size_t index = 0; index < attack->rows * attack->columns; index++) {
        const double *left = attack->left + index / attack->columns * attack->rank, *right = attack->right + index % attack->columns;
        double sum = 0;
        for (size_t k = 0; k < attack->rank; k++) sum += fabs(left[k] * right[k * attack->columns]);
        squares += attack->scale * sum * (attack->scale * sum);
    }
    return (2 * roundings * 0x1p-24 + roundings * roundings * 0x1p-48) * squares;
}

static void strike_merge(panel *panel) {
    const attack *attack = panel->attack;
    panel->known = (ck_low_rank_tally){0};
    for (size_t index = 0; index < panel->count; index++) {
        double old = format_read(panel->format, panel->source + index * panel->size);
        volatile double update = attack->scale * chain(attack, index / attack->columns, index % attack->columns);
        uint8_t *to = panel->expected + index * panel->size;
        format_write(panel->format, old + update, to);
        count_element(&panel->known, old, update, format_read(panel->format, to));
    }
    EACH_PATH(path) for (int in_place = 0; in_place < 2; in_place++) {
        ck_low_rank_tally tally = {0};
        const uint8_t *source = lay_out(panel, in_place);
        ck_low_rank_merge(
            (ck_path)path, panel->format, &panel->right, attack->left, attack->rows, attack->scale, source, panel->result,
            panel->scratch, &tally);
        compare(panel, path, &tally);
    }
}

// MARK: DoRA's rows

/// Magnitudes are those of rows that change a little, by a known factor, or not by much that is a number.
static double magnitude_of(double norm, size_t row) {
    static const double shares[] = {
        1, 1 + 0x1p-24, 0.75, 1.01, -3, 1 - 0x1p-9, 0, NAN, INFINITY, 0x1p-1000, 0x1p990, 1 + 0x1p-52, 1 - 0x1p-50,
    };
    double share = shares[row % (sizeof shares / sizeof *shares)];
    return isfinite(norm) && norm > 0 ? norm * share : share;
}

/// One row of the definition. Adds to `squares` those of the results and of what they are off W.
static double define_row(panel *panel, size_t row, double *values, double squares[2]) {
    const attack *attack = panel->attack;
    const uint8_t *source = panel->source + row * attack->columns * panel->size;
    uint8_t *to = panel->expected + row * attack->columns * panel->size;
    double sum = 0;
    for (size_t j = 0; j < attack->columns; j++) {
        volatile double update = attack->scale * chain(attack, row, j);
        values[j] = format_read(panel->format, source + j * panel->size) + update;
        sum = fma(values[j], values[j], sum);
    }
    double magnitude = magnitude_of(sqrt(sum), row + attack->turn), factor = magnitude / sqrt(sum);
    for (size_t j = 0; j < attack->columns; j++, source += panel->size, to += panel->size) {
        volatile double exact = values[j] * factor;
        double old = format_read(panel->format, source), update = exact - old;
        format_write(panel->format, exact, to);
        count_element(&panel->known, old, update, format_read(panel->format, to));
        if (isfinite(update)) squares[0] += exact * exact, squares[1] += update * update;
    }
    return magnitude;
}

static void strike_rows(panel *panel) {
    const attack *attack = panel->attack;
    double *magnitudes = claim(attack->rows * sizeof(double)), *values = claim(attack->columns * sizeof(double));
    double squares[2] = {0};
    panel->known = (ck_low_rank_tally){0};
    for (size_t i = 0; i < attack->rows; i++) magnitudes[i] = define_row(panel, i, values, squares);
    panel->update_slack = 0x1p-34 * sqrt(squares[0]) * sqrt(squares[1]);
    EACH_PATH(path) for (int in_place = 0; in_place < 2; in_place++) {
        ck_low_rank_tally tally = {0};
        const uint8_t *source = lay_out(panel, in_place);
        ck_low_rank_magnify(
            (ck_path)path, panel->format, &panel->right, attack->left, attack->rows, attack->scale, magnitudes, source,
            panel->result, panel->row_scratch, &tally);
        compare(panel, path, &tally);
    }
    free(magnitudes), free(values);
}

// MARK: W in float64

/// What is stored is held against W rounded to float32 and then to the format.
static void strike_wide(panel *panel, const double *base) {
    const attack *attack = panel->attack;
    panel->known = (ck_low_rank_tally){0};
    for (size_t index = 0; index < panel->count; index++) {
        volatile double update = attack->scale * chain(attack, index / attack->columns, index % attack->columns);
        volatile float near = (float)base[index];
        double rounded = format_value(panel->format, format_code(panel->format, near));
        uint8_t *to = panel->expected + index * panel->size;
        format_write(panel->format, base[index] + update, to);
        count_element(&panel->known, rounded, update, format_read(panel->format, to));
    }
    EACH_PATH(path) {
        ck_low_rank_tally tally = {0};
        lay_out(panel, 0);
        ck_low_rank_merge_f64(
            (ck_path)path, panel->format, &panel->right, attack->left, attack->rows, attack->scale, base, panel->result,
            panel->scratch, &tally);
        compare(panel, path, &tally);
    }
}

/// W before it was rounded, what is stored of it, and numbers near that on either side of whatever the attack aims at.
static void strike_all_wide(panel *panel) {
    double *stored = claim(panel->count * sizeof(double)), *near = claim(panel->count * sizeof(double));
    for (size_t i = 0; i < panel->count; i++) {
        stored[i] = format_read(panel->format, panel->source + i * panel->size);
        double step = ldexp(stored[i], -25 - (int)(draw() % 29));
        near[i] = draw() % 2 == 0 ? stored[i] + step : stored[i] - step;
    }
    strike_wide(panel, panel->attack->base);
    strike_wide(panel, stored);
    strike_wide(panel, near);
    free(stored), free(near);
}

// MARK: Formats

/// The parts of the packed factor that the product hands over: one of float32 and float64, and lines where they pay.
static ck_low_rank_right handed_over(ck_low_rank_right right) {
    if (right.narrow != NULL) right.wide = NULL;
    if (right.rank <= 8) right.lines = NULL;
    return right;
}

static void strike_format(const attack *attack, ck_format format) {
    size_t count = attack->rows * attack->columns, size = format_bits(format) / 8;
    panel panel = {
        .attack = attack, .format = format, .count = count, .size = size, .source = claim(count * size),
        .expected = claim(count * size), .result = claim(count * size),
        .scratch = claim(ck_low_rank_scratch(attack->rank, attack->rows)),
        .row_scratch = claim(ck_low_rank_magnify_scratch(attack->rank, attack->rows, attack->columns)),
    };
    for (size_t i = 0; i < count; i++) {
        if (attack->codes != NULL) {
            memcpy(panel.source + i * size, attack->codes + i, size);
        } else {
            format_write(format, attack->base[i], panel.source + i * size);
        }
    }
    const ck_low_rank_right packed = pack(attack);
    panel.right = handed_over(packed);
    strike_rows(&panel);
    panel.update_slack = attack->hostile ? hostile_slack(attack) : 0;
    strike_merge(&panel);
    strike_all_wide(&panel);
    count_case();
    unpack(packed);
    free(panel.source), free(panel.expected), free(panel.result), free(panel.scratch), free(panel.row_scratch);
}

void strike(const attack *attack) {
    strike_format(attack, CK_BF16);
    strike_format(attack, CK_F16);
    if (attack->codes == NULL) strike_format(attack, CK_F32);
}
