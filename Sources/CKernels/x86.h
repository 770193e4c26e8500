// The x86-64 forms that have a file of their own.

#ifndef CKERNELS_X86_H
#define CKERNELS_X86_H

#include "kernels.h"

#if defined(__x86_64__)
void ck_add_low_rank_avx2(
    const double *left, const double *right, size_t rows, size_t rank, size_t columns, double scale, double *result,
    size_t row_stride);
void ck_sha256_blocks_sha(uint32_t state[8], const uint8_t *blocks, size_t count);
#endif

#endif
