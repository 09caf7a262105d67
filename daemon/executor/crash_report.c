/* crash_report -- see crash_report.h.  This file runs taskd-symbolise; crash_text.c writes the
 * sentence. */
#include "executor/crash_report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "executor/crash_priv.h"
#include "net/loop.h"

enum { MODULE_FD = 3, OUTPUT_MAX = 65536 };

struct crash_report {
    struct loop *l;
    struct crash_facts facts;
    char *symbolise, *name, *what, *input; /* copies */
    void (*done)(void *arg, struct err *e);
    void *arg;
    int module_fd, out;   /* out: the pipe from taskd-symbolise, -1 when closed */
    struct loop_io *io;
    struct loop_child *child;
    struct loop_timer timer; /* its time, or "call done from the loop" */
    struct buf text;
};

static void
report_free(struct crash_report *r)
{
    loop_timer_stop(r->l, &r->timer);
    loop_io_free(r->io);
    file_close(&r->out);
    file_close(&r->module_fd);
    free(r->symbolise);
    free(r->name);
    free(r->what);
    free(r->input);
    buf_fini(&r->text);
    free(r);
}

static void
finish(void *arg)
{
    struct crash_report *r = arg;
    void (*done)(void *, struct err *) = r->done;
    void *done_arg = r->arg;

    buf_put(&r->text, "", 1);
    struct err *e = crash__text(&r->facts, r->text.p);
    report_free(r);
    done(done_arg, e);
}

static void
finish_when_over(struct crash_report *r)
{
    if (!r->child && !r->io)
        finish(r);
}

static void
on_child(void *arg, int status)
{
    struct crash_report *r = arg;

    r->child = NULL;
    finish_when_over(r);
}

static void
on_output(void *arg, unsigned events)
{
    struct crash_report *r = arg;
    ssize_t n = read(r->out, buf_room(&r->text, 4096), 4096);

    if (n < 0 && errno == EINTR)
        return;
    if (n > 0 && r->text.n < OUTPUT_MAX) {
        r->text.n += (size_t)n;
        return;
    }
    loop_io_free(r->io);
    r->io = NULL;
    finish_when_over(r);
}

static void
on_late(void *arg)
{
    struct crash_report *r = arg;

    if (r->child)
        loop_child_kill(r->child, SIGKILL);
}

/* ---- starting taskd-symbolise */

static int
spawn(struct crash_report *r, char **argv, int out, pid_t *ret)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t set;
    char *env[] = { NULL };

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, r->module_fd, MODULE_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, MODULE_FD + 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attr, &set);
    sigfillset(&set);
    posix_spawnattr_setsigdefault(&attr, &set);
    int errnum = posix_spawn(ret, r->symbolise, &files, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return errnum;
}

/* False: there will be no names. */
static bool
start(struct crash_report *r)
{
    char offsets[CRASH_FRAMES][24], *argv[CRASH_FRAMES + 2] = { "taskd-symbolise" };
    int n = crash__offsets(&r->facts), pipe_fds[2];
    pid_t pid;

    if (n == 0 || !r->symbolise || r->module_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return false;
    for (int i = 0; i < n; i++) {
        snprintf(offsets[i], sizeof offsets[i], "0x%llx", (unsigned long long)r->facts.lookup[i]);
        argv[i + 1] = offsets[i];
    }
    int errnum = spawn(r, argv, pipe_fds[1], &pid);
    close(pipe_fds[1]);
    r->out = pipe_fds[0];
    if (errnum)
        return false;
    struct err *e = loop_child_new(r->l, pid, on_child, r, &r->child);
    if (!e)
        e = loop_io_new(r->l, r->out, LOOP_IN, on_output, r, &r->io);
    if (!e) {
        loop_timer_start(r->l, &r->timer, loop_now(r->l) + CRASH_REPORT_MS * 1000000ull, on_late, r);
        return true;
    }
    err_free(e); /* no descriptors left: do without */
    loop_child_free(r->child);
    r->child = NULL;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return false;
}

static char *
copy(const char *s)
{
    char *c = s ? strdup(s) : NULL;

    if (s && !c)
        abort();
    return c;
}

static const char *
basename_of(const char *s)
{
    const char *slash = s ? strrchr(s, '/') : NULL;

    return slash ? slash + 1 : s;
}

struct crash_report *
crash_report_start(struct loop *l, const struct runner_death *d, const struct crash_report_opts *o)
{
    struct crash_report *r = calloc(1, sizeof *r);

    if (!r)
        abort();
    r->l = l;
    r->out = -1;
    r->module_fd = o->module_fd >= 0 ? fcntl(o->module_fd, F_DUPFD_CLOEXEC, MODULE_FD + 1) : -1;
    r->symbolise = copy(o->symbolise);
    r->name = copy(basename_of(o->module_name));
    r->what = copy(o->what);
    if (d->rec.rec.known && o->input_name)
        r->input = copy(basename_of(o->input_name(o->arg, d->rec.rec.file)));
    r->done = o->done;
    r->arg = o->arg;
    r->facts = (struct crash_facts){ .death = *d, .module = r->name ? r->name : "the module", .what = r->what,
                                     .input = r->input, .timeout_ns = o->timeout_ns,
                                     .data_limit = o->data_limit };
    if (!start(r))
        loop_timer_start(l, &r->timer, 0, finish, r);
    return r;
}

void
crash_report_cancel(struct crash_report *r)
{
    if (r->child)
        loop_child_kill(r->child, SIGKILL);
    loop_child_free(r->child); /* init or the end of this process reaps it */
    report_free(r);
}
