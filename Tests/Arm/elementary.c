// exp, tanh, the logistic function and erf against the C library's in long double: 64 bits on x86-64, 113 on AArch64. What is hashed is
// the bits of ours alone.

#include "attacks.h"

#include <float.h>
#include <math.h>
#include <string.h>

_Static_assert(LDBL_MANT_DIG >= 64, "the reference is to be finer than what it judges");

static long double sigmoid(long double x) { return 1 / (1 + expl(-x)); }

/// Within 0.625 ulp, subnormal results within 1.
static void within(const char *what, size_t index, double found, long double exact) {
    double near = (double)exact;
    if (!isfinite(near) || exact == 0) {
        if (found != near || signbit(found) != signbit(near)) fail(NO_PATH, what, index);
        return;
    }
    bool normal = fabs(near) >= DBL_MIN;
    long double spacing = ldexpl(1, (normal ? ilogb(near) : -1022) - 52);
    if (!(fabsl(found - exact) <= (normal ? 0.625L : 1) * spacing)) fail(NO_PATH, what, index);
}

static void strike_function(const char *what, double (*ours)(double), long double (*exact)(long double), const double *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double found = ours(x[i]);
        within(what, i, found, exact(x[i]));
        judge(NO_PATH, what, &found, &found, 1, sizeof found);
    }
    count_case();
}

/// erf(x) with 100 digits by mpmath, as the nearest double and the nearest double of the rest: see ElementaryTests.swift.
static const double table[][3] = {
    {0x1p-1074, 0x0.0000000000001p-1022, 0x0.0p+0},
    {0x1.8p-300, 0x1.b14c2f863e924p-300, -0x1.95eaa098206f0p-354},
    {0x1.23456789abcdep-30, 0x1.48aa0c88b7fe9p-30, 0x1.4d0cdb0b9c684p-84},
    {0x1p-29, 0x1.20dd750429b6dp-29, 0x1.02d134a9fb5e1p-85},
    {0x1.fp-20, 0x1.17d6895c070afp-19, 0x1.1ed66425d4fa9p-75},
    {0x1.999999999999ap-4, 0x1.cca5ea24fb334p-4, 0x1.112c8facdc19cp-60},
    {0x1p-1, 0x1.0a7ef5c18edd2p-1, 0x1.5e809f1a31a28p-56},
    {0x1.199999999999ap+0, 0x1.c2aa3d27302c0p-1, -0x1.05ffab83077fdp-58},
    {0x1.8p+0, 0x1.eea5557137ae0p-1, -0x1.385e445f2c96dp-55},
    {0x1.fffffffffffffp+0, 0x1.fd9ae142795e3p-1, 0x1.428119ed0d31bp-56},
    {0x1p+1, 0x1.fd9ae142795e3p-1, 0x1.972801904b9a3p-56},
    {0x1.0000000000001p+1, 0x1.fd9ae142795e3p-1, 0x1.203ae86b64358p-55},
    {0x1.4p+1, 0x1.ffcaa8f4c9beap-1, 0x1.b0cee160116f9p-55},
    {0x1.8p+1, 0x1.fffd1ac4135f9p-1, 0x1.eeafa1ecd6cefp-55},
    {0x1.c28f5c28f5c29p+1, 0x1.ffffea7254a8dp-1, 0x1.3f94739d867c0p-57},
    {0x1.1p+2, 0x1.fffffff01a8b6p-1, 0x1.23370eca5ca6ap-60},
    {0x1.5p+2, 0x1.ffffffffffc05p-1, 0x1.07ba96a6b2e1ap-55},
    {0x1.7p+2, 0x1.ffffffffffffcp-1, 0x1.8115fd1b12786p-56},
};

static void error_function_table(void) {
    for (size_t each = 0; each < sizeof table / sizeof *table; each++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            long double exact = (long double)table[each][1] + table[each][2];
            within("erf of the table", each, ck_erf(sign * table[each][0]), sign * exact);
        }
    }
    count_case();
}

/// Where the functions bend, where they end, and out to the ends of the range.
static size_t arguments(double *x) {
    enum { RANDOM = 24000 };
    static const double ends[] = {
        0, INFINITY, 0.5, 1, 2, 5.8, 6, 6.5, 19.99, 20, 20.01, 36.7, 37, 40, 40.01, 0x1p-28, 0x1p-29, 0x1p-1022, 0x1p-1074, 1e-300,
        700, 709.7, 709.78, 709.79, 709.8, 744.2, 745, 745.13, 745.2, 746, 1e300, 0x1.fffffffffffffp1023,
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        x[count++] = ends[i], x[count++] = -ends[i];
        x[count++] = nextafter(ends[i], INFINITY), x[count++] = nextafter(-ends[i], INFINITY);
    }
    for (int n = -2200; n <= 2200; n++) x[count++] = n * 0.34657359027997264;
    for (size_t i = 0; i < RANDOM; i++) {
        double unit = (double)(draw() >> 11) * 0x1p-52 - 1;
        x[count++] = i % 4 < 2 ? 8 * unit : i % 4 == 2 ? 40 * unit : any(-60, 9);
    }
    return count;
}

static long double library_exp(long double x) { return expl(x); }
static long double library_tanh(long double x) { return tanhl(x); }
static long double library_erf(long double x) { return erfl(x); }

void attack_elementary(void (*begin)(const char *name)) {
    static const struct { const char *name; double (*ours)(double); long double (*exact)(long double); } functions[] = {
        {"exp", ck_exp, library_exp}, {"tanh", ck_tanh, library_tanh}, {"sigmoid", ck_sigmoid, sigmoid}, {"erf", ck_erf, library_erf},
    };
    static double x[30000];
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        begin(functions[f].name);
        strike_function(functions[f].name, functions[f].ours, functions[f].exact, x, arguments(x));
        for (int sign = -1; sign <= 1; sign += 2) {
            double found = functions[f].ours(copysign(NAN, sign));
            uint64_t bits, canonical = UINT64_C(0x7FF8000000000000);
            memcpy(&bits, &found, sizeof bits);
            judge(NO_PATH, "of NaN", &bits, &canonical, 1, sizeof bits);
        }
        if (functions[f].ours == ck_erf) error_function_table();
    }
}
