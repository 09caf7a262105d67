/*
 * link -- the calls of link.h, and the loopback: both ends in one loop.
 *
 * Each end has a queue of messages: what was sent is joined to the last one as long as it stays below LINK_BATCH.
 * The loop's poll hands them over, so neither end costs a system call: a round of the loop delivers what was sent
 * before it, and what is sent while it delivers waits for the next.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "net/link.h"
#include "net/loop.h"

void
link_handle(struct link *l, const struct link_handler *h, void *arg)
{
    l->handler = h;
    l->arg = arg;
}

void
link_send(struct link *l, const void *p, size_t n)
{
    l->ops->send(l, p, n);
}

size_t
link_queued(const struct link *l)
{
    return l->ops->queued(l);
}

const char *
link_peer(const struct link *l)
{
    return l->ops->peer(l);
}

void
link_close(struct link *l)
{
    if (l)
        l->ops->close(l);
}

/* ---- loopback */

struct message {
    struct message *next;
    struct buf b;
};

struct pair;
struct end {
    struct link link;
    struct pair *pair;
    struct message *first, **last; /* sent by this end */
    size_t queued;
    bool closed; /* by its owner */
    bool told;   /* on_down was called */
};

struct pair {
    struct loop *loop;
    struct loop_poll poll;
    struct end end[2];
    struct message *spare; /* one that is empty, so that a busy pair doesn't call malloc */
    bool busy;             /* in work(): freed at its end, not before */
};

static struct end *
peer_of(struct end *e)
{
    return &e->pair->end[e == &e->pair->end[0]];
}

static void
message_free(struct message *m)
{
    if (m)
        buf_fini(&m->b);
    free(m);
}

static void
drop_queue(struct end *e)
{
    for (struct message *m = e->first, *next; m; m = next) {
        next = m->next;
        message_free(m);
    }
    e->first = NULL;
    e->last = &e->first;
    e->queued = 0;
}

static void
pair_free(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        drop_queue(&p->end[i]);
    message_free(p->spare);
    loop_poll_remove(p->loop, &p->poll);
    free(p);
}

static void
pair_send(struct link *l, const void *bytes, size_t n)
{
    struct end *e = (struct end *)l;
    struct pair *p = e->pair;
    struct message *m = e->first ? (struct message *)((char *)e->last - offsetof(struct message, next)) : NULL;

    if (peer_of(e)->closed || n == 0)
        return;
    if (!m || m->b.n + n > LINK_BATCH) {
        m = p->spare ? p->spare : calloc(1, sizeof *m);
        if (!m)
            abort();
        p->spare = NULL;
        *e->last = m;
        e->last = &m->next;
    }
    buf_put(&m->b, bytes, n);
    e->queued += n;
}

static size_t
pair_queued(const struct link *l)
{
    return ((const struct end *)l)->queued;
}

static const char *
pair_peer(const struct link *l)
{
    (void)l;
    return "loopback";
}

static void
pair_close(struct link *l)
{
    struct end *e = (struct end *)l;

    e->closed = true;
    drop_queue(peer_of(e));
    if (peer_of(e)->closed && !e->pair->busy)
        pair_free(e->pair);
}

/* Hands over what e has sent up to now. */
static bool
deliver(struct end *e)
{
    struct end *to = peer_of(e);
    struct message *stop = e->first ? (struct message *)((char *)e->last - offsetof(struct message, next)) : NULL;
    bool did = false;

    while (e->first && !to->closed && to->link.handler) {
        struct message *m = e->first;

        e->first = m->next;
        if (!e->first)
            e->last = &e->first;
        e->queued -= m->b.n;
        to->link.handler->on_envelope(to->link.arg, m->b.p, m->b.n);
        did = true;
        bool end = m == stop;
        if (e->pair->spare || m->b.cap > 2 * LINK_BATCH) {
            message_free(m);
        } else {
            m->b.n = 0;
            m->next = NULL;
            e->pair->spare = m;
        }
        if (end)
            break;
    }
    if (e->closed && !e->first && !to->closed && !to->told && to->link.handler) {
        to->told = true;
        to->link.handler->on_down(to->link.arg, err_new(ERR_LOST, "the other side closed the connection"));
        did = true;
    }
    return did;
}

static bool
work(void *arg)
{
    struct pair *p = arg;
    bool did;

    p->busy = true;
    did = deliver(&p->end[0]);
    did |= deliver(&p->end[1]);
    p->busy = false;
    if (p->end[0].closed && p->end[1].closed)
        pair_free(p);
    return did;
}

static bool
arm(void *arg)
{
    const struct pair *p = arg;

    for (int i = 0; i < 2; i++)
        if (p->end[i].first || (p->end[i].closed && !p->end[!i].told))
            return p->end[!i].link.handler != NULL;
    return false;
}

static void
disarm(void *arg)
{
    (void)arg; /* nobody else writes here */
}

struct err *
link_pair(struct loop *loop, struct link **ret_a, struct link **ret_b)
{
    static const struct link_ops ops = { pair_send, pair_queued, pair_peer, pair_close };
    struct pair *p = calloc(1, sizeof *p);

    if (!p)
        abort();
    p->loop = loop;
    p->poll = (struct loop_poll){ work, arm, disarm, p, NULL };
    for (int i = 0; i < 2; i++) {
        p->end[i].link.ops = &ops;
        p->end[i].pair = p;
        p->end[i].last = &p->end[i].first;
    }
    loop_poll_add(loop, &p->poll);
    *ret_a = &p->end[0].link;
    *ret_b = &p->end[1].link;
    return NULL;
}
