// How much of a panel is at hand at a time, and where it lies in the caller's scratch memory.

#ifndef CKERNELS_LOW_RANK_SCRATCH_H
#define CKERNELS_LOW_RANK_SCRATCH_H

#include "low_rank.h"

/// The share of `right` that a core keeps in its second-level cache (512 KiB or more) while bands go by, and the left
/// factor that is packed at a time.
enum { BLOCK_BYTES = 192 << 10, BLOCK_COLUMNS_MAX = 1024, LEFT_BYTES = 512 << 10, CHUNK_ROWS_MAX = 256 * BAND_ROWS };

/// The places in the caller's scratch memory.
typedef struct workspace {
    double *left;  ///< for each band of a chunk its factors, [k][6], as float or double
    float *row_bounds;
    unsigned char *kinds;
    ck_doubt *doubts;
} workspace;

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static inline size_t chunk_bands(size_t rank, size_t rows) {
    size_t slot = BAND_ROWS * (rank > 0 ? rank : 1) * sizeof(double);
    size_t rows_at_hand = smaller((rows + BAND_ROWS - 1) / BAND_ROWS, CHUNK_ROWS_MAX / BAND_ROWS);
    size_t bands = smaller(LEFT_BYTES / slot, rows_at_hand);
    return bands > 0 ? bands : 1;
}

static inline size_t block_columns(size_t rank, size_t element) {
    size_t tiles = BLOCK_BYTES / (TILE_COLUMNS * (rank > 0 ? rank : 1) * element);
    return TILE_COLUMNS * (tiles == 0 ? 1 : smaller(tiles, BLOCK_COLUMNS_MAX / TILE_COLUMNS));
}

/// Where the parts begin, largest alignment first, in bytes.
typedef struct layout {
    size_t doubts, row_bounds, kinds, size;
} layout;

static inline layout lay_out(size_t rank, size_t rows) {
    size_t bands = chunk_bands(rank, rows);
    layout parts;
    parts.doubts = bands * BAND_ROWS * rank * sizeof(double);
    parts.row_bounds = parts.doubts + BAND_ROWS * block_columns(rank, sizeof(float)) * sizeof(ck_doubt);
    parts.kinds = parts.row_bounds + bands * BAND_ROWS * sizeof(float);
    parts.size = parts.kinds + bands;
    return parts;
}

static inline workspace arrange(void *memory, size_t rank, size_t rows) {
    layout parts = lay_out(rank, rows);
    char *start = memory;
    workspace space = {
        .left = (double *)memory,
        .row_bounds = (float *)(void *)(start + parts.row_bounds),
        .kinds = (unsigned char *)start + parts.kinds,
        .doubts = (ck_doubt *)(void *)(start + parts.doubts),
    };
    return space;
}

#endif
