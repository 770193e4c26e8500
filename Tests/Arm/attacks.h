// Attacks on the fused rank-r update, in C, for processors on which Swift's tests do not run.

#ifndef ATTACKS_H
#define ATTACKS_H

#include "ckernels.h"

/// One panel. `left` is rows x rank, `right` rank x columns, `base` rows x columns before it is rounded to the format,
/// or, where `codes` is set, already the elements of a 16-bit format.
typedef struct attack {
    size_t rows, rank, columns;
    double *left, *right, *base;
    double scale;
    const uint16_t *codes;
} attack;

/// Runs a panel in every format on every path of this machine, compares it with the definition, and adds what came out
/// to the hash of the suite.
void strike(const attack *attack);

/// Hashes the conversions of every path in the same way.
void strike_conversions(const double *values, size_t count);

/// All attacks; `begin` is called with the name of each suite.
void all_attacks(void (*begin)(const char *name));

#endif
