/* The rig of the rpc tests: parties that listen, dial, echo and count. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc.h"
#include "unit.h"

enum { GUARD_S = 20 * SLOW };

static void
check(struct party *p)
{
    if (p->accepted >= p->want_accepted && p->downs >= p->want_downs &&
        (!p->want_of || p->want_of->bytes >= p->want_bytes))
        loop_stop(p->loop);
}

static void
on_envelope(void *arg, const void *bytes, size_t n)
{
    struct heard *h = arg;

    CU_ASSERT(!h->down);
    h->messages++;
    h->bytes += n;
    if (h->keep)
        buf_put(&h->all, bytes, n);
    if (h->echo)
        link_send(h->l, bytes, n);
    if (h->on_bytes)
        h->on_bytes(h, bytes, n);
    check(h->p);
}

static void
on_down(void *arg, struct err *why)
{
    struct heard *h = arg;

    CU_ASSERT(!h->down);
    h->down = true;
    h->down_at = clock_mono_ns();
    h->why = why;
    h->p->downs++;
    if (h->on_down)
        h->on_down(h);
    check(h->p);
}

static const struct link_handler handler = { on_envelope, on_down };

static void
on_link(void *arg, struct link *l)
{
    struct party *p = arg;

    ASSERT(p->accepted < RPC_HEARD);
    struct heard *h = &p->in[p->accepted++];
    *h = (struct heard){ .p = p, .l = l, .echo = p->echo, .keep = p->keep };
    link_handle(l, &handler, h);
    check(p);
}

void
party_init(struct party *p)
{
    memset(p, 0, sizeof *p);
    NO_ERR(loop_new(&p->loop));
    NO_ERR(rpc_new(p->loop, &p->r));
}

void
heard_fini(struct heard *h)
{
    link_close(h->l);
    h->l = NULL;
    err_free(h->why);
    h->why = NULL;
    buf_fini(&h->all);
}

void
party_fini(struct party *p)
{
    for (unsigned i = 0; i < p->accepted; i++)
        heard_fini(&p->in[i]);
    rpc_server_free(p->s);
    rpc_free(p->r);
    loop_free(p->loop);
}

uint16_t
party_listen(struct party *p, const struct rpc_listen_opts *o)
{
    struct rpc_listen_opts some = { .host = "127.0.0.1" };

    NO_ERR(rpc_listen(p->r, o ? o : &some, on_link, p, &p->s));
    return p->s ? rpc_server_port(p->s) : 0;
}

void
party_dial(struct party *p, struct heard *h, const struct rpc_dial_opts *o)
{
    h->p = p;
    NO_ERR(rpc_dial(p->r, o, &h->l));
    link_handle(h->l, &handler, h);
}

void
party_dial_port(struct party *p, struct heard *h, uint16_t port)
{
    char address[32];
    struct rpc_dial_opts o = { .address = address };

    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    party_dial(p, h, &o);
}

static void
on_guard(void *arg)
{
    struct party *p = arg;

    CU_FAIL("nothing happened for too long");
    loop_stop(p->loop);
}

void
party_run(struct party *p)
{
    loop_timer_start(p->loop, &p->guard, clock_mono_ns() + GUARD_S * UINT64_C(1000000000), on_guard, p);
    NO_ERR(loop_run(p->loop));
    loop_timer_stop(p->loop, &p->guard);
    p->want_of = NULL;
    p->want_accepted = p->want_downs = 0;
}

void
party_want_down(struct party *p, struct heard *h)
{
    while (!h->down) {
        unsigned before = p->downs;

        p->want_downs = p->downs + 1;
        party_run(p);
        if (p->downs == before)
            return; /* it failed */
    }
}

void
party_want_bytes(struct party *p, struct heard *h, uint64_t n)
{
    p->want_of = h;
    p->want_bytes = n;
    if (h->bytes < n)
        party_run(p);
    p->want_of = NULL;
}

void
party_want_accepted(struct party *p, unsigned n)
{
    p->want_accepted = n;
    if (p->accepted < n)
        party_run(p);
    p->want_accepted = 0;
}
