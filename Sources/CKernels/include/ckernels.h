// The arithmetic of the house in C: dtype conversion, the rank-r update, elementary functions, SHA-256.
//
// Every function exists in a portable form; some have others for x86-64 with AVX2, FMA and F16C (and AVX-512), or AArch64,
// chosen when the program runs. All forms of one function give the same bits, so the choice changes speed and nothing
// else; only which NaN a float64 result is, of all that mean the same, is left open where a function does not say it, and
// narrowing makes one of them. Pointers need no alignment beyond that of their type; `const void *` needs none at all. Inputs
// and outputs do not overlap unless a function says so. Nothing here allocates, fails or keeps state, but for the path
// found at first use.

#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// MARK: Paths

/// The forms that a kernel can have, slowest first.
typedef enum ck_path {
    CK_PATH_GENERIC = 0,   ///< portable C; fma() of the C library where the target has no instruction for it
    CK_PATH_AVX2 = 1,      ///< x86-64 with AVX2, FMA and F16C
    CK_PATH_AVX2_SHA = 2,  ///< the same, and the SHA extensions
    CK_PATH_AVX512 = 3,    ///< the same, and AVX-512 as in Ice Lake and Zen 4 (F, BW, DQ, VL, VBMI2)
    CK_PATH_NEON = 4,      ///< AArch64, every one
    CK_PATH_COUNT = 5
} ck_path;

/// Whether this machine (processor and operating system) can run `path`.
bool ck_path_available(ck_path path);

/// The path that ordinary calls take: the last one available, unless the environment variable PEFTFILE_CPU names
/// another ("generic", "avx2", "avx2sha", "avx512", "neon"). A name that this machine cannot run, or that nobody knows, means generic:
/// the bits are the same. Found once, at the first call; any thread may make that call.
ck_path ck_path_active(void);

/// The name that PEFTFILE_CPU uses for `path`.
const char *ck_path_name(ck_path path);

// MARK: Conversion

/// The real-valued element types of safetensors; the layout of each is described where it is decoded, in widen.c.
typedef enum ck_format {
    CK_BOOL, CK_F4, CK_F6_E2M3, CK_F6_E3M2, CK_U8, CK_I8, CK_F8_E5M2, CK_F8_E4M3, CK_F8_E8M0, CK_F8_E4M3FNUZ,
    CK_F8_E5M2FNUZ, CK_I16, CK_U16, CK_F16, CK_BF16, CK_I32, CK_U32, CK_F32, CK_F64, CK_I64, CK_U64
} ck_format;

/// Widens `count` elements of `format`, little-endian and packed, to double. Exact for every format except I64 and U64,
/// which round to nearest, ties to even, beyond 2^53.
void ck_widen(ck_path path, ck_format format, const void *source, size_t count, double *result);

/// Rounds `count` doubles to `format` (CK_F64, CK_F32, CK_F16 or CK_BF16; nothing is done for another), once, to
/// nearest, ties to even, straight from double. NaN becomes the canonical quiet NaN, without sign.
void ck_narrow(ck_path path, ck_format format, const double *source, size_t count, void *result);

/// The bit pattern that `ck_narrow` writes for one value.
uint64_t ck_code(ck_format format, double value);

/// Distance of two values in steps of `format` (CK_F64, CK_F32, CK_F16, CK_BF16), after rounding both to it: the
/// difference of their places in the ordered list -Inf ... -0 = +0 ... +Inf. Two NaN: 0. One NaN: UINT64_MAX.
uint64_t ck_ulp_distance(ck_format format, double left, double right);

/// The largest `ck_ulp_distance` over `count` pairs (0 for none); `*differing` is the number of pairs that are not at
/// distance 0.
uint64_t ck_ulp_compare(
    ck_format format, const double *left, const double *right, size_t count, size_t *differing);

// MARK: Codes of quantised weights

/// Codes of 8 bits to numbers, in groups of `group` elements, the last of which may be short:
///
///     result[i] = (codes[i] - zeros[g]) * scales[g] + offsets[g],  g = i / group
///
/// with one rounding in each operation. Without `zeros` they are 0, without `offsets` nothing is added.
void ck_affine(
    ck_path path, const uint8_t *codes, size_t count, size_t group, const double *zeros, const double *scales,
    const double *offsets, double *result);

/// The entry of an ascending table of sixteen whose stretch a number lies in, scaled, in groups as above:
///
///     t = values[i] * factors[g];  result[i] = table[the number of thresholds below t] * scales[g]
///
/// the first product in float, the second in double. `format` is CK_F32 or CK_BF16. NaN is above no threshold.
void ck_nearest(
    ck_path path, const void *values, ck_format format, size_t count, size_t group, const float *factors,
    const float thresholds[15], const float table[16], const double *scales, double *result);

