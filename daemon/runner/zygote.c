/* zygote -- see zygote.h */
#include "runner/zygote.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "net/frame.h"
#include "net/spawn.h"
#include "runner/runner.h"

enum { ZYGOTE_FRAME_MAX = 65536, OOM_SCORE = 500, KILL_ROUNDS = 10000 };

struct zygote {
    struct frame_chan *chan;
    pid_t executor;
    void (*run)(const struct runner_start *);
    struct registered {
        char *path, *mark; /* NULL: none */
    } *paths; /* to be removed at the end */
    size_t npaths;
    struct { uint32_t id; pid_t pid; } *runner; /* the last one made for each id; it leads a group of processes */
    size_t nrunners;
};

/* ---- the janitor */

static size_t
path_find(const struct zygote *z, const char *path)
{
    size_t i = 0;

    while (i < z->npaths && strcmp(z->paths[i].path, path))
        i++;
    return i;
}

/* Takes both; mark NULL: none. */
static void
path_register(struct zygote *z, char *path, char *mark)
{
    if (path[0] != '/' || !path[strspn(path, "/")] || path_find(z, path) < z->npaths) {
        free(path);
        free(mark);
        return;
    }
    z->paths = realloc(z->paths, (z->npaths + 1) * sizeof *z->paths);
    if (!z->paths)
        abort();
    z->paths[z->npaths++] = (struct registered){ path, mark };
}

static void
path_unregister(struct zygote *z, char *path)
{
    size_t i = path_find(z, path);

    free(path);
    if (i == z->npaths)
        return;
    free(z->paths[i].path);
    free(z->paths[i].mark);
    z->paths[i] = z->paths[--z->npaths];
}

/* Is it in the session and alive?  What is dead already only waits for its parent. */
static bool
lives_here(int proc, const char *pid, pid_t session)
{
    char path[32], stat[512];

    if (getsid(atoi(pid)) != session)
        return false;
    snprintf(path, sizeof path, "%.20s/stat", pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
    file_close(&fd);
    stat[n > 0 ? n : 0] = 0;
    const char *state = strrchr(stat, ')'); /* "pid (name) S ..." */

    return n > 0 && !(state && strlen(state) > 2 && strchr("ZX", state[2]));
}

/* What runners forked: a group dies as a whole, however fast it forks. */
static void
kill_groups(const struct zygote *z)
{
    for (size_t i = 0; i < z->nrunners; i++) {
        pid_t pid = z->runner[i].pid, session = getsid(pid);

        if (session == getpid() || session < 0) /* else the number is somebody else's by now */
            kill(-pid, SIGKILL);
    }
}

/* And what left these groups; until none is left. */
static void
kill_session(void)
{
    pid_t self = getpid();
    bool found = true;

    for (int round = 0; found && round < KILL_ROUNDS; round++) {
        DIR *d = opendir("/proc");

        if (!d)
            return;
        found = false;
        for (struct dirent *f; (f = readdir(d));) {
            pid_t pid = atoi(f->d_name), group;

            if (pid <= 0 || pid == self || !lives_here(dirfd(d), f->d_name, self))
                continue;
            found = true;
            group = getpgid(pid);
            kill(group > 0 && group != self ? -group : pid, SIGKILL);
        }
        closedir(d);
    }
}

static void
clean_up(struct zygote *z)
{
    kill_groups(z);
    kill_session();
    while (z->npaths) {
        struct registered *r = &z->paths[--z->npaths];
        struct err *e = r->mark ? file_remove_marked(r->path, r->mark) : file_remove_tree(r->path);

        if (e) {
            char *s = err_text(e);

            dprintf(2, "taskd: %s\n", s);
            free(s);
            err_free(e);
        }
        free(r->path);
        free(r->mark);
    }
    free(z->paths);
    free(z->runner);
}

/* ---- runners */

/* A new process that is the executor's child.  Not fork(): the C library has no call for that.  Its
 * only knowledge that would be stale, the thread's id, is set by the kernel where it tells us the
 * address. */
static pid_t
clone_sibling(void)
{
    unsigned long flags = CLONE_PARENT | SIGCHLD;
    int *tid = NULL;

    if (prctl(PR_GET_TID_ADDRESS, &tid) == 0 && tid)
        flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    return (pid_t)syscall(SYS_clone, flags, NULL, NULL, tid, 0);
}

static void
set_limit(int what, uint64_t n)
{
    struct rlimit r;

    if (getrlimit(what, &r) < 0)
        return;
    if (r.rlim_max > n)
        r.rlim_max = n;
    r.rlim_cur = r.rlim_max;
    setrlimit(what, &r);
}

static void
limit_data(uint64_t n)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* its shadow alone is more than any limit */
    if (n)
        set_limit(RLIMIT_DATA, n);
#endif
}

static void
default_signals(void)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL); /* KILL, STOP and the C library's own refuse */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* When memory runs out, a runner is to go before anybody else. */
static void
prefer_for_oom(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        dprintf(fd, "%d", OOM_SCORE);
    file_close(&fd);
}

