// Runs a command and says what it took: measure SECONDS COMMAND...
//
// The last line on stderr is "measured: STATUS MAXRSS CPU WALL": the exit status, or minus the signal; the most kibibytes that
// were resident; milliseconds of processor and of the clock. A command that runs longer than SECONDS is killed.
//
// A process of its own, and a small one: the kernel counts what was resident before exec too, and the test runner is large.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pid_t child;

static void stop(int signal) {
    (void)signal;
    kill(child, SIGKILL);
}

static long long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int main(int count, char **arguments) {
    if (count < 3) return 99;
    long long start = milliseconds();
    child = fork();
    if (child < 0) return 99;
    if (child == 0) {
        execv(arguments[2], arguments + 2);
        _exit(99);
    }
    signal(SIGALRM, stop);
    alarm((unsigned)atoi(arguments[1]));
    int status;
    struct rusage usage;
    while (wait4(child, &status, 0, &usage) < 0)
        if (errno != EINTR) return 99;
#ifdef __APPLE__
    long resident = usage.ru_maxrss / 1024;
#else
    long resident = usage.ru_maxrss;
#endif
    long long used = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000LL + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
    int ended = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    fprintf(stderr, "measured: %d %ld %lld %lld\n", ended, resident, used, milliseconds() - start);
    return 0;
}
