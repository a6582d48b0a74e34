/* A disk that hangs or fails, and a clock that is wrong, for a process that this is loaded into.
 *
 *   FAULT_FOLDER  a folder; while a file `hang` is in it, syncs wait, and while there is a file `fail`, they fail
 *   FAULT_CLOCK   seconds by which the time of day is shifted
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static char hang[4096], fail[4096];
static long shift;

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAULT_FOLDER"), *clock = getenv("FAULT_CLOCK");
    if (folder) {
        snprintf(hang, sizeof hang, "%s/hang", folder);
        snprintf(fail, sizeof fail, "%s/fail", folder);
    }
    if (clock) shift = atol(clock);
}

static int is_there(const char *path) {
    return path[0] && access(path, F_OK) == 0;
}

static int sync_by(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    while (is_there(hang)) usleep(1000);
    if (is_there(fail)) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

int fsync(int fd) {
    return sync_by(fd, "fsync");
}

int fdatasync(int fd) {
    return sync_by(fd, "fdatasync");
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += shift;
    return result;
}
