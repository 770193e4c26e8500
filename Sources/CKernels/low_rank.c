// The fused rank-r update: which arithmetic a band of rows takes, and the order in which tiles are walked.

#include "low_rank_bounds.h"
#include "low_rank_scratch.h"

/// How a band's sums are made. WIDE holds for all bands, since it is a matter of `right`.
typedef enum band_kind {
    DECIDED,  ///< in float32, with float64 for what that leaves open
    EXACT,    ///< in float64; every factor is a float32 number
    FUSED,    ///< in float64; those of `right` are
    WIDE      ///< in float64
} band_kind;

size_t ck_low_rank_scratch(size_t rank, size_t rows) { return lay_out(rank, rows).size; }

/// What stays the same while one panel is made.
typedef struct panel {
    const ck_low_rank_functions *forms;
    void (*widen)(const void *source, size_t count, double *result);
    void (*narrow)(const double *source, size_t count, void *result);
    void (*band)(const ck_band *band, ck_band_result *result);
    ck_format format;
    const ck_low_rank_right *right;
    const double *left;
    size_t rows, element;
    size_t from;  ///< bytes of an element of `source`
    bool wide;    ///< whether that is float64
    double scale;
    const char *source;
    char *result;
    bool decides;
    double widest;  ///< the largest bound of a column of `right`
    ck_low_rank_tally *tally;
    size_t seen, doubted;  ///< by float32, so far
} panel;

static size_t rows_of(const panel *panel, size_t row) { return smaller(BAND_ROWS, panel->rows - row); }

static void pack_wide(const panel *panel, size_t row, double *slot) {
    ck_low_rank_pack_band(panel->left + row * panel->right->rank, rows_of(panel, row), panel->right->rank, slot);
}

/// Packs the band as float32 if all of it may be computed so, and otherwise as float64.
static band_kind pack_band(const panel *panel, size_t row, double *slot, float *bounds) {
    size_t rank = panel->right->rank, rows = rows_of(panel, row);
    bool narrow = ck_low_rank_fits(panel->left + row * rank, rows * rank);
    bool decided = narrow && panel->decides;
    double size = fabs(panel->scale), largest = 0;
    for (size_t i = 0; i < BAND_ROWS && decided; i++) {
        double squares = 0;
        for (size_t k = 0; k < rank; k++) {
            double factor = i < rows ? size * panel->left[(row + i) * rank + k] : 0;
            squares += factor * factor;
            ((float *)slot)[k * BAND_ROWS + i] = (float)factor;
        }
        largest = squares > largest ? squares : largest;
        bounds[i] = ck_row_bound(squares, rank);
        decided = bounds[i] < CK_ROW_CEILING;
    }
    // Of updates that small the squares would be lost in float32, and the statistics with them.
    if (largest > 0 && sqrt(largest) * panel->widest < CK_UPDATE_FLOOR) decided = false;
    if (decided) return DECIDED;
    pack_wide(panel, row, slot);
    return panel->right->narrow == NULL ? WIDE : narrow ? EXACT : FUSED;
}

// MARK: float32

/// A tile that is not full is worked on in a full one of its own, where the rest is zero: zeros with bounds of zero are
/// decided and kept, and the bookkeeping of run_decided takes them for elements without an update.
static void run_edge(const panel *panel, ck_band band, size_t height, size_t width, ck_band_result *result) {
    uint16_t tile[TILE_ELEMENTS] = {0};
    double wide[TILE_ELEMENTS] = {0};
    const char *source = band.source;
    char *to = band.result;
    char *place = panel->wide ? (char *)wide : (char *)tile;
    size_t pitch = band.stride * sizeof(uint16_t), from = panel->from;
    for (size_t i = 0; i < height; i++) {
        __builtin_memcpy(place + i * TILE_COLUMNS * from, source + i * band.stride * from, width * from);
    }
    band.source = place;
    band.result = tile;
    band.stride = TILE_COLUMNS;
    band.tiles = 1;
    panel->band(&band, result);
    for (size_t i = 0; i < height; i++) {
        __builtin_memcpy(to + i * pitch, tile + i * TILE_COLUMNS, width * sizeof(uint16_t));
    }
}

