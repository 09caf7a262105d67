/* child -- the loop's children: a pidfd each, readable when the process ended. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/loop.h"

struct loop_child {
    int pidfd;
    pid_t pid;
    struct loop_io *io;
    void (*fn)(void *arg, int status);
    void *arg;
};

static void
on_exit_of(void *arg, unsigned events)
{
    struct loop_child *c = arg;
    void (*fn)(void *, int) = c->fn;
    void *fn_arg = c->arg;
    int status = 0;
    pid_t got = waitpid(c->pid, &status, WNOHANG);

    if (got == 0 || (got < 0 && errno == EINTR))
        return;
    loop_child_free(c);
    fn(fn_arg, status); /* ECHILD: somebody else reaped it; status 0 */
}

struct err *
loop_child_new(struct loop *l, pid_t pid, void (*fn)(void *arg, int status), void *arg,
               struct loop_child **ret)
{
    int fd = pidfd_open(pid, 0);

    if (fd < 0)
        return err_errno(errno, "opening process %d", (int)pid);
    struct loop_child *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (struct loop_child){ .pidfd = fd, .pid = pid, .fn = fn, .arg = arg };
    struct err *e = loop_io_new(l, fd, LOOP_IN, on_exit_of, c, &c->io);
    if (e) {
        loop_child_free(c);
        return e;
    }
    *ret = c;
    return NULL;
}

void
loop_child_kill(struct loop_child *c, int signo)
{
    if (pidfd_send_signal(c->pidfd, signo, NULL, 0) < 0)
        ASSERT(errno == ESRCH);
}

void
loop_child_free(struct loop_child *c)
{
    if (!c)
        return;
    loop_io_free(c->io);
    close(c->pidfd);
    free(c);
}
