// The fused rank-r update for x86-64 with AVX-512. One vector is a row of a tile: six sums in flight leave a quarter of
// the multiply-adds unused, and it is still a quarter to a third faster than AVX2 (Zen 5, ranks 8 to 256).

#if defined(__x86_64__)

#include "low_rank.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline, target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
#define KERNEL __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))

enum { LANES = 16, GROUP_ROWS = 6 };
typedef __m512 V;
typedef uint32_t U __attribute__((vector_size(64)));
typedef __m256i H;
typedef __m512d D;

// The compilers' own arithmetic where there is one, as in x86_low_rank.c.
#if defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_fma)
#define STEP(a, b, c) __builtin_elementwise_fma(a, b, c)
#define WIDE_STEP(a, b, c) __builtin_elementwise_fma(a, b, c)
#endif
#endif
#if !defined(STEP)
#define STEP(a, b, c) _mm512_fmadd_ps(a, b, c)
#define WIDE_STEP(a, b, c) _mm512_fmadd_pd(a, b, c)
#endif

#define BROADCAST(p) _mm512_set1_ps(*(p))
#define LOAD_BITS(p) ((U)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p))))
#define STORE_BITS(p, u) _mm256_storeu_si256((__m256i *)(p), _mm512_cvtepi32_epi16((__m512i)(u)))
#define LOAD_HALF(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE_HALF(p, h) _mm256_storeu_si256((__m256i *)(p), h)
#define WIDEN_HALF(h) _mm512_cvtph_ps(h)
#define NARROW_HALF(v) _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define SAME_HALF(a, b) ((U)_mm512_cvtepi16_epi32(_mm256_cmpeq_epi16(a, b)))
#define BITS(u) _mm512_movepi32_mask((__m512i)(u))
#define NARROW_DOUBLES(p) \
    _mm512_insertf32x8( \
        _mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_loadu_pd(p))), _mm512_cvtpd_ps(_mm512_loadu_pd((p) + 8)), 1)
#define ALL(u) (BITS(u) == 0xFFFF)

#include "low_rank_tile.h"

enum { WIDE_LANES = 8, WIDE_ROWS = 6 };
#define EXACT_STEP(a, b, c) WIDE_STEP(a, b, c)
#define SQUARE_STEP(a, b, c) WIDE_STEP(a, b, c)
#define WIDE_BROADCAST(p) _mm512_set1_pd(*(p))
#define WIDEN_FLOATS(p) _mm512_cvtps_pd(_mm256_loadu_ps(p))
#define STORE_FLOATS(p, d) _mm256_storeu_ps(p, _mm512_cvtpd_ps(d))
#define ALL_WIDE(m) (_mm512_movepi64_mask((__m512i)(m)) == 0xFF)

#include "low_rank_sums.h"
#include "low_rank_rows.h"

const ck_low_rank_functions ck_low_rank_avx512 = {
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
