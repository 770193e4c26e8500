// Codes to numbers for x86-64 with AVX2.

#if defined(__x86_64__)

#include <immintrin.h>

#define KERNEL __attribute__((target("avx2")))
#include "codes_loops.h"

/// Four comparisons halve the thresholds each time. A comparison's mask is -1, so with q the number of thresholds found to be
/// below, what is added up is -q, and the tables are laid out for it: entry -q modulo their size.
KERNEL static void nearest(
    const void *values, ck_format format, size_t count, size_t group, const float *factors, const float thresholds[15],
    const float table[16], const double *scales, double *result) {
    const float *t = thresholds;
    const __m256 fourth[2] = {_mm256_set1_ps(t[3]), _mm256_set1_ps(t[11])};
    const __m256 seconds = _mm256_setr_ps(t[1], t[13], t[9], t[5], t[1], t[13], t[9], t[5]);
    const __m256 firsts = _mm256_setr_ps(t[0], t[14], t[12], t[10], t[8], t[6], t[4], t[2]);
    const __m256 low = _mm256_setr_ps(table[0], table[7], table[6], table[5], table[4], table[3], table[2], table[1]);
    const __m256 high = _mm256_setr_ps(table[8], table[15], table[14], table[13], table[12], table[11], table[10], table[9]);
    const __m256 middle = _mm256_set1_ps(t[7]);
    const size_t size = format == CK_BF16 ? 2 : 4;
    for (size_t g = 0, start = 0; start < count; g++, start += group) {
        const size_t end = group < count - start ? start + group : count;
        const __m256 factor = _mm256_set1_ps(factors[g]);
        const __m256d scale = _mm256_set1_pd(scales[g]);
        size_t i = start;
        for (; end - i >= 8; i += 8) {
            const char *from = (const char *)values + i * size;
            __m256 value = format == CK_BF16
                ? _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from)), 16))
                : _mm256_loadu_ps((const float *)from);
            value = _mm256_mul_ps(value, factor);
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
            _mm256_storeu_pd(result + i, _mm256_mul_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(entry)), scale));
            _mm256_storeu_pd(result + i + 4, _mm256_mul_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(entry, 1)), scale));
        }
        ck_nearest_generic(
            (const char *)values + i * size, format, end - i, group, factors + g, thresholds, table, scales + g, result + i);
    }
}

/// The blocks of eight columns, transposed: byte j of each stands in turned[j].
KERNEL static inline void turn(const uint8_t *codes, size_t step, uint64_t turned[16]) {
    __m128i line[8], pair[8], quad[8];
    for (int c = 0; c < 8; c++) line[c] = _mm_loadu_si128((const __m128i *)(codes + (size_t)c * step * 16));
    // Bytes of two columns, then of four, then of eight beside each other; the halves of the blocks go apart.
    for (int c = 0; c < 4; c++) {
        pair[2 * c] = _mm_unpacklo_epi8(line[2 * c], line[2 * c + 1]);
        pair[2 * c + 1] = _mm_unpackhi_epi8(line[2 * c], line[2 * c + 1]);
    }
    for (int c = 0; c < 2; c++) {
        for (int half = 0; half < 2; half++) {
            quad[4 * c + 2 * half] = _mm_unpacklo_epi16(pair[4 * c + half], pair[4 * c + 2 + half]);
            quad[4 * c + 2 * half + 1] = _mm_unpackhi_epi16(pair[4 * c + half], pair[4 * c + 2 + half]);
        }
    }
    for (int part = 0; part < 4; part++) {
        _mm_storeu_si128((__m128i *)(turned + 4 * part), _mm_unpacklo_epi32(quad[part], quad[4 + part]));
        _mm_storeu_si128((__m128i *)(turned + 4 * part + 2), _mm_unpackhi_epi32(quad[part], quad[4 + part]));
    }
}

/// Eight columns at a time, and of them each element a vector.
KERNEL static void mxfp4(
    const uint8_t *codes, const uint8_t *scales, size_t step, size_t columns, size_t first, size_t last, double *result,
    size_t stride) {
    const __m256 magnitudes = _mm256_loadu_ps(ck_e2m1);
    const __m256i sign = _mm256_set1_epi32(8);
    size_t column = 0;
    for (; columns - column >= 8; column += 8) {
        uint64_t turned[16];
        turn(codes + column * step * 16, step, turned);
        double powers[8];
        for (size_t c = 0; c < 8; c++) powers[c] = ck_mxfp4_power(scales[(column + c) * step]);
        const __m256d low = _mm256_loadu_pd(powers), high = _mm256_loadu_pd(powers + 4);
        for (size_t i = first; i < last; i++) {
            __m256i code = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)(turned[i / 2] >> i % 2 * 4)));
            // The permutation takes the lowest three bits, and the fourth becomes the sign.
            __m256 value = _mm256_xor_ps(
                _mm256_permutevar8x32_ps(magnitudes, code), _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_and_si256(code, sign), 28)));
            double *to = result + (i - first) * stride + column;
            _mm256_storeu_pd(to, _mm256_mul_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(value)), low));
            _mm256_storeu_pd(to + 4, _mm256_mul_pd(_mm256_cvtps_pd(_mm256_extractf128_ps(value, 1)), high));
        }
    }
    ck_mxfp4_generic(
        codes + column * step * 16, scales + column * step, step, columns - column, first, last, result + column, stride);
}

const ck_code_functions ck_codes_avx2 = {
    .affine = affine, .nearest = nearest, .largest_16 = largest_16, .largest_32 = largest_32, .fields = fields, .mxfp4 = mxfp4};

#endif
