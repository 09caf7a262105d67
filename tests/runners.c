/* The process border: zygote, runners, their deaths and what is said about them.  The runner is a stub
 * (runner_stub.c); modules are compiled here. */
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

enum { SLOTS = 3 };

struct world {
    struct loop *l;
    struct zygote *z;
    struct runners *rs;
    unsigned answers, deaths, rounds, frames, lost, stop_answers, stop_deaths;
    int last;                /* the last answer */
    unsigned n;              /* and its length */
    struct runner_death death;
    bool respawn;            /* after each death, until stop_deaths */
    unsigned crash_now;      /* and crash again */
    struct frame got;
    char payload[64];
};

static const char *
built(const char *name)
{
    static char path[2][4096];
    static int i;
    const char *top = getenv("top_builddir");

    snprintf(path[i ^= 1], sizeof path[0], "%s/%s", top ? top : ".", name);
    return path[i];
}

static int
open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void
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

static void
world_open(struct world *w)
{
    static const struct runners_ops ops = { on_frame, on_answer, on_death, on_round, on_lost };
    struct runners_opts o = { SLOTS, 1 << 24 };

    memset(w, 0, sizeof *w);
    NO_ERR(zygote_start(built("tests/stub-runner"), &w->z));
    NO_ERR(loop_new(&w->l));
    NO_ERR(runners_new(w->l, w->z, &o, &ops, w, &w->rs));
}

static void
world_close(struct world *w)
{
    runners_free(w->rs);
    loop_free(w->l);
    zygote_stop(w->z);
}

static void
run_until(struct world *w, unsigned answers, unsigned deaths)
{
    w->stop_answers = answers;
    w->stop_deaths = deaths;
    NO_ERR(loop_run(w->l));
}

/* ---- life */

/* Launches wait in the ring before there is a process. */
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
    CU_ASSERT(w.rounds > 0 && w.rounds <= 200);
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
    char dir[] = "/tmp/taskd-test-XXXXXX", a[64], b[64];
    struct world w;

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    make_tree(a);
    make_tree(b);
    world_open(&w);
    NO_ERR(zygote_register(w.z, a));
    NO_ERR(zygote_register(w.z, a));
    NO_ERR(zygote_register(w.z, b));
    NO_ERR(zygote_register(w.z, "/"));
    NO_ERR(zygote_unregister(w.z, b));
    NO_ERR(zygote_unregister(w.z, "/nothing"));
    world_close(&w);
    CU_ASSERT(access(a, F_OK) < 0);
    CU_ASSERT(access(b, F_OK) == 0);
    NO_ERR(file_remove_tree(dir));
}

static pid_t
zygote_pid(void)
{
    char path[64], s[64] = "";

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int fd = open(path, O_RDONLY);
    CU_ASSERT(fd >= 0 && read(fd, s, sizeof s - 1) > 0);
    close(fd);
    return atoi(s) > 0 ? atoi(s) : (pid_t)0x7fffffff; /* never 0: that would be all of us */
}

