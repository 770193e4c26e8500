// Which forms this machine can run, and which one ordinary calls take.

#include "low_rank.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[CK_PATH_COUNT] = {"generic", "avx2", "avx2sha", "avx512", "neon"};

const char *ck_path_name(ck_path path) {
    return (unsigned)path < CK_PATH_COUNT ? names[path] : "generic";
}

#if defined(__x86_64__)

#include <cpuid.h>

/// The extended control register 0: which register sets the operating system saves on a context switch.
static uint64_t saved_registers(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/// The last path that processor and operating system support.
/// Bits: Intel SDM volume 2A, CPUID, leaf 1 (ECX) and leaf 7 (EBX, ECX); XCR0 in volume 1, section 13.3.
static ck_path best_path(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return CK_PATH_GENERIC;
    const uint32_t fma_osxsave_avx_f16c = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29;
    const uint32_t ssse3_sse41 = 1u << 9 | 1u << 19;
    if ((c & fma_osxsave_avx_f16c) != fma_osxsave_avx_f16c) return CK_PATH_GENERIC;
    bool has_ssse3_sse41 = (c & ssse3_sse41) == ssse3_sse41;
    const uint64_t xmm_ymm = 1u << 1 | 1u << 2;
    if ((saved_registers() & xmm_ymm) != xmm_ymm) return CK_PATH_GENERIC;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return CK_PATH_GENERIC;
    bool has_avx2 = b & 1u << 5, has_sha = b & 1u << 29;
    if (!has_avx2) return CK_PATH_GENERIC;
    if (!has_sha || !has_ssse3_sse41) return CK_PATH_AVX2;
    // VBMI2 is not used. It leaves out the first processors with AVX-512, which lower their clock for it.
    const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, vbmi2 = 1u << 6;
    const uint64_t masks_zmm = 1u << 5 | 1u << 6 | 1u << 7;
    bool has_avx512 = (b & f_dq_bw_vl) == f_dq_bw_vl && (c & vbmi2) != 0;
    return has_avx512 && (saved_registers() & masks_zmm) == masks_zmm ? CK_PATH_AVX512 : CK_PATH_AVX2_SHA;
}

const ck_functions *ck_functions_of(ck_path path) {
    switch (path) {
    case CK_PATH_AVX2: return &ck_avx2;
    case CK_PATH_AVX2_SHA: return &ck_avx2_sha;
    case CK_PATH_AVX512: return &ck_avx512;
    default: return &ck_generic;
    }
}

bool ck_path_available(ck_path path) { return (unsigned)path <= (unsigned)best_path(); }

#elif defined(__aarch64__)

// NEON is part of every AArch64.
static ck_path best_path(void) { return CK_PATH_NEON; }

const ck_functions *ck_functions_of(ck_path path) { return path == CK_PATH_NEON ? &ck_neon : &ck_generic; }

bool ck_path_available(ck_path path) { return path == CK_PATH_GENERIC || path == CK_PATH_NEON; }

#else

static ck_path best_path(void) { return CK_PATH_GENERIC; }

const ck_functions *ck_functions_of(ck_path path) {
    (void)path;
    return &ck_generic;
}

bool ck_path_available(ck_path path) { return path == CK_PATH_GENERIC; }

#endif

ck_path ck_path_active(void) {
    // Threads that meet here for the first time all find the same answer and store the same value.
    static atomic_int found = -1;
    int path = atomic_load_explicit(&found, memory_order_relaxed);
    if (path >= 0) return (ck_path)path;
    const char *wanted = getenv("PEFTFILE_CPU");
    if (wanted != NULL && *wanted != '\0') {
        path = CK_PATH_GENERIC;
        for (int each = 0; each < CK_PATH_COUNT; each++) {
            if (strcmp(wanted, names[each]) == 0 && ck_path_available((ck_path)each)) path = each;
        }
    } else {
        path = (int)best_path();
    }
    atomic_store_explicit(&found, path, memory_order_relaxed);
    return (ck_path)path;
}

const ck_functions ck_generic = {
    .widen_f16 = ck_widen_f16_generic,
    .widen_bf16 = ck_widen_bf16_generic,
    .widen_f32 = ck_widen_f32_generic,
    .narrow_f16 = ck_narrow_f16_generic,
    .narrow_bf16 = ck_narrow_bf16_generic,
    .narrow_f32 = ck_narrow_f32_generic,
    .add_low_rank = ck_add_low_rank_generic,
    .low_rank = &ck_low_rank_generic,
    .codes = &ck_codes_generic,
    .sha256_blocks = ck_sha256_blocks_generic,
};
