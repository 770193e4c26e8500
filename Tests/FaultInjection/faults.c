// Put before the C library (LD_PRELOAD), this library lets one chosen call of those that change the file system go wrong.
//
//   PEFTFILE_FAULT_CALL   which call, counted from 1; 0 or absent: none, and only the count is taken
//   PEFTFILE_FAULT_KIND   EIO, ENOSPC, EINTR, SHORT (half is written), KILL (the process dies before the call), STOP (it is
//                         stopped before the call, until somebody lets it go on)
//   PEFTFILE_FAULT_STOP   a call before which the process is stopped as well, as by STOP
//   PEFTFILE_FAULT_LOG    a file that gets one line for each call: its number and its name
//
// What reads, and what goes to stdout and stderr, is left alone. A test compiles it; nothing that is shipped knows of it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_int calls;
static int chosen;
static int halted;
static const char *kind = "";
static int log_descriptor = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *call = getenv("PEFTFILE_FAULT_CALL");
    chosen = call ? atoi(call) : 0;
    const char *stop = getenv("PEFTFILE_FAULT_STOP");
    halted = stop ? atoi(stop) : 0;
    if (getenv("PEFTFILE_FAULT_KIND")) kind = getenv("PEFTFILE_FAULT_KIND");
    const char *log = getenv("PEFTFILE_FAULT_LOG");
    if (log) log_descriptor = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

// What becomes of this call: 0 nothing, otherwise an errno; -1 a short one.
static int fate(const char *name, int may_be_short, int may_be_interrupted) {
    int number = ++calls;
    if (log_descriptor >= 0) {
        char line[64];
        int length = snprintf(line, sizeof line, "%d %s\n", number, name);
        syscall(SYS_write, log_descriptor, line, length);
    }
    if (number == halted) raise(SIGSTOP);
    if (number != chosen) return 0;
    if (strcmp(kind, "KILL") == 0) raise(SIGKILL);
    if (strcmp(kind, "STOP") == 0) raise(SIGSTOP);
    if (strcmp(kind, "EIO") == 0) return EIO;
    if (strcmp(kind, "ENOSPC") == 0) return ENOSPC;
    if (strcmp(kind, "EINTR") == 0 && may_be_interrupted) return EINTR;
    if (strcmp(kind, "SHORT") == 0 && may_be_short) return -1;
    return 0;
}

#define FAIL(number) return (errno = (number), -1)

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    int what = fate("pwrite", 1, 1);
    if (what > 0) FAIL(what);
    return REAL(pwrite)(descriptor, bytes, what < 0 && count > 1 ? count / 2 : count, offset);
}
ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
    return pwrite(descriptor, bytes, count, offset);
}

ssize_t copy_file_range(int from, off64_t *in, int to, off64_t *out, size_t count, unsigned flags) {
    int what = fate("copy_file_range", 1, 1);
    if (what > 0) FAIL(what);
    return REAL(copy_file_range)(from, in, to, out, what < 0 && count > 1 ? count / 2 : count, flags);
}

int fallocate(int descriptor, int mode, off_t offset, off_t size) {
    int what = fate("fallocate", 0, 1);
    if (what > 0) FAIL(what);
    return REAL(fallocate)(descriptor, mode, offset, size);
}
int fallocate64(int descriptor, int mode, off64_t offset, off64_t size) { return fallocate(descriptor, mode, offset, size); }

int ftruncate(int descriptor, off_t size) {
    int what = fate("ftruncate", 0, 1);
    if (what > 0) FAIL(what);
    return REAL(ftruncate)(descriptor, size);
}
int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, size); }

int fsync(int descriptor) {
    int what = fate("fsync", 0, 1);
    if (what > 0) FAIL(what);
    return REAL(fsync)(descriptor);
}

int sync_file_range(int descriptor, off64_t offset, off64_t count, unsigned flags) {
    int what = fate("sync_file_range", 0, 0);
    if (what > 0) FAIL(what);
    return REAL(sync_file_range)(descriptor, offset, count, flags);
}

int rename(const char *from, const char *to) {
    int what = fate("rename", 0, 0);
    if (what > 0) FAIL(what);
    return REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    int what = fate("mkdir", 0, 0);
    if (what > 0) FAIL(what);
    return REAL(mkdir)(path, mode);
}

// Removing is how a failure is cleaned up: it dies with the process, and does not fail.
int unlink(const char *path) {
    if (strcmp(kind, "KILL") == 0) fate("unlink", 0, 0);
    return REAL(unlink)(path);
}
int rmdir(const char *path) {
    if (strcmp(kind, "KILL") == 0) fate("rmdir", 0, 0);
    return REAL(rmdir)(path);
}

int open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? (mode_t)va_arg(list, int) : 0;
    va_end(list);
    if (flags & O_CREAT) {
        int what = fate("open", 0, 1);
        if (what > 0) FAIL(what);
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? (mode_t)va_arg(list, int) : 0;
    va_end(list);
    return open(path, flags | O_LARGEFILE, mode);
}

// renameat2 is called by its number.
long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a[6];
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    static long (*real)(long, ...);
    if (!real) real = dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_renameat2) {
        int what = fate("renameat2", 0, 0);
        if (what > 0) FAIL(what);
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
