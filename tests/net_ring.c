/* rings and the recorder page */
#include "net/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net.h"
#include "net/loop.h"
#include "net/recorder.h"
#include "net/ring_priv.h"
#include "unit.h"

struct both {
    struct ring *ex, *ru;
};

static struct both
pair(void)
{
    struct both b;

    NO_ERR(ring_pair_new(&b.ex));
    NO_ERR(ring_attach(ring_fd_a(b.ex), ring_fd_b(b.ex), -1, -1, &b.ru));
    return b;
}

static void
both_free(struct both *b)
{
    ring_free(b->ex);
    ring_free(b->ru);
}

static unsigned
next(unsigned *seed)
{
    return (*seed = *seed * 1664525 + 1013904223) >> 8;
}

void
ring_round_trip(void)
{
    struct both b = pair();
    struct ring_frame f;

    EQ_U64(ring_recv(b.ru, &f), RING_EMPTY);
    CU_ASSERT(!ring_pending(b.ru));
    CU_ASSERT(ring_send(b.ex, 7, "hello", 5));
    CU_ASSERT(ring_send(b.ex, 8, NULL, 0));
    CU_ASSERT(ring_pending(b.ru));
    EQ_U64(ring_unread(b.ex), 24);
    EQ_U64(ring_recv(b.ru, &f), RING_FRAME);
    CU_ASSERT(f.type == 7 && f.n == 5 && !memcmp(f.p, "hello", 5));
    EQ_U64(ring_recv(b.ru, &f), RING_FRAME);
    CU_ASSERT(f.type == 8 && f.n == 0);
    EQ_U64(ring_recv(b.ru, &f), RING_EMPTY);
    EQ_U64(ring_unread(b.ex), 0);
    CU_ASSERT(ring_send(b.ru, 9, "back", 4));
    EQ_U64(ring_recv(b.ex, &f), RING_FRAME);
    CU_ASSERT(f.type == 9 && !memcmp(f.p, "back", 4));
    *ring_budget(b.ru) = 77;
    EQ_U64(*ring_budget(b.ex), 77);
    ring_recorder(b.ru)->task.partition = 5;
    EQ_U64(ring_recorder(b.ex)->task.partition, 5);
    both_free(&b);
}

/* Frames of all sizes, through the end of the ring and of the indices. */
void
ring_wraps(void)
{
    struct both b = pair();
    struct ring_frame f;
    char *p = malloc(RING_FRAME_MAX);
    unsigned put = 1, get = 1;

    for (uint32_t *at = (uint32_t[]){ -(uint32_t)RING_BYTES * 3 }, i = 0; i < 1; i++) {
        b.ex->head = b.ex->peer_tail = b.ru->tail = *at; /* near the end of 32 bits */
        b.ex->a->launch_head = *at;
        b.ru->b->launch_tail = *at;
    }
    for (int i = 0; i < 20000; i++) {
        unsigned size = next(&put) % (i % 3 ? 60 : RING_FRAME_MAX + 1);

        memset(p, (int)(put >> 8), size);
        while (!ring_send(b.ex, put, p, size)) {
            EQ_U64(ring_recv(b.ru, &f), RING_FRAME);
            unsigned want = next(&get);
            CU_ASSERT(f.type == get);
            CU_ASSERT(f.n <= RING_FRAME_MAX && (!f.n || (f.p[0] == (char)(get >> 8) && f.p[f.n - 1] == f.p[0])));
            (void)want;
        }
    }
    while (ring_recv(b.ru, &f) == RING_FRAME)
        next(&get);
    EQ_U64(get, put);
    free(p);
    both_free(&b);
}

void
ring_fills(void)
{
    struct both b = pair();
    struct ring_frame f;
    char p[56] = { 0 };
    unsigned n = 0;

    while (ring_send(b.ru, 1, p, sizeof p))
        n++;
    EQ_U64(n, RING_BYTES / 64);
    EQ_U64(ring_unread(b.ru), RING_BYTES);
    EQ_U64(ring_recv(b.ex, &f), RING_FRAME);
    CU_ASSERT(!ring_send(b.ru, 1, NULL, 64));
    CU_ASSERT(ring_send(b.ru, 1, p, sizeof p));
    CU_ASSERT(!ring_send(b.ru, 1, NULL, 0));
    for (unsigned i = 0; i < n; i++)
        EQ_U64(ring_recv(b.ex, &f), RING_FRAME);
    EQ_U64(ring_recv(b.ex, &f), RING_EMPTY);
    both_free(&b);
}

