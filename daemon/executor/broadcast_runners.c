/* broadcast_runners -- the executor's runners and its broadcasts: opening, answering, forgetting. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "executor/broadcast.h"
#include "executor/executor_priv.h"

/* Destroyed ones that a runner has not been told of, because its ring was full. */
struct executor__drops {
    uint32_t *id, n;
};

static bool
node_of(void *arg, uint32_t node, struct broadcast_node *ret)
{
    const struct executor *x = arg;

    if (node >= x->n_nodes || !x->node[node].known)
        return false;
    *ret = (struct broadcast_node){ x->node[node].host, x->node[node].bulk, x->node[node].dir };
    return true;
}

static void
on_held(void *arg, uint32_t id)
{
    executor__say_held(arg, id);
}

static void
on_opened(void *arg, unsigned slot, uint32_t frame, uint32_t id, struct err *e, int fd, uint64_t size)
{
    struct executor *x = arg;
    struct buf b = { 0 };

    wire_put_err(&b, e);
    if (!e) {
        put_str(&b, "a broadcast");
        put_u64(&b, size);
        put_u64(&b, 0);
        put_u64(&b, size);
        put_u8(&b, true);
    }
    err_free(e);
    err_free(runners_post(x->runners, slot, WIRE_REPLY, frame, b.p, b.n, &fd, fd >= 0)); /* its death tells of it */
    file_close(&fd);
    buf_fini(&b);
    (void)id;
}

void
executor__bcast_init(struct executor *x)
{
    struct broadcasts_opts o = { .loop = x->loop, .host = x->o.host, .dir = x->o.dir, .bulk = x->o.fetch.client,
                                 .get = x->o.fetch.get, .forget = x->o.fetch.forget, .node = node_of, .held = on_held,
                                 .opened = on_opened, .arg = x };

    x->bcasts = broadcasts_new(&o);
    x->drops = calloc(x->o.slots, sizeof *x->drops);
    if (!x->drops)
        abort();
}

void
executor__bcast_fini(struct executor *x)
{
    broadcasts_free(x->bcasts);
    for (unsigned i = 0; x->drops && i < x->o.slots; i++)
        free(x->drops[i].id);
    free(x->drops);
}

void
executor__bcast_open(struct executor *x, unsigned slot, uint32_t frame, uint32_t id)
{
    broadcasts_open(x->bcasts, slot, frame, id);
}

void
executor__bcast_flush(struct executor *x, unsigned slot)
{
    struct executor__drops *d = &x->drops[slot];
    uint32_t done = 0;

    while (done < d->n && runners_launch(x->runners, slot, WIRE_DROP, &d->id[done], sizeof *d->id))
        done++;
    d->n -= done;
    if (d->n)
        memmove(d->id, d->id + done, d->n * sizeof *d->id);
}

void
executor__bcast_down(struct executor *x, unsigned slot)
{
    broadcasts_forget(x->bcasts, slot);
    x->drops[slot].n = 0;
}

/* Every runner forgets it, between two of its tasks. */
static void
drop_everywhere(struct executor *x, uint32_t id)
{
    for (unsigned s = 0; s < x->o.slots; s++) {
        struct executor__drops *d = &x->drops[s];

        if (!runners_alive(x->runners, s))
            continue;
        d->id = realloc(d->id, (d->n + 1) * sizeof *d->id);
        if (!d->id)
            abort();
        d->id[d->n++] = id;
        executor__bcast_flush(x, s);
    }
}

struct err *
executor__bcast_told(struct executor *x, const Taskd__Broadcast *m)
{
    struct broadcast_info i = { m->id, m->size, (uint32_t)m->n_piece_xxh3, m->piece_xxh3, (uint32_t)m->n_holder, m->holder,
                                m->destroyed };

    TRY(broadcasts_tell(x->bcasts, &i));
    if (i.destroyed)
        drop_everywhere(x, i.id);
    return NULL;
}
