#define _GNU_SOURCE
#include "CPlatform.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#ifdef __linux__
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#endif

#ifdef __linux__
// From linux/fs.h; older C libraries have neither the function nor the flags, so the system call is made directly.
#define PEFTFILE_RENAME_NOREPLACE 1u
#define PEFTFILE_RENAME_EXCHANGE 2u

static int rename_with_flags(const char *from, const char *to, unsigned flags) {
    long status = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
    return status == 0 ? 0 : -errno;
}
#endif

int peftfile_rename_exclusive(const char *from, const char *to) {
#if defined(__linux__)
    return rename_with_flags(from, to, PEFTFILE_RENAME_NOREPLACE);
#elif defined(__APPLE__)
    return renamex_np(from, to, RENAME_EXCL) == 0 ? 0 : -errno;
#else
    (void)from, (void)to;
    return -ENOSYS;
#endif
}

int peftfile_rename_exchange(const char *left, const char *right) {
#if defined(__linux__)
    return rename_with_flags(left, right, PEFTFILE_RENAME_EXCHANGE);
#elif defined(__APPLE__)
    return renamex_np(left, right, RENAME_SWAP) == 0 ? 0 : -errno;
#else
    (void)left, (void)right;
    return -ENOSYS;
#endif
}

int peftfile_rename(const char *from, const char *to) { return rename(from, to) == 0 ? 0 : -errno; }

int peftfile_synchronise(int descriptor) {
#ifdef __APPLE__
    // fsync stops at the drive's cache there.
    if (fcntl(descriptor, F_FULLFSYNC) != -1) return 0;
#endif
    int status;
    do { status = fsync(descriptor); } while (status != 0 && errno == EINTR);
    return status == 0 ? 0 : -errno;
}

int peftfile_file_times(int descriptor, struct timespec *content, struct timespec *inode) {
    struct stat status;
    if (fstat(descriptor, &status) != 0) return -errno;
#ifdef __APPLE__
    *content = status.st_mtimespec, *inode = status.st_ctimespec;
#else
    *content = status.st_mtim, *inode = status.st_ctim;
#endif
    return 0;
}

int peftfile_catch(int number, void (*handler)(int)) {
    struct sigaction before;
    if (sigaction(number, NULL, &before) != 0) return -errno;
    if (before.sa_handler == SIG_IGN) return 0;
    return signal(number, handler) == SIG_ERR ? -errno : 0;
}

// A pthread_t is an integer on some systems and a pointer on others.
_Static_assert(sizeof(pthread_t) == sizeof(uintptr_t), "a thread's name fits an integer");

int peftfile_start_thread(uintptr_t *thread, void *(*run)(void *), void *argument) {
    return -pthread_create((pthread_t *)thread, NULL, run, argument);
}

int peftfile_join_thread(uintptr_t thread) { return -pthread_join((pthread_t)thread, NULL); }

int peftfile_reserve(int descriptor, int64_t size) {
#ifdef __linux__
    return fallocate(descriptor, 0, 0, size) == 0 ? 0 : -errno;
#else
    (void)descriptor, (void)size;
    return -ENOSYS;
#endif
}

int64_t peftfile_copy_range(int from, int64_t from_offset, int to, int64_t to_offset, uint64_t count) {
#ifdef __linux__
    loff_t in = from_offset, out = to_offset;
    ssize_t copied = copy_file_range(from, &in, to, &out, count, 0);
    return copied >= 0 ? copied : -errno;
#else
    (void)from, (void)from_offset, (void)to, (void)to_offset, (void)count;
    return -ENOSYS;
#endif
}

int peftfile_lock(int descriptor) {
    return flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

int peftfile_affinity_count(void) {
#ifdef __linux__
    // cpu_set_t holds 1024 processors; the kernel answers EINVAL while the set is smaller than its own.
    for (int processors = 1024; processors <= 1 << 20; processors *= 2) {
        cpu_set_t *set = CPU_ALLOC(processors);
        if (set == NULL) return -ENOMEM;
        size_t size = CPU_ALLOC_SIZE(processors);
        int status = sched_getaffinity(0, size, set) == 0 ? 0 : errno;
        int count = status == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (status == 0) return count;
        if (status != EINVAL) return -status;
    }
    return -EINVAL;
#else
    return -ENOSYS;
#endif
}

void peftfile_keep_large_blocks(void) {
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 3 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

int peftfile_start_writeback(int descriptor, int64_t offset, int64_t size) {
#ifdef __linux__
    return sync_file_range(descriptor, offset, size, SYNC_FILE_RANGE_WRITE) == 0 ? 0 : -errno;
#else
    (void)descriptor, (void)offset, (void)size;
    return -ENOSYS;
#endif
}

int peftfile_finish_writeback(int descriptor, int64_t offset, int64_t size, int drop) {
#ifdef __linux__
    int flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(descriptor, offset, size, flags) != 0) return -errno;
    return drop ? -posix_fadvise(descriptor, offset, size, POSIX_FADV_DONTNEED) : 0;
#else
    (void)descriptor, (void)offset, (void)size, (void)drop;
    return -ENOSYS;
#endif
}
