/* graph -- graphs, actions and stages as bytes.  Decoding trusts nothing: every count is checked against the
 * bytes that are left, every enum and every reference against what it may be. */
#include <stdlib.h>

#include "plan/plan_priv.h"

enum { NODE_MIN = 68, BRANCH_MIN = 21 }; /* bytes of an encoded node and branch with empty lists */

static int
by_id(const void *id, const void *node)
{
    uint32_t x = *(const uint32_t *)id, y = ((const struct plan_node *)node)->id;

    return x < y ? -1 : x > y;
}

const struct plan_node *
plan_node(const struct plan_graph *g, uint32_t id)
{
    if (id < g->n && g->nodes[id].id == id)
        return &g->nodes[id];
    return g->n ? bsearch(&id, g->nodes, g->n, sizeof *g->nodes, by_id) : NULL;
}

static void
node_encode(const struct plan_node *node, struct buf *out)
{
    put_u32(out, node->id);
    put_u8(out, node->op);
    put_u8(out, node->fold);
    put_u8(out, node->on_bad);
    put_u8(out, node->descending);
    put_u8(out, node->out.key);
    put_u8(out, node->out.val);
    put_u8(out, node->in.key);
    put_u8(out, node->in.val);
    put_u32(out, node->n_in);
    for (uint32_t i = 0; i < node->n_in; i++)
        put_u32(out, node->in_ids[i]);
    put_u32(out, node->fn);
    put_u32(out, node->partitions);
    put_u32(out, node->line);
    put_str(out, node->file);
    put_str(out, node->name);
    put_str(out, node->path);
    put_u64(out, node->lo);
    put_u64(out, node->hi);
    put_bytes(out, node->data, node->data_n);
    put_bytes(out, node->arg, node->arg_n);
    put_u32(out, node->n_bcast);
    for (uint32_t i = 0; i < node->n_bcast; i++) {
        put_u32(out, node->bcast[i].item);
        put_u32(out, node->bcast[i].id);
    }
}

static uint32_t *
get_ids(struct get *in, struct arena *a, uint32_t *ret_n)
{
    uint32_t n = get_count(in, 4);
    uint32_t *ids = ARENA_ARRAY(a, uint32_t, n);

    for (uint32_t i = 0; i < n; i++)
        ids[i] = get_u32(in);
    *ret_n = n;
    return ids;
}

static struct plan_bcast *
get_bcast(struct get *in, struct arena *a, uint32_t *ret_n)
{
    uint32_t n = get_count(in, 8);
    struct plan_bcast *v = ARENA_ARRAY(a, struct plan_bcast, n);

    for (uint32_t i = 0; i < n; i++) {
        v[i].item = get_u32(in);
        v[i].id = get_u32(in);
    }
    *ret_n = n;
    return v;
}

static const char *
get_copy(struct get *in, struct arena *a, size_t *ret_n)
{
    const char *p = get_bytes(in, ret_n);

    return arena_memdup(a, p ? p : "", *ret_n);
}

static struct err *
node_decode(struct get *in, struct arena *a, struct plan_node *node)
{
    node->id = get_u32(in);
    node->op = get_u8(in);
    node->fold = get_u8(in);
    node->on_bad = get_u8(in);
    node->descending = get_u8(in);
    node->out.key = get_u8(in);
    node->out.val = get_u8(in);
    node->in.key = get_u8(in);
    node->in.val = get_u8(in);
    node->in_ids = get_ids(in, a, &node->n_in);
    node->fn = get_u32(in);
    node->partitions = get_u32(in);
    node->line = get_u32(in);
    node->file = get_str(in, a);
    node->name = get_str(in, a);
    node->path = get_str(in, a);
    node->lo = get_u64(in);
    node->hi = get_u64(in);
    node->data = get_copy(in, a, &node->data_n);
    node->arg = get_copy(in, a, &node->arg_n);
    node->bcast = get_bcast(in, a, &node->n_bcast);
    if (in->bad)
        return err_new(ERR_CORRUPT, "the graph ends inside node %u", node->id);
    const char *fault = plan__node_fault(node);
    if (fault)
        return err_new(ERR_CORRUPT, "node %u of the graph %s", node->id, fault);
    return NULL;
}

void
plan_graph_encode(const struct plan_graph *g, struct buf *out)
{
    put_u32(out, g->n);
    for (uint32_t i = 0; i < g->n; i++)
        node_encode(&g->nodes[i], out);
}

/* A heap of ids, the largest first. */
struct ids {
    uint32_t n, cap, *v;
};

static void
push(struct ids *h, uint32_t id)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 16;
        h->v = realloc(h->v, h->cap * sizeof *h->v);
        ASSERT(h->v != NULL);
    }
    uint32_t at = h->n++;
    for (; at > 0 && h->v[(at - 1) / 2] < id; at = (at - 1) / 2)
        h->v[at] = h->v[(at - 1) / 2];
    h->v[at] = id;
}

