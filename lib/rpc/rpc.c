/* rpc -- the reactor thread, the inbox, the beginning and the end; see rpc.h and rpc_priv.h */
#include <errno.h>
#include <grpc/support/log.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "rpc/rpc_priv.h"

/* ---- operations */

void *
rpc__op_go(struct rpc__op *op)
{
    ASSERT(!atomic_load_explicit(&op->busy, memory_order_relaxed));
    atomic_store_explicit(&op->busy, true, memory_order_release);
    return op;
}

void
rpc__start(grpc_call *call, const grpc_op *ops, size_t n, struct rpc__op *op)
{
    grpc_call_error ce = grpc_call_start_batch(call, ops, n, rpc__op_go(op), NULL);

    ASSERT(ce == GRPC_CALL_OK);
}

/* ---- the reactor's side */

static void
wake(struct rpc *r)
{
    uint64_t one = 1;

    if (write(r->event, &one, sizeof one) < 0)
        ASSERT(errno == EAGAIN); /* the counter is full: the loop will wake */
}

static void
push(struct rpc *r, struct rpc__op *op)
{
    struct rpc__op *below = atomic_load(&r->inbox);

    do
        op->next = below;
    while (!atomic_compare_exchange_weak(&r->inbox, &below, op));
    /* Either the loop sees op when it looks once more before it sleeps, or this sees that it has armed. */
    if (atomic_exchange(&r->armed, false))
        wake(r);
}

static void *
reactor(void *arg)
{
    struct rpc *r = arg;

    for (;;) {
        grpc_event ev = grpc_completion_queue_next(r->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (ev.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        struct rpc__op *op = ev.tag;

        ASSERT(atomic_load_explicit(&op->busy, memory_order_acquire));
        op->ok = ev.success != 0;
        push(r, op);
    }
}

/* ---- the loop's side */

static bool
drain(struct rpc *r)
{
    struct rpc__op *n = atomic_exchange(&r->inbox, NULL), *first = NULL;
    bool any = n != NULL;

    while (n) { /* turn the list round */
        struct rpc__op *next = n->next;

        n->next = first;
        first = n;
        n = next;
    }
    while ((n = first)) {
        first = n->next;
        atomic_store_explicit(&n->busy, false, memory_order_relaxed);
        n->done(n->owner, n->ok);
    }
    return any;
}

static void
flush(struct rpc *r)
{
    struct rpc_link *l;

    while ((l = r->dirty)) {
        r->dirty = l->next_dirty;
        l->dirty = false;
        rpc__link_flush(l);
    }
}

static bool
work(void *arg)
{
    struct rpc *r = arg;
    bool any = drain(r);

    flush(r);
    return any;
}

static bool
arm(void *arg)
{
    struct rpc *r = arg;

    atomic_store(&r->armed, true);
    return atomic_load(&r->inbox) || r->dirty;
}

static void
disarm(void *arg)
{
    struct rpc *r = arg;

    atomic_store(&r->armed, false);
}

static void
on_wake(void *arg, unsigned events)
{
    struct rpc *r = arg;
    uint64_t n;

    if (read(r->event, &n, sizeof n) < 0)
        ASSERT(errno == EAGAIN || errno == EINTR);
    work(r);
}

/* ---- beginning and end */

/*
 * gRPC's log is one for the process.  We know better what to say and to whom, but for one thing that is told nowhere
 * else: a port that is not listened on any more (port.c).
 */
static atomic_ulong accept_failures;

static void
on_log(gpr_log_func_args *args)
{
    if (args->severity == GPR_LOG_SEVERITY_ERROR && strstr(args->message, "Failed accept"))
        atomic_fetch_add(&accept_failures, 1);
    if (getenv("GRPC_VERBOSITY"))
        fprintf(stderr, "%s:%d: %s\n", args->file, args->line, args->message);
}

uint64_t
rpc__accept_failures(void)
{
    return atomic_load(&accept_failures);
}

/* gRPC's threads and ours take no signals: those are the loop's. */
static struct err *
start(struct rpc *r)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    gpr_set_log_function(on_log);
    grpc_init();
    r->cq = grpc_completion_queue_create_for_next(NULL);
    int errnum = pthread_create(&r->reactor, NULL, reactor, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    r->started = errnum == 0;
    if (r->started)
        pthread_setname_np(r->reactor, "taskd-rpc");
    return errnum ? err_errno(errnum, "starting the thread of gRPC") : NULL;
}

struct err *
rpc_new(struct loop *l, struct rpc **ret)
{
    struct rpc *r = calloc(1, sizeof *r);
    struct err *e;

    if (!r)
        abort();
    r->l = l;
    r->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->poll = (struct loop_poll){ work, arm, disarm, r, NULL };
    loop_poll_add(l, &r->poll);
    if (r->event < 0)
        e = err_errno(errno, "making an eventfd");
    else
        e = loop_io_new(l, r->event, LOOP_IN, on_wake, r, &r->io);
    if (!e)
        e = start(r);
    if (e) {
        rpc_free(r);
        return e;
    }
    *ret = r;
    return NULL;
}

static uint64_t
queued(const struct rpc *r)
{
    uint64_t n = 0;

    for (const struct rpc_link *l = r->links; l; l = l->next)
        n += l->queued;
    return n;
}

static void
cut_off(struct rpc *r)
{
    for (struct rpc_link *l = r->links, *next; l; l = next) {
        next = l->next;
        rpc__link_fail(l, NULL);
        rpc__link_settle(l);
    }
}

static void
wait_for_event(struct rpc *r, int ms)
{
    struct pollfd p = { .fd = r->event, .events = POLLIN };
    uint64_t n;

    if (!arm(r))
        poll(&p, 1, ms);
    disarm(r);
    if (read(r->event, &n, sizeof n) < 0)
        ASSERT(errno == EAGAIN || errno == EINTR);
}

/* Links that were closed send what waits; when nothing leaves for a second they are cut off. */
static void
wait_for_the_last(struct rpc *r)
{
    uint64_t now = clock_mono_ns(), until = now + RPC_CLOSE_NS, left = queued(r);
    bool cut = false;

    for (work(r); r->live; work(r)) {
        uint64_t n = queued(r);

        now = clock_mono_ns();
        if (n < left)
            until = now + RPC_CLOSE_NS;
        left = n;
        if (now >= until && !cut) {
            cut = true;
            cut_off(r);
            continue;
        }
        wait_for_event(r, cut ? -1 : (int)((until - now) / 1000000) + 1);
    }
}

void
rpc_free(struct rpc *r)
{
    if (!r)
        return;
    ASSERT(!r->listening);
    if (r->started) {
        for (struct rpc_link *l = r->links; l; l = l->next)
            ASSERT(l->closed);
        wait_for_the_last(r);
    }
    if (r->cq) {
        grpc_completion_queue_shutdown(r->cq);
        if (r->started)
            pthread_join(r->reactor, NULL);
        else
            while (grpc_completion_queue_next(r->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type !=
                   GRPC_QUEUE_SHUTDOWN)
                ;
        grpc_completion_queue_destroy(r->cq);
        grpc_shutdown_blocking();
    }
    loop_poll_remove(r->l, &r->poll);
    loop_io_free(r->io);
    file_close(&r->event);
    free(r);
}