static void
zygote_killed(void)
{
    struct world w;

    world_open(&w);
    kill(zygote_pid(), SIGTERM); /* no effect */
    NO_ERR(runners_spawn(w.rs, 0, 0));
    CU_ASSERT(runners_launch(w.rs, 0, STUB_ECHO, "x", 1));
    runners_kick(w.rs, 0);
    run_until(&w, 1, 0);
    EQ_U64(w.answers, 1);
    kill(zygote_pid(), SIGKILL);
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

/* ---- deaths and their sentences */

static char modules[] = "/tmp/taskd-modules-XXXXXX";

static void
remove_modules(void)
{
    err_free(file_remove_tree(modules));
}

/* Compiles a source of the tests; returns a sealed memfd of it. */
static int
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

static int
bad_module(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = module("runner_bad.c", "gcc", "");
    return fd;
}

static void
load(struct world *w, unsigned slot, int fd, uint64_t data_limit)
{
    NO_ERR(runners_spawn(w->rs, slot, data_limit));
    NO_ERR(runners_post(w->rs, slot, STUB_LOAD, 0, NULL, 0, &fd, 1));
    CU_ASSERT(runners_launch(w->rs, slot, STUB_MORE, NULL, 0));
}

struct told {
    struct loop *l;
    struct err *e;
};

static void
on_told(void *arg, struct err *e)
{
    struct told *t = arg;

    t->e = e;
    loop_stop(t->l);
}

static const char *
input_name(void *arg, uint32_t file)
{
    return file == 0 ? "/data/input.txt" : NULL;
}

/* The sentence on w->death. */
static struct err *
told(struct world *w, int fd, uint64_t data_limit)
{
    struct told t = { .l = w->l };
    struct crash_report_opts o = { .symbolise = built("taskd-symbolise"), .module_fd = fd,
                                   .module_name = "/home/me/crash.so", .what = "partition 3",
                                   .timeout_ns = 2000000000, .data_limit = data_limit,
                                   .input_name = input_name, .done = on_told, .arg = &t };

    crash_report_start(w->l, &w->death, &o);
    NO_ERR(loop_run(w->l));
    return t.e;
}

/* fn("a POISON b") in a runner ends so. */
static void
dies_of(int fd, const char *fn, uint64_t data_limit, int code, const char *words)
{
    struct world w;

    world_open(&w);
    load(&w, 0, fd, data_limit);
    load(&w, 1, fd, data_limit); /* the neighbour */
    call(&w, 0, fn, "a POISON b");
    run_until(&w, 0, 1);
    IS_ERR(told(&w, fd, data_limit), code, words);
    call(&w, 1, "anchor", "12345");
    run_until(&w, 1, 0);
    EQ_U64(w.last, 5);
    NO_ERR(runners_spawn(w.rs, 0, 0));
    call(&w, 0, "x", "x");
    run_until(&w, 2, 0);
    EQ_U64(w.last, -1);
    world_close(&w);
}

#define RECORD ", partition 3, input.txt at byte offset 23893: \"a POISON b\""

static void
segv(void)
{
    dies_of(bad_module(), "segv", 0, ERR_USER, "signal 11 in poison() at runner_bad.c:26 (crash.so+0x");
    dies_of(bad_module(), "segv", 0, ERR_USER, ")" RECORD);
    dies_of(bad_module(), "handles", 0, ERR_USER, "was killed by signal 11");
}

static void
other_signals(void)
{
    dies_of(bad_module(), "fpe", 0, ERR_USER, "signal 8 in fpe() at runner_bad.c:39 (crash.so+0x");
    dies_of(bad_module(), "aborts", 0, ERR_USER, "signal 6 in give_up() at runner_bad.c:45 (crash.so+0x");
    dies_of(bad_module(), "jumps", 0, ERR_USER, "signal 11 in jumps() at runner_bad.c:110 (crash.so+0x");
    dies_of(bad_module(), "kills", 0, ERR_USER, "was killed by signal 9, partition 3\nhint: ");
}

static void
heap_errors(void)
{
#if defined(__SANITIZE_ADDRESS__) /* it tells the story itself */
    dies_of(bad_module(), "frees", 0, ERR_USER, "ended by _exit(1), partition 3");
    return;
#endif
    dies_of(bad_module(), "frees", 0, ERR_USER, "signal 6 in frees() at runner_bad.c:63 (crash.so+0x");
}

static void
stack_overflow(void)
{
    dies_of(bad_module(), "recurse", 0, ERR_USER, "signal 11 in recurse() at runner_bad.c:7");
    dies_of(bad_module(), "recurse", 0, ERR_USER, RECORD "\nhint: The stack is full");
}

static void
exits(void)
{
    dies_of(bad_module(), "exits", 0, ERR_USER, "called exit(7) in exits() at runner_bad.c:80 (crash.so+0x");
    dies_of(bad_module(), "exits", 0, ERR_USER, ")" RECORD "\nhint: Use td_fail()");
    dies_of(bad_module(), "exits_now", 0, ERR_USER, "ended by _exit(0), partition 3");
}

static void
eats_memory(void)
{
#if defined(__SANITIZE_ADDRESS__) /* no limits there */
    return;
#endif
    dies_of(bad_module(), "eats", 64 << 20, ERR_USER, "signal 11 in eats() at runner_bad.c:118 (crash.so+0x");
    dies_of(bad_module(), "eats", 64 << 20, ERR_USER, "of the 64 MiB it may have");
}

static void
closes_descriptors(void)
{
    dies_of(bad_module(), "closes", 0, ERR_USER, "closed its file descriptors in closes() at runner_bad.c:12");
}

static void
nothing(void *arg)
{
}

/* It can't write what it may not (1000 would be added), and by what it may it hurts nobody else. */
static void
scribbles(void)
{
    struct world w;
    struct loop_timer t = { 0 };

    world_open(&w);
    load(&w, 0, bad_module(), 0);
    load(&w, 1, bad_module(), 0);
    call(&w, 0, "scribbles", "x");
    run_until(&w, 1, 0);
    CU_ASSERT(w.last >= 1 && w.last < 1000);
    call(&w, 0, "scribbles_on", "x"); /* while it works: seen when the executor looks */
    loop_timer_start(w.l, &t, clock_mono_ns() + 20000000, nothing, NULL);
    run_until(&w, 0, 1);
    EQ_U64(w.death.why, RUNNER_GARBLED);
    IS_ERR(told(&w, bad_module(), 0), ERR_USER, "wrote over the memory it shares with the executor");
    call(&w, 1, "anchor", "12345");
    run_until(&w, w.answers + 1, 0);
    EQ_U64(w.last, 5);
    world_close(&w);
}

static void
throws(void)
{
    if (system("g++ --version >/dev/null 2>&1") != 0)
        return;
    int fd = module("runner_throw.cc", "g++", "");
    dies_of(fd, "throws", 0, ERR_USER, "signal 6 in throws() at runner_throw.cc:11 (crash.so+0x");
    close(fd);
}

static void
no_debug_information(void)
{
    int fd = module("runner_bad.c", "gcc", "-g0");

    dies_of(fd, "fpe", 0, ERR_USER, "signal 8 in fpe() (crash.so+0x");
    dies_of(fd, "fpe", 0, ERR_USER, "\nhint: Compile with -g");
    close(fd);
    fd = module("runner_bad.c", "gcc", "-g0 -s -fvisibility=default");
    dies_of(fd, "aborts", 0, ERR_USER, "signal 6 ");
    close(fd);
}

/* Debug information that is no such thing: numbers instead of names. */
static void
garbage_for_module(void)
{
    struct world w;
    int fd = memfd_create("x", MFD_CLOEXEC);

    world_open(&w);
    load(&w, 0, bad_module(), 0);
    call(&w, 0, "segv", "POISON");
    run_until(&w, 0, 1);
    IS_ERR(told(&w, fd, 0), ERR_USER, "signal 11 at crash.so+0x");
    CU_ASSERT(write(fd, "\177ELFgarbage", 11) == 11);
    IS_ERR(told(&w, fd, 0), ERR_USER, "signal 11 at crash.so+0x");
    IS_ERR(told(&w, -1, 0), ERR_USER, "signal 11 at crash.so+0x");
    close(fd);
    world_close(&w);
}

/* ---- killing */

struct kill_later {
    struct world *w;
    struct loop_timer t;
    enum runner_why why;
};

static void
on_kill(void *arg)
{
    struct kill_later *k = arg;

    runners_kill(k->w->rs, 0, k->why);
    runners_kill(k->w->rs, 0, RUNNER_CANCELLED); /* the first reason stays */
    CU_ASSERT(!runners_alive(k->w->rs, 0));
}

static void
killed_in(const char *fn, enum runner_why why, int code, const char *words)
{
    struct world w;
    struct kill_later k = { .w = &w, .why = why };

    world_open(&w);
    load(&w, 0, bad_module(), 0);
    call(&w, 0, "anchor", "1");
    run_until(&w, 1, 0);
    call(&w, 0, fn, "a POISON b");
    loop_timer_start(w.l, &k.t, clock_mono_ns() + 30000000, on_kill, &k);
    run_until(&w, 0, 1);
    EQ_U64(w.death.why, why);
    CU_ASSERT(clock_mono_ns() < k.t.at + 1000000000);
    IS_ERR(told(&w, bad_module(), 0), code, words);
    world_close(&w);
}

static void
timeouts(void)
{
    killed_in("loops", RUNNER_TIMEOUT, ERR_TIMEOUT, "ran longer than 2 s in loops() at runner_bad.c:9");
    killed_in("loops", RUNNER_TIMEOUT, ERR_TIMEOUT, ")" RECORD);
    killed_in("loops_deaf", RUNNER_TIMEOUT, ERR_TIMEOUT, "ran longer than 2 s, partition 3");
    killed_in("loops", RUNNER_CANCELLED, ERR_CANCELLED, "was cancelled, partition 3");
}

/* What a module forked ends with its runner. */
static void
children_of_modules(void)
{
    struct world w;
    int n = 0;

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    world_open(&w);
    load(&w, 0, bad_module(), 0);
    call(&w, 0, "forks", "x");
    run_until(&w, 0, 1);
    EQ_U64(WTERMSIG(w.death.status), SIGSEGV);
    world_close(&w);
    while (waitpid(-1, NULL, 0) > 0)
        n++;
    EQ_U64(n, 1);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
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
        NO_ERR(zygote_register(w.z, a));
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
    { "runners.ends_well", ends_well },
    { "runners.last_answers", last_answers },
    { "runners.frames", frames },
    { "runners.respawns", respawns },
    { "zygote.registered", registered },
    { "zygote.executor_killed", executor_killed },
    { "zygote.killed", zygote_killed },
    { "crash.segv", segv },
    { "crash.other_signals", other_signals },
    { "crash.heap_errors", heap_errors },
    { "crash.stack_overflow", stack_overflow },
    { "crash.exits", exits },
    { "crash.eats_memory", eats_memory },
    { "crash.closes_descriptors", closes_descriptors },
    { "crash.scribbles", scribbles },
    { "crash.throws", throws },
    { "crash.no_debug_information", no_debug_information },
    { "crash.garbage_for_module", garbage_for_module },
    { "crash.timeouts", timeouts },
    { "crash.children_of_modules", children_of_modules },
    UNIT_END
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "runners", tests);
}
