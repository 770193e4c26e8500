// The few functions of OpenBLAS that this package uses, found with dlopen when the first of them is wanted. Nothing is
// linked, so a program that never multiplies with OpenBLAS neither needs the library nor waits for it to load.

#ifndef COPENBLAS_H
#define COPENBLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What became of an attempt to load the library.
typedef enum cob_status {
    COB_READY = 0,
    COB_MISSING = 1,         ///< no library of that name could be loaded
    COB_INCOMPLETE = 2,      ///< it was loaded and lacks a function
    COB_WIDE_INTEGERS = 3    ///< it was built with 64-bit integers; these declarations pass 32-bit ones
} cob_status;

/// A loaded library, or the reason why there is none. It is never unloaded: OpenBLAS owns threads.
typedef struct cob_library cob_library;

/// Loads a library and resolves every function. `path` names one, with or without a directory; NULL tries the usual
/// names. The answer is never NULL unless memory is out, and is the caller's to free with `cob_forget`.
cob_library *cob_open(const char *path);
/// Frees the record of a library (not the library itself); NULL is allowed.
void cob_forget(cob_library *library);

/// The library that the whole process shares: the one that the environment variable PEFTFILE_OPENBLAS names, else the
/// first usual name that loads. Opened at the first call, from whichever thread; NULL only where memory is out.
const cob_library *cob_shared(void);

cob_status cob_library_status(const cob_library *library);
/// The loader's own message, or the missing function's name; empty when the library is ready.
const char *cob_library_detail(const cob_library *library);

// The functions below may be called only on a library whose status is COB_READY. Sizes and leading dimensions are those
// of BLAS and LAPACK, and so is `info`: 0 done, -i argument i is wrong, > 0 did not converge.

/// cblas_dgemm on row-major matrices: c = alpha * op(a) * op(b) + beta * c, op(a) m x k, op(b) k x n.
void cob_dgemm(
    const cob_library *library, bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k, double alpha,
    const double *a, int32_t lda, const double *b, int32_t ldb, double beta, double *c, int32_t ldc);

/// dgesdd with JOBZ = 'S', column-major: the first min(m, n) singular vectors. With lwork = -1 only work[0] is written,
/// the best lwork. `iwork` has 8 * min(m, n) elements.
int32_t cob_dgesdd(
    const cob_library *library, int32_t m, int32_t n, double *a, int32_t lda, double *s, double *u, int32_t ldu,
    double *vt, int32_t ldvt, double *work, int32_t lwork, int32_t *iwork);

/// dgeqrf, column-major: R in the upper triangle of `a`, the reflectors below it and in `tau`.
int32_t cob_dgeqrf(
    const cob_library *library, int32_t m, int32_t n, double *a, int32_t lda, double *tau, double *work,
    int32_t lwork);

/// dorgqr, column-major: the first n columns of the product of k reflectors.
int32_t cob_dorgqr(
    const cob_library *library, int32_t m, int32_t n, int32_t k, double *a, int32_t lda, const double *tau,
    double *work, int32_t lwork);

#ifdef __cplusplus
}
#endif

#endif
