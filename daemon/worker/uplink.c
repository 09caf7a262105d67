/* uplink -- the link to the master: dial, greet, register; what it says goes to the files that know. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "worker/profile.h"
#include "worker/worker_priv.h"

#define MS UINT64_C(1000000)

enum { QUEUED_MAX = 1 << 20, ENDED_MAX = 1000 };

/* ---- sending */

static void
send_item(struct worker *w, Taskd__Item *item)
{
    item->epoch = w->epoch;
    w->out.n = 0;
    proto_put(&w->out, item);
    link_send(w->link, w->out.p, w->out.n);
}

static void
remember_end(struct worker *w, const struct child *c, Taskd__ChildPhase phase, uint32_t exit_status, const char *text)
{
    struct ended *x = calloc(1, sizeof *x), **at;
    unsigned n = 0;

    if (!x || !(x->text = strdup(text)))
        abort();
    strcpy(x->app_id, c->place->id);
    x->number = c->number;
    x->phase = phase;
    x->exit_status = exit_status;
    uplink__forget_ended(w, x->app_id, x->number, false);
    x->next = w->ended;
    w->ended = x;
    for (at = &w->ended; *at && n < ENDED_MAX; at = &(*at)->next)
        n++;
    if (*at) {
        free((*at)->text);
        free(*at);
        *at = NULL;
    }
}

void
uplink__forget_ended(struct worker *w, const char *id, uint32_t number, bool all)
{
    for (struct ended **at = &w->ended; *at;) {
        struct ended *x = *at;

        if (strcmp(x->app_id, id) || (!all && x->number != number)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        free(x->text);
        free(x);
    }
}

static void
child_state(const struct child *c, Taskd__ChildState *ret)
{
    *ret = (Taskd__ChildState)TASKD__CHILD_STATE__INIT;
    ret->app_id = (char *)c->place->id;
    ret->executor = c->number;
    ret->phase = c->phase;
    ret->cores = c->cores;
    ret->memory = c->memory;
    ret->pid = (uint64_t)c->pid;
}

void
uplink__child(struct worker *w, const struct child *c, Taskd__ChildPhase phase, uint32_t exit_status, const char *text)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__ChildState s;

    if (phase == TASKD__CHILD_PHASE__ENDED || phase == TASKD__CHILD_PHASE__FAILED_TO_START)
        remember_end(w, c, phase, exit_status, text);
    if (!w->welcome)
        return;
    child_state(c, &s);
    s.phase = phase;
    s.exit_status = exit_status;
    s.text = (char *)text;
    item.kind_case = TASKD__ITEM__KIND_CHILD_STATE;
    item.child_state = &s;
    send_item(w, &item);
}

void
uplink__output(struct worker *w, const char *driver, bool err, uint64_t at, const void *p, size_t n)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__ChildOutput o = TASKD__CHILD_OUTPUT__INIT;

    o.driver = (char *)driver;
    o.err = err;
    o.at = at;
    o.data = PROTO_BYTES(p, n);
    item.kind_case = TASKD__ITEM__KIND_CHILD_OUTPUT;
    item.child_output = &o;
    send_item(w, &item);
}

bool
uplink__ready(const struct worker *w)
{
    return w->welcome && link_queued(w->link) < QUEUED_MAX;
}

/* ---- registering */

static void
say_hello(struct worker *w)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__Hello h;

    proto_hello(&h, "worker", w->o.host);
    h.token = PROTO_BYTES(w->o.token, w->o.token_n);
    item.kind_case = TASKD__ITEM__KIND_HELLO;
    item.hello = &h;
    send_item(w, &item);
}

static void
put_ended(const struct ended *x, Taskd__ChildState *ret)
{
    *ret = (Taskd__ChildState)TASKD__CHILD_STATE__INIT;
    ret->app_id = (char *)x->app_id;
    ret->executor = x->number;
    ret->phase = x->phase;
    ret->exit_status = x->exit_status;
    ret->text = x->text;
}

