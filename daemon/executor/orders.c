/* orders -- what the driver says, one envelope after the other.  Everything is checked against what is here before it
 * is used as a number of something: a driver of another version, or a broken one, costs this executor and no more. */
#include <stdlib.h>
#include <string.h>

#include "executor/executor_priv.h"

/* ---- where map outputs are */

static struct executor__outputs *
outputs_of(const struct executor *x, uint32_t stage)
{
    for (uint32_t i = x->n_outputs; i-- > 0;)
        if (x->outputs[i].stage == stage)
            return &x->outputs[i];
    return NULL;
}

const struct executor__output *
executor__output_of(const struct executor *x, uint32_t stage, uint32_t map)
{
    const struct executor__outputs *o = outputs_of(x, stage);

    return o && map < o->n && o->at[map].attempt_1 ? &o->at[map] : NULL;
}

static struct err *
on_outputs(struct executor *x, const Taskd__Outputs *m)
{
    struct executor__outputs *o = outputs_of(x, m->stage);

    if (m->n_map != m->n_attempt || m->n_map != m->n_node)
        return err_new(ERR_CORRUPT, "outputs of stage %u: %zu maps, %zu attempts, %zu nodes", m->stage, m->n_map,
                       m->n_attempt, m->n_node);
    if (!o) {
        x->outputs = realloc(x->outputs, (x->n_outputs + 1) * sizeof *x->outputs);
        if (!x->outputs)
            abort();
        o = &x->outputs[x->n_outputs++];
        *o = (struct executor__outputs){ .stage = m->stage };
    }
    for (size_t i = 0; i < m->n_map; i++) {
        uint32_t map = m->map[i];

        if (map >= EXECUTOR_MAPS_MAX || (m->attempt[i] && (m->node[i] >= x->n_nodes || !x->node[m->node[i]].known)))
            return err_new(ERR_CORRUPT, "outputs of stage %u: map %u on node %u", m->stage, map, m->node[i]);
        if (map >= o->n) {
            uint32_t n = map + map / 2 + 16;

            o->at = realloc(o->at, n * sizeof *o->at);
            if (!o->at)
                abort();
            memset(o->at + o->n, 0, (n - o->n) * sizeof *o->at);
            o->n = n;
        }
        o->at[map] = (struct executor__output){ m->attempt[i], m->node[i] };
    }
    executor__remote_check(x);
    return NULL;
}

static struct err *
on_nodes(struct executor *x, const Taskd__Nodes *m)
{
    for (size_t i = 0; i < m->n_node; i++) {
        const Taskd__Node *n = m->node[i];

        if (n->node >= EXECUTOR_NODES_MAX)
            return err_new(ERR_CORRUPT, "a node with number %u", n->node);
        if (n->node >= x->n_nodes) {
            uint32_t more = n->node + n->node / 2 + 8;

            x->node = realloc(x->node, more * sizeof *x->node);
            if (!x->node)
                abort();
            memset(x->node + x->n_nodes, 0, (more - x->n_nodes) * sizeof *x->node);
            x->n_nodes = more;
        }
        x->node[n->node] = (struct executor__node){ true, arena_strdup(&x->a, n->host), arena_strdup(&x->a, n->bulk),
                                                    arena_strdup(&x->a, n->dir) };
    }
    return NULL;
}

/* ---- stages and tasks */

static struct err *
on_stage(struct executor *x, const Taskd__Stage *m)
{
    if (executor__stage_of(x, m->stage))
        return NULL;
    if (x->n_stages == x->cap_stages) {
        x->cap_stages = x->cap_stages ? x->cap_stages * 2 : 16;
        x->stage = realloc(x->stage, x->cap_stages * sizeof *x->stage);
        if (!x->stage)
            abort();
    }
    struct executor__stage *s = &x->stage[x->n_stages++];
    *s = (struct executor__stage){ .id = m->stage, .tmp = m->tmp[0] ? arena_strdup(&x->a, m->tmp) : NULL,
                                   .suffix = arena_strdup(&x->a, m->suffix) };
    buf_put(&s->def, m->def.data, m->def.len);
    return NULL;
}

/* The pieces and their paths as one block. */
static void
take_pieces(const Taskd__Launch *m, struct plan_split *ret)
{
    size_t bytes = m->n_piece * sizeof *ret->pieces;

    if (m->n_piece == 0)
        return;
    for (size_t i = 0; i < m->n_piece; i++)
        bytes += strlen(m->piece[i]->path) + 1;
    ret->n = (uint32_t)m->n_piece;
    ret->pieces = malloc(bytes);
    if (!ret->pieces)
        abort();
    char *at = (char *)(ret->pieces + m->n_piece);
    for (size_t i = 0; i < m->n_piece; i++) {
        const Taskd__Piece *p = m->piece[i];
        size_t n = strlen(p->path) + 1;

        memcpy(at, p->path, n);
        ret->pieces[i] = (struct plan_piece){ at, p->file_size, p->offset, p->length, p->whole };
        at += n;
    }
}

