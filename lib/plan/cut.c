/* cut -- from a graph and an action to stages.
 *
 *   1. check: types and references (check.c)
 *   2. need:  which nodes lie below the action          from the action down
 *   3. size:  partitions, branches and steps of each from the sources up
 *   4. build: a shuffle stage for each wide node that is needed, then the result stage
 *
 * Nodes lie in the order of their ids, and inputs have smaller ones, so each step is one walk over the graph and
 * parents come before children.  A node's place in the graph (`at`) is not its id: a graph may have some nodes of
 * an application only.  Sizes are known before anything is built: a union of unions of itself may have 2^n
 * branches. */
#include <stdlib.h>
#include <string.h>

#include "plan/plan_priv.h"

struct size {
    uint64_t parts, branches, steps; /* steps: nodes on the ways to all branches; saturate at UINT32_MAX */
};
struct frame {
    uint32_t at, next, first;
};
struct cut {
    const struct plan_graph *g;
    const struct plan_action *act;
    const struct plan_opts *opts;
    struct plan_ids *ids;
    struct arena *a;
    uint32_t top;               /* where the action's node is; the arrays below are by a node's place */
    bool *need;
    struct size *size;
    struct plan_split **splits;
    uint32_t *stage_of;         /* wide node -> index of the stage that feeds it */
    struct plan_stage *stages;
    uint32_t n_stages, n_known; /* n_known: stages that the application had already */
    uint32_t next;              /* stage id */
    struct frame *stack;
    uint32_t *seen; /* stage index -> last stage that took it as a parent, + 1 */
};

void
plan_slice(uint64_t total, uint32_t n, uint32_t p, uint64_t *ret_from, uint64_t *ret_to)
{
    *ret_from = (uint64_t)((__uint128_t)total * p / n);
    *ret_to = (uint64_t)((__uint128_t)total * (p + 1ull) / n);
}

const struct plan_branch *
plan_branch_of(const struct plan_stage *st, uint32_t p)
{
    uint32_t lo = 0, hi = st->n_branches;

    ASSERT(p < st->tasks);
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (st->branches[mid].first <= p)
            lo = mid;
        else
            hi = mid;
    }
    return &st->branches[lo];
}

void
plan_ids_fini(struct plan_ids *ids)
{
    free(ids->known);
    *ids = (struct plan_ids){ 0 };
}

static int
by_node(const void *a, const void *b)
{
    uint32_t x = ((const struct plan_known *)a)->node, y = ((const struct plan_known *)b)->node;

    return x < y ? -1 : x > y;
}

static struct plan_known *
known(const struct plan_ids *ids, uint32_t node)
{
    struct plan_known key = { .node = node };

    return ids->n ? bsearch(&key, ids->known, ids->n, sizeof key, by_node) : NULL;
}

/* The shuffle stages of the plan become known. */
static void
remember(struct cut *c)
{
    struct plan_ids *ids = c->ids;
    uint32_t more = c->n_stages - 1 - c->n_known;

    ids->next = c->next;
    if (more == 0)
        return;
    if (ids->n + more > ids->cap) {
        ids->cap = ids->n + more + ids->cap / 2;
        ids->known = realloc(ids->known, ids->cap * sizeof *ids->known);
        ASSERT(ids->known != NULL);
    }
    uint32_t n = ids->n;
    for (uint32_t i = 0; i + 1 < c->n_stages; i++) {
        const struct plan_stage *st = &c->stages[i];

        if (!known(ids, st->node))
            ids->known[n++] = (struct plan_known){ st->node, st->id, st->tasks, st->partitions };
    }
    ids->n = n;
    qsort(ids->known, n, sizeof *ids->known, by_node);
}

static uint64_t
add(uint64_t a, uint64_t b)
{
    return a + b > UINT32_MAX ? UINT32_MAX : a + b;
}

