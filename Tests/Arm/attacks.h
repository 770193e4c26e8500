// Attacks on the kernels, in C, for processors on which Swift's tests do not run. A suite compares what every path of the machine puts
// out with a definition, and adds it to its hash. A file that attacks calls those functions of the kernels that it attacks, and no
// others: `run` sees by that whether all are attacked.

#ifndef ATTACKS_H
#define ATTACKS_H

#include "ckernels.h"

// MARK: Suites (driver.c)

#define EACH_PATH(path)                                                                                                \
    for (int path = 0; path < CK_PATH_COUNT; path++)                                                                   \
        if (ck_path_available((ck_path)path))

/// S. Vigna's splitmix64; each suite has its own numbers.
uint64_t draw(void);
/// Any sign and fraction, and an exponent from `low` to `high`.
double any(int low, int high);
/// Zeroed memory, or the end of the program.
void *claim(size_t size);

/// For a function that has one form only.
enum { NO_PATH = -1 };

/// Says that something is wrong, and has the program fail.
void fail(int path, const char *what, size_t index);
/// Compares `count` elements of `size` bytes with the definition, and adds them to the hash of the suite if the path is the
/// active one, or none: so both processors hash as much.
void judge(int path, const char *what, const void *result, const void *expected, size_t count, size_t size);
/// The same of numbers among which the sign and the payload of NaN are nobody's: they become the canonical ones.
void judge_numbers(int path, const char *what, double *result, double *expected, size_t count);
/// One case more for the line of the suite.
void count_case(void);

// MARK: The definition of formats (formats.c)

/// The bits of an element.
size_t format_bits(ck_format format);
/// The number that a code stands for. A NaN of 16 and 32 bits keeps its sign and payload and becomes quiet, one of 64 stays what it is.
double format_value(ck_format format, uint64_t code);
/// The code of a number, rounded once, for the formats from 16 bits on.
uint64_t format_code(ck_format format, double value);
/// The first element of a 16-bit, 32-bit or 64-bit format.
double format_read(ck_format format, const void *element);
/// Stores one.
void format_write(ck_format format, double value, void *element);

// MARK: Panels of the rank-r update (panels.c)

/// One panel. `left` is rows x rank, `right` rank x columns, `base` rows x columns before it is rounded to the format,
/// or, where `codes` is set, already the elements of a 16-bit format.
typedef struct attack {
    size_t rows, rank, columns;
    double *left, *right, *base;
    double scale;
    const uint16_t *codes;
    bool hostile;  ///< whether the factors are made so that the sum of the squared updates loses more than 1e-6
    size_t turn;   ///< which of DoRA's magnitudes the first row gets
} attack;

/// A panel of the sizes and the scale, of numbers with exponents from `low` to `high`, and of W's from `w_low` to `w_high`.
attack make(size_t rows, size_t rank, size_t columns, double scale, int low, int high, int w_low, int w_high);
void drop(attack *made);
/// scale * acc of the definition.
double update_of(const attack *made, size_t i, size_t j);

/// Runs a panel in every format on every path of this machine, in place too, and W in float64 as it is and near what is stored.
void strike(const attack *attack);
/// The same, and the panel is dropped.
void strike_once(attack made);

/// Packs the right factor in every way and looks at the result (packing.c).
ck_low_rank_right pack(const attack *attack);
void unpack(ck_low_rank_right right);

// MARK: Suites

void attack_panels(void (*begin)(const char *name));  // attacks.c
void attack_magnitudes(void);
void attack_paths(void);
void attack_conversions(void (*begin)(const char *name));
void attack_codes(void (*begin)(const char *name));
void attack_matrices(void (*begin)(const char *name));
void attack_elementary(void (*begin)(const char *name));
void attack_sha256(void);

#endif
