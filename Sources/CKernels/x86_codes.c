// Codes to numbers for x86-64 with AVX2.

#if defined(__x86_64__)

#include <immintrin.h>

#define KERNEL __attribute__((target("avx2")))
#include "codes_loops.h"

/// Four comparisons halve the thresholds each time. A comparison's mask is -1, so with q the number of thresholds found to be
/// below, what is added up is -q, and the tables are laid out for it: entry -q modulo their size.
KERNEL static void nearest(
    const float *values, size_t count, float factor, const float thresholds[15], const float table[16], double scale, double *result) {
    const float *t = thresholds;
    const __m256 fourth[2] = {_mm256_set1_ps(t[3]), _mm256_set1_ps(t[11])};
    const __m256 seconds = _mm256_setr_ps(t[1], t[13], t[9], t[5], t[1], t[13], t[9], t[5]);
    const __m256 firsts = _mm256_setr_ps(t[0], t[14], t[12], t[10], t[8], t[6], t[4], t[2]);
    const __m256 low = _mm256_setr_ps(table[0], table[7], table[6], table[5], table[4], table[3], table[2], table[1]);
    const __m256 high = _mm256_setr_ps(table[8], table[15], table[14], table[13], table[12], table[11], table[10], table[9]);
    const __m256 middle = _mm256_set1_ps(t[7]), factors = _mm256_set1_ps(factor);
    const __m256d scales = _mm256_set1_pd(scale);
    size_t i = 0;
    for (; count - i >= 8; i += 8) {
        __m256 value = _mm256_mul_ps(_mm256_loadu_ps(values + i), factors);
        __m256 upper = _mm256_cmp_ps(value, middle, _CMP_GT_OQ);
        __m256i below = _mm256_castps_si256(upper);
#define HALVE(border)                                                                                                  \
    below = _mm256_add_epi32(_mm256_add_epi32(below, below), _mm256_castps_si256(_mm256_cmp_ps(value, border, _CMP_GT_OQ)))
        HALVE(_mm256_blendv_ps(fourth[0], fourth[1], upper));
        HALVE(_mm256_permutevar_ps(seconds, below));
        HALVE(_mm256_permutevar8x32_ps(firsts, below));
#undef HALVE
        __m256 entry = _mm256_blendv_ps(
            _mm256_permutevar8x32_ps(low, below), _mm256_permutevar8x32_ps(high, below), upper);
        _mm256_storeu_pd(result + i, _mm256_mul_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(entry)), scales));
        _mm256_storeu_pd(result + i + 4, _mm256_mul_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(entry, 1)), scales));
    }
    ck_nearest_generic(values + i, count - i, factor, thresholds, table, scale, result + i);
}

const ck_code_functions ck_codes_avx2 = {.affine = affine, .nearest = nearest};

#endif