static uint32_t
pop(struct ids *h)
{
    uint32_t top = h->v[0], last = h->v[--h->n], at = 0;

    for (uint32_t k = 1; k < h->n; k = 2 * at + 1) {
        k += k + 1 < h->n && h->v[k + 1] > h->v[k];
        if (h->v[k] <= last)
            break;
        h->v[at] = h->v[k];
        at = k;
    }
    h->v[at] = last;
    return top;
}

void
plan_lineage_encode(const struct plan_graph *g, uint32_t node, struct buf *out)
{
    struct ids todo = { 0 }, found = { 0 }; /* found: each id once, the largest first */

    push(&todo, node);
    while (todo.n > 0) {
        const struct plan_node *n = plan_node(g, pop(&todo));

        ASSERT(n != NULL);
        if (found.n > 0 && found.v[found.n - 1] == n->id)
            continue;
        push(&found, n->id); /* stays behind all larger ones */
        for (uint32_t i = 0; i < n->n_in; i++)
            push(&todo, n->in_ids[i]);
    }
    put_u32(out, found.n);
    for (uint32_t i = found.n; i-- > 0;)
        node_encode(plan_node(g, found.v[i]), out);
    free(todo.v);
    free(found.v);
}

static struct err *
nodes_decode(struct get *in, struct arena *a, struct plan_graph *ret)
{
    struct plan_graph g = { .n = get_count(in, NODE_MIN) };

    if (in->bad)
        return err_new(ERR_CORRUPT, "the graph claims more nodes than it has bytes for");
    g.nodes = ARENA_ARRAY(a, struct plan_node, g.n);
    for (uint32_t i = 0; i < g.n; i++) {
        TRY(node_decode(in, a, &g.nodes[i]));
        uint32_t id = g.nodes[i].id;
        if (i > 0 && id <= g.nodes[i - 1].id)
            return err_new(ERR_CORRUPT, "node %u of the graph lies behind node %u", id, g.nodes[i - 1].id);
    }
    *ret = g;
    return NULL;
}

struct err *
plan_graph_decode(struct get *in, struct arena *a, struct plan_graph *ret)
{
    return nodes_decode(in, a, ret);
}

void
plan_action_encode(const struct plan_action *act, struct buf *out)
{
    put_u8(out, act->act);
    put_u32(out, act->node);
    put_u32(out, act->fn);
    put_u32(out, act->line);
    put_str(out, act->file);
    put_str(out, act->path);
    put_u32(out, act->first);
    put_u32(out, act->n);
    put_u64(out, act->enough);
}

struct err *
plan_action_decode(struct get *in, struct arena *a, struct plan_action *ret)
{
    struct plan_action act = { .act = get_u8(in) };

    act.node = get_u32(in);
    act.fn = get_u32(in);
    act.line = get_u32(in);
    act.file = get_str(in, a);
    act.path = get_str(in, a);
    act.first = get_u32(in);
    act.n = get_u32(in);
    act.enough = get_u64(in);
    if (in->bad)
        return err_new(ERR_CORRUPT, "the action ends too early");
    if (act.act == 0 || act.act >= PLAN_ACTS)
        return err_new(ERR_CORRUPT, "there is no action %u", act.act);
    *ret = act;
    return NULL;
}

static void
put_ids(struct buf *out, const uint32_t *ids, uint32_t n)
{
    put_u32(out, n);
    for (uint32_t i = 0; i < n; i++)
        put_u32(out, ids[i]);
}

static void
mark(const struct plan_graph *g, bool *used, uint32_t id)
{
    const struct plan_node *node = plan_node(g, id);

    ASSERT(node != NULL);
    used[node - g->nodes] = true;
}

void
plan_stage_encode(const struct plan_stage *st, const struct plan_graph *g, struct buf *out)
{
    struct arena a = { 0 };
    bool *used = ARENA_ARRAY(&a, bool, g->n);
    uint32_t n = 0;

    put_u32(out, st->id);
    put_u8(out, st->sink);
    put_u32(out, st->node);
    put_u32(out, st->fn);
    put_u64(out, st->enough);
    put_u32(out, st->tasks);
    put_u32(out, st->partitions);
    put_u8(out, st->row.key);
    put_u8(out, st->row.val);
    put_str(out, st->label);
    put_ids(out, st->parents, st->n_parents);
    put_u32(out, st->n_branches);
    mark(g, used, st->node);
    for (uint32_t i = 0; i < st->n_branches; i++) {
        const struct plan_branch *b = &st->branches[i];

        put_u8(out, b->source);
        put_u32(out, b->node);
        put_u32(out, b->parent);
        put_u32(out, b->parent_maps);
        put_u32(out, b->n);
        put_ids(out, b->ops, b->n_ops);
        for (uint32_t k = 0; k < b->n_ops; k++)
            put_u32(out, b->op_first[k]);
        mark(g, used, b->node);
        for (uint32_t k = 0; k < b->n_ops; k++)
            mark(g, used, b->ops[k]);
    }
    for (uint32_t i = 0; i < g->n; i++)
        n += used[i];
    put_u32(out, n);
    for (uint32_t i = 0; i < g->n; i++)
        if (used[i])
            node_encode(&g->nodes[i], out);
    arena_fini(&a);
}

