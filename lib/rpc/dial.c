/*
 * dial -- attempts until one succeeds or time is up.
 *
 * An attempt is a channel and a call of its own, so that gRPC's back-off has no say; it succeeds when the server's
 * initial metadata with our mark is there.  Nothing is sent before, hence nothing is lost or doubled by trying again.
 */
#include <grpc/support/string_util.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "rpc/rpc_priv.h"

struct rpc__dial {
    char *target; /* as gRPC wants it */
    grpc_channel_credentials *creds;
    struct rpc__args args;
    uint64_t timeout, pause;
    struct loop_timer retry;
    struct err *last; /* of the attempts so far */
    unsigned hung_up; /* attempts in a row that ended as soon as they were connected */
    bool over, tls;
};

enum { HANG_UPS = 3 };

static void
dial_free(struct rpc_link *l)
{
    struct rpc__dial *d = l->dial;

    loop_timer_stop(l->r->l, &d->retry);
    grpc_channel_credentials_release(d->creds);
    err_free(d->last);
    free(d->target);
    free(d);
    l->dial = NULL;
}

/* ---- an attempt */

static bool
has_mark(const grpc_metadata_array *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (!grpc_slice_str_cmp(m->metadata[i].key, RPC_MARK))
            return true;
    return false;
}

static void
on_start(void *arg, bool ok)
{
    struct rpc_link *l = arg;

    l->flying--;
    if (ok && has_mark(&l->meta) && !(l->closed && !l->queued) && !l->dial->over) {
        if (!l->closed)
            loop_timer_stop(l->r->l, &l->timer);
        dial_free(l);
        rpc__link_up(l);
    }
    rpc__link_settle(l);
}

static void
attempt(struct rpc_link *l)
{
    struct rpc__dial *d = l->dial;

    l->channel = grpc_channel_create(d->target, d->creds, &d->args.all);
    l->call = grpc_channel_create_call(l->channel, NULL, GRPC_PROPAGATE_DEFAULTS, l->r->cq,
                                       grpc_slice_from_static_string(RPC_METHOD), NULL,
                                       gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_metadata_array_init(&l->meta);
    grpc_metadata_array_init(&l->trailer);
    l->details = grpc_empty_slice();
    l->end_over = false;
    grpc_op end = { .op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                    .data.recv_status_on_client = { &l->trailer, &l->status, &l->details, NULL } };
    l->flying++;
    rpc__start(l->call, &end, 1, &l->op_end);
    grpc_op begin[2] = { { .op = GRPC_OP_SEND_INITIAL_METADATA },
                         { .op = GRPC_OP_RECV_INITIAL_METADATA,
                           .data.recv_initial_metadata.recv_initial_metadata = &l->meta } };
    l->flying++;
    rpc__start(l->call, begin, 2, &l->op_start);
}

static void
on_retry(void *arg)
{
    attempt(arg);
}

/* ---- its failure */

/* The part of gRPC's sentence that says something. */
static const char *
core_of(const char *s)
{
    static const char *const before[] = { "remote host: ", "last error: ", "UNKNOWN: ", "UNAVAILABLE: ", "INTERNAL: " };

    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        const char *at = strstr(s, before[i]);

        if (at)
            s = at + strlen(before[i]);
    }
    return s;
}

static struct err *
why_failed(struct rpc_link *l, bool *ret_final)
{
    struct rpc__dial *d = l->dial;
    char text[RPC_DETAILS];

    rpc__link_details(l, text);
    *ret_final = true;
    if (l->status == GRPC_STATUS_RESOURCE_EXHAUSTED)
        return err_new(ERR_LIMIT, "%s: %s", l->peer, text);
    if (l->status == GRPC_STATUS_UNIMPLEMENTED)
        return err_new(ERR_DENIED, "\"%s\" is no service of taskd", l->peer);
    if (strstr(text, "andshake") || strstr(text, "SSL_") || strstr(text, "certificate"))
        return err_hint(err_new(ERR_DENIED, "TLS with \"%s\" failed: %s", l->peer, core_of(text)),
                        "Both sides need certificates of the same CA that are valid now.");
    /* A server that does not like a certificate just closes, in TLS 1.3 after we think that all is well. */
    d->hung_up = strstr(text, "Socket closed") ? d->hung_up + 1 : 0;
    if (d->hung_up >= HANG_UPS)
        return err_hint(err_new(ERR_DENIED, "\"%s\" hangs up on whom it does not know by TLS", l->peer),
                        d->tls ? "It may want a certificate of another CA, or ours may have expired."
                               : "It may want TLS: see taskd.ssl.ca, taskd.ssl.cert and taskd.ssl.key.");
    *ret_final = false;
    return err_new(ERR_LOST, "can't reach \"%s\": %s", l->peer, core_of(text));
}

