/* zygote -- the executor's end of its zygote: see runners.h */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "executor/runners_priv.h"
#include "net/spawn.h"

enum { FROM_ZYGOTE_MAX = 64 };

extern char **environ;

static int
exec_zygote(const char *path, int fd, pid_t *ret)
{
    char *argv[] = { "taskd-runner", "--zygote", NULL };
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t set;
    int errnum;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, fd, SPAWN_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, SPAWN_FD + 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigfillset(&set);
    posix_spawnattr_setsigmask(&attr, &set); /* deaf from the first moment: it is the janitor */
    posix_spawnattr_setsigdefault(&attr, &set);
    errnum = posix_spawn(ret, path, &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return errnum;
}

struct err *
zygote_start(const char *path, struct zygote **ret)
{
    struct zygote *z;
    pid_t pid;
    int fds[2];

    TRY(frame_pair(fds));
    int errnum = exec_zygote(path, fds[1], &pid);
    close(fds[1]);
    if (errnum) {
        close(fds[0]);
        return err_errno(errnum, "starting \"%s\"", path);
    }
    if (!(z = calloc(1, sizeof *z)))
        abort();
    z->pid = pid;
    struct err *e = frame_open(fds[0], FROM_ZYGOTE_MAX, &z->chan);
    if (e) {
        zygote_stop(z);
        return e;
    }
    *ret = z;
    return NULL;
}

struct err *
zygote__say(struct zygote *z, uint32_t type, uint32_t id, const void *p, size_t n, const int *fds, int nfds)
{
    return z->attached ? frame_post(z->chan, type, id, p, n, fds, nfds)
                       : frame_send(z->chan, type, id, p, n, fds, nfds);
}

struct err *
zygote_register(struct zygote *z, const char *path, const char *mark)
{
    struct buf b = { 0 };

    ASSERT(path[0] == '/');
    buf_put(&b, path, strlen(path));
    if (mark)
        buf_put(&b, "", 1);
    if (mark)
        buf_put(&b, mark, strlen(mark));
    struct err *e = zygote__say(z, SPAWN_REGISTER, 0, b.p, b.n, NULL, 0);
    buf_fini(&b);
    return e;
}

struct err *
zygote_unregister(struct zygote *z, const char *path)
{
    return zygote__say(z, SPAWN_UNREGISTER, 0, path, strlen(path), NULL, 0);
}

pid_t
zygote_pid(const struct zygote *z)
{
    return z->pid;
}

void
zygote_stop(struct zygote *z)
{
    if (!z)
        return;
    frame_close(z->chan);
    while (z->pid && waitpid(z->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    free(z);
}
