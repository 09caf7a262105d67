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

/* What the child could not do; it says so by a pipe, which its exec closes. */
enum step { STEP_TIE, STEP_GROUP, STEP_FOLDER, STEP_DESCRIPTORS, STEP_LIMIT, STEP_RUN };
static const char *const steps[] = {
    [STEP_TIE] = "tying the life of",     [STEP_GROUP] = "making a process group for",
    [STEP_FOLDER] = "going to the folder of", [STEP_DESCRIPTORS] = "giving descriptors to",
    [STEP_LIMIT] = "limiting",            [STEP_RUN] = "running",
};
struct failure {
    int errnum;
    enum step step;
};

/* The child runs in this address space until it execs: it only reads this. */
struct birth {
    const struct process_opts *o;
    pid_t parent;
    int null, say;
};

static _Noreturn void
fail(int say, enum step step)
{
    struct failure f = { errno, step };

    if (write(say, &f, sizeof f) < 0)
        _exit(126); /* nobody reads any more */
    _exit(127);
}

static void
limit(int say, __rlimit_resource_t which, rlim_t n)
{
    struct rlimit r = { n, n };

    if (setrlimit(which, &r) < 0)
        fail(say, STEP_LIMIT);
}

/* Descriptors 0 1 2 3 as asked for, the rest closed but the pipe.  Copies go up first, so that none overwrites another.
 * Returns where the pipe is now. */
static int
set_descriptors(const struct birth *b)
{
    const struct process_opts *o = b->o;
    int from[4] = { b->null, o->out < 0 ? b->null : o->out, o->err < 0 ? b->null : o->err, o->three };
    unsigned n = o->three < 0 ? 3 : 4;

    int say = fcntl(b->say, F_DUPFD_CLOEXEC, FD_FIRST);

    if (say < 0)
        fail(b->say, STEP_DESCRIPTORS);
    for (unsigned i = 0; i < n; i++)
        if ((from[i] = fcntl(from[i], F_DUPFD, FD_FIRST)) < 0)
            fail(say, STEP_DESCRIPTORS);
    for (unsigned i = 0; i < n; i++)
        if (dup2(from[i], (int)i) < 0)
            fail(say, STEP_DESCRIPTORS);
    close_range(n, (unsigned)say - 1, 0);
    close_range((unsigned)say + 1, ~0U, 0);
    return say;
}

/* In the child. */
static _Noreturn void
become(const struct birth *b)
{
    const struct process_opts *o = b->o;
    int say = b->say;
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    struct rlimit files;
    sigset_t none;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        fail(say, STEP_TIE);
    if (getppid() != b->parent)
        _exit(126); /* too late */
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &dfl, NULL);
    if (setpgid(0, 0) < 0)
        fail(say, STEP_GROUP);
    if (o->cwd && chdir(o->cwd) < 0)
        fail(say, STEP_FOLDER);
    say = set_descriptors(b);
    limit(say, RLIMIT_CORE, 0);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        limit(say, RLIMIT_NOFILE, files.rlim_max);
    if (o->cpu_s)
        limit(say, RLIMIT_CPU, o->cpu_s);
    if (o->file_bytes)
        limit(say, RLIMIT_FSIZE, o->file_bytes);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(o->path, o->argv);
    fail(say, STEP_RUN);
}

/* The parent's frame must not change while the child runs on its stack: nothing but this is done here. */
static __attribute__((noinline)) pid_t
split(const struct birth *b)
{
    pid_t pid = vfork();

    if (pid == 0)
        become(b);
    return pid;
}

struct err *
process_start(const struct process_opts *o, pid_t *ret_pid)
{
    struct birth b = { .o = o, .parent = getpid(), .null = -1 };
    struct failure f;
    sigset_t all, before;
    int said[2];

    if (pipe2(said, O_CLOEXEC) < 0)
        return err_errno(errno, "making a pipe");
    b.say = said[1];
    b.null = open("/dev/null", O_RDWR | O_CLOEXEC);
    /* no handler of ours may run in the child, on our memory */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = b.null < 0 ? -1 : split(&b);
    int no = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    file_close(&b.null);
    close(said[1]);
    ssize_t n = pid < 0 ? 0 : read(said[0], &f, sizeof f);
    close(said[0]);
    if (pid < 0)
        return err_errno(no, "starting \"%s\"", o->path);
    if (n == sizeof f) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return err_errno(f.errnum, "%s \"%s\"", steps[f.step], o->path);
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
