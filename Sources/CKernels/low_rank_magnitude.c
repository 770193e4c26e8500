// DoRA's rows, fused with the rank-r update: V of some bands, the norms of its rows, and the rows scaled and rounded.

#include "low_rank_magnitude.h"
#include "low_rank_scratch.h"

#include <math.h>

/// What of V is at hand at a time; one band at least.
enum { VALUE_BYTES = 256 << 10 };

/// Of low_rank_magnitude.h, 1.
#define LONGEST_BOUNDED ((size_t)1 << 16)
#define NORM_SQUARED_MIN 0x1p-900
#define NORM_SQUARED_MAX 0x1p1000
#define FACTOR_MIN 0x1p-900
#define FACTOR_MAX 0x1p900

/// What stays the same while one panel is made.
typedef struct panel {
    const ck_low_rank_functions *forms;
    void (*raise)(const ck_raise *tile);
    size_t (*stretch)(const ck_stretch *row, size_t first, ck_low_rank_tally *tally);
    void (*widen)(const void *source, size_t count, double *result);
    void (*narrow)(const double *source, size_t count, void *result);
    const ck_low_rank_right *right;
    const double *left;
    size_t rows, element, stride;  ///< stride: of V
    double scale;
    const char *source;
    char *result;
    ck_low_rank_tally *tally;
} panel;

static size_t bands_at_hand(size_t rows, size_t columns) {
    size_t band = BAND_ROWS * ck_low_rank_packed_columns(columns) * sizeof(double);
    size_t bands = smaller(VALUE_BYTES / (band > 0 ? band : 1), (rows + BAND_ROWS - 1) / BAND_ROWS);
    return bands > 0 ? bands : 1;
}

size_t ck_low_rank_magnify_scratch(size_t rank, size_t rows, size_t columns) {
    size_t row = rank + ck_low_rank_packed_columns(columns) + SQUARE_LANES;
    return bands_at_hand(rows, columns) * BAND_ROWS * row * sizeof(double);
}

// MARK: V

/// The columns of a tile that is not full.
static void raise_edge(const panel *panel, const ck_raise *tile, size_t width) {
    for (size_t i = 0; i < tile->rows; i++) {
        double base[TILE_COLUMNS];
        panel->widen(tile->source + i * tile->pitch, width, base);
        for (size_t j = 0; j < width; j++) {
            double update = tile->scale * tile->sums[i * TILE_COLUMNS + j];
            double value = base[j] + update;
            tile->values[i * tile->stride + j] = value;
            tile->squares[i * SQUARE_LANES + j % SQUARE_LANES] += value * value;
        }
    }
}

/// V of the band from `row` on, columns `first` to `last`.
static void raise_band(
    const panel *panel, size_t row, size_t first, size_t last, const double *slot, double *values, double *squares) {
    const ck_low_rank_right *right = panel->right;
    size_t rank = right->rank, rows = smaller(BAND_ROWS, panel->rows - row);
    bool narrow = right->narrow != NULL;
    // Rows are packed with zeros up to six, and those are float32 numbers.
    bool exact = narrow && ck_low_rank_fits(slot, rank * BAND_ROWS);
    for (size_t column = first; column < last; column += TILE_COLUMNS) {
        double sums[TILE_ELEMENTS];
        if (!narrow) {
            panel->forms->sums_wide(slot, right->wide + column * rank, rank, sums);
        } else if (exact) {
            panel->forms->sums_exact(slot, right->narrow + column * rank, rank, sums);
        } else {
            panel->forms->sums_narrow(slot, right->narrow + column * rank, rank, sums);
        }
        size_t offset = (row * right->columns + column) * panel->element;
        ck_raise tile = {
            .sums = sums, .scale = panel->scale, .source = panel->source + offset,
            .pitch = right->columns * panel->element, .rows = rows, .values = values + column,
            .stride = panel->stride, .squares = squares,
        };
        size_t width = smaller(last - column, TILE_COLUMNS);
        if (width == TILE_COLUMNS) {
            panel->raise(&tile);
        } else {
            raise_edge(panel, &tile, width);
        }
    }
}

// MARK: Rows

/// A row and what is known of its factor.
typedef struct line {
    ck_stretch row;
    size_t columns;
    double magnitude;
    bool exact;  ///< `factor` is the defined one, and so are `low` and `high`
} line;

/// The defined factor.
static void make_exact(const panel *panel, line *line) {
    double sum = panel->forms->chain(line->row.values, line->columns);
    line->row.factor = line->row.low = line->row.high = line->magnitude / sqrt(sum);
    line->exact = true;
}

/// The factor from the squares, summed in lanes.
static void estimate(const panel *panel, line *line, const double *squares) {
    double sum = 0, error = (0.5625 * (double)line->columns + 64) * 0x1p-53;
    for (size_t lane = 0; lane < SQUARE_LANES; lane++) sum += squares[lane];
    double factor = line->magnitude / sqrt(sum);
    bool bounded = line->columns <= LONGEST_BOUNDED && sum >= NORM_SQUARED_MIN && sum <= NORM_SQUARED_MAX
        && fabs(factor) <= FACTOR_MAX && (fabs(factor) >= FACTOR_MIN || line->magnitude == 0);
    if (!bounded) {
        make_exact(panel, line);
        return;
    }
    line->row.factor = factor;
    line->row.low = factor * (1 - error);
    line->row.high = factor * (1 + error);
    line->exact = false;
}

