// The fused rank-r update in portable form: vectors of four in the compilers' own arithmetic, which every machine has
// in some form, and no fused multiply-add but where the definition needs one.

#include "low_rank.h"

#define INLINE static inline __attribute__((always_inline))
#define KERNEL

enum { LANES = 4, GROUP_ROWS = 2 };
typedef float V __attribute__((vector_size(16)));
typedef uint32_t U __attribute__((vector_size(16)));
typedef uint16_t codes4 __attribute__((vector_size(8)));

#define STEP(a, b, c) ((a) * (b) + (c))
// Not by an addition to zero, which would lose the sign of -0.
#define BROADCAST(p) ((V){*(p), *(p), *(p), *(p)})

INLINE U LOAD_BITS(const char *from) {
    codes4 codes;
    __builtin_memcpy(&codes, from, sizeof codes);
    return __builtin_convertvector(codes, U);
}

INLINE void STORE_BITS(char *to, U codes) {
    codes4 narrow = __builtin_convertvector(codes, codes4);
    __builtin_memcpy(to, &narrow, sizeof narrow);
}

INLINE U choose(U mask, U yes, U no) { return (mask & yes) | (~mask & no); }

// Codes of F16 stay spread out, as those of BF16 are.
typedef U H;
#define LOAD_HALF(p) LOAD_BITS(p)
#define STORE_HALF(p, h) STORE_BITS(p, h)
#define SAME_HALF(a, b) ((U)((a) == (b)))

/// As widen_f16 in widen.c, four at a time.
INLINE V WIDEN_HALF(H code) {
    U size = code & 0x7FFFu;
    U normal = (size << 13) + (112u << 23);
    // 2^-24 times the fraction, made exactly as 2^-1 + fraction 2^-24 less 2^-1.
    U tiny = (U)((V)(size + 0x3F000000u) - 0.5f);
    U bits = choose((U)(size < 0x0400u), tiny, choose((U)(size < 0x7C00u), normal, normal + (112u << 23)));
    return (V)(bits | (code & 0x8000u) << 16);
}

/// Normal results: half a step less one and the bit that stays, then the exponent rebiased. Below 2^-14, the addition
/// of 2^-1 rounds to multiples of 2^-24.
INLINE H NARROW_HALF(V value) {
    U bits = (U)value & 0x7FFFFFFFu;
    U normal = (bits + 0xFFFu + (bits >> 13 & 1u) - (112u << 23)) >> 13;
    U tiny = (U)((V)bits + 0.5f) - 0x3F000000u;
    U codes = choose((U)(bits < (113u << 23)), tiny, normal);
    return (codes & 0x7FFFu) | ((U)value >> 16 & 0x8000u);
}

INLINE bool ALL(U mask) { return (mask[0] & mask[1] & mask[2] & mask[3]) == UINT32_MAX; }

INLINE uint32_t BITS(U mask) { return (mask[0] & 1) | (mask[1] & 2) | (mask[2] & 4) | (mask[3] & 8); }

typedef double doubles4 __attribute__((vector_size(32)));

INLINE V NARROW_DOUBLES(const double *from) {
    doubles4 values;
    __builtin_memcpy(&values, from, sizeof values);
    return __builtin_convertvector(values, V);
}

#include "low_rank_tile.h"

enum { WIDE_LANES = 2, WIDE_ROWS = 2 };
typedef double D __attribute__((vector_size(16)));

INLINE D WIDE_STEP(D a, D b, D c) { return (D){fma(a[0], b[0], c[0]), fma(a[1], b[1], c[1])}; }
#define EXACT_STEP(a, b, c) ((a) * (b) + (c))
#define SQUARE_STEP(a, b, c) ((a) * (b) + (c))
#define WIDE_BROADCAST(p) ((D){*(p), *(p)})
typedef float floats2 __attribute__((vector_size(8)));

INLINE D WIDEN_FLOATS(const float *from) {
    floats2 values;
    __builtin_memcpy(&values, from, sizeof values);
    return __builtin_convertvector(values, D);
}

INLINE void STORE_FLOATS(float *to, D values) {
    floats2 narrow = __builtin_convertvector(values, floats2);
    __builtin_memcpy(to, &narrow, sizeof narrow);
}

#define ALL_WIDE(m) (((m)[0] & (m)[1]) == -1)

#include "low_rank_sums.h"
#include "low_rank_rows.h"

const ck_low_rank_functions ck_low_rank_generic = {
    .band_bf16 = band_bf16,
    .band_f16 = band_f16,
    .band_bf16_of_f64 = band_bf16_of_f64,
    .band_f16_of_f64 = band_f16_of_f64,
    .sums_exact = sums_exact,
    .sums_narrow = sums_narrow,
    .sums_wide = sums_wide,
    .finish_f32 = finish_f32,
    .raise_bf16 = raise_bf16,
    .raise_f16 = raise_f16,
    .raise_f32 = raise_f32,
    .chain = chain,
    .stretch_bf16 = stretch_bf16,
    .stretch_f16 = stretch_f16,
    .stretch_f32 = stretch_f32,
};
