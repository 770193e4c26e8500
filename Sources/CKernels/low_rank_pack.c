// The factors of a rank-r update as the tiles read them, and the elements that float32 left open.

#include "low_rank_bounds.h"

bool ck_low_rank_fits(const double *values, size_t count) {
    // No early exit: the loop then vectorises. NaN and Inf fail the comparison of their difference with zero.
    bool fits = true;
    for (size_t i = 0; i < count; i++) fits &= (double)(float)values[i] - values[i] == 0;
    return fits;
}

size_t ck_low_rank_packed_columns(size_t columns) {
    return (columns + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
}

bool ck_low_rank_pack_narrow(const double *right, size_t rank, size_t columns, float *packed, float *bounds) {
    bool decides = true;
    for (size_t first = 0; first < columns; first += TILE_COLUMNS) {
        size_t width = columns - first < TILE_COLUMNS ? columns - first : TILE_COLUMNS;
        double squares[TILE_COLUMNS] = {0};
        for (size_t k = 0; k < rank; k++) {
            for (size_t j = 0; j < TILE_COLUMNS; j++) {
                double value = j < width ? right[k * columns + first + j] : 0;
                squares[j] += value * value;
                packed[first * rank + k * TILE_COLUMNS + j] = (float)value;
            }
        }
        for (size_t j = 0; j < TILE_COLUMNS; j++) {
            bounds[first + j] = ck_column_bound(squares[j]);
            decides &= bounds[first + j] < CK_COLUMN_CEILING;
        }
    }
    return decides;
}

void ck_low_rank_pack_lines(const double *right, size_t rank, size_t columns, float *lines) {
    // Square blocks of 16, as in ck_transpose.
    for (size_t first = 0; first < columns; first += 16) {
        size_t last = columns - first < 16 ? columns : first + 16;
        for (size_t start = 0; start < rank; start += 16) {
            size_t end = rank - start < 16 ? rank : start + 16;
            for (size_t k = start; k < end; k++) {
                for (size_t j = first; j < last; j++) lines[j * rank + k] = (float)right[k * columns + j];
            }
        }
    }
}

void ck_low_rank_pack_wide(const double *right, size_t rank, size_t columns, double *packed) {
    for (size_t first = 0; first < columns; first += TILE_COLUMNS) {
        size_t width = columns - first < TILE_COLUMNS ? columns - first : TILE_COLUMNS;
        for (size_t k = 0; k < rank; k++) {
            for (size_t j = 0; j < TILE_COLUMNS; j++) {
                packed[first * rank + k * TILE_COLUMNS + j] = j < width ? right[k * columns + first + j] : 0;
            }
        }
    }
}

void ck_low_rank_pack_band(const double *left, size_t rows, size_t rank, double *slot) {
    for (size_t i = 0; i < BAND_ROWS; i++) {
        for (size_t k = 0; k < rank; k++) slot[k * BAND_ROWS + i] = i < rows ? left[i * rank + k] : 0;
    }
}

/// Elements whose chains run side by side: each step waits for the one before it, four chains keep the adder busy.
enum { CHAINS = 4 };

void ck_low_rank_settle(
    ck_format format, const double *left, const ck_low_rank_right *right, double scale, const double *wide, void *result,
    const ck_doubt *doubts, size_t count, ck_low_rank_tally *tally) {
    ck_u16 *codes = result;
    size_t rank = right->rank, step = right->lines != NULL ? 1 : TILE_COLUMNS;
    for (size_t first = 0; first < count; first += CHAINS) {
        const double *rows[CHAINS];
        const float *columns[CHAINS];
        double sums[CHAINS] = {0};
        for (size_t c = 0; c < CHAINS; c++) {
            // The last group repeats its last element.
            const ck_doubt *doubt = &doubts[first + c < count ? first + c : count - 1];
            size_t column = doubt->column;
            rows[c] = left + doubt->row * rank;
            columns[c] = right->lines != NULL
                ? right->lines + column * rank
                : right->narrow + column / TILE_COLUMNS * TILE_COLUMNS * rank + column % TILE_COLUMNS;
        }
        for (size_t k = 0; k < rank; k++) {
            // Products of float32 numbers are exact in float64: this is the fused step.
            for (size_t c = 0; c < CHAINS; c++) sums[c] += rows[c][k] * columns[c][k * step];
        }
        for (size_t c = 0; c < CHAINS && first + c < count; c++) {
            const ck_doubt *doubt = &doubts[first + c];
            uint16_t code = (uint16_t)doubt->code;
            size_t place = doubt->row * right->columns + doubt->column;
            double base, stored;
            if (wide != NULL) {
                base = wide[place];
            } else {
                ck_widen(CK_PATH_GENERIC, format, &code, 1, &base);
            }
            double update = scale * sums[c];
            double total = base + update;
            if (wide != NULL) base = ck_rounded_base(format, base);
            code = (uint16_t)ck_code(format, total);
            codes[place] = code;
            ck_widen(CK_PATH_GENERIC, format, &code, 1, &stored);
            ck_count(tally, base, update, stored);
        }
    }
}
