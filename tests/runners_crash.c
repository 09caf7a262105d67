/* Deaths of runners and the sentences about them. */
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

/* ThreadSanitizer holds a signal that somebody sent back until the next system call: nobody knows where it was. */
#if defined(__SANITIZE_THREAD__)
#define IN(place) ", partition 3"
#else
#define IN(place) " in " place
#endif
#define RECORD ", partition 3, input.txt at byte offset 23893: \"a POISON b\""

void
crash_segv(void)
{
    dies_of(bad_module(), "segv", 0, ERR_USER, "signal 11 in poison() at runner_bad.c:26 (crash.so+0x");
    dies_of(bad_module(), "segv", 0, ERR_USER, ")" RECORD);
    dies_of(bad_module(), "handles", 0, ERR_USER, "was killed by signal 11");
}

void
crash_other_signals(void)
{
    dies_of(bad_module(), "fpe", 0, ERR_USER, "signal 8 in fpe() at runner_bad.c:39 (crash.so+0x");
    dies_of(bad_module(), "aborts", 0, ERR_USER, "signal 6 in give_up() at runner_bad.c:45 (crash.so+0x");
    dies_of(bad_module(), "jumps", 0, ERR_USER, "signal 11 in jumps() at runner_bad.c:110 (crash.so+0x");
    dies_of(bad_module(), "kills", 0, ERR_USER, "was killed by signal 9, partition 3\nhint: ");
}

void
crash_heap_errors(void)
{
#if defined(__SANITIZE_ADDRESS__) /* it tells the story itself, and ends as it was told to */
    const char *options = getenv("ASAN_OPTIONS");

    if (!options || !strstr(options, "abort_on_error=1")) {
        dies_of(bad_module(), "frees", 0, ERR_USER, "ended by _exit(1), partition 3");
        return;
    }
#endif
#if !defined(__SANITIZE_THREAD__) /* its malloc takes a block back twice, and nobody dies */
    dies_of(bad_module(), "frees", 0, ERR_USER, "signal 6 in frees() at runner_bad.c:63 (crash.so+0x");
#endif
}

void
crash_stack_overflow(void)
{
    dies_of(bad_module(), "recurse", 0, ERR_USER, "signal 11 in recurse() at runner_bad.c:7");
    dies_of(bad_module(), "recurse", 0, ERR_USER, RECORD);
    dies_of(bad_module(), "recurse", 0, ERR_USER, "\nhint: The stack is full");
}

void
crash_exits(void)
{
    dies_of(bad_module(), "exits", 0, ERR_USER, "called exit(7) in exits() at runner_bad.c:80 (crash.so+0x");
    dies_of(bad_module(), "exits", 0, ERR_USER, ")" RECORD);
    dies_of(bad_module(), "exits", 0, ERR_USER, "\nhint: Use td_fail()");
    dies_of(bad_module(), "exits_now", 0, ERR_USER, "ended by _exit(0), partition 3");
}

void
crash_eats_memory(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* no limits there */
    return;
#endif
    dies_of(bad_module(), "eats", 64 << 20, ERR_USER, "signal 11 in eats() at runner_bad.c:118 (crash.so+0x");
    dies_of(bad_module(), "eats", 64 << 20, ERR_USER, "of the 64 MiB it may have");
}

void
crash_closes_descriptors(void)
{
    dies_of(bad_module(), "closes", 0, ERR_USER, "closed its file descriptors" IN("closes() at runner_bad.c:12"));
}

void
crash_gives_up(void)
{
    struct world w;
    int fd = memfd_create("x", MFD_CLOEXEC);

    world_open(&w);
    load(&w, 0, fd, 0);
    run_until(&w, 0, 1);
    IS_ERR(told(&w, fd, 0), ERR_USER, "the runner gave up: \"/proc/self/fd/");
    load(&w, 0, bad_module(), 0);
    call(&w, 0, "no_luck", "x");
    run_until(&w, 0, 2);
    IS_ERR(told(&w, -1, 0), ERR_USER, "gave up: \"there is \\\"no\\\" luck\", partition 3\nhint: Try a\\x08gain.");
    load(&w, 0, bad_module(), 0);
    call(&w, 0, "closes_quietly", "x");
    CU_ASSERT(runners_launch(w.rs, 0, STUB_MORE, NULL, 0));
    run_until(&w, 0, 3);
    IS_ERR(told(&w, -1, 0), ERR_USER, "gave up: \"somebody in this process closed the descriptor of its socket\"");
    close(fd);
    world_close(&w);
}

/* A fault while the last words are written: what was written stays, what comes behind comes. */
void
crash_nested(void)
{
#if defined(__SANITIZE_THREAD__) /* which wants to tell of that one itself */
    return;
#endif
    struct world w;

    world_open(&w);
    load(&w, 0, bad_module(), 0);
    call(&w, 0, "fpe", "a fault in the handler");
    run_until(&w, 0, 1);
    EQ_U64(WTERMSIG(w.death.status), SIGFPE);
    CU_ASSERT(w.death.rec.end.data_bytes > 0);
    IS_ERR(told(&w, bad_module(), 0), ERR_USER, "signal 8 in fpe() at runner_bad.c:39 (crash.so+0x");
    world_close(&w);
}

static void
nothing(void *arg)
{
}

/* It can't write what it may not (1000 would be added), and by what it may it hurts nobody else. */
void
crash_scribbles(void)
{
    struct world w;
    struct loop_timer t = { 0 };

    world_open(&w);
    load(&w, 0, bad_module(), 0);
    load(&w, 1, bad_module(), 0);
    call(&w, 0, "scribbles", "x");
    run_until(&w, 1, 1);
    if (w.deaths) { /* the executor looked before the answer was written over the mess */
        EQ_U64(w.death.why, RUNNER_GARBLED);
        w.deaths = 0;
        load(&w, 0, bad_module(), 0);
    } else {
        CU_ASSERT(w.last >= 1 && w.last < 1000);
    }
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

void
crash_throws(void)
{
    if (system("g++ --version >/dev/null 2>&1") != 0)
        return;
    int fd = module("runner_throw.cc", "g++", "");
    dies_of(fd, "throws", 0, ERR_USER, "signal 6 in throws() at runner_throw.cc:11 (crash.so+0x");
    close(fd);
}

void
crash_no_debug_information(void)
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
void
crash_garbage_for_module(void)
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

void
crash_timeouts(void)
{
    killed_in("loops", RUNNER_TIMEOUT, ERR_TIMEOUT, "ran longer than 2 s" IN("loops() at runner_bad.c:9"));
#if !defined(__SANITIZE_THREAD__)
    killed_in("loops", RUNNER_TIMEOUT, ERR_TIMEOUT, ")" RECORD);
#endif
    killed_in("loops_deaf", RUNNER_TIMEOUT, ERR_TIMEOUT, "ran longer than 2 s, partition 3");
    killed_in("loops", RUNNER_CANCELLED, ERR_CANCELLED, "was cancelled, partition 3");
}

/* What a module forked ends with its runner. */
void
crash_children_of_modules(void)
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
