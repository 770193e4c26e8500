// Products, eliminations, rows and columns in float64, rounding by rounding as ckernels.h defines them.

#include "attacks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double ends[] = {
    NAN, -NAN, INFINITY, -INFINITY, 0, -0.0, 0x1.fffffffffffffp1023, 0x1p-1074, 1, -1,
};

static double *any_numbers(size_t count, int low, int high) {
    double *numbers = claim(count * sizeof(double));
    for (size_t i = 0; i < count; i++) numbers[i] = any(low, high);
    return numbers;
}

/// Puts ends of the range and what is no number at `times` places.
static void spoil(double *numbers, size_t count, size_t times) {
    for (; times > 0 && count > 0; times--) numbers[draw() % count] = ends[draw() % (sizeof ends / sizeof *ends)];
}

static double *copy(const double *numbers, size_t count) {
    double *same = claim(count * sizeof(double));
    if (count > 0) memcpy(same, numbers, count * sizeof(double));
    return same;
}

// MARK: Products

/// Factors, and a result of rows that are `stride` apart.
typedef struct product {
    size_t rows, depth, columns, left_stride, stride;
    double scale;
    double *left, *right, *base;
} product;

static product make_product(size_t rows, size_t depth, size_t columns, size_t left_stride, size_t stride, double scale, int low, int high) {
    return (product){
        rows, depth, columns, left_stride, stride, scale, any_numbers(rows * left_stride, low, high),
        any_numbers(depth * columns, low, high), any_numbers(rows * stride, low, high)};
}

static void drop_product(product *made) { free(made->left), free(made->right), free(made->base); }

static void strike_update(const product *made) {
    size_t count = made->rows * made->stride;
    double *expected = copy(made->base, count);
    for (size_t i = 0; i < made->rows; i++) {
        for (size_t j = 0; j < made->columns; j++) {
            double *to = &expected[i * made->stride + j], sum = 0;
            for (size_t k = 0; k < made->depth; k++) sum = fma(made->left[i * made->depth + k], made->right[k * made->columns + j], sum);
            volatile double update = made->scale * sum;
            *to = isnan(*to + update) ? NAN : *to + update;
        }
    }
    EACH_PATH(path) {
        double *result = copy(made->base, count);
        ck_add_low_rank(
            (ck_path)path, made->left, made->right, made->rows, made->depth, made->columns, made->scale, result, made->stride);
        judge(path, "update", result, expected, count, sizeof(double));
        free(result);
    }
    count_case();
    free(expected);
}

static void update_once(size_t rows, size_t rank, size_t columns, size_t stride, double scale, int low, int high) {
    product made = make_product(rows, rank, columns, rank, stride, scale, low, high);
    strike_update(&made);
    drop_product(&made);
}

/// See LowRankTests.swift.
static void updates(void) {
    for (size_t rank = 0; rank <= 70; rank++) {
        size_t columns = rank * 7 % 31 + 1;
        update_once(rank % 9 + 1, rank, columns, columns + rank % 4, 0.3, -8, 0);
    }
    for (size_t columns = 0; columns <= 70; columns++) update_once(columns % 10, 5, columns, columns + columns % 3, -1.7, -8, 0);
    update_once(19, 16, 257, 300, 2, -20, 2);
    update_once(7, 512, 130, 131, 0.1, -6, 0);
    update_once(7, 9, 29, 29, 0.1, -540, -500);
    update_once(7, 9, 29, 31, 1e-3, -1060, -3);
    update_once(7, 9, 29, 29, 1e10, 480, 515);
    // W is minus the first product: what is left is the error that a fused step keeps.
    product made = make_product(5, 1, 17, 1, 17, 1, -3, 3);
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 17; j++) made.base[i * 17 + j] = -(made.left[i] * made.right[j]);
    }
    strike_update(&made);
    drop_product(&made);
    for (size_t each = 0; each < 60; each++) {
        made = make_product(6, 3, 17, 3, 17, each % 5 == 0 ? ends[each / 5 % 10] : 1.5, -2, 2);
        spoil(made.left, 18, 6), spoil(made.right, 51, 6), spoil(made.base, 102, 6);
        strike_update(&made);
        drop_product(&made);
    }
    made = make_product(5, 0, 15, 0, 16, 2, 0, 0);
    for (size_t i = 0; i < 5 * 16; i++) made.base[i] = -0.0;
    strike_update(&made);
    drop_product(&made);
}

