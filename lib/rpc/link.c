/*
 * link -- one stream, whoever began it: reading, joined writing, the end.
 *
 * Each operation that gRPC finished, and each call of the owner, ends in rpc__link_settle(), which looks at the flags
 * and does what is next.  A link that its owner closed goes on without him until what waited has left.
 */
#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/rpc_priv.h"

enum { CHUNK_MIN = 1024 };

static struct rpc_link *
of(const struct link *l)
{
    return (struct rpc_link *)l;
}

/* ---- what waits */

static void
drop_queue(struct rpc_link *l)
{
    for (struct rpc__chunk *c = l->first, *next; c; c = next) {
        next = c->next;
        l->queued -= c->n;
        free(c->p);
        free(c);
    }
    l->first = l->last = NULL;
}

/* The chunk that n more bytes go to: a message grows up to RPC_BATCH, and is larger only if one envelope is. */
static struct rpc__chunk *
chunk_for(struct rpc_link *l, size_t n)
{
    struct rpc__chunk *c = l->last;

    if (!c || (c->n && c->n + n > RPC_BATCH)) {
        c = calloc(1, sizeof *c);
        if (!c)
            abort();
        if (l->last)
            l->last->next = c;
        else
            l->first = c;
        l->last = c;
    }
    if (c->cap - c->n < n) {
        size_t cap = c->cap ? c->cap : CHUNK_MIN;

        while (cap - c->n < n)
            cap *= 2;
        c->p = realloc(c->p, cap);
        if (!c->p)
            abort();
        c->cap = cap;
    }
    return c;
}

static void
make_dirty(struct rpc_link *l)
{
    if (l->dirty)
        return;
    l->dirty = true;
    l->next_dirty = l->r->dirty;
    l->r->dirty = l;
}

static void
make_clean(struct rpc_link *l)
{
    if (!l->dirty)
        return;
    for (struct rpc_link **at = &l->r->dirty; *at; at = &(*at)->next_dirty)
        if (*at == l) {
            *at = l->next_dirty;
            break;
        }
    l->dirty = false;
}

static void
op_send(struct link *base, const void *p, size_t n)
{
    struct rpc_link *l = of(base);

    ASSERT(!l->closed);
    if (!n || l->told || l->read_over || l->out_over || l->why)
        return;
    if (n > l->limit) {
        rpc__link_fail(l, err_new(ERR_LIMIT, "a message of %zu bytes for %s is above the limit of %u", n, l->peer,
                                  l->limit));
        return;
    }
    struct rpc__chunk *c = chunk_for(l, n);
    memcpy(c->p + c->n, p, n);
    c->n += n;
    l->queued += n;
    make_dirty(l);
}

/* ---- writing */

void
rpc__link_flush(struct rpc_link *l)
{
    struct rpc__chunk *c = l->first;

    if (!c || !l->up || l->sending || l->op_write.busy || l->end_over || l->out_over)
        return;
    l->first = c->next;
    if (!l->first)
        l->last = NULL;
    grpc_slice s = grpc_slice_new_with_user_data(c->p, c->n, free, c->p);
    l->sending = grpc_raw_byte_buffer_create(&s, 1);
    grpc_slice_unref(s);
    l->sending_n = c->n;
    free(c);
    grpc_op op = { .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = l->sending };
    l->flying++;
    rpc__start(l->call, &op, 1, &l->op_write);
}

static void give_time(struct rpc_link *l);

static void
on_closed_too_long(void *arg)
{
    struct rpc_link *l = arg;

    if (atomic_load(&l->r->inbox)) { /* it was our own loop that did not get on */
        give_time(l);
        return;
    }
    rpc__link_fail(l, NULL);
    rpc__link_settle(l);
}

/* What is left of a closed link ends when nothing gets on for so long. */
static void
give_time(struct rpc_link *l)
{
    loop_timer_start(l->r->l, &l->timer, clock_mono_ns() + RPC_CLOSE_NS, on_closed_too_long, l);
}