static void
put_children(struct worker *w, struct arena *a, Taskd__WorkerHello *ret)
{
    size_t n = 0, apps = 0;

    for (struct child *c = w->children; c; c = c->next)
        n++;
    for (struct ended *x = w->ended; x; x = x->next)
        n++;
    for (struct place *p = w->places; p; p = p->next)
        apps++;
    Taskd__ChildState *s = ARENA_ARRAY(a, Taskd__ChildState, n + 1);
    ret->child = ARENA_ARRAY(a, Taskd__ChildState *, n + 1);
    ret->app = ARENA_ARRAY(a, char *, apps + 1);
    for (struct child *c = w->children; c; c = c->next, s++) {
        child_state(c, s);
        ret->child[ret->n_child++] = s;
    }
    for (struct ended *x = w->ended; x; x = x->next, s++) {
        put_ended(x, s);
        ret->child[ret->n_child++] = s;
    }
    for (struct place *p = w->places; p; p = p->next)
        if (!p->driver && !p->forgotten)
            ret->app[ret->n_app++] = p->id;
}

static void
register_us(struct worker *w)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__WorkerHello h = TASKD__WORKER_HELLO__INIT;
    Taskd__Profile profile;
    struct arena a = { 0 };

    h.worker = w->id;
    h.host = (char *)w->o.host;
    h.cores = w->o.cores;
    h.memory = w->o.memory;
    h.bulk = w->bulk_address;
    profile_host(&a, &profile);
    h.profile = &profile;
    put_children(w, &a, &h);
    item.kind_case = TASKD__ITEM__KIND_WORKER_HELLO;
    item.worker_hello = &h;
    send_item(w, &item);
    arena_fini(&a);
}

/* ---- losing it */

static void
on_redial(void *arg)
{
    uplink__dial(arg);
}

/* Takes why.  The next try is another master's turn. */
static void
hang_up(struct worker *w, struct err *why)
{
    const char *to = w->masters[w->master_at];

    if (w->welcome || w->backoff_ns == 0)
        worker__log(w, EVENT_LEVEL_WARN, NULL, why, w->welcome ? "lost the master at %s" : "no master at %s", to);
    else
        worker__log(w, EVENT_LEVEL_DEBUG, NULL, NULL, "no master at %s", to);
    err_free(why);
    link_close(w->link);
    w->link = NULL;
    w->greeted = w->welcome = false;
    output__unfollow_all(w);
    w->master_at = (w->master_at + 1) % w->n_masters;
    w->backoff_ns = w->backoff_ns ? w->backoff_ns * 2 : 100 * MS;
    if (w->backoff_ns > 2000 * MS)
        w->backoff_ns = 2000 * MS;
    /* a quarter of it at random: a thousand workers don't come back in one moment */
    uint64_t spread = clock_mono_ns() / 1000 % 256 * w->backoff_ns / 1024;
    loop_timer_start(w->loop, &w->redial, loop_now(w->loop) + w->backoff_ns - spread, on_redial, w);
}

static void
on_down(void *arg, struct err *why)
{
    hang_up(arg, why);
}

static void
on_refused(struct worker *w, struct err *why)
{
    if (!w->ever_welcome && w->o.refused) {
        w->o.refused(w->o.arg, why);
        return;
    }
    hang_up(w, err_wrap_take(why, "the master refuses this worker"));
}

/* ---- hearing */

static void
on_hello(struct worker *w, const Taskd__Hello *h)
{
    struct err *e = proto_check_hello(h, "master");

    if (e)
        on_refused(w, e);
    else
        w->greeted = true;
}

/* The registration was written when the link was dialled and may have waited long: what ended since is told again. */
static void
tell_ended(struct worker *w)
{
    Taskd__Item item = TASKD__ITEM__INIT;

    for (const struct ended *x = w->ended; x; x = x->next) {
        Taskd__ChildState s = TASKD__CHILD_STATE__INIT;

        put_ended(x, &s);
        item.kind_case = TASKD__ITEM__KIND_CHILD_STATE;
        item.child_state = &s;
        send_item(w, &item);
    }
}

static void
on_welcome(struct worker *w, const Taskd__Item *item)
{
    const char *id = item->worker_welcome->master;

    if (!strcmp(id, w->master_id) && item->epoch < w->epoch) {
        hang_up(w, err_new(ERR_DENIED, "master %s is of epoch %u, %u was seen before", id, item->epoch, w->epoch));
        return;
    }
    snprintf(w->master_id, sizeof w->master_id, "%s", id);
    w->epoch = item->epoch;
    w->welcome = w->ever_welcome = true;
    w->backoff_ns = 0;
    worker__log(w, EVENT_LEVEL_INFO, NULL, NULL, "registered with the master at %s, epoch %u", w->masters[w->master_at],
                w->epoch);
    tell_ended(w);
}

