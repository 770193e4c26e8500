#include "copenblas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// The C interface of BLAS passes integers by value. Fortran passes everything by address, and appends the length of
// each character argument, by value and as wide as size_t (GCC since version 8, and Flang).
typedef void dgemm_function(
    int order, int transpose_a, int transpose_b, int32_t m, int32_t n, int32_t k, double alpha, const double *a,
    int32_t lda, const double *b, int32_t ldb, double beta, double *c, int32_t ldc);
typedef void dgesdd_function(
    const char *jobz, const int32_t *m, const int32_t *n, double *a, const int32_t *lda, double *s, double *u,
    const int32_t *ldu, double *vt, const int32_t *ldvt, double *work, const int32_t *lwork, int32_t *iwork,
    int32_t *info, size_t jobz_length);
typedef void dgeqrf_function(
    const int32_t *m, const int32_t *n, double *a, const int32_t *lda, double *tau, double *work,
    const int32_t *lwork, int32_t *info);
typedef void dorgqr_function(
    const int32_t *m, const int32_t *n, const int32_t *k, double *a, const int32_t *lda, const double *tau,
    double *work, const int32_t *lwork, int32_t *info);

struct cob_library {
    cob_status status;
    char detail[256];
    dgemm_function *dgemm;
    dgesdd_function *dgesdd;
    dgeqrf_function *dgeqrf;
    dorgqr_function *dorgqr;
};

// The name with a version is the run-time library; the plain one comes with the development package.
static const char *const usual_names[] = {
#if defined(__APPLE__)
    "libopenblas.0.dylib",
    "libopenblas.dylib",
    "/opt/homebrew/opt/openblas/lib/libopenblas.dylib",
    "/usr/local/opt/openblas/lib/libopenblas.dylib",
    "/opt/local/lib/libopenblas.dylib",
#else
    "libopenblas.so.0",
    "libopenblas.so",
#endif
};

static void note(cob_library *library, const char *detail) {
    strncpy(library->detail, detail != NULL ? detail : "", sizeof library->detail - 1);
}

/// A function of the library by name; where it is missing, the library is marked incomplete.
static void *function_named(cob_library *library, void *handle, const char *name) {
    void *function = dlsym(handle, name);
    if (function == NULL && library->status == COB_READY) {
        library->status = COB_INCOMPLETE;
        note(library, name);
    }
    return function;
}

cob_library *cob_open(const char *path) {
    cob_library *library = calloc(1, sizeof *library);
    if (library == NULL) return NULL;
    void *handle = NULL;
    if (path != NULL) {
        handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (handle == NULL) note(library, dlerror());
    } else {
        for (size_t i = 0; i < sizeof usual_names / sizeof *usual_names && handle == NULL; i++) {
            handle = dlopen(usual_names[i], RTLD_NOW | RTLD_LOCAL);
            // The first name's message is the one to show: it is the library that packages install.
            const char *reason = handle == NULL ? dlerror() : NULL;
            if (i == 0) note(library, reason);
        }
    }
    if (handle == NULL) {
        library->status = COB_MISSING;
        return library;
    }
    library->detail[0] = '\0';
    library->status = COB_READY;

    // POSIX makes the conversion from void * to a function pointer work for what dlsym returns.
    library->dgemm = (dgemm_function *)function_named(library, handle, "cblas_dgemm");
    library->dgesdd = (dgesdd_function *)function_named(library, handle, "dgesdd_");
    library->dgeqrf = (dgeqrf_function *)function_named(library, handle, "dgeqrf_");
    library->dorgqr = (dorgqr_function *)function_named(library, handle, "dorgqr_");
    if (library->status != COB_READY) return library;

    // The two functions that only OpenBLAS has. Another BLAS with the same interface will do.
    const char *(*configuration)(void) = (const char *(*)(void))dlsym(handle, "openblas_get_config");
    if (configuration != NULL) {
        const char *text = configuration();
        if (text != NULL && strstr(text, "USE64BITINT") != NULL) {
            library->status = COB_WIDE_INTEGERS;
            note(library, text);
            return library;
        }
    }
    // One thread a call: the callers run one call on each core, and results must not depend on the number of cores.
    void (*set_threads)(int) = (void (*)(int))dlsym(handle, "openblas_set_num_threads");
    if (set_threads != NULL) set_threads(1);
    return library;
}

void cob_forget(cob_library *library) { free(library); }

static cob_library *shared;
static pthread_once_t shared_once = PTHREAD_ONCE_INIT;

static void open_shared(void) {
    const char *path = getenv("PEFTFILE_OPENBLAS");
    shared = cob_open(path != NULL && *path != '\0' ? path : NULL);
}

const cob_library *cob_shared(void) {
    pthread_once(&shared_once, open_shared);
    return shared;
}

cob_status cob_library_status(const cob_library *library) { return library->status; }

const char *cob_library_detail(const cob_library *library) { return library->detail; }

void cob_dgemm(
    const cob_library *library, bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k, double alpha,
    const double *a, int32_t lda, const double *b, int32_t ldb, double beta, double *c, int32_t ldc) {
    // The values of CBLAS_ORDER and CBLAS_TRANSPOSE in every cblas.h.
    enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
    library->dgemm(
        ROW_MAJOR, transpose_a ? TRANSPOSE : NO_TRANSPOSE, transpose_b ? TRANSPOSE : NO_TRANSPOSE, m, n, k, alpha, a,
        lda, b, ldb, beta, c, ldc);
}

int32_t cob_dgesdd(
    const cob_library *library, int32_t m, int32_t n, double *a, int32_t lda, double *s, double *u, int32_t ldu,
    double *vt, int32_t ldvt, double *work, int32_t lwork, int32_t *iwork) {
    int32_t info = 0;
    library->dgesdd("S", &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, work, &lwork, iwork, &info, 1);
    return info;
}

int32_t cob_dgeqrf(
    const cob_library *library, int32_t m, int32_t n, double *a, int32_t lda, double *tau, double *work,
    int32_t lwork) {
    int32_t info = 0;
    library->dgeqrf(&m, &n, a, &lda, tau, work, &lwork, &info);
    return info;
}

int32_t cob_dorgqr(
    const cob_library *library, int32_t m, int32_t n, int32_t k, double *a, int32_t lda, const double *tau,
    double *work, int32_t lwork) {
    int32_t info = 0;
    library->dorgqr(&m, &n, &k, a, &lda, tau, work, &lwork, &info);
    return info;
}
