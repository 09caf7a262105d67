/* why -- reasons for waiting, in numbers; see grants.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "master/grants_priv.h"

enum { HOLDERS = 3 }; /* that are named */

void
grants_say_size(struct buf *out, uint32_t cores, uint64_t memory)
{
    const uint64_t mib = UINT64_C(1) << 20, gib = UINT64_C(1) << 30;

    buf_printf(out, "%u core%s/", cores, cores == 1 ? "" : "s");
    if (memory >= gib && memory % gib == 0)
        buf_printf(out, "%" PRIu64 " GiB", memory / gib);
    else if (memory >= 10 * gib)
        buf_printf(out, "%.1f GiB", (double)memory / (double)gib);
    else
        buf_printf(out, "%" PRIu64 " MiB", memory / mib);
}

struct sizes {
    uint32_t workers, cores, free; /* of those that are up */
    const struct grants__worker *largest, *freest; /* the one with the most cores; with the most free ones */
};

static uint32_t
free_cores(const struct grants__worker *w)
{
    return w->used < w->cores ? w->cores - w->used : 0;
}

static uint64_t
free_memory(const struct grants__worker *w)
{
    return w->memory_used < w->memory ? w->memory - w->memory_used : 0;
}

static bool
freer(const struct grants__worker *a, const struct grants__worker *b)
{
    if (free_cores(a) != free_cores(b))
        return free_cores(a) > free_cores(b);
    return free_memory(a) > free_memory(b);
}

static struct sizes
look(const struct grants *g)
{
    struct sizes s = { 0 };

    for (uint32_t i = 0; i < g->n_workers; i++) {
        const struct grants__worker *w = g->workers[i];

        if (!w->up)
            continue;
        s.workers++;
        s.cores += w->cores;
        s.free += free_cores(w);
        if (!s.freest || freer(w, s.freest))
            s.freest = w;
        if (!s.largest || w->cores > s.largest->cores ||
            (w->cores == s.largest->cores && w->memory > s.largest->memory))
            s.largest = w;
    }
    return s;
}

/* "held by app-1, app-2 and 3 more" */
static void
say_holders(const struct grants *g, struct buf *out)
{
    const char *ids[HOLDERS];
    uint32_t n = 0, more = 0;

    for (uint32_t i = 0; i < g->n_workers; i++)
        for (const struct grants__lease *l = g->workers[i]->leases; l; l = l->next) {
            uint32_t k = 0;

            while (k < n && strcmp(ids[k], l->id))
                k++;
            if (k < n)
                continue;
            if (n < HOLDERS)
                ids[n++] = l->id;
            else
                more++;
        }
    buf_printf(out, "held by");
    for (uint32_t i = 0; i < n; i++)
        buf_printf(out, "%s %s", i == 0 ? "" : i + 1 == n && !more ? " and" : ",", ids[i]);
    if (more)
        buf_printf(out, " and others");
}

static bool
any_can(const struct grants *g, uint32_t cores, uint64_t memory)
{
    for (uint32_t i = 0; i < g->n_workers; i++)
        if (g->workers[i]->up && grants__can_use(g->workers[i], cores, memory))
            return true;
    return false;
}

static bool
any_free(const struct grants *g, uint32_t cores, uint64_t memory)
{
    for (uint32_t i = 0; i < g->n_workers; i++) {
        const struct grants__worker *w = g->workers[i];

        if (w->up && free_cores(w) >= cores && free_memory(w) >= memory)
            return true;
    }
    return false;
}

static void
say_why(const struct grants *g, uint32_t cores, uint64_t memory, const char *failure, struct buf *out)
{
    struct sizes s = look(g);

    if (!s.workers) {
        buf_printf(out, "there are no workers");
        return;
    }
    if (any_free(g, cores, memory)) { /* there only because it is avoided */
        buf_printf(out, "starting failed and will be tried again; the last one %s", failure);
        return;
    }
    if (!any_can(g, cores, memory)) {
        buf_printf(out, "asked ");
        grants_say_size(out, cores, memory);
        buf_printf(out, "; the largest worker has ");
        grants_say_size(out, s.largest->cores, s.largest->memory);
        buf_printf(out, " on host %s", s.largest->host);
        return;
    }
    if (!s.free) {
        if (s.cores == 1)
            buf_printf(out, "the only core is ");
        else
            buf_printf(out, "all %u cores are ", s.cores);
        say_holders(g, out);
        return;
    }
    buf_printf(out, "asked ");
    grants_say_size(out, cores, memory);
    buf_printf(out, "; largest free ");
    grants_say_size(out, free_cores(s.freest), free_memory(s.freest));
    buf_printf(out, " on host %s", s.freest->host);
}

static void
app_why(const struct grants *g, const struct grants__app *a, struct buf *out)
{
    uint32_t cores = a->ask.cores_per_executor ? a->ask.cores_per_executor : 1;

    if (!a->up || !grants__wish(a) || a->executors)
        return;
    if (a->ask.cores_max && cores > a->ask.cores_max)
        buf_printf(out, "asked executors of %u cores, and not more than %u cores in all", cores, a->ask.cores_max);
    else
        say_why(g, cores, a->ask.memory, a->failure, out);
}

static void
driver_why(const struct grants *g, const struct grants__driver *d, struct buf *out)
{
    if (d->lease)
        return;
    if (d->missing)
        buf_printf(out, "waiting for worker %s to come back", d->missing);
    else if (g->now < d->not_before)
        buf_printf(out, "it failed in its try %u and will be started again", d->tries);
    else
        say_why(g, d->cores, d->memory, "failed", out);
}

void
grants__say_waiting(struct grants *g)
{
    struct buf b = { 0 };

    for (uint32_t i = 0; i < g->n_apps; i++) {
        struct grants__app *a = g->apps[i];

        b.n = 0;
        app_why(g, a, &b);
        put_u8(&b, 0);
        if (!strcmp(b.p, a->waiting))
            continue;
        grants__set(&a->waiting, b.p);
        if (!a->up)
            continue;
        struct grants_action *x = grants__act(g, GRANTS_WAITING);
        x->id = arena_strdup(&g->out->mem, a->id);
        x->text = arena_strdup(&g->out->mem, a->waiting);
    }
    for (uint32_t i = 0; i < g->n_drivers; i++) {
        b.n = 0;
        driver_why(g, g->drivers[i], &b);
        put_u8(&b, 0);
        if (strcmp(b.p, g->drivers[i]->waiting))
            grants__set(&g->drivers[i]->waiting, b.p);
    }
    buf_fini(&b);
}