/// The band from `row` on, columns `first` to `last`.
static void run_decided(
    panel *panel, size_t row, size_t first, size_t last, const double *slot, const float *bounds, ck_doubt *doubts) {
    const ck_low_rank_right *right = panel->right;
    size_t rank = right->rank, columns = right->columns, rows = rows_of(panel, row);
    size_t offset = row * columns + first;
    ck_band_result result = {0, 0, 0, doubts, 0};
    ck_band band = {
        .left = (const float *)slot, .right = right->narrow + first * rank, .row_bounds = bounds,
        .column_bounds = right->bounds + first, .source = panel->source + offset * panel->from,
        .result = panel->result + offset * sizeof(uint16_t), .stride = columns, .rank = rank, .tiles = rows == BAND_ROWS ? (last - first) / TILE_COLUMNS : 0,
        .first_column = (uint32_t)first, .sign = panel->scale < 0 ? -1 : 1,
    };
    if (band.tiles > 0) panel->band(&band, &result);
    size_t elements = band.tiles * TILE_ELEMENTS;
    for (size_t column = first + band.tiles * TILE_COLUMNS; column < last; column += TILE_COLUMNS) {
        offset = row * columns + column;
        band.right = right->narrow + column * rank;
        band.column_bounds = right->bounds + column;
        band.source = panel->source + offset * panel->from;
        band.result = panel->result + offset * sizeof(uint16_t);
        band.first_column = (uint32_t)column;
        run_edge(panel, band, rows, smaller(last - column, TILE_COLUMNS), &result);
        elements += TILE_ELEMENTS;
    }

    // Every decided element was updated unless its bound is zero; then it holds W's value still.
    size_t zero_rows = 0, zero_columns = 0, tiles = elements / TILE_ELEMENTS;
    for (size_t i = 0; i < BAND_ROWS; i++) zero_rows += bounds[i] == 0;
    for (size_t j = 0; j < tiles * TILE_COLUMNS; j++) zero_columns += right->bounds[first + j] == 0;
    size_t zeros = zero_rows * tiles * TILE_COLUMNS + (BAND_ROWS - zero_rows) * zero_columns;
    size_t zero_doubts = 0;
    for (size_t d = 0; d < result.doubt_count; d++) zero_doubts += doubts[d].zero;
    panel->tally->updated += elements - zeros - (result.doubt_count - zero_doubts);
    panel->tally->unchanged += result.same - (zeros - zero_doubts);
    panel->tally->update_squares += result.update_squares;
    panel->tally->stored_squares += result.stored_squares;
    ck_low_rank_settle(
        panel->format, panel->left + row * rank, right, panel->scale,
        panel->wide ? (const double *)(const void *)panel->source + row * columns : NULL, panel->result + row * columns * sizeof(uint16_t), doubts, result.doubt_count, panel->tally);
    panel->seen += elements;
    panel->doubted += result.doubt_count;
}

// MARK: float64

/// canonical(round(W + scale * sum)) for up to 16 elements side by side.
static void finish_row(
    const panel *panel, const double *sums, const char *source, size_t width, char *result) {
    double base[TILE_COLUMNS], update[TILE_COLUMNS], total[TILE_COLUMNS], stored[TILE_COLUMNS];
    if (panel->wide) {
        __builtin_memcpy(base, source, width * sizeof(double));
    } else {
        panel->widen(source, width, base);
    }
    for (size_t j = 0; j < width; j++) update[j] = panel->scale * sums[j];
    for (size_t j = 0; j < width; j++) total[j] = base[j] + update[j];
    panel->narrow(total, width, result);
    panel->widen(result, width, stored);
    for (size_t j = 0; j < width && panel->wide; j++) base[j] = ck_rounded_base(panel->format, base[j]);
    for (size_t j = 0; j < width; j++) ck_count(panel->tally, base[j], update[j], stored[j]);
}

