/* The room net: the loop here, frames and rings in files of their own. */
#include "net.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop.h"
#include "unit.h"

struct seen {
    struct loop *l;
    int order[64], n, stop_at;
    struct loop_timer t[32];
    struct loop_io *io, *other;
    int pipe[2];
    int status;
};

static void
note(struct seen *s, int v)
{
    if (s->n < 64)
        s->order[s->n] = v;
    if (++s->n == s->stop_at)
        loop_stop(s->l);
}

struct tick {
    struct seen *s;
    int v;
};

static void
on_tick(void *arg)
{
    struct tick *t = arg;

    note(t->s, t->v);
}

static void
timers(void)
{
    static const int at[] = { 7, 3, 9, 1, 5, 5, 8, 2 };
    struct seen s = { .stop_at = 6 };
    struct tick ticks[8];

    NO_ERR(loop_new(&s.l));
    uint64_t now = loop_now(s.l);
    for (int i = 0; i < 8; i++) {
        ticks[i] = (struct tick){ &s, at[i] };
        loop_timer_start(s.l, &s.t[i], now + (uint64_t)at[i] * 1000, on_tick, &ticks[i]);
    }
    loop_timer_stop(s.l, &s.t[1]);
    loop_timer_stop(s.l, &s.t[1]);
    loop_timer_start(s.l, &s.t[0], now + 500, on_tick, &ticks[0]); /* the 7 comes first */
    loop_timer_stop(s.l, &s.t[2]);
    NO_ERR(loop_run(s.l));
    static const int want[] = { 7, 1, 2, 5, 5, 8 };
    EQ_U64(s.n, 6);
    CU_ASSERT(!memcmp(s.order, want, sizeof want));
    CU_ASSERT(loop_now(s.l) >= now + 8000);
    loop_free(s.l);
}

static void
on_again(void *arg)
{
    struct seen *s = arg;

    loop_timer_start(s->l, &s->t[0], loop_now(s->l), on_again, s);
    note(s, 1);
}

/* A timer that starts itself for "now" does not starve the rest. */
static void
timer_again(void)
{
    struct seen s = { .stop_at = 1000 };

    NO_ERR(loop_new(&s.l));
    loop_timer_start(s.l, &s.t[0], 0, on_again, &s);
    NO_ERR(loop_run(s.l));
    EQ_U64(s.n, 1000);
    loop_free(s.l);
}

static void
heap(void)
{
    enum { N = 500 };
    static struct loop_timer t[N];
    struct seen s = { .stop_at = -1 };
    struct tick tick = { &s, 1 };
    unsigned seed = 7, live = 0;

    NO_ERR(loop_new(&s.l));
    for (int i = 0; i < 20000; i++) {
        struct loop_timer *x = &t[(seed = seed * 1664525 + 1013904223) >> 8 & 255];

        if (seed >> 20 & 1)
            loop_timer_start(s.l, x, loop_now(s.l) - (seed >> 4 & 0xffff), on_tick, &tick);
        else
            loop_timer_stop(s.l, x);
    }
    for (int i = 0; i < N; i++)
        live += t[i].slot != 0;
    CU_ASSERT(live > 50);
    s.stop_at = (int)live;
    NO_ERR(loop_run(s.l));
    EQ_U64(s.n, live);
    for (int i = 0; i < N; i++)
        EQ_U64(t[i].slot, 0);
    loop_free(s.l);
}

static void
on_pipe(void *arg, unsigned events)
{
    struct seen *s = arg;
    char c;

    if (events & LOOP_IN && read(s->pipe[0], &c, 1) == 1) {
        note(s, c);
        return;
    }
    CU_ASSERT(events & LOOP_HUP);
    loop_io_free(s->io);
    s->io = NULL;
    loop_stop(s->l);
}

static void
descriptors(void)
{
    struct seen s = { .stop_at = -1 };

    NO_ERR(loop_new(&s.l));
    CU_ASSERT_FATAL(pipe(s.pipe) == 0);
    NO_ERR(loop_io_new(s.l, s.pipe[0], LOOP_IN, on_pipe, &s, &s.io));
    CU_ASSERT(write(s.pipe[1], "abc", 3) == 3);
    close(s.pipe[1]);
    NO_ERR(loop_run(s.l));
    EQ_U64(s.n, 3);
    EQ_U64(s.order[2], 'c');
    CU_ASSERT_PTR_NULL(s.io);
    close(s.pipe[0]);
    loop_free(s.l);
}

static void
on_either(void *arg, unsigned events)
{
    struct seen *s = arg;

    note(s, 1);
    loop_io_free(s->io); /* both were ready in this round: the other is not called */
    loop_io_free(s->other);
    loop_stop(s->l);
}

