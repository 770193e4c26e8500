// DoRA's rows, fused: which rows a vector may finish, and why that is right. low_rank_magnitude.c drives.
//
// Defined, in float64 (u = 2^-53):    V_j = fl(w_j + U_j), with U_j the update of ck_low_rank_merge
//     s = +0, s = fma(V_j, V_j, s) for j in order;   f = fl(m / fl(sqrt(s)));   R_j = fl(V_j f);   out_j = rnd(R_j)
//
// V is always made in float64, by the defined operations: the norm asks for all of the row, so a float32 sum that left
// one element of it open would leave the row open, and with thousands of elements that is most rows. What float32 and
// lanes save is the chain of s, in which every step waits for the one before, and the rounding of R.
//
// 1. The norm. t is a sum of the same squares in SQUARE_LANES lanes and then of the lanes. Let S be the exact sum of n
//    squares and 2^-900 <= t <= 2^1000: no sum overflows, and what underflows (2^-1075 a step) is below u^2 of S. All
//    terms have one sign, so s = S (1 + a) and t = S (1 + b), with |a| <= g(n), one rounding a step, and |b| <= g(n/8 +
//    40): a product and a sum where a path has no fma, n/8 + 15 steps in a lane, 8 lanes (g(k) = k u / (1 - k u)). Roots
//    halve that: with p = fl(m / fl(sqrt(t))), two roundings on each way, and 2^-900 <= |p| <= 2^900 or p = m = 0,
//        |f - p| <= ((9/16) n + 24) (1 + 2^-30) u |p|  <  q |p|,     q = ((9/16) n + 64) u
//    The 40 u that are left over exceed the roundings of q, of 1 - q, of 1 + q and of their products with p.
//    So low = fl(p fl(1 - q)) and high = fl(p fl(1 + q)) have f between them. Rows longer than 2^16 are not bounded: q
//    is below 2^-37.
// 2. A single element. Multiplication rounds monotonically: R_j is between fl(V_j low) and fl(V_j high), and where both
//    round to one code of the format, R_j does. Where w_j is not between them, R_j is not w_j: the element is updated.
// 3. Elements of 16 bits, sixteen at a time. y = float32(fl(V_j p)), 2^-100 <= |y| < limit, is off from R_j by at most
//    (2^-24 + q + 2^-51) |y| (1 + 2^-20). With e = 2^-22 |y|, exact, fl(y - e) and fl(y + e) lose another 2^-24 |y|
//    (1 + 2^-22): R_j is strictly between them. Then they decide as in low_rank_bounds.h, 5 and 6. And |y - w_j| > 4 e
//    says that R_j is not w_j.
// 4. All else goes to 2, one by one, and what 2 leaves open to the chain: the row has its f then, and 2 with low = high
//    decides everything.
//
// The tally. An update is R_j - w_j; R_j is known to 2 q, so the sum of squares to 4 q |R| |R - w|, the Euclidean norms
// over the elements, beside its own roundings.

#ifndef CKERNELS_LOW_RANK_MAGNITUDE_H
#define CKERNELS_LOW_RANK_MAGNITUDE_H

#include "low_rank.h"

/// Of 3.
#define CK_STRETCH_REACH 0x1p-22f
#define CK_STRETCH_SMALLEST 0x1p-100f

#endif
