// The fused rank-r update for x86-64 with AVX2, FMA and F16C.

#if defined(__x86_64__)

#include "low_rank.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline, target("avx2,fma,f16c")))
#define KERNEL __attribute__((target("avx2,fma,f16c")))

enum { LANES = 8, GROUP_ROWS = 6 };
typedef __m256 V;
typedef uint32_t U __attribute__((vector_size(32)));
typedef __m128i H;
typedef __m256d D;

// The compilers' own arithmetic where there is one, as in x86_low_rank.c.
#if defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_fma)
#define STEP(a, b, c) __builtin_elementwise_fma(a, b, c)
#define WIDE_STEP(a, b, c) __builtin_elementwise_fma(a, b, c)
#endif
#endif
#if !defined(STEP)
#define STEP(a, b, c) _mm256_fmadd_ps(a, b, c)
#define WIDE_STEP(a, b, c) _mm256_fmadd_pd(a, b, c)
#endif

#define BROADCAST(p) _mm256_broadcast_ss(p)
#define LOAD_BITS(p) ((U)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p))))
#define LOAD_HALF(p) _mm_loadu_si128((const __m128i *)(p))
#define STORE_HALF(p, h) _mm_storeu_si128((__m128i *)(p), h)
#define WIDEN_HALF(h) _mm256_cvtph_ps(h)
#define NARROW_HALF(v) _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define SAME_HALF(a, b) ((U)_mm256_cvtepi16_epi32(_mm_cmpeq_epi16(a, b)))
#define BITS(u) _mm256_movemask_ps((__m256)(u))
#define NARROW_DOUBLES(p) \
    _mm256_insertf128_ps( \
        _mm256_castps128_ps256(_mm256_cvtpd_ps(_mm256_loadu_pd(p))), _mm256_cvtpd_ps(_mm256_loadu_pd((p) + 4)), 1)
#define ALL(u) (BITS(u) == 0xFF)

INLINE void STORE_BITS(char *to, U codes) {
    __m128i low = _mm256_castsi256_si128((__m256i)codes), high = _mm256_extracti128_si256((__m256i)codes, 1);
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi32(low, high));
}

#include "low_rank_tile.h"

enum { WIDE_LANES = 4, WIDE_ROWS = 6 };
#define EXACT_STEP(a, b, c) WIDE_STEP(a, b, c)
#define SQUARE_STEP(a, b, c) WIDE_STEP(a, b, c)
#define WIDE_BROADCAST(p) _mm256_broadcast_sd(p)
#define WIDEN_FLOATS(p) _mm256_cvtps_pd(_mm_loadu_ps(p))
#define STORE_FLOATS(p, d) _mm_storeu_ps(p, _mm256_cvtpd_ps(d))
#define ALL_WIDE(m) (_mm256_movemask_pd((__m256d)(m)) == 0xF)

#include "low_rank_sums.h"
#include "low_rank_rows.h"

const ck_low_rank_functions ck_low_rank_avx2 = {
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

#endif