static uint32_t
place(const struct cut *c, const struct plan_node *node)
{
    return (uint32_t)(node - c->g->nodes);
}

/* Where the k-th input of the node is. */
static uint32_t
input(const struct cut *c, const struct plan_node *node, uint32_t k)
{
    return place(c, plan_node(c->g, node->in_ids[k]));
}

static void
find_needed(struct cut *c)
{
    c->need[c->top] = true;
    for (uint32_t at = c->top + 1; at-- > 0;)
        if (c->need[at])
            for (uint32_t i = 0; i < c->g->nodes[at].n_in; i++)
                c->need[input(c, &c->g->nodes[at], i)] = true;
}

static uint64_t
slots(const struct cut *c)
{
    return c->opts->slots ? c->opts->slots : 1;
}

/* Partitions of rows that are cheap to cut: no more than rows. */
static uint64_t
cut_rows(const struct cut *c, const struct plan_node *node, uint64_t rows)
{
    uint64_t n = node->partitions ? node->partitions : 2 * slots(c);

    if (!node->partitions && n > rows)
        n = rows;
    return n ? n : 1;
}

static uint64_t
wide_partitions(const struct cut *c, const struct plan_node *node)
{
    const struct plan_known *k = known(c->ids, node->id);

    if (k)
        return k->partitions;
    if (node->partitions)
        return node->partitions;
    return c->opts->parallelism ? c->opts->parallelism : 2 * slots(c);
}

static struct err *
size_input(struct cut *c, const struct plan_node *node, const struct plan_input *inputs, uint32_t n_inputs)
{
    for (uint32_t i = 0; i < n_inputs; i++)
        if (inputs[i].node == node->id) {
            uint32_t n;

            TRY(plan__splits(node, &inputs[i], c->opts, c->a, &c->splits[place(c, node)], &n));
            c->size[place(c, node)].parts = n;
            return NULL;
        }
    return err_new(ERR_INPUT, "%s:%u: nobody has looked at the files of \"%s\"",
                   node->file ? node->file : "?", node->line, node->path ? node->path : "");
}

static struct err *
size_node(struct cut *c, const struct plan_node *node, const struct plan_input *inputs, uint32_t n_inputs)
{
    struct size *s = &c->size[place(c, node)];

    *s = (struct size){ 0, 1, 0 };
    switch (node->op) {
    case PLAN_TEXT:
    case PLAN_BLOCKS:
        TRY(size_input(c, node, inputs, n_inputs));
        break;
    case PLAN_FROM:
        s->parts = cut_rows(c, node, node->hi);
        break;
    case PLAN_RANGE:
        s->parts = cut_rows(c, node, node->hi - node->lo);
        break;
    case PLAN_MAP:
        *s = c->size[input(c, node, 0)];
        s->steps = add(s->steps, s->branches);
        break;
    case PLAN_UNION:
        s->branches = 0;
        for (uint32_t i = 0; i < node->n_in; i++) {
            const struct size *in = &c->size[input(c, node, i)];

            s->parts = add(s->parts, in->parts);
            s->branches = add(s->branches, in->branches);
            s->steps = add(s->steps, in->steps);
        }
        s->steps = add(s->steps, s->branches);
        break;
    default:
        s->parts = wide_partitions(c, node);
    }
    if (s->parts > PLAN__TASKS_MAX)
        return err_new(ERR_LIMIT, "%s:%u: %s makes %s%llu partitions; the most is %u",
                       node->file ? node->file : "?", node->line, plan_verb(node),
                       s->parts == UINT32_MAX ? "more than " : "", (unsigned long long)s->parts,
                       PLAN__TASKS_MAX);
    return NULL;
}

/* Where the node is whose rows reach the sink of the stage that feeds `node` (wide), or of the result stage. */
static uint32_t
root_of(const struct cut *c, const struct plan_node *node, bool shuffle)
{
    return shuffle ? input(c, node, 0) : place(c, node);
}

