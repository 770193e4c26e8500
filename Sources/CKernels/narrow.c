// Narrowing from double: one rounding, to nearest, ties to even, straight to the format; and distances in its steps.

#include "kernels.h"

/// An IEEE-like format: fraction bits, exponent bias, the codes of +Inf and of the canonical NaN, and the sign's place.
typedef struct binary_format {
    int fraction_bits, bias;
    uint64_t infinity, nan;
    int sign_bit;
} binary_format;

#define F16 ((binary_format){10, 15, 0x7C00, 0x7E00, 15})
#define BF16 ((binary_format){7, 127, 0x7F80, 0x7FC0, 15})
#define F32 ((binary_format){23, 127, 0x7F800000, 0x7FC00000, 31})

/// Rounds `value` once to `format` and returns its code.
///
/// Normal results. Read the magnitude as an integer u. Dropping its low s = 52 - f bits after adding half a step less
/// one, plus the lowest bit that stays, rounds to nearest with ties to even; a carry out of the fraction raises the
/// exponent, as it should. The exponent is then rebiased. Beyond the largest number the code is at least that of Inf.
///
/// Subnormal results, below m = 2^(1 - bias), are multiples of q = m * 2^-f. Adding c = 2^52 * q puts the sum into
/// the binade [2^52 q, 2^53 q), where doubles are exactly the multiples of q: the addition itself does the one
/// rounding, and code(sum) - code(c) counts the steps. The largest count, 2^f, is the code of m. The sum must not be
/// contracted or folded; it is one addition of a variable and a constant.
static inline uint64_t round_once(binary_format format, double value) {
    uint64_t bits = ck_bits64(value);
    uint64_t magnitude = bits & INT64_MAX;
    uint64_t sign = bits >> 63 << format.sign_bit;
    int shift = 52 - format.fraction_bits;
    uint64_t half_less_one = (UINT64_C(1) << (shift - 1)) - 1;
    uint64_t normal = (magnitude + half_less_one + (magnitude >> shift & 1)) >> shift;
    normal -= (uint64_t)(1023 - format.bias) << format.fraction_bits;
    normal = normal < format.infinity ? normal : format.infinity;

    uint64_t step = (uint64_t)(1 - format.bias - format.fraction_bits + 52 + 1023) << 52;
    uint64_t subnormal = ck_bits64(ck_double(magnitude) + ck_double(step)) - step;

    uint64_t smallest_normal = (uint64_t)(1 - format.bias + 1023) << 52;
    uint64_t code = (magnitude < smallest_normal ? subnormal : normal) | sign;
    return magnitude > (UINT64_C(0x7FF) << 52) ? format.nan : code;
}

void ck_narrow_f16_generic(const double *source, size_t count, void *result) {
    ck_u16 *codes = result;
    for (size_t i = 0; i < count; i++) codes[i] = (uint16_t)round_once(F16, source[i]);
}

void ck_narrow_bf16_generic(const double *source, size_t count, void *result) {
    ck_u16 *codes = result;
    for (size_t i = 0; i < count; i++) codes[i] = (uint16_t)round_once(BF16, source[i]);
}

void ck_narrow_f32_generic(const double *source, size_t count, void *result) {
    ck_u32 *codes = result;
    for (size_t i = 0; i < count; i++) codes[i] = (uint32_t)round_once(F32, source[i]);
}

static void narrow_f64(const double *source, size_t count, void *result) {
    ck_u64 *codes = result;
    for (size_t i = 0; i < count; i++) codes[i] = ck_bits64(ck_canonical(source[i]));
}

void ck_narrow(ck_path path, ck_format format, const double *source, size_t count, void *result) {
    const ck_functions *functions = ck_functions_of(path);
    switch (format) {
    case CK_F16: functions->narrow_f16(source, count, result); break;
    case CK_BF16: functions->narrow_bf16(source, count, result); break;
    case CK_F32: functions->narrow_f32(source, count, result); break;
    case CK_F64: narrow_f64(source, count, result); break;
    default: break;
    }
}

/// The code of `value` in one of the four formats, as the constant at the call makes it.
static inline __attribute__((always_inline)) uint64_t code_of(ck_format format, double value) {
    switch (format) {
    case CK_F16: return round_once(F16, value);
    case CK_BF16: return round_once(BF16, value);
    case CK_F32: return round_once(F32, value);
    default: return ck_bits64(ck_canonical(value));
    }
}

uint64_t ck_code(ck_format format, double value) { return code_of(format, value); }

/// The bit that is the sign in codes of `format`.
static inline __attribute__((always_inline)) uint64_t sign_of(ck_format format) {
    switch (format) {
    case CK_F16:
    case CK_BF16: return UINT64_C(1) << 15;
    case CK_F32: return UINT64_C(1) << 31;
    default: return UINT64_C(1) << 63;
    }
}

/// Codes are sign and magnitude, and magnitudes are in the order of the numbers: on one side of zero places differ by
/// the difference of the magnitudes, across zero by their sum, which stays below 2^64.
static inline __attribute__((always_inline)) uint64_t distance(ck_format format, double left, double right) {
    if (left != left || right != right) return left != left && right != right ? 0 : UINT64_MAX;
    uint64_t sign = sign_of(format);
    uint64_t a = code_of(format, left), b = code_of(format, right);
    uint64_t m = a & ~sign, n = b & ~sign;
    if ((a ^ b) & sign) return m + n;
    return m > n ? m - n : n - m;
}

uint64_t ck_ulp_distance(ck_format format, double left, double right) { return distance(format, left, right); }

static inline __attribute__((always_inline)) uint64_t compare(
    ck_format format, const double *left, const double *right, size_t count, size_t *differing) {
    uint64_t largest = 0;
    size_t different = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t steps = distance(format, left[i], right[i]);
        different += steps != 0;
        largest = steps > largest ? steps : largest;
    }
    *differing = different;
    return largest;
}

uint64_t ck_ulp_compare(
    ck_format format, const double *left, const double *right, size_t count, size_t *differing) {
    switch (format) {
    case CK_F16: return compare(CK_F16, left, right, count, differing);
    case CK_BF16: return compare(CK_BF16, left, right, count, differing);
    case CK_F32: return compare(CK_F32, left, right, count, differing);
    default: return compare(CK_F64, left, right, count, differing);
    }
}
