/* A disk that fails when told: preloaded into a daemon, it refuses what goes to files under $DISK_DIRECTORY.
 *
 * $DISK_FAULT names a file. While that is there it says what to do, as "CALLS ERRNO MILLISECONDS": CALLS is `write`
 * (every way to write or to grow a file), `fsync`, or `none`; ERRNO a number; every fsync takes so much longer.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_ours(int fd) {
    char link[64], path[PATH_MAX];
    const char *directory = getenv("DISK_DIRECTORY");
    if (!directory) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    /* The database, its -wal and -journal; not the log, and not -shm, which is memory. */
    return !strncmp(path, directory, strlen(directory)) && strstr(path, ".db") && !strstr(path, "-shm");
}

/* Whether a call of this kind is to fail on this file; sets errno. */
static int fails(const char *kind, int fd) {
    const char *name = getenv("DISK_FAULT");
    if (!name || !is_ours(fd)) return 0;
    int saved = errno, code = 0, milliseconds = 0;
    char calls[16] = "none";
    FILE *file = fopen(name, "re");
    errno = saved;
    if (!file) return 0;
    int read = fscanf(file, "%15s %d %d", calls, &code, &milliseconds);
    fclose(file);
    errno = saved;
    if (read < 2) return 0;
    if (!strcmp(kind, "fsync") && milliseconds) usleep(milliseconds * 1000);
    if (strcmp(calls, kind)) return 0;
    errno = code;
    return 1;
}

#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
    return fails("write", fd) ? -1 : NEXT(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    return fails("write", fd) ? -1 : NEXT(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return fails("write", fd) ? -1 : NEXT(pwrite64)(fd, data, size, at);
}
int ftruncate(int fd, off_t size) { return fails("write", fd) ? -1 : NEXT(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return fails("write", fd) ? -1 : NEXT(ftruncate64)(fd, size); }
int fallocate(int fd, int mode, off_t at, off_t size) {
    return fails("write", fd) ? -1 : NEXT(fallocate)(fd, mode, at, size);
}
int fsync(int fd) { return fails("fsync", fd) ? -1 : NEXT(fsync)(fd); }
int fdatasync(int fd) { return fails("fsync", fd) ? -1 : NEXT(fdatasync)(fd); }
