/* loop -- see loop.h */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "net/loop_priv.h"

/* ---- posting */

void
loop_post(struct loop *l, void (*fn)(void *), void *arg)
{
    struct loop_post_node *n = malloc(sizeof *n), *below = atomic_load(&l->posted);
    uint64_t one = 1;

    if (!n)
        abort();
    *n = (struct loop_post_node){ .fn = fn, .arg = arg };
    do
        n->next = below;
    while (!atomic_compare_exchange_weak(&l->posted, &below, n));
    /* n is the loop's now; whoever posted into an empty list wakes it */
    if (!below && write(l->wake, &one, sizeof one) < 0)
        ASSERT(errno == EAGAIN); /* the counter is full: the loop will wake */
}

static void
run_posted(struct loop *l)
{
    struct loop_post_node *n = atomic_exchange(&l->posted, NULL), *first = NULL;

    while (n) { /* turn the list round */
        struct loop_post_node *next = n->next;

        n->next = first;
        first = n;
        n = next;
    }
    while ((n = first)) {
        first = n->next;
        n->fn(n->arg);
        free(n);
    }
}

static void
on_wake(void *arg, unsigned events)
{
    struct loop *l = arg;
    uint64_t n;

    if (read(l->wake, &n, sizeof n) < 0)
        ASSERT(errno == EAGAIN || errno == EINTR);
    run_posted(l);
}

/* ---- signals */

static void
on_signal(void *arg, unsigned events)
{
    struct loop *l = arg;
    struct signalfd_siginfo si;

    while (read(l->sig, &si, sizeof si) == sizeof si)
        if (si.ssi_signo < LOOP_SIGNALS && l->on_signal[si.ssi_signo].fn)
            l->on_signal[si.ssi_signo].fn(l->on_signal[si.ssi_signo].arg, (int)si.ssi_signo);
}

struct err *
loop_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
    ASSERT(signo > 0 && signo < LOOP_SIGNALS);
    l->on_signal[signo].fn = fn;
    l->on_signal[signo].arg = arg;
    sigaddset(&l->mask, signo);
    pthread_sigmask(SIG_BLOCK, &l->mask, NULL);
    int fd = signalfd(l->sig, &l->mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return err_errno(errno, "making a signalfd");
    if (l->sig >= 0)
        return NULL;
    l->sig = fd;
    return loop_io_new(l, fd, LOOP_IN, on_signal, l, &l->sig_io);
}

/* ---- descriptors */

static uint32_t
to_epoll(unsigned events)
{
    return (events & LOOP_IN ? EPOLLIN : 0) | (events & LOOP_OUT ? EPOLLOUT : 0);
}

static unsigned
from_epoll(uint32_t events)
{
    return (events & (EPOLLIN | EPOLLRDHUP) ? LOOP_IN : 0u) | (events & EPOLLOUT ? LOOP_OUT : 0u) |
           (events & (EPOLLHUP | EPOLLERR) ? LOOP_HUP : 0u);
}

struct err *
loop_io_new(struct loop *l, int fd, unsigned events, loop_io_fn *fn, void *arg, struct loop_io **ret)
{
    struct loop_io *io = calloc(1, sizeof *io);
    struct epoll_event ev = { .events = to_epoll(events), .data.ptr = io };

    if (!io)
        abort();
    *io = (struct loop_io){ .l = l, .fd = fd, .fn = fn, .arg = arg };
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int errnum = errno;

        free(io);
        return err_errno(errnum, "watching descriptor %d", fd);
    }
    io->next = l->ios;
    io->link = &l->ios;
    if (l->ios)
        l->ios->link = &io->next;
    l->ios = io;
    *ret = io;
    return NULL;
}

void
loop_io_events(struct loop_io *io, unsigned events)
{
    struct epoll_event ev = { .events = to_epoll(events), .data.ptr = io };

    ASSERT(!io->dead);
    ASSERT(epoll_ctl(io->l->epoll, EPOLL_CTL_MOD, io->fd, &ev) == 0);
}

