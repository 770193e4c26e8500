// The inputs of the rank-r update. They are those of Tests/TensorsTests/LowRankAttackTests.swift in kind, made by the same generator; only
// operations that every processor rounds alike are used to make them.

#include "attacks.h"

#include <math.h>
#include <stdlib.h>

attack make(size_t rows, size_t rank, size_t columns, double scale, int low, int high, int w_low, int w_high) {
    attack made = {rows, rank, columns, NULL, NULL, NULL, scale, NULL, false, 0};
    made.left = claim(rows * rank * sizeof(double));
    made.right = claim(rank * columns * sizeof(double));
    made.base = claim(rows * columns * sizeof(double));
    for (size_t i = 0; i < rows * rank; i++) made.left[i] = (float)any(low, high);
    for (size_t i = 0; i < rank * columns; i++) made.right[i] = (float)any(low, high);
    for (size_t i = 0; i < rows * columns; i++) made.base[i] = any(w_low, w_high);
    return made;
}

void drop(attack *made) { free(made->left), free(made->right), free(made->base); }

void strike_once(attack made) {
    strike(&made);
    drop(&made);
}

double update_of(const attack *made, size_t i, size_t j) {
    double sum = 0;
    for (size_t k = 0; k < made->rank; k++) {
        sum = fma(made->left[i * made->rank + k], made->right[k * made->columns + j], sum);
    }
    return made->scale * sum;
}

static const size_t ranks[] = {0, 1, 2, 3, 5, 6, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 256, 512};
enum { RANKS = sizeof ranks / sizeof *ranks };
static const double scales[] = {
    1, -1, 0.5, 1.0 / 3, -1.1, 0x1p-60, 0x1p-61, 0x1p60, 0x1.8p60, 1e-20, -1e20, 1e30, 1e-45, 1e300, 0, -0.0,
    NAN, INFINITY, 1 + 0x1p-24, 1 + 0x1p-52,
};

static void shapes(void) {
    for (size_t r = 0; r < RANKS; r++) strike_once(make(7, ranks[r], 21, 0.3, -6, 0, -6, 0));
    for (size_t rows = 1; rows <= 13; rows++) {
        for (size_t columns = 1; columns <= 40; columns++) strike_once(make(rows, 3, columns, -2, -6, 0, -6, 0));
    }
    strike_once(make(7, 1, 2100, 1, -6, 0, -6, 0));
    strike_once(make(131, 512, 17, 0.1, -6, 0, -6, 0));
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        strike_once(make(7, 9, 35, scales[s], -6, 0, -6, 0));
    }
}

static void patterns(void) {
    static uint16_t codes[65536];
    for (size_t i = 0; i < 65536; i++) codes[i] = (uint16_t)i;
    static const int exponents[][2] = {{-80, -70}, {-75, 40}, {-14, -2}, {-4, 4}, {4, 9}, {55, 63}};
    for (size_t e = 0; e < 6; e++) {
        attack made = make(128, 2, 512, e % 2 == 0 ? 1 : -0.7, exponents[e][0], exponents[e][1], 0, 0);
        made.codes = codes;
        strike_once(made);
    }
}

static void cancellation(void) {
    static const double away[] = {0, 0x1p-30, 0x1p-20, 0x1p-9, -0x1p-8};
    for (size_t r = 1; r < RANKS; r++) {
        attack made = make(7, ranks[r], 33, r % 2 == 0 ? 0.3 : -5, -3, 0, 0, 0);
        for (size_t a = 0; a < 5; a++) {
            for (size_t i = 0; i < 7 * 33; i++) made.base[i] = -update_of(&made, i / 33, i % 33) * (1 + away[a]);
            strike(&made);
        }
        drop(&made);
    }
}