static struct err *
branch_decode(struct get *in, struct arena *a, uint32_t first, struct plan_branch *b)
{
    b->source = get_u8(in);
    b->node = get_u32(in);
    b->parent = get_u32(in);
    b->parent_maps = get_u32(in);
    b->first = first;
    b->n = get_u32(in);
    b->ops = get_ids(in, a, &b->n_ops);
    b->op_first = ARENA_ARRAY(a, uint32_t, b->n_ops);
    for (uint32_t i = 0; i < b->n_ops; i++)
        b->op_first[i] = get_u32(in);
    if (in->bad)
        return err_new(ERR_CORRUPT, "the stage ends inside a branch");
    for (uint32_t i = 0; i < b->n_ops; i++)
        if (b->op_first[i] > first)
            return err_new(ERR_CORRUPT, "an operator of the stage begins behind its branch");
    if (b->source == 0 || b->source >= PLAN_SOURCES)
        return err_new(ERR_CORRUPT, "there is no source %u", b->source);
    if (b->n == 0 || b->n > PLAN__TASKS_MAX - first)
        return err_new(ERR_CORRUPT, "a branch of the stage has %u partitions", b->n);
    return NULL;
}

/* Do the branches and the sink name nodes that came along, and of the right sort? */
static struct err *
stage_refs(const struct plan_stage *st, const struct plan_graph *g)
{
    const struct plan_node *node = plan_node(g, st->node);

    if (!node || (st->sink == PLAN_SINK_SHUFFLE && !plan__is_wide(node->op)))
        return err_new(ERR_CORRUPT, "the stage's node %u is missing or of the wrong sort", st->node);
    for (uint32_t i = 0; i < st->n_branches; i++) {
        const struct plan_branch *b = &st->branches[i];

        node = plan_node(g, b->node);
        if (!node || (b->source == PLAN_SRC_SHUFFLE ? !plan__is_wide(node->op) : node->op != b->source))
            return err_new(ERR_CORRUPT, "source %u of the stage is missing or of the wrong sort", b->node);
        for (uint32_t k = 0; k < b->n_ops; k++) {
            node = plan_node(g, b->ops[k]);
            if (!node || node->op != PLAN_MAP)
                return err_new(ERR_CORRUPT, "operator %u of the stage is missing or no map", b->ops[k]);
        }
    }
    return NULL;
}

struct err *
plan_stage_decode(const void *p, size_t n, struct arena *a, struct plan_stage *ret,
                  struct plan_graph *ret_nodes)
{
    struct get in = GET_OF(p, n);
    struct plan_stage st = { .id = get_u32(&in) };
    struct plan_graph g = { 0 };
    uint32_t first = 0;

    st.sink = get_u8(&in);
    st.node = get_u32(&in);
    st.fn = get_u32(&in);
    st.enough = get_u64(&in);
    st.tasks = get_u32(&in);
    st.partitions = get_u32(&in);
    st.row.key = get_u8(&in);
    st.row.val = get_u8(&in);
    st.label = get_str(&in, a);
    st.parents = get_ids(&in, a, &st.n_parents);
    st.n_branches = get_count(&in, BRANCH_MIN);
    if (in.bad)
        return err_new(ERR_CORRUPT, "the stage ends too early");
    if (st.sink == 0 || st.sink >= PLAN_SINKS)
        return err_new(ERR_CORRUPT, "there is no sink %u", st.sink);
    if (st.row.key < PLAN_U64 || st.row.key > PLAN_STR || st.row.val > PLAN_STR)
        return err_new(ERR_CORRUPT, "there is no row type %u_%u", st.row.key, st.row.val);
    if (st.sink == PLAN_SINK_SHUFFLE && (st.partitions == 0 || st.partitions > PLAN__TASKS_MAX))
        return err_new(ERR_CORRUPT, "a shuffle can't have %u partitions", st.partitions);
    st.branches = ARENA_ARRAY(a, struct plan_branch, st.n_branches);
    for (uint32_t i = 0; i < st.n_branches; i++) {
        TRY(branch_decode(&in, a, first, &st.branches[i]));
        first += st.branches[i].n;
    }
    if (first != st.tasks || first == 0)
        return err_new(ERR_CORRUPT, "the stage has %u tasks and branches for %u", st.tasks, first);
    TRY(nodes_decode(&in, a, &g));
    TRY(stage_refs(&st, &g));
    if (in.p != in.end)
        return err_new(ERR_CORRUPT, "the stage has bytes behind its end");
    *ret = st;
    *ret_nodes = g;
    return NULL;
}