/* A runner can't write memory A, nor resize either. */
void
ring_sealed(void)
{
    struct both b = pair();
    int a = ring_fd_a(b.ex), fd_b = ring_fd_b(b.ex), other;

    CU_ASSERT(mprotect(b.ru->a, RING_PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
    CU_ASSERT(mmap(NULL, RING_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0) == MAP_FAILED);
    CU_ASSERT(write(a, "x", 1) < 0);
    CU_ASSERT(ftruncate(a, 0) < 0 && ftruncate(fd_b, 0) < 0 && ftruncate(fd_b, 1 << 24) < 0);
    CU_ASSERT(fallocate(a, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0);
    CU_ASSERT(ring_send(b.ex, 1, "x", 1)); /* the executor still can */
    other = memfd_create("x", MFD_ALLOW_SEALING);
    struct ring *r;
    IS_ERR(ring_attach(other, fd_b, -1, -1, &r), ERR_CORRUPT, "not a ring");
    IS_ERR(ring_attach(fd_b, a, -1, -1, &r), ERR_CORRUPT, "not a ring");
    close(other);
    both_free(&b);
}

/* Whatever a runner writes into B, the executor says BAD and reads nothing outside. */
void
ring_scribbled(void)
{
    static const uint32_t heads[] = { 1, 4, 9, RING_BYTES + 8, 0x80000000u, 0xfffffff8u, 0xffffffffu };
    struct ring_frame f;

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct both b = pair();

        b.ru->b->done_head = heads[i];
        CU_ASSERT(ring_pending(b.ex));
        EQ_U64(ring_recv(b.ex, &f), RING_BAD);
        EQ_U64(ring_recv(b.ex, &f), RING_BAD);
        both_free(&b);
    }
    static const uint32_t lengths[] = { 9, 17, RING_FRAME_MAX + 1, 0x7fffffff, 0xfffffff8u, 0xffffffffu };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct both b = pair();

        CU_ASSERT(ring_send(b.ru, 1, "12345678", 8));
        memcpy(b.ru->b->done, &lengths[i], 4);
        EQ_U64(ring_recv(b.ex, &f), RING_BAD);
        both_free(&b);
    }
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        struct both b = pair();

        while (ring_send(b.ex, 1, "12345678", 8))
            ;
        b.ru->b->launch_tail = heads[i] == RING_BYTES + 8 ? 0xdeadbeef : heads[i];
        CU_ASSERT(!ring_send(b.ex, 1, "12345678", 8));
        EQ_U64(ring_recv(b.ex, &f), RING_BAD);
        both_free(&b);
    }
    struct both b = pair();
    unsigned seed = 3;
    for (int i = 0; i < 300; i++) { /* noise all over the page, again and again */
        for (size_t k = 0; k < sizeof *b.ru->b; k += 4)
            *(uint32_t *)((char *)b.ru->b + k) = next(&seed) >> (next(&seed) % 24);
        b.ex->bad = false;
        for (int k = 0; k < 10 && ring_recv(b.ex, &f) == RING_FRAME; k++)
            CU_ASSERT(f.n <= RING_FRAME_MAX);
        (void)!ring_send(b.ex, 1, "12345678", 8);
    }
    both_free(&b);
}

/* ---- two processes, a loop on one side */

struct executor {
    struct loop *l;
    struct ring_bell *bell;
    struct ring *r;
    struct loop_io *io;
    struct loop_poll poll;
    struct loop_child *child;
    unsigned sent, got, want, window;
    size_t size;
    uint64_t sum;
    int status;
    bool flood;
};

enum { TO_ECHO = 1, TO_QUIT, TO_FLOOD, FLOOD = 300000 };

static unsigned
flood_bytes(uint64_t i)
{
    return 8 + i % 50;
}


static void
pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (cpu >= 0)
        sched_setaffinity(0, sizeof set, &set); /* may fail: then it is not pinned */
}

static void
echo_runner(struct executor *x, int cpu)
{
    struct ring *r;
    struct ring_frame f;

    pin(cpu);
    if (ring_attach(ring_fd_a(x->r), ring_fd_b(x->r), ring_bell_page(x->bell),
                    ring_bell_event(x->bell), &r))
        _exit(1);
    for (;;) {
        enum ring_got got = ring_recv(r, &f);

        if (got == RING_BAD)
            _exit(2);
        if (got == RING_EMPTY) {
            ring_kick(r);
            ring_wait(r);
            continue;
        }
        if (f.type == TO_QUIT)
            _exit(0);
        if (f.type == TO_FLOOD) {
            for (uint64_t i = 0; i < FLOOD; i++)
                while (!ring_send(r, TO_ECHO, (char[64]){ 0 }, flood_bytes(i)))
                    ring_wait_room(r);
            continue;
        }
        while (!ring_send(r, f.type, f.p, f.n))
            ring_wait_room(r);
    }
}