static void
on_write(void *arg, bool ok)
{
    struct rpc_link *l = arg;

    l->flying--;
    if (l->sending) {
        grpc_byte_buffer_destroy(l->sending);
        l->sending = NULL;
        l->queued -= l->sending_n;
        l->sending_n = 0;
    }
    if (!ok)
        drop_queue(l);
    else if (l->closed)
        give_time(l); /* it gets on */
    rpc__link_flush(l);
    rpc__link_settle(l);
}

/* The half close, or the server's status: nothing of ours follows. */
static void
send_last(struct rpc_link *l)
{
    l->out_over = true;
    if (l->end_over || !l->call)
        return;
    grpc_op op = { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };
    if (l->server)
        op = (grpc_op){ .op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                        .data.send_status_from_server = { .status = GRPC_STATUS_OK } };
    l->flying++;
    rpc__start(l->call, &op, 1, &l->op_write);
}

/* ---- reading */

static void
read_on(struct rpc_link *l)
{
    grpc_op op = { .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &l->got };

    l->flying++;
    rpc__start(l->call, &op, 1, &l->op_read);
}

static void
deliver(struct rpc_link *l, grpc_byte_buffer *bb)
{
    grpc_byte_buffer_reader in;
    grpc_slice *one, all;

    if (!grpc_byte_buffer_length(bb) || !grpc_byte_buffer_reader_init(&in, bb))
        return;
    l->busy = true;
    if (grpc_byte_buffer_reader_peek(&in, &one) && GRPC_SLICE_LENGTH(*one) == grpc_byte_buffer_length(bb)) {
        l->base.handler->on_envelope(l->base.arg, GRPC_SLICE_START_PTR(*one), GRPC_SLICE_LENGTH(*one));
    } else {
        grpc_byte_buffer_reader_destroy(&in);
        ASSERT(grpc_byte_buffer_reader_init(&in, bb));
        all = grpc_byte_buffer_reader_readall(&in);
        l->base.handler->on_envelope(l->base.arg, GRPC_SLICE_START_PTR(all), GRPC_SLICE_LENGTH(all));
        grpc_slice_unref(all);
    }
    l->busy = false;
    grpc_byte_buffer_reader_destroy(&in);
}

static void
on_read(void *arg, bool ok)
{
    struct rpc_link *l = arg;
    grpc_byte_buffer *bb = l->got;

    l->flying--;
    l->got = NULL;
    if (!bb || !ok)
        l->read_over = true;
    else if (!l->closed && !l->told)
        deliver(l, bb);
    if (bb)
        grpc_byte_buffer_destroy(bb);
    if (!l->read_over)
        read_on(l);
    rpc__link_settle(l);
}

/* ---- the end */

static void
on_end(void *arg, bool ok)
{
    struct rpc_link *l = arg;

    (void)ok; /* always delivered */
    l->flying--;
    l->end_over = true;
    rpc__link_settle(l);
}