/* What a module starts must end with the job: nothing leaves the session.  (A kernel without seccomp: then it might.)
 * The filter is to cost nothing, so it asks for none of the mitigations that come with sandboxes. */
static void
stay_in_session(void)
{
#if defined(__x86_64__)
    enum { ARCH = AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
    enum { ARCH = AUDIT_ARCH_AARCH64 };
#endif
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = { sizeof code / sizeof *code, code };

    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog);
}

static _Noreturn void
become_runner(struct zygote *z, const struct runner_start *s, uint64_t data_limit)
{
    char name[24];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != z->executor) /* it died before the line above */
        _exit(1);
    setpgid(0, 0);
    frame_close(z->chan);
    default_signals();
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    stay_in_session();
    set_limit(RLIMIT_CORE, 0);
    limit_data(data_limit);
    prefer_for_oom();
    setvbuf(stdout, NULL, _IOLBF, 0); /* what a function printed is seen, whatever comes after */
    if (s->slot & SPAWN_MAIN)
        snprintf(name, sizeof name, "taskd-runner/m");
    else
        snprintf(name, sizeof name, "taskd-runner/%u", s->slot % SPAWN_IDS);
    prctl(PR_SET_NAME, name);
    z->run(s);
    _exit(1); /* not reached */
}

static void
remember(struct zygote *z, uint32_t id, pid_t pid)
{
    size_t i = 0;

    while (i < z->nrunners && z->runner[i].id != id)
        i++;
    if (i == z->nrunners) {
        z->runner = realloc(z->runner, (z->nrunners + 1) * sizeof *z->runner);
        if (!z->runner)
            abort();
        z->runner[z->nrunners++].id = id;
    }
    z->runner[i].pid = pid;
}

static struct err *
spawn(struct zygote *z, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    uint64_t data_limit = get_u64(&g);
    struct buf b = { 0 };
    int fd[SPAWN_FDS];

    if (g.bad || f->nfds != SPAWN_FDS)
        return err_new(ERR_CORRUPT, "a spawn request is malformed");
    for (int i = 0; i < SPAWN_FDS; i++)
        fd[i] = frame_take_fd(f, i);
    struct runner_start s = { fd[SPAWN_FD_SOCKET], fd[SPAWN_FD_A], fd[SPAWN_FD_B],
                              fd[SPAWN_FD_BELL_PAGE], fd[SPAWN_FD_BELL_EVENT], f->id };
    pid_t pid = clone_sibling();
    if (pid == 0)
        become_runner(z, &s, data_limit);
    put_u32(&b, (uint32_t)(pid < 0 ? errno : pid));
    if (pid > 0)
        remember(z, f->id, pid);
    for (int i = 0; i < SPAWN_FDS; i++)
        close(fd[i]);
    struct err *e = frame_send(z->chan, pid < 0 ? SPAWN_FAILED : SPAWN_STARTED, f->id, b.p, b.n, NULL, 0);
    buf_fini(&b);
    return e;
}

/* ---- the process */

static char *
text_of(const char *p, size_t n)
{
    char *s = strndup(p, n);

    if (!s)
        abort();
    return s;
}

static void
on_register(struct zygote *z, const struct frame *f)
{
    char *path = text_of(f->p, f->n);
    size_t n = strlen(path) + 1;

    path_register(z, path, n < f->n ? text_of((const char *)f->p + n, f->n - n) : NULL);
}

static struct err *
serve(struct zygote *z)
{
    for (;;) {
        struct frame f;

        TRY(frame_recv(z->chan, &f));
        switch (f.type) {
        case SPAWN_RUNNER:
            TRY(spawn(z, &f));
            break;
        case SPAWN_REGISTER:
            on_register(z, &f);
            break;
        case SPAWN_UNREGISTER:
            path_unregister(z, text_of(f.p, f.n));
            break;
        default:
            return err_new(ERR_CORRUPT, "the zygote got an unknown message: %u", f.type);
        }
    }
}

/* It must outlive the executor by a moment, so what ends the executor must not end it: no terminal,
 * no signals but KILL.  (It was exec'ed with all of them blocked.) */
static void
settle_down(void)
{
    int null = open("/dev/null", O_RDONLY);

    setsid();
    if (null > 0) {
        dup2(null, 0);
        close(null);
    }
    fcntl(SPAWN_FD, F_SETFD, FD_CLOEXEC);
}

int
zygote_main(void (*run)(const struct runner_start *))
{
    struct zygote z = { .executor = getppid(), .run = run };

    settle_down();
    struct err *e = frame_open(SPAWN_FD, ZYGOTE_FRAME_MAX, &z.chan);
    if (!e)
        e = serve(&z);
    int status = e->code == ERR_LOST ? 0 : 1;
    if (status) {
        char *s = err_text(e);

        dprintf(2, "taskd-runner: %s\n", s);
        free(s);
    }
    err_free(e);
    clean_up(&z);
    frame_close(z.chan);
    return status;
}
