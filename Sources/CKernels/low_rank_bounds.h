// Why a float32 sum may decide a 16-bit result: the bound of its error.
//
// Defined, in float64 (u64 = 2^-53):      a = chain of fma over k of l_k r_k;  U = fl(s a);  R = fl(w + U);  out = rnd(R)
// Computed, in float32 (u = 2^-24):       m_k = fl(|s| l_k);  b = sum of m_k r_k;  v = fl(w + sign(s) b)
// where l_k, r_k are float32 numbers and 2^-60 <= |s| <= 2^60. Let A = |s| sum |l_k| |r_k| and x = s sum l_k r_k.
//
// 1. The sum. b is a sum of M = ceil(rank / C) chunks of at most C = RANK_CHUNK products, over factors with one rounding
//    of their own (m_k; made in double and then rounded to float32, which adds 2^-53 to u). A chunk from +0 gives each
//    term C roundings at most: with fma one a step; without, one in its product and one in each further addition. Then
//    M - 1 additions. So a term passes at most n = min(rank, C) + M roundings, and
//    |sign(s) b - x| <= g A with g = n u / (1 - n u)        (N. Higham, Accuracy and Stability, 2nd ed., lemma 3.1).
// 2. Underflow. A product, a fused step or an m_k below 2^-126 has instead an error of at most 2^-150 (sums of float32
//    numbers have none): in all (2 rank + sum |r_k|) 2^-150, where sum |r_k| <= sqrt(rank) |r|.
// 3. The definition's own errors. Products are at least 2^-298 and |s| >= 2^-60, so nothing underflows in float64:
//    |U - x| <= (rank + 2) u64 A, which is less than u A: one more rounding in n. And |R - (w + U)| <= u64 |R|.
// 4. A <= |s| |l| |r|, the Euclidean norms (Cauchy and Schwarz). With
//        row = (1 + 2^-12) ((n + 1) u |s| |l| + 2^-60),   column = (1 + 2^-12) (|r| + 2^-60),   B = fl(row column)
//    rounded up, B covers 1 to 3 strictly: 2^-60 |r| and 2^-120 exceed the terms of 2 for any rank below 2^24, and
//    2^-12, twice, exceeds n u (n is below 2^11 by ck_bounds_apply), the rounding of the norms and that of B. Where a
//    whole row of left or column of right is zero, so is its factor, and then b = +0 and U = s·(+0) exactly. B is 0 in
//    no other case.
//    Hence  |U - sign b| < B  if B > 0;  and |b| >= B > 0 says that U is not 0.
// 5. v. |v - (w + sign b)| <= u |v|, so |v - R| < B + u |v| + u64 |R|. The interval that is tested,
//        e = fl(3 u |v| + B),  low = fl(v - e),  high = fl(v + e)
//    has two more roundings: low <= v - e + u |v| + u e and e >= (1 - 2 u) (3 u |v| + B), and 3 u |v| is more than the
//    u |v| of v, the u |v| of low and the second-order rest. So low < R < high, strictly, or B = 0 and v = w = R.
//    (Below 2^-126 the additions are exact; 3 u |v| then loses at most 2^-150, which the slack 2^-12 of B exceeds.)
// 6. The decision. Rounding is monotone: where low and high have one code, R has it too. The two codes differ in the
//    sign when R may be on either side of zero. If B = 0 and w = -0, v = -0 + sign (+0) = w + U as defined.
// 7. What else is left to float64: |v| >= limit (results that overflow, Inf and NaN of w, sums that overflowed), and
//    |b| < B > 0, so that every decided element is known to be updated, or not.
//
// 8. W in float64. Then v is made of wf = fl32(w), and |wf - w| <= u |wf| where |wf| >= 2^-126; e has 2 u |wf| more, and one
//    rounding, which the u |wf| that is left over exceeds. A wf below CK_BASE_SMALLEST is left to float64, but for zero:
//    there |w| <= 2^-150, and with B > 0 the slack that 2 names has room for one more such term. With B = 0, v = +0; that is the
//    code of w + U for every w that rounds to +0, and -0 is left to float64, since -2^-151 has the code of -0.
//
// Sums of squares, per tile: of b and of stored - w in float32, at most eleven roundings each, so within 11 u < 1e-6 of
// what they sum. And b is U but for B: the squared norm of the updates is known to 2 g + 11 u of the sum of A^2. That is
// the worst; errors of both signs, which ordinary factors give, leave less than 1e-6.

#ifndef CKERNELS_LOW_RANK_BOUNDS_H
#define CKERNELS_LOW_RANK_BOUNDS_H

#include "low_rank.h"

#include <math.h>

#define CK_SLACK (1 + 0x1p-12)
#define CK_FLOOR 0x1p-60
/// Bounds beyond these are left to float64. With |s| |l| < 2^29 (n + 1 is 3 at least) and |r| < 2^30, no m_k and no sum
/// overflows, and a tile's squares, of at most 2^60 each, stay below 2^127.
#define CK_ROW_CEILING 0x1p5f
#define CK_COLUMN_CEILING 0x1p30f
/// Updates of at most this size, by the norms of row and column, are left to float64: their squares would come near 2^-126, where
/// float32 loses digits. What is smaller than 2^-63 beside larger ones adds nothing to a sum that anybody sees.
#define CK_UPDATE_FLOOR 0x1p-50

/// 3 u, of 5.
#define CK_VALUE_ERROR 0x1.8p-23f

/// 2 u, of 8.
#define CK_BASE_ERROR 0x1p-23f
#define CK_BASE_SMALLEST 0x1p-120f

/// Of 7: where low and high cannot reach Inf in the format, and squares of differences not in float32.
#define CK_LIMIT_BF16 0x1p59f
#define CK_LIMIT_F16 0x1p15f

/// Whether 1 to 7 hold for a scale and a rank; n is then below 2^11.
static inline bool ck_bounds_apply(double scale, size_t rank) {
    double size = fabs(scale);
    return size >= 0x1p-60 && size <= 0x1p60 && rank <= 16384;
}

/// A float32 number not below `value`, which is 0 or at least 2^-60.
static inline float ck_round_up(double value) {
    float rounded = (float)value;
    return rounded < value ? (float)(value * (1 + 0x1p-22)) : rounded;
}

static inline float ck_column_bound(double squares) {
    return squares == 0 ? 0 : ck_round_up(CK_SLACK * (sqrt(squares) + CK_FLOOR));
}

/// `squares` is the sum over k of (s l_k)^2.
static inline float ck_row_bound(double squares, size_t rank) {
    size_t chunk = rank < RANK_CHUNK ? rank : RANK_CHUNK;
    size_t n = chunk + (rank + RANK_CHUNK - 1) / RANK_CHUNK;
    return squares == 0 ? 0 : ck_round_up(CK_SLACK * ((double)(n + 1) * 0x1p-24 * sqrt(squares) + CK_FLOOR));
}

#endif
