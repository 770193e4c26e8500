// What the files of this folder share: the table of one path's functions, and the arithmetic they rest on.

#ifndef CKERNELS_INTERNAL_H
#define CKERNELS_INTERNAL_H

#include "ckernels.h"

// The results are defined rounding by rounding. A compiler that is told to reorder, to fuse a * b + c or to drop NaN
// would change them, so it is refused. Clang obeys the pragma; GCC knows only its own spelling.
#if defined(__FAST_MATH__)
#error "these kernels define every rounding: do not compile them with -ffast-math"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

// Files are little-endian and are read as they stand.
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a big-endian machine needs byte swaps in the conversions"
#endif

// Elements of a file at any address, of any type.
typedef uint16_t __attribute__((aligned(1), may_alias)) ck_u16;
typedef uint32_t __attribute__((aligned(1), may_alias)) ck_u32;
typedef uint64_t __attribute__((aligned(1), may_alias)) ck_u64;
typedef int16_t __attribute__((aligned(1), may_alias)) ck_i16;
typedef int32_t __attribute__((aligned(1), may_alias)) ck_i32;
typedef int64_t __attribute__((aligned(1), may_alias)) ck_i64;

/// The loops from codes to numbers of one path.
typedef struct ck_code_functions {
    void (*affine)(
        const uint8_t *codes, size_t count, size_t group, const double *zeros, const double *scales, const double *offsets,
        double *result);
    void (*nearest)(
        const void *values, ck_format format, size_t count, size_t group, const float *factors, const float thresholds[15],
        const float table[16], const double *scales, double *result);
    void (*largest_16)(const void *source, size_t count, size_t group, uint32_t *result);
    void (*largest_32)(const void *source, size_t count, size_t group, uint32_t *result);
    void (*fields)(const uint32_t *words, size_t count, unsigned shift, uint8_t *codes);
    void (*mxfp4)(
        const uint8_t *codes, const uint8_t *scales, size_t step, size_t columns, size_t first, size_t last, double *result,
        size_t stride);
} ck_code_functions;

/// The values of E2M1 by code.
extern const float ck_e2m1[16];

/// 2^(scale - 127), a normal double; NaN for 255.
static inline double ck_mxfp4_power(uint8_t scale) {
    uint64_t bits = scale == 255 ? 0x7FF8000000000000 : (uint64_t)(scale + 896) << 52;
    double power;
    __builtin_memcpy(&power, &bits, sizeof power);
    return power;
}

/// The functions of one path.
typedef struct ck_functions {
    void (*widen_f16)(const void *source, size_t count, double *result);
    void (*widen_bf16)(const void *source, size_t count, double *result);
    void (*widen_f32)(const void *source, size_t count, double *result);
    void (*narrow_f16)(const double *source, size_t count, void *result);
    void (*narrow_bf16)(const double *source, size_t count, void *result);
    void (*narrow_f32)(const double *source, size_t count, void *result);
    void (*add_low_rank)(
        const double *left, const double *right, size_t rows, size_t rank, size_t columns, double scale,
        double *result, size_t row_stride);
    const struct ck_low_rank_functions *low_rank;
    const ck_code_functions *codes;
    void (*sha256_blocks)(uint32_t state[8], const uint8_t *blocks, size_t count);
} ck_functions;

/// The functions of `path`, which the caller knows to be available.
const ck_functions *ck_functions_of(ck_path path);

extern const ck_code_functions ck_codes_generic;
extern const ck_functions ck_generic;
#if defined(__x86_64__)
extern const ck_code_functions ck_codes_avx2;
extern const ck_functions ck_avx2;
extern const ck_functions ck_avx2_sha;
extern const ck_functions ck_avx512;
#endif
#if defined(__aarch64__)
extern const ck_functions ck_neon;
#endif

// The portable forms, each in the file of its subject.
void ck_widen_f16_generic(const void *source, size_t count, double *result);
void ck_widen_bf16_generic(const void *source, size_t count, double *result);
void ck_widen_f32_generic(const void *source, size_t count, double *result);
void ck_narrow_f16_generic(const double *source, size_t count, void *result);
void ck_narrow_bf16_generic(const double *source, size_t count, void *result);
void ck_narrow_f32_generic(const double *source, size_t count, void *result);
void ck_add_low_rank_generic(
    const double *left, const double *right, size_t rows, size_t rank, size_t columns, double scale, double *result,
    size_t row_stride);
void ck_nearest_generic(
    const void *values, ck_format format, size_t count, size_t group, const float *factors, const float thresholds[15],
    const float table[16], const double *scales, double *result);
void ck_mxfp4_generic(
    const uint8_t *codes, const uint8_t *scales, size_t step, size_t columns, size_t first, size_t last, double *result,
    size_t stride);
void ck_sha256_blocks_generic(uint32_t state[8], const uint8_t *blocks, size_t count);
/// The 64 round constants, for the forms of SHA-256 in other files.
extern const uint32_t ck_sha256_constants[64];

#define CK_NAN_F64 UINT64_C(0x7FF8000000000000)

static inline uint64_t ck_bits64(double value) {
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double ck_double(uint64_t bits) {
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float ck_float(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

/// `value`, or the canonical NaN in place of any NaN.
static inline double ck_canonical(double value) {
    return value == value ? value : ck_double(CK_NAN_F64);
}

#endif