/// See `ties` in LowRankAttackTests.swift.
static void ties(void) {
    static const double factors[] = {1, -0.5, 1.0 / 3, 1.7};
    for (int bits = 7; bits <= 23; bits += bits == 7 ? 3 : 13) {
        double step = ldexp(1, -bits);
        for (size_t r = 1; r < RANKS; r++) {
            attack made = make(6, ranks[r], 48, factors[r % 4], -9, -5, 0, 0);
            made.hostile = bits == 23;
            for (size_t i = 0; i < 6; i++) {
                for (size_t k = 0; k < made.rank; k++) {
                    made.left[i * made.rank + k] = k == made.rank - 1 ? 1 : made.left[k];
                }
            }
            for (size_t j = 0; j < 48; j++) {
                double *last = &made.right[(made.rank - 1) * 48 + j];
                *last = 0;
                double tie = 1 + (double)j * step + step / 2;
                float solved = (float)((tie - 1 - update_of(&made, 0, j)) / made.scale);
                *last = j % 3 == 0 ? solved : nextafterf(solved, j % 3 == 1 ? 1e30f : -1e30f);
                for (size_t i = 0; i < 6; i++) made.base[i * 48 + j] = 1 + (double)(i % 2) * step;
            }
            strike_once(made);
        }
    }
}

/// See `losses` in LowRankAttackTests.swift.
static void losses(void) {
    for (int bits = 7; bits <= 10; bits += 3) {
        for (size_t r = 2; r < RANKS; r++) {
            attack made = make(12, ranks[r], 96, r % 2 == 0 ? 1 : 1.5, 0, 0, 0, 0);
            made.hostile = true;
            double tie = 1 + ldexp(1, -bits - 1), rest = 0;
            for (size_t k = 0; k < made.rank; k++) {
                double root = k == 0 ? 1 : (float)((k < 16 ? 0x1p-12 : 0x1p-14) * 0.9999);
                rest += k == 0 ? 0 : root * root;
                for (size_t i = 0; i < 12; i++) made.left[i * made.rank + k] = k == 0 || i < 6 ? root : -root;
                for (size_t j = 0; j < 96; j++) made.right[k * 96 + j] = root;
            }
            for (size_t j = 0; j < 96; j++) {
                double start = tie / made.scale - rest;
                made.right[j] = (float)((float)start + (float)((int)j - 48) * 0x1p-23f);
                for (size_t i = 0; i < 12; i++) made.base[i * 96 + j] = i % 2 == 0 ? 0 : ldexp(2, -bits);
            }
            strike(&made);
            for (size_t j = 0; j < 96; j++) {
                double start = (1 + ldexp(tie, bits - 17)) / made.scale - rest;
                made.right[j] = (float)((float)start + (float)((int)j - 48) * 0x1p-23f);
                for (size_t i = 0; i < 12; i++) made.base[i * 96 + j] = -1;
            }
            strike_once(made);
        }
    }
}

static void additions(void) {
    static const double bases[] = {1, -1, 1.5, 1024, 0x1p-10, 0x1p-14};
    for (int bits = 7; bits <= 10; bits += 3) {
        for (size_t b = 0; b < 6; b++) {
            attack made = make(6, 1, 256, b % 2 == 0 ? 1 : -1, 0, 0, 0, 0);
            for (size_t i = 0; i < 6; i++) made.left[i] = i % 2 == 0 ? fabs(bases[b]) : -fabs(bases[b]);
            for (size_t j = 0; j < 256; j++) made.right[j] = ldexp(1, -bits - 1) + ((double)j - 128) * 0x1p-30;
            for (size_t i = 0; i < 6 * 256; i++) made.base[i] = bases[b];
            strike_once(made);
        }
    }
}

static void extremes(void) {
    static const int smallest[] = {-133, -24, -149};
    for (size_t f = 0; f < 3; f++) {
        for (int total = smallest[f] - 4; total <= smallest[f] + 12; total += 2) {
            for (size_t rank = 1; rank <= 64; rank *= 4) {
                int half = total / 2;
                strike_once(make(7, rank, 19, rank % 2 == 1 ? 1 : -0.3, half, half + 1, total - 1, total + 2));
            }
        }
    }
    strike_once(make(7, 5, 19, 0.1, -149, -127, -140, -130));
    static const int wide[][4] = {
        {10, 16, 0, 14}, {50, 64, 100, 127}, {100, 127, 0, 14}, {-126, 126, -126, 126}, {6, 8, 14, 15}, {62, 63, 126, 127},
    };
    for (size_t w = 0; w < 6; w++) {
        for (size_t rank = 1; rank <= 70; rank += 23) {
            strike_once(make(7, rank, 19, 1.3, wide[w][0], wide[w][1], wide[w][2], wide[w][3]));
        }
    }
    for (int each = 0; each < 120; each++) {
        static const int widths[] = {5, 20, 60, 120};
        int width = widths[each % 4];
        strike_once(make(6, ranks[1 + each % 15], 33, any(-70, 70), -width, width / 2, -width, width < 15 ? width : 15));
    }
}