static void
on_stop_child(struct worker *w, const Taskd__StopChild *m)
{
    struct child *c = child__find(w, m->app_id, m->executor);

    if (c)
        child__stop(c, m->why[0] ? m->why : "the master asked for it");
}

static void
on_forget(struct worker *w, const Taskd__ForgetApp *m)
{
    struct place *p = place__find(w, m->app_id);

    uplink__forget_ended(w, m->app_id, 0, true);
    if (p)
        place__forget(p);
}

static void
on_order(struct worker *w, const Taskd__Item *item)
{
    switch ((int)item->kind_case) {
    case TASKD__ITEM__KIND_START_EXECUTOR:
        child__start_executor(w, item->start_executor);
        break;
    case TASKD__ITEM__KIND_START_DRIVER:
        child__start_driver(w, item->start_driver);
        break;
    case TASKD__ITEM__KIND_STOP_CHILD:
        on_stop_child(w, item->stop_child);
        break;
    case TASKD__ITEM__KIND_FORGET_APP:
        on_forget(w, item->forget_app);
        break;
    case TASKD__ITEM__KIND_FOLLOW_CHILD:
        output__follow(w, item->follow_child);
        break;
    default:
        break; /* of no concern to a worker */
    }
}

static void
on_item(struct worker *w, const Taskd__Item *item)
{
    if (item->kind_case == TASKD__ITEM__KIND_REFUSED)
        on_refused(w, item->refused->error && item->refused->error->code[0]
                          ? proto_err(item->refused->error) : err_new(ERR_DENIED, "the master does not say why"));
    else if (!w->greeted && item->kind_case != TASKD__ITEM__KIND_HELLO)
        hang_up(w, err_new(ERR_CORRUPT, "the master did not greet"));
    else if (item->kind_case == TASKD__ITEM__KIND_HELLO)
        on_hello(w, item->hello);
    else if (item->kind_case == TASKD__ITEM__KIND_WORKER_WELCOME)
        on_welcome(w, item);
    else if (!w->welcome || item->epoch != w->epoch)
        w->stale++;
    else if (!w->stopped)
        on_order(w, item);
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct worker *w = arg;
    struct link *l = w->link;
    struct arena a = { 0 };
    Taskd__Envelope *v;
    struct err *e = proto_get(p, n, &a, &v);

    if (e)
        hang_up(w, e);
    else
        for (size_t i = 0; i < v->n_item && w->link == l; i++)
            on_item(w, v->item[i]);
    arena_fini(&a);
}

void
uplink__dial(struct worker *w)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct err *e = w->o.dial(w->o.arg, w->masters[w->master_at], &w->link);

    if (e) {
        w->link = NULL;
        hang_up(w, e);
        return;
    }
    link_handle(w->link, &handler, w);
    say_hello(w);
    register_us(w);
}

/* ---- life */

struct err *
uplink__new(struct worker *w)
{
    const char *url = w->o.master, *list = strstr(url, "://");
    size_t n = 1;

    if (!list || (strncmp(url, "taskd://", 8) && strncmp(url, "spark://", 8)))
        return err_hint(err_new(ERR_USAGE, "\"%s\" is no master's URL", url), "It looks like taskd://host:7077.");
    for (const char *p = list; *p; p++)
        n += *p == ',';
    w->masters = ARENA_ARRAY(&w->a, const char *, n);
    char *words = arena_strdup(&w->a, list + 3), *save = NULL;
    for (char *s = strtok_r(words, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
        const char *port = strrchr(s, ':');
        bool has = !strncmp(s, "unix:", 5) || (port && !strchr(port, ']'));

        w->masters[w->n_masters++] = has ? s : arena_printf(&w->a, "%s:7077", s);
    }
    return w->n_masters ? NULL : err_new(ERR_USAGE, "\"%s\" names no host", url);
}

void
uplink__free(struct worker *w)
{
    link_close(w->link);
    loop_timer_stop(w->loop, &w->redial);
    loop_timer_stop(w->loop, &w->pump);
    while (w->ended) {
        struct ended *x = w->ended;

        w->ended = x->next;
        free(x->text);
        free(x);
    }
    buf_fini(&w->out);
}
