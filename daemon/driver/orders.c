/* orders -- what executors are told.  Each order carries the application's number and the executor's epoch. */
#include <stdlib.h>
#include <string.h>

#include "driver/driver_priv.h"

static void
send(struct remote *x, Taskd__Item *it)
{
    struct driver *d = x->d;

    it->app = d->app;
    it->epoch = x->epoch;
    d->msg.n = 0;
    proto_put(&d->msg, it);
    link_send(x->link, d->msg.p, d->msg.n);
}

void
driver__welcome(struct remote *x)
{
    struct driver *d = x->d;
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello h;

    proto_hello(&h, "driver", d->o.host);
    it.kind_case = TASKD__ITEM__KIND_HELLO;
    it.hello = &h;
    send(x, &it);
    driver__settings(x);
}

void
driver__settings(struct remote *x)
{
    struct driver *d = x->d;
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Welcome w = TASKD__WELCOME__INIT;

    w.app_id = d->app_id;
    w.budget = d->o.memory / x->slots;
    w.data_limit = d->o.data_limit;
    w.timeout_ns = d->o.task_timeout_ns;
    w.in_flight = conf_bytes(d->o.conf, CONF_REDUCER_IN_FLIGHT);
    w.fetch_retries = (uint32_t)conf_int(d->o.conf, CONF_SHUFFLE_IO_RETRIES);
    w.fetch_wait_ns = conf_ns(d->o.conf, CONF_SHUFFLE_IO_RETRY_WAIT);
    w.codec = (char *)(d->o.codec ? d->o.codec : "");
    w.usage = d->o.usage;
    it.kind_case = TASKD__ITEM__KIND_WELCOME;
    it.welcome = &w;
    send(x, &it);
}

void
driver__refuse(struct remote *x, const struct err *why)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello h;
    Taskd__Refused r = TASKD__REFUSED__INIT;
    Taskd__Error e;
    struct arena a = { 0 };

    proto_hello(&h, "driver", x->d->o.host);
    it.kind_case = TASKD__ITEM__KIND_HELLO;
    it.hello = &h;
    send(x, &it);
    proto_of_err(why, &a, &e);
    r.error = &e;
    it.kind_case = TASKD__ITEM__KIND_REFUSED;
    it.refused = &r;
    send(x, &it);
    arena_fini(&a);
}

void
driver__stop(struct remote *x, const char *why)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Stop m = TASKD__STOP__INIT;

    m.why = (char *)why;
    it.kind_case = TASKD__ITEM__KIND_STOP;
    it.stop = &m;
    send(x, &it);
}

/* ---- where outputs are */

static void
tell_nodes(struct remote *x)
{
    struct driver *d = x->d;
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Nodes m = TASKD__NODES__INIT;
    uint32_t n = d->n_nodes - x->nodes_told;

    if (n == 0)
        return;
    arena_reset(&d->call);
    Taskd__Node *v = ARENA_ARRAY(&d->call, Taskd__Node, n);
    m.node = ARENA_ARRAY(&d->call, Taskd__Node *, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct node *p = &d->node[x->nodes_told + i];

        v[i] = (Taskd__Node)TASKD__NODE__INIT;
        v[i].node = x->nodes_told + i;
        v[i].host = p->host;
        v[i].bulk = p->bulk;
        v[i].dir = p->dir;
        m.node[m.n_node++] = &v[i];
    }
    it.kind_case = TASKD__ITEM__KIND_NODES;
    it.nodes = &m;
    send(x, &it);
    x->nodes_told = d->n_nodes;
}

/* Outputs [from, to) of the stage. */
static void
tell_outputs(struct remote *x, const struct stage *s, uint32_t from, uint32_t to)
{
    struct driver *d = x->d;
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Outputs m = TASKD__OUTPUTS__INIT;

    tell_nodes(x);
    arena_reset(&d->call);
    m.stage = s->id;
    m.n_map = m.n_attempt = m.n_node = to - from;
    m.map = ARENA_ARRAY(&d->call, uint32_t, to - from);
    m.attempt = ARENA_ARRAY(&d->call, uint32_t, to - from);
    m.node = ARENA_ARRAY(&d->call, uint32_t, to - from);
    for (uint32_t i = from; i < to; i++) {
        m.map[i - from] = i;
        m.attempt[i - from] = (uint32_t)(s->attempt[i] + 1);
        m.node[i - from] = s->place[i];
    }
    it.kind_case = TASKD__ITEM__KIND_OUTPUTS;
    it.outputs = &m;
    send(x, &it);
}

void
driver__tell_output(struct driver *d, const struct stage *s, uint32_t map)
{
    for (struct remote *x = d->remotes; x; x = x->next)
        if (x->up && s->id < x->n_knows && x->knows[s->id] & REMOTE_OUTPUTS)
            tell_outputs(x, s, map, map + 1);
}

/* ---- broadcasts */

void
driver__tell_broadcast(void *arg, const struct broadcast_info *i)
{
    struct remote *x = arg;
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Broadcast m = TASKD__BROADCAST__INIT;

    tell_nodes(x);
    m.id = i->id;
    m.size = i->size;
    m.n_piece_xxh3 = i->n_pieces;
    m.piece_xxh3 = (uint64_t *)i->xxh3;
    m.n_holder = i->n_holders;
    m.holder = (uint32_t *)i->holder;
    m.destroyed = i->destroyed;
    it.kind_case = TASKD__ITEM__KIND_BROADCAST;
    it.broadcast = &m;
    send(x, &it);
}

