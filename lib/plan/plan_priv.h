/* plan_priv -- what plan's files tell each other. */
#ifndef PLAN_PLAN_PRIV_H
#define PLAN_PLAN_PRIV_H
#include "plan/plan.h"

/* Sizes above which a graph is refused: what a driver can hold. */
enum {
    PLAN__TASKS_MAX = 1 << 24,    /* of a stage */
    PLAN__BRANCHES_MAX = 1 << 20, /* of a plan */
    PLAN__STEPS_MAX = 1 << 22     /* nodes on the ways to all branches of a plan */
};

static inline bool
plan__is_source(uint8_t op)
{
    return op >= PLAN_TEXT && op <= PLAN_RANGE;
}

static inline bool
plan__is_wide(uint8_t op)
{
    return op >= PLAN_FOLD && op <= PLAN_SORT;
}

/* What is wrong with the node taken alone, NULL if nothing is. */
const char *plan__node_fault(const struct plan_node *node);
/* Types and references of the nodes below the action, with the author's line. */
struct err *plan__check(const struct plan_graph *g, const struct plan_action *act) MUST_USE;
/* Cuts the files of a TEXT or BLOCKS node; at least one split. */
struct err *plan__splits(const struct plan_node *node, const struct plan_input *in,
                         const struct plan_opts *opts, struct arena *a, struct plan_split **ret,
                         uint32_t *ret_n) MUST_USE;
#endif
