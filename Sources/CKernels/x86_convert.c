// Conversions for x86-64 with AVX2 and F16C, and the tables of its paths.

#if defined(__x86_64__)

#include "low_rank.h"
#include "x86.h"

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma,f16c")))

/// Eight floats to eight doubles.
AVX2 static inline void store_widened(__m256 values, double *result) {
    _mm256_storeu_pd(result, _mm256_cvtps_pd(_mm256_castps256_ps128(values)));
    _mm256_storeu_pd(result + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(values, 1)));
}

AVX2 static void widen_f16(const void *source, size_t count, double *result) {
    const ck_u16 *codes = source;
    size_t i = 0;
    for (; count - i >= 8; i += 8) {
        store_widened(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(codes + i))), result + i);
    }
    ck_widen_f16_generic(codes + i, count - i, result + i);
}

AVX2 static void widen_bf16(const void *source, size_t count, double *result) {
    const ck_u16 *codes = source;
    size_t i = 0;
    for (; count - i >= 8; i += 8) {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(codes + i)));
        store_widened(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)), result + i);
    }
    ck_widen_bf16_generic(codes + i, count - i, result + i);
}

AVX2 static void widen_f32(const void *source, size_t count, double *result) {
    const ck_u32 *codes = source;
    size_t i = 0;
    for (; count - i >= 8; i += 8) store_widened(_mm256_loadu_ps((const float *)(codes + i)), result + i);
    ck_widen_f32_generic(codes + i, count - i, result + i);
}

/// The low halves of two masks of four 64-bit lanes, as one mask of eight 32-bit lanes in order.
AVX2 static inline __m256i join_masks(__m256d low, __m256d high) {
    __m256 pairs = _mm256_shuffle_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high), _MM_SHUFFLE(2, 0, 2, 0));
    return _mm256_permute4x64_epi64(_mm256_castps_si256(pairs), _MM_SHUFFLE(3, 1, 2, 0));
}

AVX2 static inline __m256i join_floats(__m128 low, __m128 high) {
    return _mm256_castps_si256(_mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1));
}

/// Eight doubles to the bits of eight floats, rounded to odd; NaN canonical.
///
/// Rounding to odd (what is not exact goes to the neighbour whose last bit is 1) may be followed by rounding to
/// nearest in a format of at least two bits less, and the result is that of rounding once: S. Boldo and G. Melquiond,
/// "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Computers 57
/// (2008). Float has 24 bits against 11 (F16) and 8 (BF16); among subnormals its steps, 2^-149, are 2^125 and 2^16
/// times finer than theirs. A double beyond float's range becomes its largest number, which is odd, and which both
/// formats round to Inf.
///
/// How: round to nearest; where that went away from zero, step back by one code; set the last bit where not exact.
AVX2 static inline __m256i round_to_odd(__m256d low, __m256d high) {
    const __m256d sign = _mm256_set1_pd(-0.0);
    __m128 float_low = _mm256_cvtpd_ps(low), float_high = _mm256_cvtpd_ps(high);
    __m256d back_low = _mm256_cvtps_pd(float_low), back_high = _mm256_cvtps_pd(float_high);
    __m256i inexact = join_masks(
        _mm256_cmp_pd(back_low, low, _CMP_NEQ_UQ), _mm256_cmp_pd(back_high, high, _CMP_NEQ_UQ));
    __m256i beyond = join_masks(
        _mm256_cmp_pd(_mm256_andnot_pd(sign, back_low), _mm256_andnot_pd(sign, low), _CMP_GT_OQ),
        _mm256_cmp_pd(_mm256_andnot_pd(sign, back_high), _mm256_andnot_pd(sign, high), _CMP_GT_OQ));
    __m256i nan = join_masks(_mm256_cmp_pd(low, low, _CMP_UNORD_Q), _mm256_cmp_pd(high, high, _CMP_UNORD_Q));
    __m256i bits = join_floats(float_low, float_high);
    bits = _mm256_add_epi32(bits, beyond);
    bits = _mm256_or_si256(bits, _mm256_srli_epi32(inexact, 31));
    return _mm256_blendv_epi8(bits, _mm256_set1_epi32(0x7FC00000), nan);
}

AVX2 static void narrow_f16(const double *source, size_t count, void *result) {
    ck_u16 *codes = result;
    size_t i = 0;
    for (; count - i >= 8; i += 8) {
        __m256i odd = round_to_odd(_mm256_loadu_pd(source + i), _mm256_loadu_pd(source + i + 4));
        __m128i halves = _mm256_cvtps_ph(_mm256_castsi256_ps(odd), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm_storeu_si128((__m128i *)(codes + i), halves);
    }
    ck_narrow_f16_generic(source + i, count - i, codes + i);
}

AVX2 static void narrow_bf16(const double *source, size_t count, void *result) {
    ck_u16 *codes = result;
    size_t i = 0;
    for (; count - i >= 8; i += 8) {
        __m256i odd = round_to_odd(_mm256_loadu_pd(source + i), _mm256_loadu_pd(source + i + 4));
        // Half a step less one, plus the lowest bit that stays; Inf and the canonical NaN keep their upper half.
        __m256i last = _mm256_and_si256(_mm256_srli_epi32(odd, 16), _mm256_set1_epi32(1));
        __m256i rounded = _mm256_add_epi32(odd, _mm256_add_epi32(last, _mm256_set1_epi32(0x7FFF)));
        __m256i upper = _mm256_srli_epi32(rounded, 16);
        __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(upper, upper), _MM_SHUFFLE(3, 1, 2, 0));
        _mm_storeu_si128((__m128i *)(codes + i), _mm256_castsi256_si128(packed));
    }
    ck_narrow_bf16_generic(source + i, count - i, codes + i);
}

AVX2 static void narrow_f32(const double *source, size_t count, void *result) {
    ck_u32 *codes = result;
    size_t i = 0;
    for (; count - i >= 4; i += 4) {
        __m128 floats = _mm256_cvtpd_ps(_mm256_loadu_pd(source + i));
        __m128 nan = _mm_cmpunord_ps(floats, floats);
        floats = _mm_blendv_ps(floats, _mm_castsi128_ps(_mm_set1_epi32(0x7FC00000)), nan);
        _mm_storeu_ps((float *)(codes + i), floats);
    }
    ck_narrow_f32_generic(source + i, count - i, codes + i);
}

#define CONVERSIONS                                                                                                    \
    .widen_f16 = widen_f16, .widen_bf16 = widen_bf16, .widen_f32 = widen_f32, .narrow_f16 = narrow_f16,                \
    .narrow_bf16 = narrow_bf16, .narrow_f32 = narrow_f32

const ck_functions ck_avx2 = {
    CONVERSIONS,
    .add_low_rank = ck_add_low_rank_avx2,
    .low_rank = &ck_low_rank_avx2,
    .codes = &ck_codes_avx2,
    .sha256_blocks = ck_sha256_blocks_generic,
};

const ck_functions ck_avx2_sha = {
    CONVERSIONS,
    .add_low_rank = ck_add_low_rank_avx2,
    .low_rank = &ck_low_rank_avx2,
    .codes = &ck_codes_avx2,
    .sha256_blocks = ck_sha256_blocks_sha,
};

const ck_functions ck_avx512 = {
    CONVERSIONS,
    .add_low_rank = ck_add_low_rank_avx2,
    .low_rank = &ck_low_rank_avx512,
    .codes = &ck_codes_avx2,
    .sha256_blocks = ck_sha256_blocks_sha,
};

#endif
