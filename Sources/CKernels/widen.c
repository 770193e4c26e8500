// Widening to double. Double has more exponent and more precision than every floating-point format read here, so the
// result is the stored number itself, subnormals included.

#include "kernels.h"

#include <string.h>

// MARK: 16 and 32 bits

/// IEEE binary16: 1 sign, 5 exponent (bias 15), 10 fraction.
///
/// Exponent field 1...30: the same fraction under float's exponent, bias 127 in place of 15: add 112. Field 31: Inf
/// and NaN, where float has 255 = 31 + 112 + 112; a NaN keeps sign and payload, and the conversion to double makes it
/// quiet, as it does for BF16 and F32. Field 0: fraction * 2^-24, exact in float. Selections in place of branches,
/// for the vectoriser.
static inline float widen_f16(uint16_t code) {
    uint32_t magnitude = code & 0x7FFFu;
    uint32_t sign = (uint32_t)(code & 0x8000u) << 16;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    uint32_t special = normal + (112u << 23);
    float tiny = (float)(int32_t)magnitude * 0x1p-24f;
    uint32_t subnormal;
    __builtin_memcpy(&subnormal, &tiny, sizeof subnormal);
    uint32_t bits = magnitude < 0x0400u ? subnormal : magnitude < 0x7C00u ? normal : special;
    return ck_float(bits | sign);
}

void ck_widen_f16_generic(const void *source, size_t count, double *result) {
    const ck_u16 *codes = source;
    for (size_t i = 0; i < count; i++) result[i] = widen_f16(codes[i]);
}

/// bfloat16 is the upper half of a float.
void ck_widen_bf16_generic(const void *source, size_t count, double *result) {
    const ck_u16 *codes = source;
    for (size_t i = 0; i < count; i++) result[i] = ck_float((uint32_t)codes[i] << 16);
}

void ck_widen_f32_generic(const void *source, size_t count, double *result) {
    const ck_u32 *codes = source;
    for (size_t i = 0; i < count; i++) result[i] = ck_float(codes[i]);
}

// MARK: 8 bits and less

/// What the codes with the largest exponent, or the code of negative zero, stand for.
typedef enum specials {
    NO_SPECIALS,  // every code is a finite number
    IEEE_LIKE,    // the largest exponent holds Inf (fraction 0) and NaN
    ONE_NAN,      // "FN": only the code with exponent and fraction all ones is NaN, with either sign; no Inf
    ZERO_NAN,     // "FNUZ": the code of negative zero is the only NaN; no Inf, no negative zero
} specials;

/// The layout of a small format: sign, exponent, fraction, from the highest bit down.
typedef struct small_float {
    int exponent_bits, fraction_bits, bias;
    specials specials;
} small_float;

/// Sources: OCP Microscaling Formats (MX) 1.0, sections 5.3.1 to 5.3.3, for F4, F6 and F8 (F8_E4M3 and F8_E5M2 also in
/// OCP 8-bit Floating Point 1.0); ONNX, "Float stored in 8 bits", for the FNUZ formats.
static const small_float f4 = {2, 1, 1, NO_SPECIALS};
static const small_float f6_e2m3 = {2, 3, 1, NO_SPECIALS};
static const small_float f6_e3m2 = {3, 2, 3, NO_SPECIALS};
static const small_float f8_e5m2 = {5, 2, 15, IEEE_LIKE};
static const small_float f8_e4m3 = {4, 3, 7, ONE_NAN};
static const small_float f8_e4m3fnuz = {4, 3, 8, ZERO_NAN};
static const small_float f8_e5m2fnuz = {5, 2, 16, ZERO_NAN};

/// 2^exponent for a normal result.
static double power_of_two(int exponent) { return ck_double((uint64_t)(exponent + 1023) << 52); }

/// (-1)^sign * 2^(exponent - bias) * (1 + fraction / 2^f), or with exponent 0: 2^(1 - bias) * fraction / 2^f.
/// The significand is an integer below 16 and the power of two is normal in double, so the product is exact. NaN of
/// these formats carries no payload worth keeping and becomes the canonical one.
static double decode(small_float format, unsigned code) {
    unsigned fraction = code & ((1u << format.fraction_bits) - 1);
    unsigned largest = (1u << format.exponent_bits) - 1;
    unsigned exponent = code >> format.fraction_bits & largest;
    unsigned sign = code >> (format.fraction_bits + format.exponent_bits) & 1;
    bool all_ones = exponent == largest && fraction == (1u << format.fraction_bits) - 1;
    double magnitude;
    if (format.specials == IEEE_LIKE && exponent == largest) {
        magnitude = fraction == 0 ? __builtin_inf() : ck_double(CK_NAN_F64);
    } else if (format.specials == ONE_NAN && all_ones) {
        magnitude = ck_double(CK_NAN_F64);
    } else if (format.specials == ZERO_NAN && sign && exponent == 0 && fraction == 0) {
        magnitude = ck_double(CK_NAN_F64);
    } else if (exponent == 0) {
        magnitude = (double)fraction * power_of_two(1 - format.bias - format.fraction_bits);
    } else {
        magnitude = (double)(fraction + (1u << format.fraction_bits))
                    * power_of_two((int)exponent - format.bias - format.fraction_bits);
    }
    return magnitude != magnitude || !sign ? magnitude : -magnitude;
}

