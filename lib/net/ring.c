/* ring -- see ring.h.  The same code serves both sides; `other side' decides what is checked, which
 * is all of it: the runner gains nothing from trust. */
#include "net/ring_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

enum { FRAME_HEAD_BYTES = 8, RING_SPIN_MAX = 16, RING_SPIN_ROUNDS = 400, RING_SPIN_TRY = 64 };

static uint32_t
frame_bytes(uint32_t n)
{
    return FRAME_HEAD_BYTES + ((n + 7) & ~7u);
}

/* ---- who writes what */

static _Atomic uint32_t *
my_head(const struct ring *r)
{
    return r->runner ? &r->b->done_head : &r->a->launch_head;
}

static _Atomic uint32_t *
my_tail(const struct ring *r)
{
    return r->runner ? &r->b->launch_tail : &r->a->done_tail;
}

static const _Atomic uint32_t *
peer_head(const struct ring *r)
{
    return r->runner ? &r->a->launch_head : &r->b->done_head;
}

static const _Atomic uint32_t *
peer_tail(const struct ring *r)
{
    return r->runner ? &r->a->done_tail : &r->b->launch_tail;
}

/* ---- making */

static struct ring *
ring_alloc(bool runner)
{
    struct ring *r = calloc(1, sizeof *r);

    if (!r)
        abort();
    r->runner = runner;
    r->fd_a = r->fd_b = r->event = -1;
    r->spin = RING_SPIN_MAX;
    return r;
}

