// exp, tanh and the logistic function in float64, the same bits on every processor: libm's differ between builds.
//
// All three rest on one expansion. With k = round(x / ln 2) and r = x - k ln 2, |r| <= ln 2 / 2,
//
//     exp(x) = 2^k (1 + s),   s = r + r^2/2 + r^3 q(r),   q(r) = sum over n = 0 ... 11 of r^n / (n + 3)!
//
// The sum leaves out less than r^15 / 15! * 1.03 < 2^-63. r is kept as a sum of two doubles, r^2/2 is exact in two
// doubles by fma, and r^3 q is computed in double: four roundings of a term that is at most 0.0084, so s has an
// absolute error below 2^-57.9 and, since r^3 q / s <= r^2 / 5.5 < 0.022, a relative one below 2^-56.4. Quotients
// are corrected once by their remainder. What is left is the last rounding: every result is within 0.5 + 2^-3 ulp of the
// real value; only results that are subnormal are rounded twice, within 1 ulp. Tests hold the bounds against 80-bit
// arithmetic.
//
// Only +, -, *, /, fma and floor are used, each rounded once as IEEE 754 says.

#include "elementary.h"

#include <math.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

/// ln 2 in two parts; the first has 33 significant bits, so that its product with |k| < 2^11 is exact.
static const double LN2_HIGH = 0x1.62E42FEE00000p-1;
static const double LN2_LOW = 0x1.A39EF35793C76p-33;
static const double LOG2_E = 0x1.71547652B82FEp+0;

/// 1/3!, 1/4!, ... 1/14!.
static const double COEFFICIENTS[12] = {
    1.0 / 6,        1.0 / 24,        1.0 / 120,        1.0 / 720,          1.0 / 5040,          1.0 / 40320,
    1.0 / 362880,   1.0 / 3628800,   1.0 / 39916800,   1.0 / 479001600,    1.0 / 6227020800.0,  1.0 / 87178291200.0,
};

ck_pair ck_expansion(double x, int *k) {
    double multiple = floor(fma(x, LOG2_E, 0.5));
    *k = (int)multiple;
    // x - k LN2_HIGH is exact: the product is, and the difference loses the leading bits of both.
    ck_pair r = ck_two_sum(x - multiple * LN2_HIGH, -(multiple * LN2_LOW));
    double q = COEFFICIENTS[11];
    for (int n = 10; n >= 0; n--) q = fma(q, r.high, COEFFICIENTS[n]);
    double square = r.high * r.high;
    double square_rest = fma(r.high, r.high, -square);
    double cubic = square * r.high * q;
    ck_pair s = ck_two_sum(r.high, 0.5 * square);
    // The small parts: of r, of r^2/2 (where 2 r.high r.low / 2 belongs), and the cubic term.
    double rest = s.low + (r.low + fma(r.high, r.low, 0.5 * square_rest));
    ck_pair sum = ck_two_sum(s.high, cubic);
    return ck_two_sum(sum.high, sum.low + rest);
}

/// numerator / denominator, corrected once by its remainder.
static double quotient(ck_pair numerator, ck_pair denominator) {
    double first = numerator.high / denominator.high;
    double rest = fma(-first, denominator.high, numerator.high);
    rest = rest + (numerator.low - first * denominator.low);
    return first + rest / denominator.high;
}

double ck_exp(double x) {
    if (x != x) return ck_double(CK_NAN_F64);
    // exp(709.79) is beyond the largest double; exp(-745.14) is below half of the smallest.
    if (x > 709.79) return ck_double(UINT64_C(0x7FF) << 52);
    if (x < -745.2) return 0;
    int k;
    ck_pair s = ck_expansion(x, &k);
    ck_pair one = ck_two_sum(1, s.high);
    double value = one.high + (one.low + s.low);
    if (k >= -1021 && k <= 1022) return value * ck_power_of_two(k);
    // In two steps: the first is exact, the second overflows or rounds a subnormal.
    int half = k / 2;
    return value * ck_power_of_two(half) * ck_power_of_two(k - half);
}

double ck_tanh(double x) {
    if (x != x) return ck_double(CK_NAN_F64);
    double size = fabs(x);
    // 1 - tanh(x) < 2 exp(-2x), below a quarter of 2^-53 from 20 on. Below 2^-28 the next term, x^3/3, is below 2^-57 x.
    if (size > 20) return copysign(1, x);
    if (size < 0x1p-28) return x;
    // tanh(x) = (exp(2x) - 1) / (exp(2x) + 1).
    int k;
    ck_pair s = ck_expansion(2 * size, &k);
    ck_pair numerator = s;
    if (k != 0) {
        double scale = ck_power_of_two(k);
        ck_pair less = ck_two_sum(scale, -1);
        ck_pair sum = ck_two_sum(less.high, scale * s.high);
        numerator = ck_two_sum(sum.high, sum.low + (less.low + scale * s.low));
    }
    ck_pair sum = ck_two_sum(numerator.high, 2);
    ck_pair denominator = ck_two_sum(sum.high, sum.low + numerator.low);
    return copysign(quotient(numerator, denominator), x);
}

double ck_sigmoid(double x) {
    if (x != x) return ck_double(CK_NAN_F64);
    // 1 - sigmoid(x) < exp(-x), below a quarter of 2^-53 from 40 on; below -700 the denominator is 1 to all bits.
    if (x > 40) return 1;
    if (x < -700) return ck_exp(x);
    // sigmoid(x) = e / (1 + e) with e = exp(x).
    int k;
    ck_pair s = ck_expansion(x, &k);
    ck_pair one = ck_two_sum(1, s.high);
    ck_pair e = ck_two_sum(one.high, one.low + s.low);
    double scale = ck_power_of_two(k);
    e.high *= scale;
    e.low *= scale;
    ck_pair sum = ck_two_sum(1, e.high);
    ck_pair denominator = ck_two_sum(sum.high, sum.low + e.low);
    return quotient(e, denominator);
}