/// One byte, one element, by a table of all 256 codes. The table costs about a microsecond, so short tensors are
/// decoded directly.
static void widen_f8(small_float format, const uint8_t *codes, size_t count, double *result) {
    if (count < 256) {
        for (size_t i = 0; i < count; i++) result[i] = decode(format, codes[i]);
        return;
    }
    double table[256];
    for (unsigned code = 0; code < 256; code++) table[code] = decode(format, code);
    for (size_t i = 0; i < count; i++) result[i] = table[codes[i]];
}

/// E8M0: no sign, no fraction; 2^(code - 127), and 255 is NaN. The smallest, 2^-127, is normal in double.
static void widen_e8m0(const uint8_t *codes, size_t count, double *result) {
    for (size_t i = 0; i < count; i++) {
        result[i] = codes[i] == 255 ? ck_double(CK_NAN_F64) : power_of_two((int)codes[i] - 127);
    }
}

/// Two elements a byte, the first in the low half.
static void widen_f4(const uint8_t *bytes, size_t count, double *result) {
    double table[16];
    for (unsigned code = 0; code < 16; code++) table[code] = decode(f4, code);
    for (size_t i = 0; i < count; i++) result[i] = table[bytes[i / 2] >> (i % 2 * 4) & 15];
}

/// Four elements in three bytes: element i is bits 6i ... 6i + 5 of the little-endian bit string. An element that ends
/// with its byte (i % 4 == 3) reads no further, so the last byte is never passed.
static void widen_f6(small_float format, const uint8_t *bytes, size_t count, double *result) {
    double table[64];
    for (unsigned code = 0; code < 64; code++) table[code] = decode(format, code);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *group = bytes + i / 4 * 3;
        unsigned code;
        switch (i % 4) {
        case 0: code = group[0]; break;
        case 1: code = group[0] >> 6 | (unsigned)group[1] << 2; break;
        case 2: code = group[1] >> 4 | (unsigned)group[2] << 4; break;
        default: code = group[2] >> 2; break;
        }
        result[i] = table[code & 63];
    }
}

// MARK: All

#define EACH(TYPE, EXPRESSION)                                                                                         \
    do {                                                                                                               \
        const TYPE *x = source;                                                                                        \
        for (size_t i = 0; i < count; i++) result[i] = (EXPRESSION);                                                   \
    } while (0)

void ck_widen(ck_path path, ck_format format, const void *source, size_t count, double *result) {
    const ck_functions *functions = ck_functions_of(path);
    switch (format) {
    case CK_F16: functions->widen_f16(source, count, result); break;
    case CK_BF16: functions->widen_bf16(source, count, result); break;
    case CK_F32: functions->widen_f32(source, count, result); break;
    case CK_F64:
        if (count > 0) memcpy(result, source, count * sizeof(double));
        break;
    case CK_F8_E5M2: widen_f8(f8_e5m2, source, count, result); break;
    case CK_F8_E4M3: widen_f8(f8_e4m3, source, count, result); break;
    case CK_F8_E4M3FNUZ: widen_f8(f8_e4m3fnuz, source, count, result); break;
    case CK_F8_E5M2FNUZ: widen_f8(f8_e5m2fnuz, source, count, result); break;
    case CK_F8_E8M0: widen_e8m0(source, count, result); break;
    case CK_F6_E2M3: widen_f6(f6_e2m3, source, count, result); break;
    case CK_F6_E3M2: widen_f6(f6_e3m2, source, count, result); break;
    case CK_F4: widen_f4(source, count, result); break;
    // Any byte but 0 is true, as in C and numpy.
    case CK_BOOL: EACH(uint8_t, x[i] != 0 ? 1.0 : 0.0); break;
    case CK_U8: EACH(uint8_t, x[i]); break;
    case CK_I8: EACH(int8_t, x[i]); break;
    case CK_U16: EACH(ck_u16, x[i]); break;
    case CK_I16: EACH(ck_i16, x[i]); break;
    case CK_U32: EACH(ck_u32, x[i]); break;
    case CK_I32: EACH(ck_i32, x[i]); break;
    case CK_U64: EACH(ck_u64, (double)x[i]); break;
    case CK_I64: EACH(ck_i64, (double)x[i]); break;
    }
}