/// Whether an element's code, and that it is updated, do not depend on where in its interval the factor is.
static bool is_decided(double low, double high, double base, bool same_code) {
    bool finite = fabs(low) < INFINITY && fabs(high) < INFINITY;
    return finite && same_code && (base < fmin(low, high) || base > fmax(low, high));
}

/// Up to 16 elements, whatever they are.
static void settle_group(const panel *panel, line *line, size_t column, size_t width) {
    const char *source = line->row.source + column * panel->element;
    char *result = line->row.result + column * panel->element;
    const double *values = line->row.values + column;
    double base[TILE_COLUMNS], exact[TILE_COLUMNS], stored[TILE_COLUMNS];
    panel->widen(source, width, base);
    if (!line->exact) {
        double low[TILE_COLUMNS], high[TILE_COLUMNS];
        char low_codes[TILE_COLUMNS * sizeof(float)], high_codes[TILE_COLUMNS * sizeof(float)];
        for (size_t j = 0; j < width; j++) {
            low[j] = values[j] * line->row.low;
            high[j] = values[j] * line->row.high;
        }
        panel->narrow(low, width, low_codes);
        panel->narrow(high, width, high_codes);
        bool decided = true;
        for (size_t j = 0; j < width; j++) {
            size_t at = j * panel->element;
            bool same = __builtin_memcmp(low_codes + at, high_codes + at, panel->element) == 0;
            decided &= is_decided(low[j], high[j], base[j], same);
        }
        if (!decided) make_exact(panel, line);
    }
    for (size_t j = 0; j < width; j++) exact[j] = values[j] * line->row.factor;
    panel->narrow(exact, width, result);
    panel->widen(result, width, stored);
    ck_tally_updates(base, exact, stored, width, panel->tally);
}

static void stretch_line(const panel *panel, line *line) {
    size_t group = 0;
    while ((group = panel->stretch(&line->row, group, panel->tally)) < line->row.groups) {
        settle_group(panel, line, group * TILE_COLUMNS, TILE_COLUMNS);
        group++;
    }
    size_t column = line->row.groups * TILE_COLUMNS;
    if (column < line->columns) settle_group(panel, line, column, line->columns - column);
}

// MARK: The walk

static panel prepare(ck_path path, ck_format format) {
    const ck_functions *functions = ck_functions_of(path);
    const ck_low_rank_functions *forms = functions->low_rank;
    panel made = {.forms = forms, .element = format == CK_F32 ? 4 : 2};
    switch (format) {
    case CK_BF16:
        made.raise = forms->raise_bf16, made.stretch = forms->stretch_bf16;
        made.widen = functions->widen_bf16, made.narrow = functions->narrow_bf16;
        break;
    case CK_F16:
        made.raise = forms->raise_f16, made.stretch = forms->stretch_f16;
        made.widen = functions->widen_f16, made.narrow = functions->narrow_f16;
        break;
    default:
        made.raise = forms->raise_f32, made.stretch = forms->stretch_f32;
        made.widen = functions->widen_f32, made.narrow = functions->narrow_f32;
        break;
    }
    return made;
}

void ck_low_rank_magnify(
    ck_path path, ck_format format, const ck_low_rank_right *right, const double *left, size_t rows, double scale,
    const double *magnitudes, const void *source, void *result, void *scratch, ck_low_rank_tally *tally) {
    size_t rank = right->rank, columns = right->columns, stride = ck_low_rank_packed_columns(columns);
    panel panel = prepare(path, format);
    panel.right = right, panel.left = left, panel.rows = rows, panel.stride = stride, panel.scale = scale;
    panel.source = source, panel.result = result, panel.tally = tally;
    size_t bands = bands_at_hand(rows, columns);
    size_t width = block_columns(rank, right->narrow != NULL ? sizeof(float) : sizeof(double));
    double *slots = scratch;
    double *values = slots + bands * BAND_ROWS * rank, *squares = values + bands * BAND_ROWS * stride;
    for (size_t start = 0; start < rows; start += bands * BAND_ROWS) {
        size_t end = smaller(rows, start + bands * BAND_ROWS);
        for (size_t row = start; row < end; row += BAND_ROWS) {
            ck_low_rank_pack_band(
                left + row * rank, smaller(BAND_ROWS, rows - row), rank, slots + (row - start) * rank);
        }
        for (size_t i = 0; i < (end - start) * SQUARE_LANES; i++) squares[i] = 0;
        for (size_t first = 0; first < columns; first += width) {
            for (size_t row = start; row < end; row += BAND_ROWS) {
                raise_band(
                    &panel, row, first, smaller(columns, first + width), slots + (row - start) * rank,
                    values + (row - start) * stride, squares + (row - start) * SQUARE_LANES);
            }
        }
        for (size_t row = start; row < end; row++) {
            line line = {
                .row = {
                    .values = values + (row - start) * stride,
                    .source = panel.source + row * columns * panel.element,
                    .result = panel.result + row * columns * panel.element, .groups = columns / TILE_COLUMNS,
                },
                .columns = columns, .magnitude = magnitudes[row],
            };
            estimate(&panel, &line, squares + (row - start) * SQUARE_LANES);
            stretch_line(&panel, &line);
        }
    }
}