/// Fields of 1 to 8 bits of a little-endian bit stream, one a byte. No byte after the last field's is read.
void ck_unpack(const uint8_t *bytes, unsigned bits, size_t count, uint8_t *codes);

/// One field of 4 bits of each word: codes[i] = words[i] >> shift & 15.
void ck_fields(ck_path path, const uint32_t *words, size_t count, unsigned shift, uint8_t *codes);

/// Elements `first` to `last` (not included) of blocks of MXFP4 that are the columns of a matrix:
///
///     result[(i - first) * stride + c] = E2M1[half i of block c] * 2^(scales[c * step] - 127)
///
/// A block has 32 elements in 16 bytes, each byte's low half first; block c is at codes + c * step * 16. Scale 255 is NaN.
void ck_mxfp4(
    ck_path path, const uint8_t *codes, const uint8_t *scales, size_t step, size_t columns, size_t first, size_t last,
    double *result, size_t stride);

/// The first `columns` words of `rows` rows that are `stride` words apart, transposed: result[column * rows + row].
void ck_turn_words(const void *source, size_t stride, size_t rows, size_t columns, uint32_t *result);

/// The largest code of F16 or BF16 of each group without its sign: that of the largest magnitude, or of a NaN.
void ck_largest_16(ck_path path, const void *source, size_t count, size_t group, uint32_t *result);
/// The same of F32.
void ck_largest_32(ck_path path, const void *source, size_t count, size_t group, uint32_t *result);

// MARK: Matrices, row-major

/// The rank-r update in the order that defines a merge. For each i < rows, j < columns:
///
///     acc = +0;  for k = 0 ... rank - 1:  acc = fma(left[i, k], right[k, j], acc)
///     result[i, j] = result[i, j] + (scale * acc)
///
/// with one rounding in each fma, one in the product with scale and one in the sum. A NaN result is the canonical quiet
/// NaN, since hardware and library disagree about which operand's payload survives. `left` is rows x rank, `right` is
/// rank x columns, both dense; row i of `result` starts at i * row_stride.
void ck_add_low_rank(
    ck_path path, const double *left, const double *right, size_t rows, size_t rank, size_t columns, double scale,
    double *result, size_t row_stride);

/// The step of an elimination: for k = 0 ... depth - 1, result[i, j] = fma(-left[i, k], right[k, j], result[i, j]). Row i of
/// `left` starts at i * left_stride, of `result` at i * result_stride; `right` is depth x columns, dense. They do not overlap.
void ck_subtract_product(
    ck_path path, const double *left, size_t left_stride, const double *right, size_t rows, size_t depth, size_t columns,
    double *result, size_t result_stride);

/// Columns of a tile of the packed right factor.
enum { CK_LOW_RANK_TILE = 16 };

/// The right factor of a rank-r update, packed as [columns / 16][rank][16] with zeros for what is missing: in `narrow`
/// where every element is a finite float32 number, else in `wide`; the other is NULL.
typedef struct ck_low_rank_right {
    size_t rank, columns;  ///< columns < 2^32
    const float *narrow;
    const double *wide;
    const float *lines;    ///< with `narrow`, or NULL: [columns][rank], which finds single elements faster
    const float *bounds;   ///< with `narrow`: for each column, packed, a bound of its Euclidean norm
    bool decides;          ///< whether those bounds are of use
} ck_low_rank_right;

/// What a panel came to.
typedef struct ck_low_rank_tally {
    size_t updated;         ///< elements whose update is not 0 (NaN is not)
    size_t unchanged;       ///< those of them that are stored with the value of W
    size_t nonfinite;       ///< elements stored as Inf or NaN where W is finite
    size_t base_nonfinite;  ///< elements of which W is Inf or NaN
    double update_squares;  ///< sum of the squared updates, and of (stored - W)^2, where both are finite
    double stored_squares;
} ck_low_rank_tally;

/// Whether every element is a finite float32 number.
bool ck_low_rank_fits(const double *values, size_t count);
/// `columns` rounded up to whole tiles: the packed factor has `rank` times as many elements, `bounds` as many.
size_t ck_low_rank_packed_columns(size_t columns);
/// Packs a factor that fits. Returns what `decides` takes.
bool ck_low_rank_pack_narrow(const double *right, size_t rank, size_t columns, float *packed, float *bounds);
void ck_low_rank_pack_lines(const double *right, size_t rank, size_t columns, float *lines);
void ck_low_rank_pack_wide(const double *right, size_t rank, size_t columns, double *packed);
/// Bytes of scratch memory, aligned to 8, that a panel takes.
size_t ck_low_rank_scratch(size_t rank, size_t rows);