void
driver__tell_broadcast_all(void *arg, const struct broadcast_info *i)
{
    for (struct remote *x = ((struct driver *)arg)->remotes; x; x = x->next)
        if (x->up)
            driver__tell_broadcast(x, i);
}

/* ---- stages and tasks */

static uint8_t *
knows(struct remote *x, uint32_t stage)
{
    if (stage >= x->n_knows) {
        uint32_t n = stage + stage / 2 + 16;

        x->knows = realloc(x->knows, n);
        if (!x->knows)
            abort();
        memset(x->knows + x->n_knows, 0, n - x->n_knows);
        x->n_knows = n;
    }
    return &x->knows[stage];
}

/* All that an executor must know before the first task of a stage. */
static void
tell_stage(struct remote *x, const struct stage *s)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Stage m = TASKD__STAGE__INIT;

    *knows(x, s->id) |= REMOTE_STAGE;
    m.stage = s->id;
    m.def = PROTO_BYTES(s->def.p, s->def.n);
    if (s->out) {
        m.tmp = s->out->tmp;
        m.suffix = (char *)s->out->suffix;
    }
    it.kind_case = TASKD__ITEM__KIND_STAGE;
    it.stage = &m;
    send(x, &it);
    for (uint32_t i = 0; i < s->plan.n_parents; i++) {
        const struct stage *p = driver__stage(x->d, s->plan.parents[i]);

        if (!p || *knows(x, p->id) & REMOTE_OUTPUTS)
            continue;
        *knows(x, p->id) |= REMOTE_OUTPUTS;
        tell_outputs(x, p, 0, p->tasks);
    }
}

static void
queue_push(struct lane *l, const struct attempt *t)
{
    if (l->head + l->n == l->cap) {
        if (l->head) {
            memmove(l->queue, l->queue + l->head, l->n * sizeof *l->queue);
            l->head = 0;
        } else {
            l->cap = l->cap ? l->cap * 2 : 16;
            l->queue = realloc(l->queue, l->cap * sizeof *l->queue);
            if (!l->queue)
                abort();
        }
    }
    l->queue[l->head + l->n++] = *t;
}

/* The task's part of the input, as messages. */
static void
put_split(struct arena *a, const struct stage *s, uint32_t partition, Taskd__Launch *m)
{
    const struct plan_branch *b = plan_branch_of(&s->plan, partition);

    if (!b->splits)
        return;
    const struct plan_split *sp = &b->splits[partition - b->first];
    Taskd__Piece *v = ARENA_ARRAY(a, Taskd__Piece, sp->n);
    m->piece = ARENA_ARRAY(a, Taskd__Piece *, sp->n);
    m->n_piece = sp->n;
    for (uint32_t i = 0; i < sp->n; i++) {
        const struct plan_piece *p = &sp->pieces[i];

        v[i] = (Taskd__Piece)TASKD__PIECE__INIT;
        v[i].path = (char *)p->path;
        v[i].file_size = p->file_size;
        v[i].offset = p->offset;
        v[i].length = p->length;
        v[i].whole = p->whole;
        m->piece[i] = &v[i];
    }
}

void
driver__launch(struct remote *x, const struct sched_action *a)
{
    struct driver *d = x->d;
    const struct stage *s = driver__stage(d, a->stage);
    struct attempt t = { a->stage, a->partition, a->attempt, d->accepts };
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Launch m = TASKD__LAUNCH__INIT;

    ASSERT(s && a->slot < x->slots && a->partition < s->tasks);
    if (!(*knows(x, a->stage) & REMOTE_STAGE))
        tell_stage(x, s);
    queue_push(&x->lane[a->slot], &t);
    m.slot = a->slot;
    m.stage = a->stage;
    m.partition = a->partition;
    m.attempt = a->attempt;
    m.generation = a->generation;
    m.flags = a->flags & SCHED_ONE_RECORD ? WIRE_ONE_RECORD : 0;
    m.life = x->lane[a->slot].life;
    arena_reset(&d->call);
    put_split(&d->call, s, a->partition, &m);
    if (m.n_piece) {
        it.kind_case = TASKD__ITEM__KIND_LAUNCH;
        it.launch = &m;
        send(x, &it);
        return;
    }
    d->msg.n = 0;
    proto_put_launch(&d->msg, d->app, x->epoch, &m);
    link_send(x->link, d->msg.p, d->msg.n);
}

void
driver__kill(struct remote *x, const struct sched_action *a)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Kill m = TASKD__KILL__INIT;

    m.slot = a->slot;
    m.stage = a->stage;
    m.partition = a->partition;
    m.attempt = a->attempt;
    m.timeout = a->kind == SCHED_KILL && a->code == ERR_TIMEOUT;
    m.revoke = a->kind == SCHED_REVOKE;
    it.kind_case = TASKD__ITEM__KIND_KILL;
    it.kill = &m;
    send(x, &it);
}

void
driver__remove(struct driver *d, uint32_t place, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    struct remote *x = d->remotes;
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Remove m = TASKD__REMOVE__INIT;

    while (x && !(x->up && x->place == place))
        x = x->next;
    if (!x) /* it goes with the application's folder */
        return;
    m.stage = stage;
    m.partition = partition;
    m.attempt = attempt;
    it.kind_case = TASKD__ITEM__KIND_REMOVE;
    it.remove = &m;
    send(x, &it);
}
