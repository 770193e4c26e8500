// What exp, tanh, the logistic function and erf share: sums of two doubles, and the expansion of exp.

#ifndef CKERNELS_ELEMENTARY_H
#define CKERNELS_ELEMENTARY_H

#include "kernels.h"

/// An unevaluated sum of two doubles, |low| <= ulp(high) / 2 or so.
typedef struct ck_pair {
    double high, low;
} ck_pair;

/// a + b without error, whatever their sizes (D. Knuth, The Art of Computer Programming, volume 2, 4.2.2, theorem B).
static inline ck_pair ck_two_sum(double a, double b) {
    double sum = a + b;
    double part = sum - a;
    return (ck_pair){sum, (a - (sum - part)) + (b - part)};
}

/// 2^k for |k| <= 1022.
static inline double ck_power_of_two(int k) { return ck_double((uint64_t)(k + 1023) << 52); }

/// s and k with exp(x) = 2^k (1 + s), for a finite |x| < 800; `elementary.c` derives it.
ck_pair ck_expansion(double x, int *k);

#endif
