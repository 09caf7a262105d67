/* The executor of the tests, and their modules. */
#include "runners.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "executor/crash_report.h"
#include "net/loop.h"
#include "runner_stub.h"
#include "unit.h"

const char *
built(const char *name)
{
    static char path[2][4096];
    static int i;
    const char *top = getenv("top_builddir");

    snprintf(path[i ^= 1], sizeof path[0], "%s/%s", top ? top : ".", name);
    return path[i];
}

int
open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

void
call(struct world *w, unsigned slot, const char *fn, const char *record)
{
    char s[4096];
    int n = snprintf(s, sizeof s, "%s%c%s", fn, 0, record);

    CU_ASSERT(runners_launch(w->rs, slot, STUB_CALL, s, (size_t)n));
    runners_kick(w->rs, slot);
}

static void
on_frame(void *arg, unsigned slot, struct frame *f)
{
    struct world *w = arg;

    w->frames++;
    w->got = *f;
    if (f->nfds)
        w->last = frame_take_fd(f, 0);
    memcpy(w->payload, f->p, f->n < 64 ? f->n : 64);
    loop_stop(w->l);
}

static void
on_answer(void *arg, unsigned slot, const struct ring_frame *f)
{
    struct world *w = arg;

    w->n = f->n;
    memcpy(&w->last, f->p, f->n < sizeof w->last ? f->n : sizeof w->last);
    if (++w->answers == w->stop_answers)
        loop_stop(w->l);
}

static void
on_round(void *arg)
{
    ((struct world *)arg)->rounds++;
}

static void
on_death(void *arg, unsigned slot, const struct runner_death *d)
{
    struct world *w = arg;

    w->death = *d;
    CU_ASSERT(runners_empty(w->rs, slot));
    if (++w->deaths == w->stop_deaths) {
        loop_stop(w->l);
    } else if (w->respawn) {
        NO_ERR(runners_spawn(w->rs, slot, 0));
        call(w, slot, "nothing is loaded", "");
        CU_ASSERT(runners_launch(w->rs, slot, w->deaths % 2 ? STUB_QUIT : STUB_MORE, NULL, 0));
        runners_kick(w->rs, slot);
        if (w->deaths % 2 == 0)
            runners_kill(w->rs, slot, RUNNER_CANCELLED);
    }
}

static void
on_lost(void *arg, struct err *e)
{
    struct world *w = arg;

    w->lost++;
    IS_ERR(e, ERR_LOST, "was killed by signal 9");
    loop_stop(w->l);
}

void
world_open(struct world *w)
{
    static const struct runners_ops ops = { on_frame, on_answer, on_death, on_round, on_lost };
    struct runners_opts o = { .slots = SLOTS, .frame_limit = 1 << 24 };

    memset(w, 0, sizeof *w);
    NO_ERR(zygote_start(built("tests/stub-runner"), &w->z));
    NO_ERR(loop_new(&w->l));
    NO_ERR(runners_new(w->l, w->z, &o, &ops, w, &w->rs));
}

void
world_close(struct world *w)
{
    runners_free(w->rs);
    loop_free(w->l);
    zygote_stop(w->z);
}

void
run_until(struct world *w, unsigned answers, unsigned deaths)
{
    w->stop_answers = answers;
    w->stop_deaths = deaths;
    NO_ERR(loop_run(w->l));
}

/* ---- modules */

static char modules[] = "/tmp/taskd-modules-XXXXXX";

static void
remove_modules(void)
{
    err_free(file_remove_tree(modules));
}

/* Compiles a source of the tests; returns a sealed memfd of it. */
int
module(const char *source, const char *cc, const char *flags)
{
    static bool made;
    const char *top = getenv("top_srcdir");
    char cmd[9000];

    if (!made) {
        CU_ASSERT_FATAL(mkdtemp(modules) != NULL);
        atexit(remove_modules);
        made = true;
    }
    snprintf(cmd, sizeof cmd, "%s -g -O2 -w -shared -fPIC %s -o %s/crash.so %s/tests/%s", cc, flags, modules,
             top ? top : "..", source);
    CU_ASSERT_FATAL(system(cmd) == 0);
    struct buf b = { 0 };
    snprintf(cmd, sizeof cmd, "%s/crash.so", modules);
    NO_ERR(file_slurp(cmd, 1 << 24, &b));
    int fd = memfd_create("module", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    NO_ERR(file_write_full(fd, b.p, b.n, "module"));
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    buf_fini(&b);
    return fd;
}

int
bad_module(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = module("runner_bad.c", "gcc", "");
    return fd;
}

void
load(struct world *w, unsigned slot, int fd, uint64_t data_limit)
{
    NO_ERR(runners_spawn(w->rs, slot, data_limit));
    NO_ERR(runners_post(w->rs, slot, STUB_LOAD, 0, NULL, 0, &fd, 1));
    CU_ASSERT(runners_launch(w->rs, slot, STUB_MORE, NULL, 0));
}
