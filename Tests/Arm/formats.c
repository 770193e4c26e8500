// What the element types mean, without the kernels: by powers of two and the rounding of the C library's rint().

#include "attacks.h"

#include <math.h>
#include <string.h>

/// What the codes with the largest exponent, or the code of negative zero, stand for.
typedef enum specials { NO_SPECIALS, IEEE_LIKE, ONE_NAN, ZERO_NAN } specials;

/// Sign, exponent, fraction, from the highest bit down. Sources: IEEE 754; OCP Microscaling Formats (MX) 1.0, 5.3.1 to
/// 5.3.3; OCP 8-bit Floating Point 1.0; ONNX, "Float stored in 8 bits", for FNUZ.
typedef struct layout {
    int bits, fraction_bits, bias;
    specials specials;
} layout;

static layout layout_of(ck_format format) {
    switch (format) {
    case CK_F4: return (layout){4, 1, 1, NO_SPECIALS};
    case CK_F6_E2M3: return (layout){6, 3, 1, NO_SPECIALS};
    case CK_F6_E3M2: return (layout){6, 2, 3, NO_SPECIALS};
    case CK_F8_E5M2: return (layout){8, 2, 15, IEEE_LIKE};
    case CK_F8_E4M3: return (layout){8, 3, 7, ONE_NAN};
    case CK_F8_E4M3FNUZ: return (layout){8, 3, 8, ZERO_NAN};
    case CK_F8_E5M2FNUZ: return (layout){8, 2, 16, ZERO_NAN};
    case CK_F16: return (layout){16, 10, 15, IEEE_LIKE};
    case CK_BF16: return (layout){16, 7, 127, IEEE_LIKE};
    case CK_F32: return (layout){32, 23, 127, IEEE_LIKE};
    default: return (layout){64, 52, 1023, IEEE_LIKE};
    }
}

size_t format_bits(ck_format format) {
    switch (format) {
    case CK_BOOL: case CK_U8: case CK_I8: case CK_F8_E8M0: return 8;
    case CK_I16: case CK_U16: return 16;
    case CK_I32: case CK_U32: return 32;
    default: return (size_t)layout_of(format).bits;
    }
}

/// An integer of 64 bits, rounded once: both halves are exact, and their sum is the rounding.
static double integer(bool negative, uint64_t magnitude) {
    double value = ldexp((double)(int64_t)(magnitude >> 32), 32) + (double)(int64_t)(magnitude & UINT32_MAX);
    return negative ? -value : value;
}

/// The same in two's complement of `bits`.
static double signed_integer(int bits, uint64_t code) {
    bool negative = code >> (bits - 1) & 1;
    uint64_t magnitude = negative ? -code : code;
    if (bits < 64) magnitude &= (UINT64_C(1) << bits) - 1;
    return integer(negative, magnitude);
}

static double nan_of(layout layout, bool negative, uint64_t fraction) {
    uint64_t bits = UINT64_C(0x7FF8000000000000);
    if (layout.bits > 8) bits |= fraction << (52 - layout.fraction_bits) | (uint64_t)negative << 63;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

double format_value(ck_format format, uint64_t code) {
    switch (format) {
    case CK_BOOL: return code != 0;
    case CK_U8: case CK_U16: case CK_U32: case CK_U64: return integer(false, code);
    case CK_I8: return signed_integer(8, code);
    case CK_I16: return signed_integer(16, code);
    case CK_I32: return signed_integer(32, code);
    case CK_I64: return signed_integer(64, code);
    case CK_F8_E8M0: return code == 255 ? NAN : ldexp(1, (int)code - 127);
    case CK_F64: {
        double same;
        memcpy(&same, &code, sizeof same);
        return same;
    }
    default: break;
    }
    layout layout = layout_of(format);
    int exponent_bits = layout.bits - 1 - layout.fraction_bits;
    uint64_t fraction = code & ((UINT64_C(1) << layout.fraction_bits) - 1);
    int exponent = (int)(code >> layout.fraction_bits & ((UINT64_C(1) << exponent_bits) - 1));
    bool negative = code >> (layout.bits - 1) & 1, last = exponent == (1 << exponent_bits) - 1;
    bool full = fraction == (UINT64_C(1) << layout.fraction_bits) - 1;
    if (layout.specials == IEEE_LIKE && last && fraction == 0) return negative ? -INFINITY : INFINITY;
    bool nan = (layout.specials == IEEE_LIKE && last) || (layout.specials == ONE_NAN && last && full)
        || (layout.specials == ZERO_NAN && negative && exponent == 0 && fraction == 0);
    if (nan) return nan_of(layout, negative, fraction);
    uint64_t steps = exponent == 0 ? fraction : fraction + (UINT64_C(1) << layout.fraction_bits);
    double size = ldexp((double)(int64_t)steps, (exponent == 0 ? 1 : exponent) - layout.bias - layout.fraction_bits);
    return negative ? -size : size;
}

/// The steps of the binade, or of the subnormals, that the number has, rounded; a carry into the next one is its code too.
uint64_t format_code(ck_format format, double value) {
    layout layout = layout_of(format);
    int fraction_bits = layout.fraction_bits, smallest = 1 - layout.bias;
    uint64_t infinity = (UINT64_C(1) << (layout.bits - 1)) - (UINT64_C(1) << fraction_bits);
    uint64_t sign = (uint64_t)(signbit(value) != 0) << (layout.bits - 1);
    if (isnan(value)) return infinity | UINT64_C(1) << (fraction_bits - 1);
    if (isinf(value)) return infinity | sign;
    int exponent;
    double size = fabs(value);
    frexp(size, &exponent);
    exponent = size == 0 || exponent - 1 < smallest ? smallest : exponent - 1;
    uint64_t steps = (uint64_t)rint(ldexp(size, fraction_bits - exponent));
    uint64_t code = steps + ((uint64_t)(exponent - smallest) << fraction_bits);
    return (code < infinity ? code : infinity) | sign;
}

double format_read(ck_format format, const void *element) {
    uint64_t code = 0;
    memcpy(&code, element, format_bits(format) / 8);
    return format_value(format, code);
}

void format_write(ck_format format, double value, void *element) {
    uint64_t code = format_code(format, value);
    memcpy(element, &code, format_bits(format) / 8);
}
