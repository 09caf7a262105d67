/* uplink -- see uplink.h */
#include "uplink/uplink.h"

#include <stdlib.h>

#include "base/clock.h"

#define NS_MS UINT64_C(1000000)
#define FIRST_PAUSE (100 * NS_MS)
#define LONGEST_PAUSE (2000 * NS_MS)

struct uplink {
    struct uplink_opts o;
    struct loop *loop;
    struct link *link;
    size_t at;         /* the address that is tried or used */
    bool greeted, was_up, over;
    struct err *why;   /* of the last failure */
    uint64_t pause, give_up;
    struct loop_timer timer, greet;
};

static void dial(void *arg);

static void
fail(struct uplink *u, struct err *why)
{
    u->over = true;
    loop_timer_stop(u->loop, &u->greet);
    link_close(u->link);
    u->link = NULL;
    u->o.failed(u->o.arg, why);
}

static void
give_up(struct uplink *u)
{
    struct err *e = u->why;

    u->why = NULL;
    if (!e)
        e = err_new(ERR_LOST, "nothing answers");
    fail(u, err_hint(err_wrap_take(e, "the master %s can't be reached", u->o.url),
                     "Is it running there?  `taskd master --help` says how to start one."));
}

/* This address is no good now: the next one, or the same again after a pause. */
static void
next(struct uplink *u)
{
    uint64_t now = clock_mono_ns();

    link_close(u->link);
    u->link = NULL;
    u->at++;
    if (!u->was_up && u->at == u->o.n_addresses) {
        give_up(u);
    } else if (!u->was_up) {
        loop_timer_start(u->loop, &u->timer, now, dial, u);
    } else if (now >= u->give_up) {
        give_up(u);
    } else {
        u->at %= u->o.n_addresses;
        loop_timer_start(u->loop, &u->timer, now + u->pause, dial, u);
        u->pause = 2 * u->pause > LONGEST_PAUSE ? LONGEST_PAUSE : 2 * u->pause;
    }
}

static void
on_down(void *arg, struct err *why)
{
    struct uplink *u = arg;
    bool denied = why->code == ERR_DENIED;

    loop_timer_stop(u->loop, &u->greet);
    if (u->greeted) {
        u->greeted = false;
        u->pause = FIRST_PAUSE;
        u->give_up = u->o.patience_ns == UINT64_MAX ? UINT64_MAX : clock_mono_ns() + u->o.patience_ns;
        u->o.down(u->o.arg, why);
    }
    err_free(u->why);
    u->why = why;
    if (denied && !u->was_up) {
        u->why = NULL;
        fail(u, err_wrap_take(why, "the master %s", u->o.url));
        return;
    }
    next(u);
}

static void
on_greet_timer(void *arg)
{
    struct uplink *u = arg;

    err_free(u->why);
    u->why = err_new(ERR_LOST, "%s does not talk like a master", u->o.addresses[u->at]);
    next(u);
}

/* The first item of the master; false: it was not a welcome. */
static bool
greet(struct uplink *u, const Taskd__Item *item)
{
    struct err *e = NULL;

    if (item->kind_case == TASKD__ITEM__KIND_HELLO)
        e = proto_check_hello(item->hello, "master");
    else
        e = err_new(ERR_CORRUPT, "it did not say hello");
    if (e) {
        fail(u, err_wrap_take(e, "the master %s", u->o.url));
        return false;
    }
    loop_timer_stop(u->loop, &u->greet);
    u->greeted = u->was_up = true;
    u->o.up(u->o.arg);
    return true;
}

static void
on_refused(struct uplink *u, const Taskd__Refused *r)
{
    struct err *e = proto_err(r->error);

    if (!e)
        e = err_new(ERR_DENIED, "it gave no reason");
    fail(u, err_wrap_take(e, e->code == ERR_CANCELLED ? "the master %s" : "the master %s refused", u->o.url));
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct uplink *u = arg;
    struct arena a = { 0 };
    Taskd__Envelope *env;
    struct err *e = proto_get(p, n, &a, &env);

    if (e) {
        fail(u, err_wrap_take(e, "the master %s", u->o.url));
    } else {
        for (size_t i = 0; i < env->n_item && !u->over && u->link; i++) {
            if (env->item[i]->kind_case == TASKD__ITEM__KIND_REFUSED)
                on_refused(u, env->item[i]->refused);
            else if (u->greeted)
                u->o.item(u->o.arg, env->item[i]);
            else if (!greet(u, env->item[i]))
                break;
        }
    }
    arena_fini(&a);
}

static const struct link_handler handler = { on_envelope, on_down };

static void
send_item(struct uplink *u, const Taskd__Item *item)
{
    struct buf b = { 0 };

    proto_put(&b, item);
    link_send(u->link, b.p, b.n);
    buf_fini(&b);
}

static void
dial(void *arg)
{
    struct uplink *u = arg;
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__Hello hello;
    struct err *e = u->o.dial(u->o.dial_arg, u->o.addresses[u->at], &u->link);

    if (e) {
        err_free(u->why);
        u->why = e;
        u->link = NULL;
        next(u);
        return;
    }
    link_handle(u->link, &handler, u);
    proto_hello(&hello, u->o.role, u->o.host);
    hello.token = PROTO_BYTES(u->o.token, u->o.token_n);
    item.kind_case = TASKD__ITEM__KIND_HELLO;
    item.hello = &hello;
    send_item(u, &item);
    loop_timer_start(u->loop, &u->greet, clock_mono_ns() + u->o.greet_ns, on_greet_timer, u);
}

struct uplink *
uplink_new(struct loop *l, const struct uplink_opts *o)
{
    struct uplink *u = calloc(1, sizeof *u);

    if (!u)
        abort();
    ASSERT(o->n_addresses > 0);
    u->o = *o;
    u->loop = l;
    u->pause = FIRST_PAUSE;
    u->o.patience_ns = o->patience_ns ? o->patience_ns : UINT64_C(600000) * NS_MS;
    u->o.greet_ns = o->greet_ns ? o->greet_ns : 10000 * NS_MS;
    loop_timer_start(l, &u->timer, clock_mono_ns(), dial, u);
    return u;
}

void
uplink_send(struct uplink *u, const Taskd__Item *item)
{
    if (u->greeted && u->link)
        send_item(u, item);
}

void
uplink_free(struct uplink *u)
{
    if (!u)
        return;
    loop_timer_stop(u->loop, &u->timer);
    loop_timer_stop(u->loop, &u->greet);
    link_close(u->link);
    err_free(u->why);
    free(u);
}
