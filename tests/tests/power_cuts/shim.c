/* Tells what a process does to the files of one folder, in the order in which it does it, so that a test can work out
 * what a power cut would have left; and ends the process at a chosen one of these operations.
 *
 *   POWER_FOLDER    the folder
 *   POWER_JOURNAL   where operations are told: a file to append to
 *   POWER_CUT_AT    the number of the operation, from 1, at which the process is killed; 0: none
 *
 * A record is a kind (1 byte), two numbers (8 bytes each), a length (8 bytes) and so many bytes, in the machine's own
 * byte order:
 *
 *   W inode offset   bytes      is about to be written
 *   T inode size                is about to be cut or grown to this size
 *   B number inode              a sync of a file or folder begins
 *   E number                    it has ended, and all is well
 *   C inode          path       a file was created
 *   M inode          path       a folder was made
 *   R                from\0to   a file is about to be renamed
 *   U                path       a file is about to be deleted
 *
 * What could change a file in another way ends the process with a message, so that nothing is missed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FDS 4096

static char folder[4096];
static size_t folder_length;
static int journal = -1;
static uint64_t cut_at, operations, syncs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The inode of each open file of the folder; 0: it is none. */
static ino_t inodes[MOST_FDS];

static void give_up(const char *what) {
    dprintf(2, "power-cut shim: %s\n", what);
    abort();
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) { \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
        if (!real) give_up("there is no " #name); \
    }

static void tell_all(const void *bytes, size_t length) {
    static ssize_t (*real_write)(int, const void *, size_t);
    if (!real_write) real_write = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    const char *at = bytes;
    while (length > 0) {
        ssize_t some = real_write(journal, at, length);
        if (some < 0 && errno == EINTR) continue;
        if (some <= 0) give_up("the journal takes nothing more");
        at += some;
        length -= (size_t)some;
    }
}

/* With the lock held. */
static void tell(char kind, uint64_t a, uint64_t b, const void *bytes, uint64_t length) {
    unsigned char head[25];
    head[0] = (unsigned char)kind;
    memcpy(head + 1, &a, 8);
    memcpy(head + 9, &b, 8);
    memcpy(head + 17, &length, 8);
    tell_all(head, sizeof head);
    tell_all(bytes, length);
    if (kind == 'E') return;
    operations += 1;
    if (operations == cut_at) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("POWER_FOLDER"), *to = getenv("POWER_JOURNAL"), *cut = getenv("POWER_CUT_AT");
    if (!at || !to || !cut) give_up("POWER_FOLDER, POWER_JOURNAL and POWER_CUT_AT have to be set");
    folder_length = strlen(at);
    if (folder_length >= sizeof folder) give_up("POWER_FOLDER is too long");
    memcpy(folder, at, folder_length + 1);
    cut_at = strtoull(cut, NULL, 10);
    journal = open(to, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (journal < 0) give_up("POWER_JOURNAL cannot be opened");
}

static int is_ours(const char *path) {
    return journal >= 0 && strncmp(path, folder, folder_length) == 0 &&
           (path[folder_length] == '/' || path[folder_length] == 0);
}

static ino_t inode_of(int fd) {
    return fd >= 0 && fd < MOST_FDS ? inodes[fd] : 0;
}

static void must_not_be_ours(int fd, const char *name) {
    if (inode_of(fd)) give_up(name);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (!is_ours(path)) return real(path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat before;
    int was_there = stat(path, &before) == 0;
    int fd = real(path, flags, mode);
    if (fd >= MOST_FDS) give_up("too many files are open");
    if (fd >= 0) {
        struct stat now;
        if (fstat(fd, &now) != 0) give_up("fstat fails");
        inodes[fd] = now.st_ino;
        if (!was_there)
            tell('C', now.st_ino, 0, path, strlen(path));
        else if (flags & O_TRUNC)
            tell('T', now.st_ino, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    return open64(path, flags, mode);
}

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < MOST_FDS) inodes[fd] = 0;
    return real(fd);
}

static void is_written(ino_t inode, const void *bytes, size_t length, off64_t offset) {
    pthread_mutex_lock(&lock);
    tell('W', inode, (uint64_t)offset, bytes, length);
    pthread_mutex_unlock(&lock);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    REAL(pwrite64);
    if (inode_of(fd)) is_written(inode_of(fd), bytes, length, offset);
    return real(fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    if (inode_of(fd)) is_written(inode_of(fd), bytes, length, lseek64(fd, 0, SEEK_CUR));
    return real(fd, bytes, length);
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    if (inode_of(fd)) {
        pthread_mutex_lock(&lock);
        tell('T', inode_of(fd), (uint64_t)size, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return real(fd, size);
}

static int is_synced(int fd, int (*real)(int)) {
    ino_t inode = inode_of(fd);
    if (!inode) return real(fd);
    pthread_mutex_lock(&lock);
    uint64_t number = ++syncs;
    tell('B', number, inode, NULL, 0);
    pthread_mutex_unlock(&lock);
    int result = real(fd);
    if (result == 0) {
        pthread_mutex_lock(&lock);
        tell('E', number, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int fsync(int fd) {
    REAL(fsync);
    return is_synced(fd, real);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return is_synced(fd, real);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    if (!is_ours(from)) return real(from, to);
    char both[8192];
    size_t first = strlen(from) + 1, second = strlen(to);
    if (first + second > sizeof both) give_up("a path is too long");
    memcpy(both, from, first);
    memcpy(both + first, to, second);
    pthread_mutex_lock(&lock);
    tell('R', 0, 0, both, first + second);
    int result = real(from, to);
    if (result != 0) give_up("rename fails");
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    REAL(unlink);
    struct stat there;
    if (!is_ours(path) || stat(path, &there) != 0) return real(path);
    pthread_mutex_lock(&lock);
    tell('U', 0, 0, path, strlen(path));
    int result = real(path);
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    if (!is_ours(path)) return real(path, mode);
    pthread_mutex_lock(&lock);
    int result = real(path, mode);
    struct stat made;
    if (result == 0 && stat(path, &made) == 0) tell('M', made.st_ino, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    REAL(writev);
    must_not_be_ours(fd, "writev");
    return real(fd, pieces, count);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t offset) {
    REAL(pwritev64);
    must_not_be_ours(fd, "pwritev64");
    return real(fd, pieces, count, offset);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    REAL(fallocate64);
    must_not_be_ours(fd, "fallocate64");
    return real(fd, mode, offset, length);
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    REAL(posix_fallocate64);
    must_not_be_ours(fd, "posix_fallocate64");
    return real(fd, offset, length);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t length, unsigned int flags) {
    REAL(copy_file_range);
    must_not_be_ours(to, "copy_file_range");
    return real(from, at, to, there, length, flags);
}
