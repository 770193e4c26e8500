// The compression function of SHA-256 with the SHA extensions of x86-64.
// Source: Intel SDM volume 2B, SHA256RNDS2, SHA256MSG1, SHA256MSG2.

#if defined(__x86_64__)

#include "kernels.h"
#include "x86.h"

#include <immintrin.h>

__attribute__((target("sha,ssse3,sse4.1")))
void ck_sha256_blocks_sha(uint32_t state[8], const uint8_t *blocks, size_t count) {
    // Words of a block are big-endian: reverse the bytes within each.
    const __m128i reverse = _mm_set_epi64x(0x0C0D0E0F08090A0B, 0x0405060700010203);

    // The instructions want the state as (a, b, e, f) and (c, d, g, h), first named in the highest lane.
    __m128i abcd = _mm_loadu_si128((const __m128i *)&state[0]);
    __m128i efgh = _mm_loadu_si128((const __m128i *)&state[4]);
    abcd = _mm_shuffle_epi32(abcd, _MM_SHUFFLE(2, 3, 0, 1));  // lanes from the highest: c d a b
    efgh = _mm_shuffle_epi32(efgh, _MM_SHUFFLE(0, 1, 2, 3));  // e f g h
    __m128i abef = _mm_alignr_epi8(abcd, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, abcd, 0xF0);

    for (; count > 0; count--, blocks += 64) {
        __m128i saved_abef = abef, saved_cdgh = cdgh;
        // w[g % 4] holds the four schedule words of group g. A group of four rounds takes them with their constants;
        // from group 4 on they come from the four groups before:
        //   W[t] = sigma1(W[t-2]) + W[t-7] + sigma0(W[t-15]) + W[t-16]
        // MSG1 gives sigma0(W[t-15]) + W[t-16], the shifted pair W[t-7], and MSG2 adds sigma1(W[t-2]).
        __m128i w[4];
        for (int g = 0; g < 16; g++) {
            if (g < 4) {
                w[g] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(blocks + 16 * g)), reverse);
            } else {
                __m128i sum = _mm_sha256msg1_epu32(w[g & 3], w[(g + 1) & 3]);
                sum = _mm_add_epi32(sum, _mm_alignr_epi8(w[(g + 3) & 3], w[(g + 2) & 3], 4));
                w[g & 3] = _mm_sha256msg2_epu32(sum, w[(g + 3) & 3]);
            }
            __m128i words = _mm_add_epi32(
                w[g & 3], _mm_loadu_si128((const __m128i *)&ck_sha256_constants[4 * g]));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, _MM_SHUFFLE(1, 0, 3, 2)));
        }
        abef = _mm_add_epi32(abef, saved_abef);
        cdgh = _mm_add_epi32(cdgh, saved_cdgh);
    }

    __m128i feba = _mm_shuffle_epi32(abef, _MM_SHUFFLE(0, 1, 2, 3));  // lanes from the highest: f e b a
    __m128i dchg = _mm_shuffle_epi32(cdgh, _MM_SHUFFLE(2, 3, 0, 1));  // d c h g
    _mm_storeu_si128((__m128i *)&state[0], _mm_blend_epi16(feba, dchg, 0xF0));   // d c b a
    _mm_storeu_si128((__m128i *)&state[4], _mm_alignr_epi8(dchg, feba, 8));      // h g f e
}

#endif