/// The rank-r update of a panel of stored elements, fused. For each i < rows, j < columns:
///
///     acc = +0;  for k = 0 ... rank - 1:  acc = fma(left[i, k], right[k, j], acc)
///     result[i, j] = round(W[i, j] + scale * acc)
///
/// in float64 with the roundings of `ck_add_low_rank`, and then one to `format`: CK_BF16, CK_F16 or CK_F32, which
/// `source` (W) and `result` share, both dense, and of which NaN is the canonical one. `left` is rows x rank, dense.
/// `result` may be `source`. What is counted is added to `tally`: the counts are exact, the sums of squares good to
/// 1e-6 of themselves, but for what low_rank_bounds.h says of hostile factors.
void ck_low_rank_merge(
    ck_path path, ck_format format, const ck_low_rank_right *right, const double *left, size_t rows, double scale,
    const void *source, void *result, void *scratch, ck_low_rank_tally *tally);

/// The same for W in float64, of `rows` dense rows, as dequantised weights have it: one rounding from there to `format`. `result`
/// does not overlap `source`. The tally holds what is stored against W rounded to float32 and then to `format`.
void ck_low_rank_merge_f64(
    ck_path path, ck_format format, const ck_low_rank_right *right, const double *left, size_t rows, double scale,
    const double *source, void *result, void *scratch, ck_low_rank_tally *tally);

/// Bytes of scratch memory, aligned to 8, that `ck_low_rank_magnify` takes.
size_t ck_low_rank_magnify_scratch(size_t rank, size_t rows, size_t columns);

/// The rank-r update of whole rows and DoRA's magnitudes on them, fused. For each i < rows, with acc as in
/// `ck_low_rank_merge`:
///
///     V[j] = W[i, j] + scale * acc[j];  s = +0;  for j = 0 ... columns - 1:  s = fma(V[j], V[j], s)
///     result[i, j] = round(V[j] * (magnitudes[i] / sqrt(s)))
///
/// in float64 with one rounding in each operation, and then one to `format`. Arguments and tally are those of
/// `ck_low_rank_merge`, but that an element counts as updated where V[j] * (...) is not W[i, j], and that the sum of the
/// squared updates is off by another 2^-34 ||result|| ||result - W|| at most.
void ck_low_rank_magnify(
    ck_path path, ck_format format, const ck_low_rank_right *right, const double *left, size_t rows, double scale,
    const double *magnitudes, const void *source, void *result, void *scratch, ck_low_rank_tally *tally);

/// DoRA's magnitudes on whole rows: s = +0, s = fma(v, v, s) for v along the row in order, and then every v becomes
/// v * (magnitudes[i] / sqrt(s)), one rounding each.
void ck_scale_rows(
    ck_path path, double *values, size_t rows, size_t columns, size_t row_stride, const double *magnitudes);

/// squares[j] = fma(v, v, squares[j]) for v down column j, in order.
void ck_add_squares(
    ck_path path, const double *values, size_t rows, size_t columns, size_t row_stride, double *squares);

/// Every v of column j becomes v * factors[j].
void ck_scale_columns(double *values, size_t rows, size_t columns, size_t row_stride, const double *factors);

/// Adds to `tally` what `count` elements came to: W, the exact result, and what is stored of it.
void ck_tally_updates(
    const double *original, const double *exact, const double *stored, size_t count, ck_low_rank_tally *tally);

/// result[j, i] = source[i, j] for a dense rows x columns source.
void ck_transpose(const double *source, size_t rows, size_t columns, double *result);

/// Whether no element is NaN or infinite.
bool ck_all_finite(const double *source, size_t count);

// MARK: Elementary functions

/// exp(x) within 0.625 ulp, subnormal results within 1 ulp; 0 and Inf beyond the range.
double ck_exp(double x);
/// tanh(x) within 0.625 ulp; the sign of zero is kept.
double ck_tanh(double x);
/// 1 / (1 + exp(-x)) within 0.625 ulp, subnormal results within 1 ulp.
double ck_sigmoid(double x);
/// The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x, within 0.625 ulp, subnormal results within 1
/// ulp; the sign of zero is kept.
double ck_erf(double x);

// MARK: SHA-256 (FIPS 180-4)

/// A running hash. Copying it forks the hash.
typedef struct ck_sha256 {
    uint32_t state[8];
    uint64_t length;     ///< bytes hashed so far
    uint8_t pending[64]; ///< the first length % 64 are the bytes of an unfinished block
    ck_path path;
} ck_sha256;

void ck_sha256_start(ck_sha256 *hash, ck_path path);
void ck_sha256_update(ck_sha256 *hash, const void *bytes, size_t count);
/// Pads and writes the 32 bytes of the digest; the hash must be started again before another use.
void ck_sha256_finish(ck_sha256 *hash, uint8_t digest[32]);

#ifdef __cplusplus
}
#endif

#endif
