/* check -- is the graph one that can be run?  The SDK's types refuse most mistakes when the module is
 * compiled; what is left (a graph built in a loop, another language's SDK, a stray id) is refused here,
 * with the line where the author made the node. */
#include "plan/plan_priv.h"

const char *
plan_schema_name(struct plan_schema s)
{
    static const char *const names[5][5] = {
        { "nothing", "nothing", "nothing", "nothing", "nothing" },
        { "u64", "u64_u64", "u64_i64", "u64_f64", "u64_str" },
        { "i64", "i64_u64", "i64_i64", "i64_f64", "i64_str" },
        { "f64", "f64_u64", "f64_i64", "f64_f64", "f64_str" },
        { "str", "str_u64", "str_i64", "str_f64", "str_str" },
    };

    return s.key <= PLAN_STR && s.val <= PLAN_STR ? names[s.key][s.val] : "nothing";
}

const char *
plan_verb(const struct plan_node *node)
{
    static const char *const ops[] = { "", "text", "blocks", "from", "range", "map", "union", "",
                                       "group_by_key", "sort" };
    static const char *const folds[] = { "", "reduce_by_key", "sum_by_key", "min_by_key", "max_by_key",
                                         "count_by_key", "distinct" };

    if (node->op == PLAN_FOLD)
        return node->fold < PLAN_FOLDS ? folds[node->fold] : "";
    return node->op < PLAN_OPS ? ops[node->op] : "";
}

static bool
is_schema(struct plan_schema s)
{
    return s.key >= PLAN_U64 && s.key <= PLAN_STR && s.val <= PLAN_STR;
}

const char *
plan__node_fault(const struct plan_node *node)
{
    if (node->op == 0 || node->op >= PLAN_OPS)
        return "has an unknown operator";
    if (node->op == PLAN_FOLD ? node->fold == 0 || node->fold >= PLAN_FOLDS : node->fold != 0)
        return "has an unknown fold";
    if (!is_schema(node->out))
        return "has an unknown row type";
    if (plan__is_source(node->op) ? node->n_in != 0 : node->n_in == 0)
        return "has the wrong number of inputs";
    if (node->n_in > 1 && node->op != PLAN_UNION)
        return "has more than one input";
    if (node->n_in > 0 && !is_schema(node->in))
        return "has an unknown input row type";
    for (uint32_t i = 0; i < node->n_in; i++)
        if (node->in_ids[i] >= node->id)
            return "reads a node that comes later";
    bool wants_fn = node->op == PLAN_MAP || node->op == PLAN_GROUP ||
                    (node->op == PLAN_FOLD && node->fold == PLAN_FOLD_FN);
    if (wants_fn && node->fn == PLAN_NO_FN)
        return "has no function";
    return NULL;
}

static bool
same(struct plan_schema a, struct plan_schema b)
{
    return a.key == b.key && a.val == b.val;
}

static const char *
name_of(const struct plan_node *node)
{
    return node->name && *node->name ? node->name : plan_verb(node);
}

static const char *
file_of(const char *file)
{
    return file && *file ? file : "?";
}

/* What a node with these rows in must be given, NULL if it is. */
static const char *
wants(const struct plan_node *node)
{
    bool pair = node->in.val != 0, numeric = pair && node->in.val != PLAN_STR;

    switch (node->op) {
    case PLAN_FOLD:
        switch (node->fold) {
        case PLAN_FOLD_SUM:
        case PLAN_FOLD_MIN:
        case PLAN_FOLD_MAX:
            return numeric ? NULL : "pairs with numeric values";
        case PLAN_FOLD_DISTINCT:
            return NULL;
        default:
            return pair ? NULL : "pairs";
        }
    case PLAN_GROUP:
        return pair ? NULL : "pairs";
    default:
        return NULL;
    }
}

/* The rows that the node must make of what it reads, as far as its operator settles that. */
static bool
makes(const struct plan_node *node, struct plan_schema *ret)
{
    switch (node->op) {
    case PLAN_TEXT:
        *ret = (struct plan_schema){ PLAN_STR, 0 };
        return true;
    case PLAN_RANGE:
        *ret = (struct plan_schema){ PLAN_U64, 0 };
        return true;
    case PLAN_UNION:
    case PLAN_SORT:
        *ret = node->in;
        return true;
    case PLAN_FOLD:
        *ret = node->in;
        if (node->fold == PLAN_FOLD_COUNT)
            ret->val = PLAN_I64;
        return true;
    default:
        return false;
    }
}

static struct err *
check_node(const struct plan_graph *g, const struct plan_node *node)
{
    const char *file = file_of(node->file), *verb = plan_verb(node), *fault = plan__node_fault(node);
    struct plan_schema must;

    if (fault)
        return err_new(ERR_INPUT, "%s:%u: \"%s\" %s", file, node->line, name_of(node), fault);
    for (uint32_t i = 0; i < node->n_in; i++)
        if (!plan_node(g, node->in_ids[i]))
            return err_new(ERR_INPUT, "%s:%u: \"%s\" reads dataset %u, which the graph hasn't", file, node->line,
                           name_of(node), node->in_ids[i]);
    const char *want = wants(node);
    if (want) {
        const struct plan_node *in = plan_node(g, node->in_ids[0]);

        return err_new(ERR_INPUT, "%s:%u: %s needs %s, \"%s\" has %s", file, node->line, verb, want,
                       name_of(in), plan_schema_name(in->out));
    }
    for (uint32_t i = 0; i < node->n_in; i++) {
        const struct plan_node *in = plan_node(g, node->in_ids[i]);

        if (!same(in->out, node->in))
            return err_new(ERR_INPUT, "%s:%u: %s \"%s\" takes %s, \"%s\" has %s", file, node->line, verb,
                           name_of(node), plan_schema_name(node->in), name_of(in), plan_schema_name(in->out));
    }
    if (makes(node, &must) && !same(must, node->out))
        return err_new(ERR_INPUT, "%s:%u: %s makes %s, not %s", file, node->line, verb, plan_schema_name(must),
                       plan_schema_name(node->out));
    if (node->op == PLAN_RANGE && node->lo > node->hi)
        return err_new(ERR_INPUT, "%s:%u: range from %llu ends before it, at %llu", file, node->line,
                       (unsigned long long)node->lo, (unsigned long long)node->hi);
    return NULL;
}

struct err *
plan__check(const struct plan_graph *g, const struct plan_action *act)
{
    const char *file = file_of(act->file);

    if (act->act == 0 || act->act >= PLAN_ACTS)
        return err_new(ERR_INPUT, "%s:%u: there is no action %u", file, act->line, act->act);
    for (uint32_t i = 1; i < g->n; i++)
        if (g->nodes[i].id <= g->nodes[i - 1].id)
            return err_new(ERR_INPUT, "dataset %u of the graph is in the place of dataset %u", g->nodes[i].id, i);
    const struct plan_node *node = plan_node(g, act->node);
    if (!node)
        return err_new(ERR_INPUT, "%s:%u: the action is on dataset %u, which the graph hasn't", file, act->line, act->node);
    for (const struct plan_node *n = g->nodes; n <= node; n++)
        TRY(check_node(g, n));
    if (act->act == PLAN_REDUCE && act->fn == PLAN_NO_FN)
        return err_new(ERR_INPUT, "%s:%u: reduce has no function", file, act->line);
    if ((act->act == PLAN_SAVE_TEXT || act->act == PLAN_SAVE_BLOCKS) && !(act->path && *act->path))
        return err_new(ERR_INPUT, "%s:%u: save has no path", file, act->line);
    return NULL;
}
