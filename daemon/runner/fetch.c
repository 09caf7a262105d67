/* fetch -- map outputs of other hosts: copies with holes, filled by the executor before they are read. */
#include <stdlib.h>

#include "runner/runner_priv.h"

void
runner__is_copy(struct runner *r, uint32_t stage, uint32_t maps, uint32_t map, uint32_t attempt, uint32_t node)
{
    struct copies *c = r->copies;

    while (c && c->stage != stage)
        c = c->next;
    if (!c) {
        c = ARENA_NEW(&r->a, struct copies);
        *c = (struct copies){ stage, maps, ARENA_ARRAY(&r->a, struct copy, maps), r->copies };
        r->copies = c;
    }
    ASSERT(map < c->n);
    c->map[map] = (struct copy){ true, attempt, node };
}

/* NULL: the file is whole. */
static const struct copy *
copy_of(const struct runner *r, uint32_t stage, uint32_t map)
{
    const struct copies *c = r->copies;

    while (c && c->stage != stage)
        c = c->next;
    return c && map < c->n && c->map[map].is ? &c->map[map] : NULL;
}

/* A request that is being put together. */
struct asking {
    struct wire_fetch w;
    struct wire_part part[WIRE_PARTS_MAX];
    int fd[WIRE_OPEN_MAX], nfds;
};

static struct err *
ask(struct runner *r, struct asking *k)
{
    struct frame f;
    struct get g;

    if (k->w.n == 0)
        return NULL;
    r->out.n = 0;
    wire_put_fetch(&r->out, &k->w);
    struct err *e = runner__call_fds(r, WIRE_FETCH, &r->out, k->fd, k->nfds, &f, &g);
    uint32_t map = e ? get_u32(&g) : UINT32_MAX;
    if (e && !g.bad && map != UINT32_MAX) {
        r->lost_stage = k->w.parent;
        r->lost_map = map;
    }
    k->w.n = 0;
    k->nfds = 0;
    return e;
}

struct err *
runner__need(void *arg, uint32_t stage, const struct shuffle_range *v, uint32_t n)
{
    struct runner *r = arg;
    struct err *e = NULL;

    if (!r->copies)
        return NULL;
    struct asking *k = malloc(sizeof *k);
    if (!k)
        abort();
    k->w = (struct wire_fetch){ r->task.stage, r->task.partition, r->task.attempt, stage, 0, k->part };
    k->nfds = 0;
    for (uint32_t i = 0; i < n && !e; i++) {
        const struct copy *c = copy_of(r, stage, v[i].map);

        if (!c)
            continue;
        bool same = k->nfds && k->fd[k->nfds - 1] == v[i].fd;
        if (k->w.n == WIRE_PARTS_MAX || (!same && k->nfds == WIRE_OPEN_MAX)) {
            e = ask(r, k);
            same = false;
        }
        if (!same)
            k->fd[k->nfds++] = v[i].fd;
        k->part[k->w.n++] = (struct wire_part){ v[i].map, c->attempt, c->node, (uint32_t)k->nfds - 1, v[i].offset,
                                                v[i].length };
    }
    if (!e)
        e = ask(r, k);
    free(k);
    return e;
}

bool
runner__corrupt(void *arg, uint32_t stage, const struct shuffle_range *block, unsigned nth)
{
    struct runner *r = arg;

    if (nth == 0 && copy_of(r, stage, block->map)) { /* it may have happened on the way */
        struct err *e = runner__need(r, stage, block, 1);

        if (!e)
            return true;
        err_free(e);
    }
    r->lost_stage = stage;
    r->lost_map = block->map;
    return false;
}