static void strike_elimination(const product *made) {
    size_t count = made->rows * made->stride;
    double *expected = copy(made->base, count);
    for (size_t i = 0; i < made->rows; i++) {
        for (size_t j = 0; j < made->columns; j++) {
            double *to = &expected[i * made->stride + j];
            const double *left = made->left + i * made->left_stride;
            for (size_t k = 0; k < made->depth; k++) *to = fma(-left[k], made->right[k * made->columns + j], *to);
        }
    }
    EACH_PATH(path) {
        double *result = copy(made->base, count);
        ck_subtract_product(
            (ck_path)path, made->left, made->left_stride, made->right, made->rows, made->depth, made->columns, result, made->stride);
        judge_numbers(path, "elimination", result, expected, count);
        free(result);
    }
    count_case();
    free(expected);
}

static void eliminations(void) {
    static const size_t shapes[][3] = {{1, 1, 1}, {4, 3, 12}, {7, 5, 13}, {9, 64, 48}, {13, 17, 50}, {3, 2, 100}, {5, 0, 4}, {8, 512, 25}};
    for (size_t each = 0; each < 3 * (sizeof shapes / sizeof *shapes); each++) {
        size_t rows = shapes[each / 3][0], depth = shapes[each / 3][1], columns = shapes[each / 3][2];
        product made = make_product(rows, depth, columns, depth + 2, columns + 3, 1, each % 3 == 1 ? -540 : -20, each % 3 == 1 ? -500 : 20);
        if (each % 3 == 2) {
            spoil(made.left, rows * (depth + 2), 3), spoil(made.right, depth * columns, 3), spoil(made.base, rows * (columns + 3), 3);
        }
        strike_elimination(&made);
        drop_product(&made);
    }
}

// MARK: Rows and columns

/// The three functions on one matrix: DoRA's magnitudes on rows, the squares of columns, and factors on columns.
static void strike_scaling(size_t rows, size_t columns, double *values, const double *magnitudes, const double *factors) {
    size_t stride = columns + 3, count = rows * stride;
    double *scaled = copy(values, count), *spread = copy(values, count), *squares = any_numbers(columns, -40, 40);
    double *added = copy(squares, columns);
    for (size_t i = 0; i < rows; i++) {
        double sum = 0;
        for (size_t j = 0; j < columns; j++) sum = fma(values[i * stride + j], values[i * stride + j], sum);
        volatile double factor = magnitudes[i] / sqrt(sum);
        for (size_t j = 0; j < columns; j++) {
            double value = values[i * stride + j];
            scaled[i * stride + j] = value * factor;
            spread[i * stride + j] = value * factors[j];
            added[j] = fma(value, value, added[j]);
        }
    }
    EACH_PATH(path) {
        double *result = copy(values, count), *sums = copy(squares, columns);
        ck_scale_rows((ck_path)path, result, rows, columns, stride, magnitudes);
        judge_numbers(path, "rows", result, scaled, count);
        ck_add_squares((ck_path)path, values, rows, columns, stride, sums);
        judge_numbers(path, "squares", sums, added, columns);
        free(result), free(sums);
    }
    ck_scale_columns(values, rows, columns, stride, factors);
    judge_numbers(NO_PATH, "columns", values, spread, count);
    count_case();
    free(scaled), free(spread), free(squares), free(added);
}

