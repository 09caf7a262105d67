/* path -- a unix socket that can't be taken over: gRPC unlinks whatever is at the path and binds anew. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "rpc/rpc_priv.h"

static struct err *
check_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (path[0] != '/')
        return err_new(ERR_CONFIG, "the socket \"%s\" has no absolute path", path);
    if (strlen(path) >= sizeof ((struct sockaddr_un *)0)->sun_path)
        return err_new(ERR_CONFIG, "the path of the socket \"%s\" is longer than %zu bytes", path,
                       sizeof ((struct sockaddr_un *)0)->sun_path - 1);
    char *dir = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    if (!dir)
        abort();
    struct err *e = NULL;
    if (lstat(dir, &st) < 0)
        e = err_errno(errno, "looking at the folder \"%s\" of a socket", dir);
    else if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077))
        e = err_hint(err_new(ERR_DENIED, "the folder \"%s\" of a socket is open to others", dir),
                     "It must be yours and have mode 0700.");
    free(dir);
    return e;
}

static char *
lock_name(const char *path)
{
    struct buf b = { 0 };

    buf_printf(&b, "%s.lock", path);
    put_u8(&b, 0);
    return b.p;
}

/* Locked, and still the file of that name: whoever ends removes it. */
static struct err *
try_lock(const char *name, const char *path, int *ret_fd)
{
    struct stat by_fd, by_name;

    for (;;) {
        int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return err_errno(errno, "making the lock file \"%s\"", name);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            int errnum = errno;

            close(fd);
            if (errnum == EWOULDBLOCK)
                return err_new(ERR_DENIED, "the socket \"%s\" belongs to another process", path);
            return err_errno(errnum, "locking \"%s\"", name);
        }
        if (!fstat(fd, &by_fd) && !lstat(name, &by_name) && by_fd.st_ino == by_name.st_ino) {
            *ret_fd = fd;
            return NULL;
        }
        close(fd);
    }
}

struct err *
rpc__path_lock(const char *path, int *ret_fd)
{
    TRY(check_folder(path));
    char *name = lock_name(path);
    struct err *e = try_lock(name, path, ret_fd);
    free(name);
    return e;
}

void
rpc__path_unlock(const char *path, int *fd)
{
    if (*fd < 0)
        return;
    char *name = lock_name(path);
    unlink(path);
    unlink(name);
    free(name);
    file_close(fd);
}