static void
freed_in_round(void)
{
    struct seen s = { .stop_at = -1 };
    int p[2];

    NO_ERR(loop_new(&s.l));
    CU_ASSERT_FATAL(pipe(s.pipe) == 0 && pipe(p) == 0);
    NO_ERR(loop_io_new(s.l, s.pipe[1], LOOP_OUT, on_either, &s, &s.io));
    NO_ERR(loop_io_new(s.l, p[1], LOOP_OUT, on_either, &s, &s.other));
    NO_ERR(loop_run(s.l));
    EQ_U64(s.n, 1);
    for (int i = 0; i < 2; i++) {
        close(p[i]);
        close(s.pipe[i]);
    }
    loop_free(s.l);
}

static void
on_signo(void *arg, int signo)
{
    note(arg, signo);
}

static void
signals(void)
{
    struct seen s = { .stop_at = 2 };
    sigset_t old;

    pthread_sigmask(SIG_SETMASK, NULL, &old);
    NO_ERR(loop_new(&s.l));
    NO_ERR(loop_signal(s.l, SIGUSR1, on_signo, &s));
    NO_ERR(loop_signal(s.l, SIGUSR2, on_signo, &s));
    raise(SIGUSR2);
    raise(SIGUSR1);
    NO_ERR(loop_run(s.l));
    EQ_U64(s.order[0] + s.order[1], SIGUSR1 + SIGUSR2);
    loop_free(s.l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void
on_child(void *arg, int status)
{
    struct seen *s = arg;

    s->status = status;
    note(s, 1);
}

static void
children(void)
{
    struct seen s = { .stop_at = 1 };
    struct loop_child *c;
    pid_t pid;

    NO_ERR(loop_new(&s.l));
    if ((pid = fork()) == 0)
        _exit(7);
    NO_ERR(loop_child_new(s.l, pid, on_child, &s, &c));
    NO_ERR(loop_run(s.l));
    CU_ASSERT(WIFEXITED(s.status) && WEXITSTATUS(s.status) == 7);
    if ((pid = fork()) == 0)
        for (;;)
            pause();
    NO_ERR(loop_child_new(s.l, pid, on_child, &s, &c));
    loop_child_kill(c, SIGKILL);
    s.n = 0;
    NO_ERR(loop_run(s.l));
    CU_ASSERT(WIFSIGNALED(s.status) && WTERMSIG(s.status) == SIGKILL);
    loop_free(s.l);
}

enum { POSTS = 50000 };

static void
on_post(void *arg)
{
    note(arg, 1);
}

static void *
poster(void *arg)
{
    struct seen *s = arg;

    for (int i = 0; i < POSTS; i++)
        loop_post(s->l, on_post, s);
    return NULL;
}

static void
posts(void)
{
    struct seen s = { .stop_at = 2 * POSTS };
    pthread_t t[2];

    NO_ERR(loop_new(&s.l));
    for (int i = 0; i < 2; i++)
        CU_ASSERT_FATAL(pthread_create(&t[i], NULL, poster, &s) == 0);
    NO_ERR(loop_run(s.l));
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    EQ_U64(s.n, 2 * POSTS);
    loop_post(s.l, on_post, &s); /* never run: freed with the loop */
    loop_free(s.l);
}

static const struct unit_test tests[] = {
    { "loop.timers", timers },
    { "loop.timer_again", timer_again },
    { "loop.heap", heap },
    { "loop.descriptors", descriptors },
    { "loop.freed_in_round", freed_in_round },
    { "loop.signals", signals },
    { "loop.children", children },
    { "loop.posts", posts },
    { "frame.sizes", frame_sizes },
    { "frame.descriptors", frame_descriptors },
    { "frame.malformed", frame_malformed },
    { "frame.unsealed", frame_unsealed },
    { "frame.limits", frame_limits },
    { "frame.lost_peer", frame_lost_peer },
    { "frame.in_loop", frame_in_loop },
    { "frame.closed_in_handler", frame_closed_in_handler },
    { "link.joins", link_joins },
    { "link.batches", link_batches },
    { "link.closes", link_closes },
    { "link.closed_in_handler", link_closed_in_handler },
    { "ring.round_trip", ring_round_trip },
    { "ring.wraps", ring_wraps },
    { "ring.fills", ring_fills },
    { "ring.sealed", ring_sealed },
    { "ring.scribbled", ring_scribbled },
    { "ring.processes", ring_processes },
    { "ring.ping_pong", ring_ping_pong },
    { "ring.stream", ring_stream },
    { "ring.flood", ring_flood },
    { "recorder.bounded", recorder_bounded },
    UNIT_END
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "net", tests);
}