static void specials(void) {
    static const double values[] = {
        NAN, -NAN, INFINITY, -INFINITY, 0, -0.0, 0x1.fffffffffffffp1023, 0x1p-1074, 0x1.fffffep127, 0x1p-149, 1, 0.1,
    };
    for (int each = 0; each < 90; each++) {
        attack made = make(8, 3, 35, each % 7 == 0 ? values[each / 7 % 12] : 1.5, -6, 0, -6, 0);
        for (int n = 0; n < 9; n++) made.base[draw() % 280] = values[draw() % 12];
        for (int n = 0; n < each % 3; n++) made.left[draw() % 24] = values[draw() % 12];
        for (int n = 0; n < each % 5; n++) made.right[draw() % 105] = values[draw() % 12];
        strike_once(made);
    }
    // Products of float64 factors: only a fused step leaves the error of a product.
    for (int each = 0; each < 2; each++) {
        double factor = each == 0 ? 0.1 : (float)0.1;
        attack made = make(13, 2, 19, 0x1p52, -6, 0, -6, 0);
        for (size_t i = 0; i < 13; i++) {
            made.left[2 * i + 1] = 1 + (double)i / 7;
            made.left[2 * i] = -(made.left[2 * i + 1] * factor);
        }
        for (size_t j = 0; j < 19; j++) made.right[j] = 1, made.right[19 + j] = factor;
        strike_once(made);
    }
    // Zero rows and columns.
    for (int each = 0; each < 4; each++) {
        attack made = make(9, 4, 37, each % 2 == 0 ? 0.3 : -2, -6, 0, -6, 0);
        for (size_t k = 0; k < 4; k++) {
            made.left[2 * 4 + k] = k % 2 == 0 ? 0 : -0.0;
            for (size_t j = 0; j < 37; j += each < 2 ? 5 : 1) made.right[k * 37 + j] = j % 2 == 0 ? -0.0 : 0;
        }
        for (size_t i = 0; i < 9 * 37; i++) made.base[i] = values[i % 11];
        strike_once(made);
    }
    // A scale and factors of -0 under W of -0, where the signs of all zeros show. The first product is too small for float64 and has
    // its sign left.
    for (int each = 0; each < 4; each++) {
        attack made = make(9, 2, 37, each < 2 ? -0.0 : 1, -6, 0, -6, 0);
        for (size_t i = 0; i < 9 * 37; i++) made.base[i] = i % 3 == 0 ? 0.0 : -0.0;
        for (size_t i = 0; i < 9 && each % 2 == 1; i++) made.left[2 * i] = -0x1p-1074, made.left[2 * i + 1] = -0.0;
        strike_once(made);
    }
    // W in float64 a hair beside a tie of BF16's subnormals, which float32 takes for the tie, and zero beside no zero: no update,
    // and so no bound of one, stands between.
    for (int each = 0; each < 4; each++) {
        attack made = make(7, 3, 35, 1.5, -6, 0, -6, 0);
        for (size_t k = 0; k < 7 * 3; k++) made.left[k] = 0;
        for (size_t i = 0; i < 7 * 35; i++) {
            double tie = ldexp((double)(i / 2) + 0.5, -133), hair = ldexp(1, -160 - each);
            made.base[i] = (each < 2 ? 1 : -1) * (i % 35 == 0 ? hair : i % 2 == 0 ? tie + hair : tie - hair);
        }
        strike_once(made);
    }
}

void attack_panels(void (*begin)(const char *name)) {
    static const struct { const char *name; void (*run)(void); } suites[] = {
        {"shapes", shapes}, {"patterns", patterns}, {"cancellation", cancellation}, {"ties", ties},
        {"losses", losses}, {"additions", additions}, {"extremes", extremes}, {"specials", specials},
        {"magnitudes", attack_magnitudes},
    };
    for (size_t s = 0; s < sizeof suites / sizeof *suites; s++) {
        begin(suites[s].name);
        suites[s].run();
    }
}
