// The fused rank-r update for AArch64, whose base has fused multiply-add, conversions of half floats, and 32 registers
// of four floats: 24 sums, four vectors of `right` and the factors.

#if defined(__aarch64__)

#include "low_rank.h"

#include <arm_neon.h>

#define INLINE static inline __attribute__((always_inline))
#define KERNEL

enum { LANES = 4, GROUP_ROWS = 6 };
typedef float32x4_t V;
typedef uint32x4_t U;
typedef uint16x4_t H;
typedef float64x2_t D;

#define STEP(a, b, c) vfmaq_f32(c, a, b)
#define BROADCAST(p) vld1q_dup_f32(p)
#define LOAD_BITS(p) vmovl_u16(vreinterpret_u16_u8(vld1_u8((const uint8_t *)(p))))
#define STORE_BITS(p, u) vst1_u8((uint8_t *)(p), vreinterpret_u8_u16(vmovn_u32(u)))
#define LOAD_HALF(p) vreinterpret_u16_u8(vld1_u8((const uint8_t *)(p)))
#define STORE_HALF(p, h) vst1_u8((uint8_t *)(p), vreinterpret_u8_u16(h))
#define WIDEN_HALF(h) vcvt_f32_f16(vreinterpret_f16_u16(h))
#define NARROW_HALF(v) vreinterpret_u16_f16(vcvt_f16_f32(v))
#define SAME_HALF(a, b) vreinterpretq_u32_s32(vmovl_s16(vreinterpret_s16_u16(vceq_u16(a, b))))
#define NARROW_DOUBLES(p) vcombine_f32(vcvt_f32_f64(vld1q_f64(p)), vcvt_f32_f64(vld1q_f64((p) + 2)))
#define ALL(u) (vminvq_u32(u) == UINT32_MAX)
#define BITS(u) vaddvq_u32((u) & (U){1, 2, 4, 8})

#include "low_rank_tile.h"

enum { WIDE_LANES = 2, WIDE_ROWS = 6 };
#define WIDE_STEP(a, b, c) vfmaq_f64(c, a, b)
#define EXACT_STEP(a, b, c) WIDE_STEP(a, b, c)
#define SQUARE_STEP(a, b, c) WIDE_STEP(a, b, c)
#define WIDE_BROADCAST(p) vld1q_dup_f64(p)
#define WIDEN_FLOATS(p) vcvt_f64_f32(vreinterpret_f32_u8(vld1_u8((const uint8_t *)(p))))
#define STORE_FLOATS(p, d) vst1_u8((uint8_t *)(p), vreinterpret_u8_f32(vcvt_f32_f64(d)))
#define ALL_WIDE(m) (((m)[0] & (m)[1]) == -1)

#include "low_rank_sums.h"
#include "low_rank_rows.h"

const ck_low_rank_functions ck_low_rank_neon = {
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

const ck_functions ck_neon = {
    // The portable conversions and sums already compile to NEON.
    .widen_f16 = ck_widen_f16_generic,
    .widen_bf16 = ck_widen_bf16_generic,
    .widen_f32 = ck_widen_f32_generic,
    .narrow_f16 = ck_narrow_f16_generic,
    .narrow_bf16 = ck_narrow_bf16_generic,
    .narrow_f32 = ck_narrow_f32_generic,
    .add_low_rank = ck_add_low_rank_generic,
    .low_rank = &ck_low_rank_neon,
    .codes = &ck_codes_generic,
    .sha256_blocks = ck_sha256_blocks_generic,
};

#endif
