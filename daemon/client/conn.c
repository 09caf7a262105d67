/* conn -- see conn.h */
#include "client/conn.h"

#include <stdlib.h>

#include "base/clock.h"

#define NS_MS UINT64_C(1000000)
#define FIRST_PAUSE (100 * NS_MS)
#define LONGEST_PAUSE (2000 * NS_MS)

struct conn {
    struct conn_opts o;
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
fail(struct conn *c, struct err *why)
{
    c->over = true;
    loop_timer_stop(c->loop, &c->greet);
    link_close(c->link);
    c->link = NULL;
    c->o.failed(c->o.arg, why);
}

static void
give_up(struct conn *c)
{
    struct err *e = c->why;

    c->why = NULL;
    if (!e)
        e = err_new(ERR_LOST, "nothing answers");
    fail(c, err_hint(err_wrap_take(e, "the master %s can't be reached", c->o.url),
                     "Is it running there?  `taskd master --help` says how to start one."));
}

/* This address is no good now: the next one, or the same again after a pause. */
static void
next(struct conn *c)
{
    uint64_t now = clock_mono_ns();

    link_close(c->link);
    c->link = NULL;
    c->at++;
    if (!c->was_up && c->at == c->o.n_addresses) {
        give_up(c);
    } else if (!c->was_up) {
        loop_timer_start(c->loop, &c->timer, now, dial, c);
    } else if (now >= c->give_up) {
        give_up(c);
    } else {
        c->at %= c->o.n_addresses;
        loop_timer_start(c->loop, &c->timer, now + c->pause, dial, c);
        c->pause = 2 * c->pause > LONGEST_PAUSE ? LONGEST_PAUSE : 2 * c->pause;
    }
}

static void
on_down(void *arg, struct err *why)
{
    struct conn *c = arg;
    bool denied = why->code == ERR_DENIED;

    loop_timer_stop(c->loop, &c->greet);
    if (c->greeted) {
        c->greeted = false;
        c->pause = FIRST_PAUSE;
        c->give_up = clock_mono_ns() + c->o.patience_ns;
        c->o.down(c->o.arg, why);
    }
    err_free(c->why);
    c->why = why;
    if (denied && !c->was_up) {
        c->why = NULL;
        fail(c, err_wrap_take(why, "the master %s", c->o.url));
        return;
    }
    next(c);
}

static void
on_greet_timer(void *arg)
{
    struct conn *c = arg;

    err_free(c->why);
    c->why = err_new(ERR_LOST, "%s does not talk like a master", c->o.addresses[c->at]);
    next(c);
}

/* The first item of the master; false: it was not a welcome. */
static bool
greet(struct conn *c, const Taskd__Item *item)
{
    struct err *e = NULL;

    if (item->kind_case == TASKD__ITEM__KIND_HELLO)
        e = proto_check_hello(item->hello, "master");
    else
        e = err_new(ERR_CORRUPT, "it did not say hello");
    if (e) {
        fail(c, err_wrap_take(e, "the master %s", c->o.url));
        return false;
    }
    loop_timer_stop(c->loop, &c->greet);
    c->greeted = c->was_up = true;
    c->o.up(c->o.arg);
    return true;
}

static void
on_refused(struct conn *c, const Taskd__Refused *r)
{
    struct err *e = proto_err(r->error);

    fail(c, err_wrap_take(e ? e : err_new(ERR_DENIED, "it gave no reason"), "the master %s refused", c->o.url));
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct conn *c = arg;
    struct arena a = { 0 };
    Taskd__Envelope *env;
    struct err *e = proto_get(p, n, &a, &env);

    if (e) {
        fail(c, err_wrap_take(e, "the master %s", c->o.url));
    } else {
        for (size_t i = 0; i < env->n_item && !c->over && c->link; i++) {
            if (env->item[i]->kind_case == TASKD__ITEM__KIND_REFUSED)
                on_refused(c, env->item[i]->refused);
            else if (c->greeted)
                c->o.item(c->o.arg, env->item[i]);
            else if (!greet(c, env->item[i]))
                break;
        }
    }
    arena_fini(&a);
}

static const struct link_handler handler = { on_envelope, on_down };

static void
send_item(struct conn *c, const Taskd__Item *item)
{
    struct buf b = { 0 };

    proto_put(&b, item);
    link_send(c->link, b.p, b.n);
    buf_fini(&b);
}

static void
dial(void *arg)
{
    struct conn *c = arg;
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__Hello hello;
    struct err *e = c->o.dial(c->o.dial_arg, c->o.addresses[c->at], &c->link);

    if (e) {
        err_free(c->why);
        c->why = e;
        c->link = NULL;
        next(c);
        return;
    }
    link_handle(c->link, &handler, c);
    proto_hello(&hello, "client", "");
    hello.token = PROTO_BYTES(c->o.token, c->o.token_n);
    item.kind_case = TASKD__ITEM__KIND_HELLO;
    item.hello = &hello;
    send_item(c, &item);
    loop_timer_start(c->loop, &c->greet, clock_mono_ns() + c->o.greet_ns, on_greet_timer, c);
}

struct conn *
conn_new(struct loop *l, const struct conn_opts *o)
{
    struct conn *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    ASSERT(o->n_addresses > 0);
    c->o = *o;
    c->loop = l;
    c->pause = FIRST_PAUSE;
    c->o.patience_ns = o->patience_ns ? o->patience_ns : UINT64_C(600000) * NS_MS;
    c->o.greet_ns = o->greet_ns ? o->greet_ns : 10000 * NS_MS;
    loop_timer_start(l, &c->timer, clock_mono_ns(), dial, c);
    return c;
}

void
conn_send(struct conn *c, const Taskd__Item *item)
{
    if (c->greeted && c->link)
        send_item(c, item);
}

void
conn_free(struct conn *c)
{
    if (!c)
        return;
    loop_timer_stop(c->loop, &c->timer);
    loop_timer_stop(c->loop, &c->greet);
    link_close(c->link);
    err_free(c->why);
    free(c);
}