static void
feed(struct executor *x)
{
    char p[64] = { 0 };
    bool any = false;

    while (x->sent < x->want && x->sent - x->got < x->window) {
        uint64_t v = x->sent;

        memcpy(p, &v, 8);
        if (!ring_send(x->r, TO_ECHO, p, 8 + v % 50))
            break;
        x->sent++;
        any = true;
    }
    if (x->got == x->want && ring_send(x->r, TO_QUIT, NULL, 0))
        any = true;
    if (any)
        ring_kick(x->r);
}

static bool
ex_work(void *arg)
{
    struct executor *x = arg;
    struct ring_frame f;
    bool did = false;

    while (ring_recv(x->r, &f) == RING_FRAME) {
        uint64_t v;

        memcpy(&v, f.p, 8);
        if ((!x->flood && v != x->got) || f.n != flood_bytes(x->got))
            x->sum += 1u << 31;
        x->got++;
        did = true;
    }
    if (did) {
        feed(x);
        ring_kick(x->r); /* it may wait for room */
    }
    return did;
}

static bool
ex_arm(void *arg)
{
    struct executor *x = arg;

    ring_bell_arm(x->bell);
    return ring_pending(x->r);
}

static void
ex_disarm(void *arg)
{
    ring_bell_disarm(((struct executor *)arg)->bell);
}

static void
on_bell(void *arg, unsigned events)
{
    ring_bell_clear(((struct executor *)arg)->bell);
}

static void
on_end(void *arg, int status)
{
    struct executor *x = arg;

    x->status = status;
    loop_stop(x->l);
}

static void
run_pair(unsigned frames, unsigned window, int cpu_ex, int cpu_ru, bool flood)
{
    struct executor x = { .want = frames, .window = window, .flood = flood, .status = -1 };
    cpu_set_t old;

    sched_getaffinity(0, sizeof old, &old);
    NO_ERR(loop_new(&x.l));
    NO_ERR(ring_bell_new(&x.bell));
    NO_ERR(ring_pair_new(&x.r));
    NO_ERR(loop_io_new(x.l, ring_bell_event(x.bell), LOOP_IN, on_bell, &x, &x.io));
    x.poll = (struct loop_poll){ ex_work, ex_arm, ex_disarm, &x, NULL };
    loop_poll_add(x.l, &x.poll);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        echo_runner(&x, cpu_ru);
    pin(cpu_ex);
    NO_ERR(loop_child_new(x.l, pid, on_end, &x, &x.child));
    if (flood) {
        x.sent = x.want;
        CU_ASSERT(ring_send(x.r, TO_FLOOD, NULL, 0));
        ring_kick(x.r);
    } else {
        feed(&x);
    }
    NO_ERR(loop_run(x.l));
    EQ_U64(x.got, frames);
    EQ_U64(x.sum, 0);
    EQ_U64(x.status, 0);
    loop_poll_remove(x.l, &x.poll);
    loop_free(x.l);
    ring_free(x.r);
    ring_bell_free(x.bell);
    sched_setaffinity(0, sizeof old, &old);
}

static void
run_echo(unsigned frames, unsigned window, int cpu_ex, int cpu_ru)
{
    run_pair(frames, window, cpu_ex, cpu_ru, false);
}

/* The runner sends more than the ring holds and sleeps until there is room, again and again. */
void
ring_flood(void)
{
    run_pair(FLOOD, 0, -1, -1, true);
    run_pair(FLOOD, 0, 0, 0, true);
}

/* Windows of all sizes: sleeps and wake-ups on both sides in every order. */
void
ring_processes(void)
{
    for (unsigned window = 1; window <= 9; window++)
        run_echo(5000, window, -1, -1);
    run_echo(20000, 700, -1, -1); /* more than the ring holds */
}

/* TASKD_LONG=1: a million. */
void
ring_ping_pong(void)
{
    unsigned n = getenv("TASKD_LONG") ? 1000000 : 60000;

    run_echo(n, 1, 0, 0);
    run_echo(n / 6, 1, 0, 1);
}

void
ring_stream(void)
{
    unsigned n = getenv("TASKD_LONG") ? 20000000 : 2000000;

    run_echo(n, 256, -1, -1);
}

void
recorder_bounded(void)
{
    struct recorder in, out;

    memset(&in, 0xff, sizeof in);
    recorder_copy(&in, &out);
    EQ_U64(out.end.kind, RECORDER_RUNNING);
    EQ_U64(out.end.npcs, RECORDER_PCS);
    EQ_U64(out.rec.first_n, RECORDER_FIRST);
    EQ_U64(out.rec.known, 0);
    EQ_U64(out.rec.kind, RECORDER_STR);
    EQ_U64(out.rec.cut, 1);
}
