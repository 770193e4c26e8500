// The error function in float64, the same bits on every processor.
//
// erf is odd; let x > 0. Below 2 all terms of one series are positive (M. Abramowitz and I. Stegun, 7.1.6):
//
//     erf(x) = 2/sqrt(pi) exp(-x^2) S(x),   S(x) = sum over n = 0, 1, ... of t_n,   t_0 = x,   t_n = t_(n-1) 2 x^2 / (2n + 1)
//
// Each t_n and their sum are kept as sums of two doubles, whose products and quotients are within 2^-99 or so; what t_34 and
// all after it add is below 2^-64 of S for x <= 2. exp(-x^2) has the error of the expansion, 2^-57.4 of itself: x^2 is
// exact in two doubles by fma, and the second, below 2^-51, enters as the factor 1 - rest, which leaves out rest^2 / 2. So
// before the last rounding erf is within 2^-57 of itself.
//
// From 2 on erf(x) = 1 - erfc(x), and erfc has a continued fraction of positive terms (7.1.14):
//
//     erfc(x) = exp(-x^2) / sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ...))))
//
// 60 levels leave out less than 2^-55 of it. It is below 2^-7.7, and its roundings, some ten units, below 2^-57 of erf.
//
// Every result is within 0.5 + 2^-3 ulp of the real value; subnormal ones are rounded twice, within 1 ulp. Tests hold the
// bounds against 100-digit numbers. Only +, -, *, / and fma are used, each rounded once as IEEE 754 says.

#include "elementary.h"

#include <math.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

/// 2/sqrt(pi) in two parts, and 1/sqrt(pi).
static const ck_pair TWO_BY_ROOT_PI = {0x1.20DD750429B6Dp+0, 0x1.1AE3A914FED80p-56};
static const double ONE_BY_ROOT_PI = 0x1.20DD750429B6Dp-1;

static ck_pair product(ck_pair a, ck_pair b) {
    double high = a.high * b.high;
    double low = fma(a.high, b.high, -high) + (a.high * b.low + a.low * b.high);
    return ck_two_sum(high, low);
}

/// a / b for a b without a second part.
static ck_pair quotient(ck_pair a, double b) {
    double high = a.high / b;
    double rest = fma(-high, b, a.high) + a.low;
    return ck_two_sum(high, rest / b);
}

static ck_pair sum(ck_pair a, ck_pair b) {
    ck_pair high = ck_two_sum(a.high, b.high);
    return ck_two_sum(high.high, high.low + (a.low + b.low));
}

/// exp(-x^2) for 0 <= x <= 6, where it is at least 2^-52.
static ck_pair gaussian(ck_pair square) {
    int k;
    ck_pair s = ck_expansion(-square.high, &k);
    ck_pair one = ck_two_sum(1, s.high);
    double scale = ck_power_of_two(k);
    ck_pair value = ck_two_sum(scale * one.high, scale * (one.low + s.low));
    return product(value, ck_two_sum(1, -square.low));
}

double ck_erf(double x) {
    if (x != x) return ck_double(CK_NAN_F64);
    double size = fabs(x);
    // 1 - erf(6) is below 2^-55, a quarter of the spacing below 1. Below 2^-29 the next term, x^3/3, is below 2^-59 x.
    if (size > 6) return copysign(1, x);
    if (size < 0x1p-29) return fma(x, TWO_BY_ROOT_PI.high, x * TWO_BY_ROOT_PI.low);
    double high = size * size;
    ck_pair square = {high, fma(size, size, -high)};
    if (size < 2) {
        ck_pair twice = {2 * square.high, 2 * square.low};
        ck_pair term = {size, 0};
        ck_pair series = term;
        for (int n = 1; n < 34; n++) {
            term = quotient(product(term, twice), 2 * n + 1);
            series = sum(series, term);
        }
        ck_pair value = product(product(series, TWO_BY_ROOT_PI), gaussian(square));
        return copysign(value.high + value.low, x);
    }
    double fraction = size;
    for (int n = 60; n > 0; n--) fraction = size + 0.5 * n / fraction;
    ck_pair bell = gaussian(square);
    return copysign(1 - (bell.high + bell.low) * ONE_BY_ROOT_PI / fraction, x);
}