static void run_wide(
    const panel *panel, band_kind kind, size_t row, size_t first, size_t last, const double *slot) {
    const ck_low_rank_functions *forms = panel->forms;
    size_t rank = panel->right->rank, columns = panel->right->columns, rows = rows_of(panel, row);
    double sums[TILE_ELEMENTS];
    for (size_t column = first; column < last; column += TILE_COLUMNS) {
        switch (kind) {
        case WIDE: forms->sums_wide(slot, panel->right->wide + column * rank, rank, sums); break;
        case FUSED: forms->sums_narrow(slot, panel->right->narrow + column * rank, rank, sums); break;
        default: forms->sums_exact(slot, panel->right->narrow + column * rank, rank, sums); break;
        }
        size_t width = smaller(last - column, TILE_COLUMNS), start = row * columns + column;
        unsigned left = (1u << rows) - 1;
        if (panel->format == CK_F32 && !panel->wide && width == TILE_COLUMNS) {
            left = forms->finish_f32(
                sums, panel->scale, panel->source + start * panel->from, panel->result + start * panel->element,
                columns * panel->element, rows, panel->tally);
        }
        for (size_t i = 0; i < rows; i++) {
            if ((left >> i & 1) == 0) continue;
            size_t offset = (row + i) * columns + column;
            finish_row(
                panel, sums + i * TILE_COLUMNS, panel->source + offset * panel->from, width,
                panel->result + offset * panel->element);
        }
    }
}

// MARK: The walk

static void merge(
    ck_path path, ck_format format, bool wide, const ck_low_rank_right *right, const double *left, size_t rows, double scale,
    const void *source, void *result, void *scratch, ck_low_rank_tally *tally) {
    size_t rank = right->rank, columns = right->columns;
    workspace space = arrange(scratch, rank, rows);
    const ck_functions *functions = ck_functions_of(path);
    panel panel = {
        .forms = functions->low_rank, .format = format, .right = right, .left = left, .rows = rows,
        .element = format == CK_F32 ? 4 : 2, .wide = wide, .scale = scale, .source = source, .result = result,
        .decides = format != CK_F32 && right->narrow != NULL && right->decides && ck_bounds_apply(scale, rank),
        .tally = tally,
    };
    panel.from = wide ? sizeof(double) : panel.element;
    switch (format) {
    case CK_BF16:
        panel.widen = functions->widen_bf16, panel.narrow = functions->narrow_bf16;
        panel.band = wide ? functions->low_rank->band_bf16_of_f64 : functions->low_rank->band_bf16;
        break;
    case CK_F16:
        panel.widen = functions->widen_f16, panel.narrow = functions->narrow_f16;
        panel.band = wide ? functions->low_rank->band_f16_of_f64 : functions->low_rank->band_f16;
        break;
    default: panel.widen = functions->widen_f32, panel.narrow = functions->narrow_f32; break;
    }
    for (size_t j = 0; panel.decides && j < columns; j++) {
        if (right->bounds[j] > panel.widest) panel.widest = right->bounds[j];
    }
    size_t bands = chunk_bands(rank, rows);
    size_t width = block_columns(rank, right->narrow != NULL ? sizeof(float) : sizeof(double));
    for (size_t start = 0; start < rows; start += bands * BAND_ROWS) {
        size_t end = smaller(rows, start + bands * BAND_ROWS);
        for (size_t row = start, b = 0; row < end; row += BAND_ROWS, b++) {
            space.kinds[b] = (unsigned char)pack_band(
                &panel, row, space.left + b * BAND_ROWS * rank, space.row_bounds + b * BAND_ROWS);
        }
        for (size_t first = 0; first < columns; first += width) {
            size_t last = smaller(columns, first + width);
            for (size_t row = start, b = 0; row < end; row += BAND_ROWS, b++) {
                double *slot = space.left + b * BAND_ROWS * rank;
                // One element recomputed takes as long as six or more of a float64 tile.
                if (space.kinds[b] == DECIDED && panel.seen >= 4096 && panel.doubted > panel.seen / 8) {
                    pack_wide(&panel, row, slot);
                    space.kinds[b] = EXACT;
                }
                if (space.kinds[b] == DECIDED) {
                    run_decided(&panel, row, first, last, slot, space.row_bounds + b * BAND_ROWS, space.doubts);
                } else {
                    run_wide(&panel, (band_kind)space.kinds[b], row, first, last, slot);
                }
            }
        }
    }
}

void ck_low_rank_merge(
    ck_path path, ck_format format, const ck_low_rank_right *right, const double *left, size_t rows, double scale,
    const void *source, void *result, void *scratch, ck_low_rank_tally *tally) {
    merge(path, format, false, right, left, rows, scale, source, result, scratch, tally);
}

void ck_low_rank_merge_f64(
    ck_path path, ck_format format, const ck_low_rank_right *right, const double *left, size_t rows, double scale,
    const double *source, void *result, void *scratch, ck_low_rank_tally *tally) {
    merge(path, format, true, right, left, rows, scale, source, result, scratch, tally);
}