static void scalings(void) {
    static const size_t shapes[][2] = {{1, 1}, {3, 7}, {8, 16}, {9, 33}, {17, 100}, {5, 0}, {0, 5}, {26, 1030}};
    for (size_t each = 0; each < 4 * (sizeof shapes / sizeof *shapes); each++) {
        static const int exponents[][2] = {{-40, 40}, {-560, -500}, {480, 515}, {-3, 3}};
        size_t rows = shapes[each / 4][0], columns = shapes[each / 4][1], count = rows * (columns + 3);
        double *values = any_numbers(count, exponents[each % 4][0], exponents[each % 4][1]);
        double *magnitudes = any_numbers(rows, -3, 3), *factors = any_numbers(columns, -3, 3);
        if (each % 4 == 3) spoil(values, count, 4), spoil(magnitudes, rows, 2), spoil(factors, columns, 2);
        strike_scaling(rows, columns, values, magnitudes, factors);
        free(values), free(magnitudes), free(factors);
    }
}

static void transpositions(void) {
    static const size_t shapes[][2] = {{0, 5}, {1, 1}, {3, 40}, {16, 16}, {17, 33}, {50, 2}, {100, 100}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t rows = shapes[s][0], columns = shapes[s][1];
        double *source = any_numbers(rows * columns, -9, 9);
        double *expected = copy(source, rows * columns), *result = copy(source, rows * columns);
        for (size_t i = 0; i < rows * columns; i++) expected[i % columns * rows + i / columns] = source[i];
        ck_transpose(source, rows, columns, result);
        judge(NO_PATH, "transposed", result, expected, rows * columns, sizeof(double));
        // One by one, every place is looked at.
        if (!ck_all_finite(source, rows * columns)) fail(NO_PATH, "all finite", 0);
        for (size_t i = 0; i < rows * columns; i++) {
            double kept = source[i], end = ends[i % 10];
            source[i] = end;
            if (ck_all_finite(source, rows * columns) != isfinite(end)) fail(NO_PATH, "all finite but one", i);
            source[i] = kept;
        }
        count_case();
        free(source), free(expected), free(result);
    }
}

// MARK: The tally

/// In order and in float64, so that the sums have one value; what was counted before stays.
static void tallies(void) {
    for (size_t count = 0; count < 600; count += count < 40 ? 1 : 280) {
        double *original = any_numbers(count, -6, 0), *exact = copy(original, count), *stored = copy(original, count);
        for (size_t i = 0; i < count; i++) {
            if (i % 3 != 0) exact[i] += any(-20, -2);
            stored[i] = i % 4 == 0 ? original[i] : (float)exact[i];
        }
        spoil(original, count, count / 9), spoil(exact, count, count / 9), spoil(stored, count, count / 9);
        ck_low_rank_tally tally = {1, 2, 3, 4, 0.5, 0.25};
        uint64_t counts[4] = {1, 2, 3, 4};
        double sums[2] = {0, 0};
        for (size_t i = 0; i < count; i++) {
            volatile double update = exact[i] - original[i], kept = stored[i] - original[i];
            counts[0] += !(update == 0);
            counts[1] += !(update == 0) && kept == 0;
            counts[2] += isfinite(original[i]) && !isfinite(stored[i]);
            counts[3] += !isfinite(original[i]);
            if (update == 0 || !isfinite(update) || !isfinite(kept)) continue;
            sums[0] += update * update, sums[1] += kept * kept;
        }
        sums[0] += 0.5, sums[1] += 0.25;
        ck_tally_updates(original, exact, stored, count, &tally);
        const uint64_t found[4] = {tally.updated, tally.unchanged, tally.nonfinite, tally.base_nonfinite};
        judge(NO_PATH, "counts", found, counts, 4, sizeof *counts);
        double squares[2] = {tally.update_squares, tally.stored_squares};
        judge_numbers(NO_PATH, "squares", squares, sums, 2);
        count_case();
        free(original), free(exact), free(stored);
    }
}

void attack_matrices(void (*begin)(const char *name)) {
    begin("updates"), updates();
    begin("eliminations"), eliminations();
    begin("rows and columns"), scalings();
    begin("transpositions"), transpositions();
    begin("tallies"), tallies();
}
