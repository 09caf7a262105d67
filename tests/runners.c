/* The process border: zygote, runners, their deaths and what is said about them.  The runner is a
 * stub (runner_stub.c); modules are compiled here. */
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

/* ---- life */

/* Launches wait in the ring before there is a process. */
static void
until_pids(void *arg)
{
    struct world *w = arg;

    if (runners_pid(w->rs, 0) > 0 && runners_pid(w->rs, 1) > 0)
        loop_stop(w->l);
    else
        loop_post(w->l, until_pids, w);
}

static void
answers(void)
{
    struct world w;
    int before = open_fds();

    world_open(&w);
    for (unsigned s = 0; s < 2; s++) {
        CU_ASSERT(runners_empty(w.rs, s) && !runners_alive(w.rs, s));
        NO_ERR(runners_spawn(w.rs, s, 0));
        CU_ASSERT(!runners_empty(w.rs, s) && runners_alive(w.rs, s));
        for (int i = 0; i < 100; i++)
            CU_ASSERT(runners_launch(w.rs, s, STUB_ECHO, &i, sizeof i));
        runners_kick(w.rs, s);
        EQ_U64(runners_pid(w.rs, s), 0);
    }
    CU_ASSERT(!runners_launch(w.rs, 2, STUB_ECHO, NULL, 0));
    run_until(&w, 200, 0);
    EQ_U64(w.answers, 200);
    EQ_U64(w.last, 99);
    loop_post(w.l, until_pids, &w); /* the zygote's word may come after the runners' */
    NO_ERR(loop_run(w.l));
    CU_ASSERT(w.rounds > 0);
    CU_ASSERT(runners_pid(w.rs, 0) > 0 && runners_pid(w.rs, 1) > 0);
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)runners_pid(w.rs, 1));
    int fd = open(path, O_RDONLY);
    CU_ASSERT(read(fd, name, sizeof name) == 16 - 1);
    EQ_STR(strtok(name, "\n"), "taskd-runner/1");
    close(fd);
    world_close(&w);
    EQ_U64(open_fds(), before);
    CU_ASSERT(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

static void
on_late(void *arg)
{
    struct world *w = arg;

    CU_ASSERT(runners_launch(w->rs, 0, STUB_ECHO, "late", 4));
}

/* A launch needs no kick, wherever in the loop it was made, and finds a runner that sleeps. */
static void
wakes_by_itself(void)
{
    struct loop_timer t = { 0 };
    struct world w;

    world_open(&w);
    NO_ERR(runners_spawn(w.rs, 0, 0));
    CU_ASSERT(runners_launch(w.rs, 0, STUB_ECHO, "x", 1));
    run_until(&w, 1, 0);
    for (unsigned i = 1; i <= 5; i++) {
        loop_timer_start(w.l, &t, clock_mono_ns() + 2000000, on_late, &w);
        run_until(&w, 1 + i, 0);
    }
    EQ_U64(w.answers, 6);
    world_close(&w);
}

static void
ends_well(void)
{
    struct world w;

    world_open(&w);
    NO_ERR(runners_spawn(w.rs, 1, 0));
    CU_ASSERT(runners_launch(w.rs, 1, STUB_QUIT, NULL, 0));
    runners_kick(w.rs, 1);
    run_until(&w, 0, 1);
    EQ_U64(w.death.why, RUNNER_DIED);
    EQ_U64(w.death.status, 0);
    EQ_U64(w.death.rec.end.kind, RECORDER_RUNNING);
    CU_ASSERT(w.death.pid > 0);
    world_close(&w);
}

/* Everything a runner said counts, in order, before its death. */
static void
last_answers(void)
{
    struct world w;
    uint32_t n = 30000;

    world_open(&w);
    NO_ERR(runners_spawn(w.rs, 0, 0));
    CU_ASSERT(runners_launch(w.rs, 0, STUB_FLOOD, &n, sizeof n));
    runners_kick(w.rs, 0);
    run_until(&w, 0, 1);
    EQ_U64(w.answers, 30000);
    EQ_U64(w.last, 29999);
    world_close(&w);
}

static void
frames(void)
{
    struct world w;
    char *big = calloc(1, 300000);
    struct stat want, st;
    int fd = memfd_create("x", MFD_CLOEXEC);

    world_open(&w);
    NO_ERR(runners_spawn(w.rs, 0, 0));
    strcpy(big, "big");
    NO_ERR(runners_post(w.rs, 0, STUB_ECHO, 77, big, 300000, &fd, 1));
    CU_ASSERT(runners_launch(w.rs, 0, STUB_MORE, NULL, 0));
    runners_kick(w.rs, 0);
    run_until(&w, 0, 0);
    EQ_U64(w.got.type, STUB_DONE);
    EQ_U64(w.got.id, 77);
    EQ_U64(w.got.n, 300000);
    EQ_STR(w.payload, "big");
    fstat(fd, &want);
    CU_ASSERT(fstat(w.last, &st) == 0 && st.st_ino == want.st_ino);
    close(w.last);
    close(fd);
    free(big);
    world_close(&w);
}

/* Born and killed again and again: as many descriptors as before.  TASKD_LONG=1: 10,000 times. */
static void
respawns(void)
{
    unsigned n = getenv("TASKD_LONG") ? 10000 : 400;
    int before = open_fds();
    struct world w;

    world_open(&w);
    int open = open_fds();
    w.respawn = true;
    for (unsigned i = 0; i < SLOTS; i++) {
        NO_ERR(runners_spawn(w.rs, i, 0));
        runners_kill(w.rs, i, RUNNER_CANCELLED); /* before it exists */
    }
    run_until(&w, 0, n);
    CU_ASSERT(w.deaths >= n); /* several may end in one round */
    CU_ASSERT(open_fds() <= open + 3 * SLOTS);
    world_close(&w);
    EQ_U64(open_fds(), before);
}

/* ---- the janitor */

static void
make_tree(const char *dir)
{
    char path[4200];

    CU_ASSERT(mkdir(dir, 0700) == 0);
    snprintf(path, sizeof path, "%s/sub", dir);
    CU_ASSERT(mkdir(path, 0700) == 0);
    snprintf(path, sizeof path, "%s/sub/file", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
}

static void
registered(void)
{
    char dir[] = "/tmp/taskd-test-XXXXXX", a[64], b[64], c[64], e[64];
    struct world w;

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    snprintf(c, sizeof c, "%s/c", dir);
    snprintf(e, sizeof e, "%s/e", dir);
    make_tree(a);
    make_tree(b);
    make_tree(c);
    make_tree(e);
    world_open(&w);
    NO_ERR(zygote_register(w.z, a, NULL));
    NO_ERR(zygote_register(w.z, a, NULL));
    NO_ERR(zygote_register(w.z, b, NULL));
    NO_ERR(zygote_register(w.z, "/", NULL));
    NO_ERR(zygote_register(w.z, c, "sub"));
    NO_ERR(zygote_register(w.z, e, "other"));
    NO_ERR(zygote_unregister(w.z, b));
    NO_ERR(zygote_unregister(w.z, "/nothing"));
    world_close(&w);
    CU_ASSERT(access(a, F_OK) < 0);
    CU_ASSERT(access(b, F_OK) == 0);
    CU_ASSERT(access(c, F_OK) < 0);
    CU_ASSERT(access(e, F_OK) == 0); /* its mark is not there */
    NO_ERR(file_remove_tree(dir));
}

static void
zygote_killed(void)
{
    struct world w;

    world_open(&w);
    kill(zygote_pid(w.z), SIGTERM); /* no effect */
    NO_ERR(runners_spawn(w.rs, 0, 0));
    CU_ASSERT(runners_launch(w.rs, 0, STUB_ECHO, "x", 1));
    runners_kick(w.rs, 0);
    run_until(&w, 1, 0);
    EQ_U64(w.answers, 1);
    kill(zygote_pid(w.z), SIGKILL);
    run_until(&w, 0, 0);
    EQ_U64(w.lost, 1);
    IS_ERR(runners_spawn(w.rs, 1, 0), ERR_LOST, "is gone");
    CU_ASSERT(runners_launch(w.rs, 0, STUB_ECHO, "x", 1)); /* what lives, lives */
    runners_kick(w.rs, 0);
    run_until(&w, 2, 0);
    EQ_U64(w.answers, 2);
    world_close(&w);
    IS_ERR(zygote_start("/nowhere/taskd-runner", &w.z), ERR_IO, "starting \"/nowhere/taskd-runner\"");
}

/* kill -9 of the executor: its runners and its zygote end, its files go. */
static void
executor_killed(void)
{
    char dir[] = "/tmp/taskd-test-XXXXXX", a[64];
    int p[2], n = 0, fd = bad_module();

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL && pipe(p) == 0);
    snprintf(a, sizeof a, "%s/a", dir);
    make_tree(a);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* orphans become ours */
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct world w;

        world_open(&w);
        NO_ERR(zygote_register(w.z, a, NULL));
        load(&w, 0, fd, 0);
        NO_ERR(runners_spawn(w.rs, 1, 0));
        CU_ASSERT(runners_launch(w.rs, 1, STUB_ECHO, "x", 1));
        runners_kick(w.rs, 1);
        call(&w, 0, "forks_away", "x");
        run_until(&w, 2, 0);
        CU_ASSERT(write(p[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    char c;
    uint64_t from = clock_mono_ns();
    CU_ASSERT(read(p[0], &c, 1) == 1);
    kill(pid, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        n++;
    EQ_U64(n, 5); /* itself, the zygote, two runners, what one of them forked */
    CU_ASSERT(clock_mono_ns() - from < 2000000000);
    CU_ASSERT(access(a, F_OK) < 0);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    close(p[0]);
    close(p[1]);
    NO_ERR(file_remove_tree(dir));
}

static const struct unit_test tests[] = {
    { "runners.answers", answers },
    { "runners.wakes_by_itself", wakes_by_itself },
    { "runners.ends_well", ends_well },
    { "runners.last_answers", last_answers },
    { "runners.frames", frames },
    { "runners.respawns", respawns },
    { "zygote.registered", registered },
    { "zygote.executor_killed", executor_killed },
    { "zygote.killed", zygote_killed },
    { "crash.segv", crash_segv },
    { "crash.other_signals", crash_other_signals },
    { "crash.heap_errors", crash_heap_errors },
    { "crash.stack_overflow", crash_stack_overflow },
    { "crash.exits", crash_exits },
    { "crash.gives_up", crash_gives_up },
    { "crash.nested", crash_nested },
    { "crash.eats_memory", crash_eats_memory },
    { "crash.closes_descriptors", crash_closes_descriptors },
    { "crash.scribbles", crash_scribbles },
    { "crash.throws", crash_throws },
    { "crash.no_debug_information", crash_no_debug_information },
    { "crash.garbage_for_module", crash_garbage_for_module },
    { "crash.timeouts", crash_timeouts },
    { "crash.children_of_modules", crash_children_of_modules },
    UNIT_END
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "runners", tests);
}