static struct err *
check_size(struct cut *c)
{
    const struct size *s = &c->size[c->top];
    uint64_t branches = s->branches, steps = s->steps;

    for (uint32_t at = 0; at <= c->top; at++)
        if (c->need[at] && plan__is_wide(c->g->nodes[at].op)) {
            s = &c->size[input(c, &c->g->nodes[at], 0)];
            branches = add(branches, s->branches);
            steps = add(steps, s->steps);
        }
    if (branches > PLAN__BRANCHES_MAX || steps > PLAN__STEPS_MAX)
        return err_new(ERR_LIMIT, "%s:%u: the unions below this action have too many branches",
                       c->act->file ? c->act->file : "?", c->act->line);
    return NULL;
}

static void
add_parent(struct cut *c, struct plan_stage *st, uint32_t parent)
{
    if (c->seen[parent] == c->n_stages + 1)
        return;
    c->seen[parent] = c->n_stages + 1;
    st->parents[st->n_parents++] = c->stages[parent].id;
}

/* A branch for the source on top of the stack; the maps below it are its operators. */
static void
add_branch(struct cut *c, struct plan_stage *st, uint32_t depth)
{
    uint32_t at = c->stack[depth - 1].at;
    const struct plan_node *node = &c->g->nodes[at];
    struct plan_branch *b = &st->branches[st->n_branches++];

    *b = (struct plan_branch){ .source = plan__is_wide(node->op) ? PLAN_SRC_SHUFFLE : node->op,
                               .node = node->id,
                               .first = st->tasks,
                               .n = (uint32_t)c->size[at].parts,
                               .splits = c->splits[at] };
    if (b->source == PLAN_SRC_SHUFFLE) {
        const struct plan_stage *parent = &c->stages[c->stage_of[at]];

        b->parent = parent->id;
        b->parent_maps = parent->tasks;
        add_parent(c, st, c->stage_of[at]);
    }
    for (uint32_t i = 0; i < depth; i++)
        b->n_ops += c->g->nodes[c->stack[i].at].op == PLAN_MAP;
    b->ops = ARENA_ARRAY(c->a, uint32_t, b->n_ops);
    b->op_first = ARENA_ARRAY(c->a, uint32_t, b->n_ops);
    for (uint32_t i = depth, k = 0; i-- > 0;)
        if (c->g->nodes[c->stack[i].at].op == PLAN_MAP) {
            b->ops[k] = c->g->nodes[c->stack[i].at].id;
            b->op_first[k++] = c->stack[i].first;
        }
    st->tasks += b->n;
}

/* Walks down from root to every source, unions from left to right. */
static void
add_branches(struct cut *c, struct plan_stage *st, uint32_t root)
{
    uint32_t depth = 0;

    st->branches = ARENA_ARRAY(c->a, struct plan_branch, c->size[root].branches);
    st->parents = ARENA_ARRAY(c->a, uint32_t, c->size[root].branches);
    c->stack[depth++] = (struct frame){ root, 0, 0 };
    while (depth > 0) {
        struct frame *f = &c->stack[depth - 1];
        const struct plan_node *node = &c->g->nodes[f->at];
        bool inner = node->op == PLAN_MAP || node->op == PLAN_UNION;

        if (inner && f->next < node->n_in) {
            c->stack[depth++] = (struct frame){ input(c, node, f->next++), 0, st->tasks };
            continue;
        }
        if (!inner)
            add_branch(c, st, depth);
        depth--;
    }
}

static const char *
label(struct cut *c, const struct plan_node *node)
{
    const char *name = node->name && *node->name ? node->name : plan_verb(node);
    const char *file = node->file ? node->file : "?", *slash = strrchr(file, '/');

    return arena_printf(c->a, "%s (%s:%u)", name, slash ? slash + 1 : file, node->line);
}

