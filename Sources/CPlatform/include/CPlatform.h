// What differs from one platform to the next: the system calls that Glibc declares only under _GNU_SOURCE, which Swift's Glibc
// module is built without, and those whose types or meaning are others on Darwin. Each
// function returns 0 or a non-negative count on success and a negated errno on failure; on systems that lack the call
// it returns -ENOSYS, and the Swift side takes its portable path. Only ByteAccess imports this module.
#pragma once

#include <stdint.h>
#include <time.h>

/// rename(2) that fails with -EEXIST where `to` exists (renameat2 RENAME_NOREPLACE, renamex_np RENAME_EXCL).
int peftfile_rename_exclusive(const char *from, const char *to);

/// Exchanges two existing paths atomically (renameat2 RENAME_EXCHANGE, renamex_np RENAME_SWAP).
int peftfile_rename_exchange(const char *left, const char *right);

/// rename(2), which replaces what is at `to`.
int peftfile_rename(const char *from, const char *to);

/// Makes the bytes of an open file durable (fsync; on Darwin F_FULLFSYNC, which goes through the drive's cache), again where a signal came between.
int peftfile_synchronise(int descriptor);

/// The times when an open file's content and its inode last changed (fstat).
int peftfile_file_times(int descriptor, struct timespec *content, struct timespec *inode);

/// Lets a signal call `handler`, unless whoever started this process lets it be ignored (nohup, a background job of a script).
int peftfile_catch(int number, void (*handler)(int));

/// Starts a thread that calls `run` with `argument` (pthread_create).
int peftfile_start_thread(uintptr_t *thread, void *(*run)(void *), void *argument);

/// Waits until a thread has ended (pthread_join).
int peftfile_join_thread(uintptr_t thread);

/// Reserves `size` bytes of disk for the file and sets its length (fallocate).
int peftfile_reserve(int descriptor, int64_t size);

/// Copies up to `count` bytes between two files inside the kernel (copy_file_range); may copy fewer.
int64_t peftfile_copy_range(int from, int64_t from_offset, int to, int64_t to_offset, uint64_t count);

/// Locks an open file or directory for this process alone, without waiting (flock): -EWOULDBLOCK where another has it. The
/// lock ends with the descriptor, and so with the process however it ends.
int peftfile_lock(int descriptor);

/// The number of processors this process may run on (sched_getaffinity).
int peftfile_affinity_count(void);

/// Lets the C library keep blocks of up to 3 MiB for reuse: panels, of which the next one follows at once. By default glibc
/// gives them back to the system when they are freed, and each new one is filled page fault by page fault. Larger blocks,
/// the factors of a tensor, go back at once, so that no hole between them stays behind. And all threads take from one arena: with one
/// each, what a worker frees is of no use to the others. Does nothing elsewhere.
void peftfile_keep_large_blocks(void);

/// Starts writing a range of a file's pages to disk (sync_file_range).
int peftfile_start_writeback(int descriptor, int64_t offset, int64_t size);

/// Waits until a range that was started is on disk, and lets its pages go from the cache where `drop` is not 0.
int peftfile_finish_writeback(int descriptor, int64_t offset, int64_t size, int drop);