void
loop_io_free(struct loop_io *io)
{
    if (!io)
        return;
    ASSERT(!io->dead);
    ASSERT(epoll_ctl(io->l->epoll, EPOLL_CTL_DEL, io->fd, NULL) == 0);
    io->dead = true;
    *io->link = io->next;
    if (io->next)
        io->next->link = io->link;
    io->next = io->l->grave;
    io->l->grave = io;
}

static void
bury(struct loop *l)
{
    while (l->grave) {
        struct loop_io *io = l->grave;

        l->grave = io->next;
        free(io);
    }
}

/* ---- polled memory */

void
loop_poll_add(struct loop *l, struct loop_poll *p)
{
    p->next = l->polls;
    l->polls = p;
}

void
loop_poll_remove(struct loop *l, struct loop_poll *p)
{
    if (l->poll_next == p)
        l->poll_next = p->next;
    for (struct loop_poll **at = &l->polls; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            return;
        }
}

static bool
polls_work(struct loop *l)
{
    bool did = false;

    for (struct loop_poll *p = l->polls; p; p = l->poll_next) {
        l->poll_next = p->next; /* which work() may remove */
        did |= p->work(p->arg);
    }
    return did;
}

static bool
polls_arm(struct loop *l)
{
    bool work = false;

    for (struct loop_poll *p = l->polls; p; p = p->next)
        work |= p->arm(p->arg);
    return work;
}

static void
polls_disarm(struct loop *l)
{
    for (struct loop_poll *p = l->polls; p; p = p->next)
        p->disarm(p->arg);
}

/* ---- the loop */

/* Waits for descriptors and calls their handlers. */
static struct err *
wait_round(struct loop *l, bool busy)
{
    struct epoll_event evs[LOOP_EVENTS];
    int wait = busy ? 0 : loop__timers_wait(l), n;
    bool armed = wait != 0;

    if (armed && polls_arm(l))
        wait = 0;
    n = epoll_wait(l->epoll, evs, LOOP_EVENTS, wait);
    int errnum = errno;
    if (armed)
        polls_disarm(l);
    l->now = clock_mono_ns();
    if (n < 0 && errnum != EINTR)
        return err_errno(errnum, "waiting for events");
    for (int i = 0; i < n; i++) {
        struct loop_io *io = evs[i].data.ptr;

        if (!io->dead)
            io->fn(io->arg, from_epoll(evs[i].events));
    }
    bury(l);
    return NULL;
}

struct err *
loop_run(struct loop *l)
{
    l->stop = false;
    l->now = clock_mono_ns();
    run_posted(l);
    while (!l->stop) {
        loop__timers_run(l);
        bool busy = polls_work(l);
        if (l->stop)
            break;
        TRY(wait_round(l, busy));
    }
    return NULL;
}

void
loop_stop(struct loop *l)
{
    l->stop = true;
}

uint64_t
loop_now(const struct loop *l)
{
    return l->now;
}

struct err *
loop_new(struct loop **ret)
{
    struct loop *l = calloc(1, sizeof *l);
    struct err *e = NULL;

    if (!l)
        abort();
    l->sig = -1;
    l->now = clock_mono_ns();
    sigemptyset(&l->mask);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll < 0 || l->wake < 0)
        e = err_errno(errno, "making an event loop");
    else
        e = loop_io_new(l, l->wake, LOOP_IN, on_wake, l, &l->wake_io);
    if (e) {
        loop_free(l);
        return e;
    }
    *ret = l;
    return NULL;
}

void
loop_free(struct loop *l)
{
    if (!l)
        return;
    for (struct loop_post_node *n = atomic_exchange(&l->posted, NULL), *next; n; n = next) {
        next = n->next;
        free(n);
    }
    while (l->ios)
        loop_io_free(l->ios);
    bury(l);
    for (unsigned i = 0; i < l->ntimers; i++)
        l->heap[i]->slot = 0;
    free(l->heap);
    file_close(&l->sig);
    file_close(&l->wake);
    file_close(&l->epoll);
    free(l);
}