void
rpc__link_details(const struct rpc_link *l, char ret[static RPC_DETAILS])
{
    size_t n = GRPC_SLICE_LENGTH(l->details);

    if (n >= RPC_DETAILS)
        n = RPC_DETAILS - 1;
    memcpy(ret, GRPC_SLICE_START_PTR(l->details), n);
    ret[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (ret[i] < ' ' || ret[i] > '~')
            ret[i] = '?';
}

static struct err *
why_of_status(struct rpc_link *l)
{
    char said[RPC_DETAILS];

    rpc__link_details(l, said);
    switch (l->status) {
    case GRPC_STATUS_OK:
        return err_new(ERR_LOST, "%s closed the connection", l->peer);
    case GRPC_STATUS_RESOURCE_EXHAUSTED:
        return err_new(ERR_LIMIT, "%s: %s", l->peer, said);
    case GRPC_STATUS_PERMISSION_DENIED:
    case GRPC_STATUS_UNAUTHENTICATED:
        return err_new(ERR_DENIED, "%s: %s", l->peer, said);
    case GRPC_STATUS_UNIMPLEMENTED:
        return err_new(ERR_DENIED, "%s is no service of taskd", l->peer);
    default:
        return err_new(ERR_LOST, "the connection to %s was lost: %s", l->peer, said);
    }
}

static struct err *
take_why(struct rpc_link *l)
{
    struct err *e = l->why;

    l->why = NULL;
    if (e)
        return e;
    if (!l->server)
        return why_of_status(l);
    if (l->call && grpc_call_failed_before_recv_message(l->call))
        return err_new(ERR_LOST, "the connection to %s was lost", l->peer);
    return err_new(ERR_LOST, "%s closed the connection", l->peer);
}

static void
tell(struct rpc_link *l)
{
    l->told = true;
    drop_queue(l);
    l->busy = true;
    l->base.handler->on_down(l->base.arg, take_why(l));
    l->busy = false;
}

void
rpc__link_release(struct rpc_link *l)
{
    ASSERT(!l->flying);
    if (l->call) {
        grpc_call_unref(l->call);
        grpc_slice_unref(l->details);
        grpc_metadata_array_destroy(&l->meta);
        grpc_metadata_array_destroy(&l->trailer);
        l->call = NULL;
    }
    if (l->channel)
        grpc_channel_destroy(l->channel);
    l->channel = NULL;
    if (l->server)
        rpc__server_left(l);
}

static void
link_free(struct rpc_link *l)
{
    loop_timer_stop(l->r->l, &l->timer);
    make_clean(l);
    drop_queue(l);
    err_free(l->why);
    gpr_free(l->peer);
    *l->at = l->next;
    if (l->next)
        l->next->at = l->at;
    l->r->live--;
    free(l);
}

void
rpc__link_settle(struct rpc_link *l)
{
    if (l->busy)
        return;
    if (l->dial) {
        rpc__dial_settle(l);
        return;
    }
    /* A dialled stream is down when its status is there and all before it was read; an accepted one when the other
     * side says no more. */
    if (!l->told && !l->closed && l->read_over && (l->server || l->end_over))
        tell(l);
    if ((l->told || l->closed) && !l->out_over && !l->first && !l->op_write.busy)
        send_last(l);
    if (l->end_over && !l->flying)
        rpc__link_release(l);
    if (l->closed && !l->call)
        link_free(l);
}

void
rpc__link_fail(struct rpc_link *l, struct err *why)
{
    if (!l->why)
        l->why = why;
    else
        err_free(why);
    drop_queue(l);
    if (l->dial)
        rpc__dial_stop(l);
    else if (l->call && !l->end_over)
        grpc_call_cancel(l->call, NULL);
}

static void
op_close(struct link *base)
{
    struct rpc_link *l = of(base);

    ASSERT(!l->closed);
    l->closed = true;
    if (l->dial && !l->queued)
        rpc__dial_stop(l);
    else if (l->dial || l->call)
        give_time(l);
    if (l->up)
        rpc__link_flush(l);
    rpc__link_settle(l);
}

static size_t
op_queued(const struct link *l)
{
    return of(l)->told ? 0 : of(l)->queued;
}

static const char *
op_peer(const struct link *l)
{
    return of(l)->peer;
}

/* ---- the beginning */

static const struct link_ops link_ops = { op_send, op_queued, op_peer, op_close };

struct rpc_link *
rpc__link_new(struct rpc *r, uint32_t limit)
{
    struct rpc_link *l = calloc(1, sizeof *l);

    if (!l)
        abort();
    l->base.ops = &link_ops;
    l->r = r;
    l->limit = limit;
    l->op_read = (struct rpc__op){ .done = on_read, .owner = l };
    l->op_write = (struct rpc__op){ .done = on_write, .owner = l };
    l->op_end = (struct rpc__op){ .done = on_end, .owner = l };
    l->at = &r->links;
    l->next = r->links;
    if (l->next)
        l->next->at = &l->next;
    r->links = l;
    r->live++;
    return l;
}

void
rpc__link_up(struct rpc_link *l)
{
    l->up = true;
    gpr_free(l->peer);
    l->peer = grpc_call_get_peer(l->call);
    read_on(l);
    rpc__link_flush(l);
}
