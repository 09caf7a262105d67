/* accs -- accumulators, merged once for each (node, partition) in the whole application: whatever is retried,
 * computed again or used by a second action does not count again. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "driver/driver_priv.h"
#include "flow/module.h"

static bool
seen_add(struct accs *m, uint32_t node, uint32_t partition)
{
    if (m->n_seen * 2 >= m->cap_seen) {
        struct accs old = *m;

        m->cap_seen = old.cap_seen ? old.cap_seen * 2 : 256;
        m->n_seen = 0;
        m->seen = calloc(m->cap_seen, sizeof *m->seen);
        if (!m->seen)
            abort();
        for (uint64_t i = 0; i < old.cap_seen; i++)
            if (old.seen[i].node)
                seen_add(m, old.seen[i].node - 1, old.seen[i].partition);
        free(old.seen);
    }
    uint64_t mask = m->cap_seen - 1, i = hash_u64((uint64_t)node << 32 | partition) & mask;
    for (; m->seen[i].node; i = (i + 1) & mask)
        if (m->seen[i].node == node + 1 && m->seen[i].partition == partition)
            return false;
    m->seen[i].node = node + 1;
    m->seen[i].partition = partition;
    m->n_seen++;
    return true;
}

/* Which partition of the node a task of the stage computes. */
static uint32_t
node_partition(const struct stage *s, uint32_t node, uint32_t partition)
{
    const struct plan_branch *b = plan_branch_of(&s->plan, partition);

    if (node & (FLOW_MAP_SIDE | FLOW_ACTION))
        return partition;
    for (uint32_t i = 0; i < b->n_ops; i++)
        if (b->ops[i] == node)
            return partition - b->op_first[i];
    return partition - b->first;
}

/* Attempts end in any order, and a total must not depend on it: what each addition rounds away is kept beside the sum
 * (Neumaier), and the sum of both is rounded once. */
static void
add_double(double *sum, double *lost, double x)
{
    double s = *sum + x;

    if (isfinite(s))
        *lost += fabs(*sum) >= fabs(x) ? (*sum - s) + x : (x - s) + *sum;
    *sum = s;
}

void
driver__accs_add(struct accs *m, const struct flow_delta *d)
{
    uint32_t k = 0;

    while (k < m->n && m->v[k].item != d->item)
        k++;
    if (k == m->n) {
        if (m->n == m->cap) {
            m->cap = m->cap ? m->cap * 2 : 8;
            m->v = realloc(m->v, m->cap * sizeof *m->v);
            if (!m->v)
                abort();
        }
        m->v[m->n].item = d->item;
        m->v[m->n].op = d->op;
        m->v[m->n].lost = 0;
        m->v[m->n++].v = flow_delta_zero(d->op);
    }
    if (m->v[k].op == TD_A_FSUM)
        add_double(&m->v[k].v.f, &m->v[k].lost, d->v.f);
    else
        flow_delta_merge(m->v[k].op, &m->v[k].v, d->v);
}

void
driver__accs_merge(struct accs *m, const struct stage *s, uint32_t partition, const struct flow_result *r)
{
    uint32_t last = UINT32_MAX;
    bool fresh = false;

    for (uint32_t i = 0; i < r->n_deltas; i++) {
        const struct flow_delta *d = &r->deltas[i];

        if (i == 0 || d->node != last) /* the deltas of a node lie side by side */
            fresh = seen_add(m, d->node, node_partition(s, d->node, partition));
        last = d->node;
        if (!fresh)
            continue;
        driver__accs_add(m, d);
    }
}

td_slot_
driver__accs_total(const struct accs *m, uint32_t item, uint32_t op)
{
    for (uint32_t i = 0; i < m->n; i++)
        if (m->v[i].item == item)
            return op == TD_A_FSUM ? (td_slot_){ .f = m->v[i].v.f + m->v[i].lost } : m->v[i].v;
    return flow_delta_zero(op);
}

void
driver__accs_fini(struct accs *m)
{
    free(m->v);
    free(m->seen);
}

void
driver_accumulators(const struct driver *d, struct buf *out)
{
    const char *sep = "";

    buf_put(out, "{", 1);
    for (uint32_t i = 0; d->o.items && i < d->o.items->nitems; i++) {
        const struct module_item *it = &d->o.items->items[i];

        if (it->kind != TD_I_ACC)
            continue;
        td_slot_ v = driver__accs_total(&d->accs, it->number, it->op);
        buf_printf(out, "%s", sep);
        buf_json(out, it->name, strlen(it->name));
        if (it->op == TD_A_FSUM && isfinite(v.f))
            buf_printf(out, ": %.17g", v.f);
        else if (it->op == TD_A_FSUM) /* JSON has no word for it */
            buf_printf(out, ": null");
        else
            buf_printf(out, ": %" PRId64, v.i);
        sep = ", ";
    }
    buf_put(out, "}", 1);
}
