/* process -- see process.h */
#include "worker/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

enum { FD_FIRST = 10 }; /* where descriptors wait that go to 1, 2, 3 */

/* Shared with the child, which runs in this address space until it execs. */
struct birth {
    const struct process_opts *o;
    pid_t parent;
    int null;
    volatile int err; /* errno */
    const char *volatile what;
};

static void
fail(struct birth *b, const char *what)
{
    b->err = errno ? errno : EIO;
    b->what = what;
    _exit(127);
}

static void
limit(struct birth *b, __rlimit_resource_t which, rlim_t n)
{
    struct rlimit r = { n, n };

    if (setrlimit(which, &r) < 0)
        fail(b, "setting a limit of");
}

/* Descriptors 0 1 2 3 as asked for, the rest closed.  Copies go up first, so that none overwrites another. */
static void
set_descriptors(struct birth *b)
{
    const struct process_opts *o = b->o;
    int from[4] = { b->null, o->out < 0 ? b->null : o->out, o->err < 0 ? b->null : o->err, o->three };
    unsigned n = o->three < 0 ? 3 : 4;

    for (unsigned i = 0; i < n; i++)
        if ((from[i] = fcntl(from[i], F_DUPFD, FD_FIRST)) < 0)
            fail(b, "giving descriptors to");
    for (unsigned i = 0; i < n; i++)
        if (dup2(from[i], (int)i) < 0)
            fail(b, "giving descriptors to");
    close_range(n, ~0U, 0);
}

/* In the child. */
static _Noreturn void
become(struct birth *b)
{
    const struct process_opts *o = b->o;
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    struct rlimit files;
    sigset_t none;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        fail(b, "tying the life of");
    if (getppid() != b->parent)
        _exit(127); /* too late: nobody is there to read it */
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &dfl, NULL);
    if (setpgid(0, 0) < 0)
        fail(b, "making a process group for");
    if (o->cwd && chdir(o->cwd) < 0)
        fail(b, "changing to the folder of");
    set_descriptors(b);
    limit(b, RLIMIT_CORE, 0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        limit(b, RLIMIT_NOFILE, files.rlim_max);
    if (o->cpu_s)
        limit(b, RLIMIT_CPU, o->cpu_s);
    if (o->file_bytes)
        limit(b, RLIMIT_FSIZE, o->file_bytes);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(o->path, o->argv);
    fail(b, "running");
    _exit(127);
}

/* The parent's frame must not change while the child runs on its stack: nothing but this is done here. */
static __attribute__((noinline)) pid_t
split(struct birth *b)
{
    pid_t pid = vfork();

    if (pid == 0)
        become(b);
    return pid;
}

struct err *
process_start(const struct process_opts *o, pid_t *ret_pid)
{
    struct birth b = { .o = o, .parent = getpid() };
    sigset_t all, before;

    b.null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (b.null < 0)
        return err_errno(errno, "opening \"/dev/null\"");
    /* no handler of ours may run in the child, on our memory */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = split(&b);
    int no = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(b.null);
    if (pid < 0)
        return err_errno(no, "starting \"%s\"", o->path);
    if (b.err) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return err_errno(b.err, "%s \"%s\"", b.what, o->path);
    }
    *ret_pid = pid;
    return NULL;
}

struct err *
process_sealed(const char *name, const void *p, size_t n, int *ret_fd)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_errno(errno, "making a memfd");
    struct err *e = file_write_full(fd, p, n, name);
    if (!e && fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        e = err_errno(errno, "sealing a memfd");
    if (!e && lseek(fd, 0, SEEK_SET) < 0)
        e = err_errno(errno, "rewinding a memfd");
    if (e) {
        close(fd);
        return e;
    }
    *ret_fd = fd;
    return NULL;
}

void
process_end_text(int status, struct buf *out)
{
    if (WIFSIGNALED(status))
        buf_printf(out, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        buf_printf(out, "exit status %d", WEXITSTATUS(status));
}

unsigned
process_exit_status(int status)
{
    return WIFSIGNALED(status) ? 128u + (unsigned)WTERMSIG(status) : (unsigned)WEXITSTATUS(status);
}