static struct plan_stage *
add_stage(struct cut *c, const struct plan_node *node, bool shuffle)
{
    static const uint8_t sinks[] = { 0, PLAN_SINK_COUNT, PLAN_SINK_COLLECT, PLAN_SINK_REDUCE,
                                     PLAN_SINK_SAVE_TEXT, PLAN_SINK_SAVE_BLOCKS };
    struct plan_stage *st = &c->stages[c->n_stages];
    uint32_t root = root_of(c, node, shuffle);

    *st = (struct plan_stage){ .node = node->id, .fn = PLAN_NO_FN };
    st->sink = shuffle ? PLAN_SINK_SHUFFLE : sinks[c->act->act];
    st->row = c->g->nodes[root].out;
    st->label = label(c, &c->g->nodes[root]);
    if (shuffle)
        st->partitions = (uint32_t)c->size[place(c, node)].parts;
    if (st->sink == PLAN_SINK_REDUCE)
        st->fn = c->act->fn;
    if (st->sink == PLAN_SINK_COLLECT)
        st->enough = c->act->enough;
    add_branches(c, st, root);
    c->n_stages++;
    return st;
}

static struct err *
add_shuffle(struct cut *c, const struct plan_node *node)
{
    struct plan_stage *st = add_stage(c, node, true);
    const struct plan_known *k = known(c->ids, node->id);

    c->stage_of[place(c, node)] = c->n_stages - 1;
    st->id = k ? k->stage : c->next++;
    c->n_known += k != NULL;
    if (k && k->tasks != st->tasks)
        return err_hint(err_new(ERR_INPUT, "%s:%u: the input of \"%s\" had %u splits and now has %u",
                                node->file ? node->file : "?", node->line,
                                node->name && *node->name ? node->name : plan_verb(node), k->tasks,
                                st->tasks),
                        "Files must not change while an application reads them.");
    return NULL;
}

static void
init(struct cut *c)
{
    c->top = place(c, plan_node(c->g, c->act->node));
    uint32_t n = c->top + 1, wide = 0;

    c->need = ARENA_ARRAY(c->a, bool, n);
    c->size = ARENA_ARRAY(c->a, struct size, n);
    c->splits = ARENA_ARRAY(c->a, struct plan_split *, n);
    c->stage_of = ARENA_ARRAY(c->a, uint32_t, n);
    c->stack = ARENA_ARRAY(c->a, struct frame, n + 1);
    find_needed(c);
    for (uint32_t at = 0; at < n; at++)
        wide += c->need[at] && plan__is_wide(c->g->nodes[at].op);
    c->stages = ARENA_ARRAY(c->a, struct plan_stage, wide + 1);
    c->seen = ARENA_ARRAY(c->a, uint32_t, wide + 1);
}

struct err *
plan_cut(const struct plan_graph *g, const struct plan_action *act, const struct plan_input *inputs,
         uint32_t n_inputs, const struct plan_opts *opts, struct plan_ids *ids, struct arena *a,
         struct plan *ret)
{
    struct cut c = { .g = g, .act = act, .opts = opts, .ids = ids, .a = a, .next = ids->next };

    TRY(plan__check(g, act));
    init(&c);
    for (uint32_t at = 0; at <= c.top; at++)
        if (c.need[at])
            TRY(size_node(&c, &g->nodes[at], inputs, n_inputs));
    TRY(check_size(&c));
    for (uint32_t at = 0; at <= c.top; at++)
        if (c.need[at] && plan__is_wide(g->nodes[at].op))
            TRY(add_shuffle(&c, &g->nodes[at]));
    struct plan_stage *last = add_stage(&c, &g->nodes[c.top], false);
    last->id = c.next++;
    remember(&c);

    uint32_t first = act->first < last->tasks ? act->first : last->tasks, left = last->tasks - first;
    *ret = (struct plan){ .n = c.n_stages, .stages = c.stages, .action = *act, .first = first,
                          .n_result = act->n && act->n < left ? act->n : left };
    return NULL;
}
