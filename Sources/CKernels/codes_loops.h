// Loops from codes to numbers, written once; a file that includes this one has defined
//
//     KERNEL          how functions are declared, with the target they need
//
// and gets affine, fields, largest_16 and largest_32. Compilers make vectors of it: no branch, no look-up, and every operation rounds as it is written.

#include "kernels.h"

KERNEL static void affine(
    const uint8_t *restrict codes, size_t count, size_t group, const double *zeros, const double *scales, const double *offsets,
    double *restrict result) {
    for (size_t g = 0, start = 0; start < count; g++, start += group) {
        size_t width = group < count - start ? group : count - start;
        const uint8_t *from = codes + start;
        double *to = result + start;
        double zero = zeros != NULL ? zeros[g] : 0, scale = scales[g];
        // Adding -0 leaves every number as it is, the sign of zero too.
        double offset = offsets != NULL ? offsets[g] : -0.0;
        for (size_t i = 0; i < width; i++) to[i] = ((double)(int32_t)from[i] - zero) * scale + offset;
    }
}

KERNEL static void fields(const uint32_t *restrict words, size_t count, unsigned shift, uint8_t *restrict codes) {
    for (size_t i = 0; i < count; i++) codes[i] = (uint8_t)(words[i] >> shift & 15);
}

#define LARGEST(name, code, sign)                                                                                      \
    KERNEL static void name(const void *source, size_t count, size_t group, uint32_t *restrict result) {               \
        for (size_t g = 0, start = 0; start < count; g++, start += group) {                                            \
            size_t width = group < count - start ? group : count - start;                                              \
            const code *from = (const code *)source + start;                                                           \
            code largest = 0;                                                                                          \
            for (size_t i = 0; i < width; i++) {                                                                       \
                code magnitude = from[i] & (code)~(code)(sign);                                                        \
                largest = magnitude > largest ? magnitude : largest;                                                   \
            }                                                                                                          \
            result[g] = largest;                                                                                       \
        }                                                                                                              \
    }
LARGEST(largest_16, ck_u16, 0x8000)
LARGEST(largest_32, ck_u32, 0x80000000)
#undef LARGEST
