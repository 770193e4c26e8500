// Inputs for DoRA's rows; those of the other suites run through them as well.

#include "attacks.h"

#include <math.h>

/// Results of DoRA's rows next to ties and next to W: see MagnitudeAttackTests.swift.
void attack_magnitudes(void) {
    static const double distances[] = {0, 0x1p-52, 0x1p-45, 0x1p-36, 0x1p-30, 0x1p-24, 0x1p-23, 0x1p-21, 0x1p-20};
    static const double places[] = {0.5, 0, 1};
    for (int each = 0; each < 54; each++) {
        double step = ldexp(1, each < 27 ? -7 : -10), distance = distances[each / 3 % 9];
        attack made = make(26, 2, 48, 1, 0, 0, 0, 0);
        for (size_t i = 0; i < 26 * 48; i++) made.base[i] = 1 + step * (double)(i % 61);
        for (size_t i = 0; i < 26; i++) {
            made.left[2 * i] = i % 2 == 0 ? 1 : -1;
            made.left[2 * i + 1] = i % 3 == 0 ? -1 : 1;
        }
        for (size_t j = 0; j < 48; j++) {
            made.right[j] = step * places[each % 3];
            made.right[48 + j] = distance * (double)(j % 3);
        }
        made.turn = each % 2 == 0 ? 0 : 7;
        strike_once(made);
    }
    // Cancelled rows, and rows of zeros.
    attack made = make(13, 4, 64, 0.5, -6, 0, -6, 0);
    for (size_t i = 0; i < 13 * 64; i++) made.base[i] = -update_of(&made, i / 64, i % 64);
    strike(&made);
    for (size_t i = 0; i < 13 * 64; i++) made.base[i] = i % 5 == 0 ? -0.0 : 0;
    strike(&made);
    for (size_t i = 0; i < 13 * 4; i++) made.left[i] = 0;
    strike_once(made);
    // More columns than the bound of the norm holds for.
    made = make(2, 1, 65537, 2, -6, 0, -6, 0);
    made.turn = 3;
    strike_once(made);
}