struct err *
ring_pair_new(struct ring **ret)
{
    struct ring *r = ring_alloc(false);
    void *a = NULL, *b = NULL;
    struct err *e = ring__memory("taskd-ring-a", sizeof *r->a, &r->fd_a);

    if (!e)
        e = ring__map(r->fd_a, sizeof *r->a, PROT_READ | PROT_WRITE, &a);
    r->a = a;
    /* from here on nobody else can write it, whatever he does with the descriptor */
    if (!e && fcntl(r->fd_a, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
        e = err_errno(errno, "sealing shared memory");
    if (!e)
        e = ring__memory("taskd-ring-b", sizeof *r->b, &r->fd_b);
    if (!e && fcntl(r->fd_b, F_ADD_SEALS, F_SEAL_SEAL) < 0)
        e = err_errno(errno, "sealing shared memory");
    if (!e)
        e = ring__map(r->fd_b, sizeof *r->b, PROT_READ, &b);
    r->b = b;
    if (e) {
        ring_free(r);
        return e;
    }
    r->a->magic = RING_MAGIC;
    r->a->bytes = RING_BYTES;
    *ret = r;
    return NULL;
}

struct err *
ring_attach(int fd_a, int fd_b, int bell_page, int bell_event, struct ring **ret)
{
    struct ring *r = ring_alloc(true);
    void *a = NULL, *b = NULL, *page = NULL;
    struct err *e = ring__map(fd_a, sizeof *r->a, PROT_READ, &a);

    r->a = a;
    if (!e && (r->a->magic != RING_MAGIC || r->a->bytes != RING_BYTES))
        e = err_new(ERR_CORRUPT, "descriptor %d is not a ring of this version", fd_a);
    if (!e)
        e = ring__map(fd_b, sizeof *r->b, PROT_READ | PROT_WRITE, &b);
    r->b = b;
    if (!e && bell_page >= 0)
        e = ring__map(bell_page, RING_PAGE, PROT_READ, &page);
    r->page = page;
    r->event = bell_event;
    if (e) {
        ring_free(r);
        return e;
    }
    *ret = r;
    return NULL;
}

void
ring_close_fds(struct ring *r)
{
    file_close(&r->fd_a);
    file_close(&r->fd_b);
}

void
ring_free(struct ring *r)
{
    if (!r)
        return;
    ring_close_fds(r);
    if (r->a)
        munmap(r->a, sizeof *r->a);
    if (r->b)
        munmap(r->b, sizeof *r->b);
    if (r->page)
        munmap((void *)r->page, RING_PAGE);
    free(r);
}

int
ring_fd_a(const struct ring *r)
{
    return r->fd_a;
}

int
ring_fd_b(const struct ring *r)
{
    return r->fd_b;
}

struct recorder *
ring_recorder(struct ring *r)
{
    return &r->b->recorder;
}

_Atomic uint64_t *
ring_budget(struct ring *r)
{
    return &r->b->budget;
}

/* ---- sending */

static void
copy_in(char *ring, uint32_t at, const void *p, size_t n)
{
    size_t i = at & (RING_BYTES - 1), first = n < RING_BYTES - i ? n : RING_BYTES - i;

    memcpy(ring + i, p, first);
    memcpy(ring, (const char *)p + first, n - first);
}

bool
ring_send(struct ring *r, uint32_t type, const void *p, size_t n)
{
    uint32_t head[2] = { (uint32_t)n, type }, want = frame_bytes((uint32_t)n);
    char *ring = r->runner ? r->b->done : r->a->launch;

    ASSERT(n <= RING_FRAME_MAX);
    if (RING_BYTES - (r->head - r->peer_tail) < want) { /* look again how far the reader is */
        uint32_t tail = atomic_load_explicit(peer_tail(r), memory_order_acquire);

        if (r->head - tail > RING_BYTES || tail & 7)
            r->bad = true;
        else
            r->peer_tail = tail;
    }
    if (r->bad || RING_BYTES - (r->head - r->peer_tail) < want)
        return false;
    copy_in(ring, r->head, head, sizeof head);
    if (n)
        copy_in(ring, r->head + FRAME_HEAD_BYTES, p, n);
    r->head += want;
    atomic_store_explicit(my_head(r), r->head, memory_order_release);
    return true;
}

void
ring_kick(struct ring *r)
{
    uint64_t one = 1;

    atomic_thread_fence(memory_order_seq_cst);
    if (r->runner) {
        if (r->page && atomic_load_explicit(&r->page->waiting, memory_order_relaxed) &&
            write(r->event, &one, sizeof one) < 0)
            return; /* EAGAIN: it rings already; EBADF: the module closed it, and will be killed for that */
        return;
    }
    uint32_t sleeps = atomic_load_explicit(&r->b->sleeping, memory_order_relaxed);
    if (sleeps != RING_AWAKE)
        syscall(SYS_futex, sleeps == RING_NO_ROOM ? &r->a->done_tail : &r->a->launch_head, FUTEX_WAKE,
                INT_MAX, NULL, NULL, 0);
}

/* ---- receiving */

static void
copy_out(const char *ring, uint32_t at, void *p, size_t n)
{
    size_t i = at & (RING_BYTES - 1), first = n < RING_BYTES - i ? n : RING_BYTES - i;

    memcpy(p, ring + i, first);
    memcpy((char *)p + first, ring, n - first);
}

enum ring_got
ring_recv(struct ring *r, struct ring_frame *ret)
{
    const char *ring = r->runner ? r->a->launch : r->b->done;
    uint32_t there = atomic_load_explicit(peer_head(r), memory_order_acquire) - r->tail, head[2];

    if (r->bad)
        return RING_BAD;
    if (there == 0)
        return RING_EMPTY;
    if (there > RING_BYTES || there & 7 || there < FRAME_HEAD_BYTES)
        goto bad;
    copy_out(ring, r->tail, head, sizeof head); /* once: it may change under us */
    if (head[0] > RING_FRAME_MAX || frame_bytes(head[0]) > there)
        goto bad;
    copy_out(ring, r->tail + FRAME_HEAD_BYTES, r->frame, head[0]);
    r->tail += frame_bytes(head[0]);
    atomic_store_explicit(my_tail(r), r->tail, memory_order_release);
    *ret = (struct ring_frame){ .type = head[1], .n = head[0], .p = r->frame };
    return RING_FRAME;
bad:
    r->bad = true;
    return RING_BAD;
}

bool
ring_pending(const struct ring *r)
{
    return r->bad || atomic_load_explicit(peer_head(r), memory_order_acquire) != r->tail;
}

uint32_t
ring_unread(const struct ring *r)
{
    uint32_t n = r->head - atomic_load_explicit(peer_tail(r), memory_order_relaxed);

    return n > RING_BYTES ? RING_BYTES : n;
}

/* ---- waiting */

static void
pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* Spins for a few microseconds.  Success raises the score, failure lowers it; without a score (the
 * two sides share a core, or tasks come rarely) it is tried only now and then. */
static bool
spin(struct ring *r)
{
    if (r->spin == 0 && ++r->waits % RING_SPIN_TRY)
        return false;
    for (int i = 0; i < RING_SPIN_ROUNDS; i++) {
        if (ring_pending(r)) {
            r->spin = RING_SPIN_MAX;
            return true;
        }
        pause_cpu();
    }
    if (r->spin)
        r->spin--;
    return false;
}

/* Announces the sleep, looks again, sleeps while *word is seen: a change in between makes the call
 * return. */
static void
doze(struct ring *r, uint32_t why, _Atomic uint32_t *word, uint32_t seen)
{
    atomic_store_explicit(&r->b->sleeping, why, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(word, memory_order_acquire) == seen)
        syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
    atomic_store_explicit(&r->b->sleeping, RING_AWAKE, memory_order_relaxed);
}

void
ring_wait(struct ring *r)
{
    ASSERT(r->runner);
    if (ring_pending(r) || spin(r))
        return;
    while (!ring_pending(r))
        doze(r, RING_NO_LAUNCH, &r->a->launch_head, r->tail);
}

void
ring_wait_room(struct ring *r)
{
    ASSERT(r->runner);
    ring_kick(r);
    if (!r->bad && atomic_load_explicit(&r->a->done_tail, memory_order_acquire) == r->peer_tail)
        doze(r, RING_NO_ROOM, &r->a->done_tail, r->peer_tail);
}
