/* Fuzz target: bytes as a graph with an action behind it, and as a stage.  What decodes must encode to the
 * same bytes; what is a graph is cut. */
#include <string.h>

#include "plan/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
fuzz_graph(const uint8_t *p, size_t n, struct arena *a)
{
    struct get in = GET_OF(p, n);
    struct plan_graph g;
    struct plan_action act;
    struct plan_ids ids = { 0 };
    struct plan_opts opts = { .slots = 2, .split_bytes = 1000 };
    struct plan_file files[2] = { { "a", 2500, false }, { "b", 100, true } };
    struct plan_input inputs[2] = { { 0, 2, files }, { 1, 0, files } };
    struct buf out = { 0 };
    struct plan plan;

    struct err *e = plan_graph_decode(&in, a, &g);
    if (!e) {
        plan_graph_encode(&g, &out);
        ASSERT(out.n == (size_t)(in.p - (const char *)p) && !memcmp(out.p, p, out.n));
        e = plan_action_decode(&in, a, &act);
    }
    if (!e) /* a partition count that is allowed but costs much time shows nothing */
        for (uint32_t i = 0; i < g.n; i++)
            g.nodes[i].partitions %= 1000;
    if (!e)
        e = plan_cut(&g, &act, inputs, 2, &opts, &ids, a, &plan);
    if (!e)
        for (uint32_t i = 0; i < plan.n && i < 50; i++) {
            struct plan_stage st;
            struct plan_graph nodes;

            out.n = 0;
            plan_stage_encode(&plan.stages[i], &g, &out);
            struct err *bad = plan_stage_decode(out.p, out.n, a, &st, &nodes);
            ASSERT(bad == NULL && st.tasks == plan.stages[i].tasks);
        }
    err_free(e);
    plan_ids_fini(&ids);
    buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct arena a = { 0 };
    struct plan_stage st;
    struct plan_graph nodes;

    if (n == 0)
        return 0;
    if (p[0] & 1) {
        struct err *e = plan_stage_decode(p + 1, n - 1, &a, &st, &nodes);

        if (!e)
            for (uint32_t i = 0; i < st.n_branches; i++)
                ASSERT(plan_branch_of(&st, st.branches[i].first) == &st.branches[i]);
        err_free(e);
    } else {
        fuzz_graph(p + 1, n - 1, &a);
    }
    arena_fini(&a);
    return 0;
}