/* The link's last word is what is known of the attempts. */
static void
give_up(struct rpc_link *l)
{
    struct rpc__dial *d = l->dial;

    if (!l->why) {
        l->why = d->last ? d->last : err_new(ERR_LOST, "can't reach \"%s\": no answer", l->peer);
        d->last = NULL;
    }
    dial_free(l);
    loop_timer_stop(l->r->l, &l->timer);
    l->read_over = l->end_over = l->out_over = true;
    rpc__link_settle(l);
}

void
rpc__dial_settle(struct rpc_link *l)
{
    struct rpc__dial *d = l->dial;
    bool final = false;

    if (l->call) {
        if (!l->end_over || l->flying)
            return;
        if (l->status != GRPC_STATUS_CANCELLED) {
            err_free(d->last);
            d->last = why_failed(l, &final);
        }
        rpc__link_release(l);
        if (!final && !d->over) {
            loop_timer_start(l->r->l, &d->retry, clock_mono_ns() + d->pause, on_retry, l);
            d->pause = d->pause * 2 < RPC_RETRY_MAX_NS ? d->pause * 2 : RPC_RETRY_MAX_NS;
            return;
        }
        give_up(l);
    } else if (d->over) {
        give_up(l);
    }
}

static void
on_stopped(void *arg)
{
    rpc__link_settle(arg);
}

void
rpc__dial_stop(struct rpc_link *l)
{
    struct rpc__dial *d = l->dial;

    d->over = true;
    if (l->call) {
        if (!l->end_over)
            grpc_call_cancel(l->call, NULL);
    } else if (!l->closed) { /* on_down comes from the loop */
        loop_timer_start(l->r->l, &d->retry, clock_mono_ns(), on_stopped, l);
    }
}

static void
on_timeout(void *arg)
{
    struct rpc_link *l = arg;

    if (atomic_load(&l->r->inbox)) { /* our own loop was away: the answer may be there */
        loop_timer_start(l->r->l, &l->timer, clock_mono_ns() + RPC_AGAIN_NS, on_timeout, l);
        return;
    }
    rpc__dial_stop(l);
    rpc__link_settle(l);
}

/* ---- the call of the header */

static char *
target_of(const char *address)
{
    struct buf b = { 0 };
    size_t n = strlen(address), host = strcspn(address, ":");

    if (host == 9 && !strncmp(address, "localhost", 9)) /* needs no resolver */
        buf_printf(&b, "ipv4:127.0.0.1%s", address + 9);
    else if (!strncmp(address, "unix:", 5))
        buf_printf(&b, "%s", address);
    else if (address[0] == '[')
        buf_printf(&b, "ipv6:%s", address);
    else if (strspn(address, "0123456789.:") == n && strspn(address, "0123456789.") == host)
        buf_printf(&b, "ipv4:%s", address);
    else
        buf_printf(&b, "dns:///%s", address);
    put_u8(&b, 0);
    return b.p;
}

struct err *
rpc_dial(struct rpc *r, const struct rpc_dial_opts *o, struct link **ret)
{
    grpc_channel_credentials *creds;

    if (o->tls) /* the same files, the same care */
        TRY(tls_check_listen("127.0.0.1", o->tls));
    TRY(rpc__creds_dial(o->tls, &creds));
    struct rpc__dial *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    struct rpc_link *l = rpc__link_new(r, o->message_limit ? o->message_limit : RPC_MESSAGE_LIMIT);
    d->target = target_of(o->address);
    d->creds = creds;
    d->tls = o->tls != NULL;
    d->timeout = o->timeout_ns ? o->timeout_ns : RPC_DIAL_NS;
    d->pause = RPC_RETRY_MIN_NS;
    rpc__args_dial(&d->args, l->limit, d->timeout);
    l->dial = d;
    l->peer = gpr_strdup(o->address);
    l->op_start = (struct rpc__op){ .done = on_start, .owner = l };
    loop_timer_start(r->l, &l->timer, clock_mono_ns() + d->timeout, on_timeout, l);
    attempt(l);
    *ret = &l->base;
    return NULL;
}
