// Loops from codes to numbers, written once; a file that includes this one has defined
//
//     KERNEL          how functions are declared, with the target they need
//
// and gets affine and fields. Compilers make vectors of it: no branch, no look-up, and every operation rounds as it is written.

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