static struct err *
on_launch(struct executor *x, const Taskd__Launch *m)
{
    struct executor__launch t = { .task = { m->stage, m->partition, m->attempt, x->epoch, m->generation, m->flags } };

    if (m->slot >= x->o.slots || !executor__stage_of(x, m->stage))
        return err_new(ERR_CORRUPT, "a launch of stage %u in slot %u", m->stage, m->slot);
    if (x->slot[m->slot].n >= EXECUTOR_QUEUE_MAX)
        return err_new(ERR_LIMIT, "more than %d launches wait in slot %u", EXECUTOR_QUEUE_MAX, m->slot);
    if (m->life != x->slot[m->slot].life) /* sent before the driver heard that the slot's runner died with all it had */
        return NULL;
    take_pieces(m, &t.split);
    struct err *e = executor__launch(x, m->slot, &t);
    if (e)
        executor__say_failed(x, e);
    return NULL;
}

static struct err *
on_kill(struct executor *x, const Taskd__Kill *m)
{
    struct wire_task t = { .stage = m->stage, .partition = m->partition, .attempt = m->attempt, .epoch = x->epoch };

    if (m->slot >= x->o.slots)
        return err_new(ERR_CORRUPT, "a kill in slot %u", m->slot);
    executor__kill(x, m->slot, &t, m->timeout ? RUNNER_TIMEOUT : RUNNER_CANCELLED, m->revoke);
    return NULL;
}

/* ---- who it is */

static struct err *
on_welcome(struct executor *x, const Taskd__Item *it)
{
    const Taskd__Welcome *m = it->welcome;

    if (x->welcome && (proto_app(m->app_id) != x->app || it->epoch != x->epoch))
        return err_new(ERR_CORRUPT, "welcome to two applications");
    x->welcome = true; /* again: main has set keys, before anything was launched */
    x->app = proto_app(m->app_id);
    x->epoch = it->epoch;
    x->budget = m->budget;
    x->data_limit = m->data_limit;
    x->timeout_ns = m->timeout_ns;
    x->codec = arena_strdup(&x->a, m->codec);
    x->usage.cpu = m->usage >= 1;
    x->usage.memory = m->usage >= 2;
    if (x->o.fetch.limit && m->in_flight)
        x->o.fetch.limit(x->o.fetch.client, m->in_flight, m->fetch_retries, m->fetch_wait_ns);
    executor__say_usage(x); /* if there is never anything to do, it was this */
    return NULL;
}

static struct err *
dispatch(struct executor *x, const Taskd__Item *it)
{
    switch (it->kind_case) {
    case TASKD__ITEM__KIND_HELLO: return proto_check_hello(it->hello, "driver");
    case TASKD__ITEM__KIND_REFUSED: {
        struct err *e = proto_err(it->refused->error);

        return e ? e : err_new(ERR_DENIED, "the driver refused this executor");
    }
    case TASKD__ITEM__KIND_WELCOME: return on_welcome(x, it);
    default: break;
    }
    if (!x->welcome) /* whatever it was, it is lost: nothing of a link is left out */
        return err_new(ERR_CORRUPT, "an order before the welcome (%d)", (int)it->kind_case);
    if (it->app != x->app || it->epoch != x->epoch) {
        x->stale++;
        return NULL;
    }
    switch (it->kind_case) {
    case TASKD__ITEM__KIND_STAGE: return on_stage(x, it->stage);
    case TASKD__ITEM__KIND_NODES: return on_nodes(x, it->nodes);
    case TASKD__ITEM__KIND_OUTPUTS: return on_outputs(x, it->outputs);
    case TASKD__ITEM__KIND_LAUNCH: return on_launch(x, it->launch);
    case TASKD__ITEM__KIND_KILL: return on_kill(x, it->kill);
    case TASKD__ITEM__KIND_REMOVE:
        executor__remove(x, it->remove->stage, it->remove->partition, it->remove->attempt);
        return NULL;
    case TASKD__ITEM__KIND_BROADCAST: return executor__bcast_told(x, it->broadcast);
    case TASKD__ITEM__KIND_STOP: executor__end(x, NULL); return NULL;
    default: return err_new(ERR_CORRUPT, "the driver says what only others say (%d)", (int)it->kind_case);
    }
}

static bool
on_item(void *arg, const Taskd__Item *it)
{
    struct executor *x = arg;
    struct err *e = x->ended ? NULL : dispatch(x, it);

    if (e)
        executor__end(x, err_wrap_take(e, "what the driver on \"%s\" says is not to be used", link_peer(x->link)));
    return !x->ended;
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct executor *x = arg;
    struct err *e = proto_each(p, n, &x->msg, on_item, x);

    if (e)
        executor__end(x, err_wrap_take(e, "what the driver on \"%s\" says is not to be used", link_peer(x->link)));
}

static void
on_down(void *arg, struct err *why)
{
    executor__end(arg, err_wrap_take(why, "the driver is gone"));
}

const struct link_handler executor__handler = { on_envelope, on_down };
