/* shuffle -- see shuffle.h */
#include "shuffle/shuffle_priv.h"

#include <stdlib.h>

#include "base/file.h"

struct err *
shuffle__blame(struct err *e, const struct shuffle_opts *o, uint32_t map)
{
    return err_wrap_take(e, "reading the output of map %u of stage %u for partition %u", map, o->stage, o->partition);
}

static struct err *
check(const struct shuffle_opts *o, const struct block_run *r, const char *name)
{
    struct block_schema s = block_run_schema(r), want = o->merge.schema;
    uint32_t n = block_run_count(r);

    if (s.key != want.key || s.val != want.val)
        return err_new(ERR_CORRUPT, "\"%s\" has columns of kinds %u and %u, not %u and %u", name, s.key, s.val,
                       want.key, want.val);
    if (o->merge.by_key && n && !block_run_has_first_keys(r))
        return err_new(ERR_CORRUPT, "\"%s\" has no first keys in its footer", name);
    if (!o->merge.by_key && n && block_run_entry(r, n - 1)->partition >= o->partitions)
        return err_new(ERR_CORRUPT, "\"%s\" has rows for partition %u, but there are only %u", name,
                       block_run_entry(r, n - 1)->partition, o->partitions);
    return NULL;
}

static struct err *
open_once(const struct shuffle_opts *o, uint32_t map, struct arena *a, int *ret_fd, struct block_run **ret)
{
    struct block_run *r = NULL;
    char *name = NULL;
    int fd = -1;
    struct err *e = o->open(o->arg, map, &fd, a, &name);

    if (!e) {
        name = arena_printf(a, "%s (map %u of stage %u)", name, map, o->stage);
        e = block_run_open(fd, name, o->codecs, &r);
    }
    if (!e)
        e = check(o, r, name);
    if (e) {
        block_run_close(r);
        file_close(&fd);
        return shuffle__blame(e, o, map);
    }
    *ret_fd = fd;
    *ret = r;
    return NULL;
}

struct err *
shuffle__open_map(const struct shuffle_opts *o, uint32_t map, struct arena *a, int *ret_fd, struct block_run **ret)
{
    struct err *e = open_once(o, map, a, ret_fd, ret);

    if (!e || e->code != ERR_CORRUPT || !o->need)
        return e;
    err_free(e); /* its footer may have suffered on the way */
    return open_once(o, map, a, ret_fd, ret);
}

/* ---- a group of maps: all are opened and asked for before the first is read */

enum {
#ifdef TASKD_HOSTILE
    GROUP = 2,
#else
    GROUP = 32,
#endif
};

struct part { /* blocks [from, to) of a map's run */
    uint32_t nth, from, to;
};
struct group {
    const struct shuffle_opts *o;
    uint32_t first, n;
    struct block_run *run[GROUP];
    int fd[GROUP];
    struct part *part;
    struct shuffle_range *range; /* the same as bytes */
    uint32_t n_parts, cap;
};

static void
add_part(struct group *g, uint32_t nth, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    if (g->n_parts == g->cap) {
        g->cap = g->cap ? 2 * g->cap : GROUP;
        g->part = realloc(g->part, g->cap * sizeof *g->part);
        g->range = realloc(g->range, g->cap * sizeof *g->range);
        if (!g->part || !g->range)
            abort();
    }
    const struct block_entry *b = block_run_entry(g->run[nth], from), *e = block_run_entry(g->run[nth], to - 1);
    g->part[g->n_parts] = (struct part){ nth, from, to };
    g->range[g->n_parts++] = (struct shuffle_range){ g->first + nth, g->fd[nth], b->offset, e->offset + e->bytes - b->offset };
}

/* A sort's map output holds one run after the other, each as a "partition" of the file, in the order of their rows. */
static void
add_sorted(struct group *g, uint32_t nth, const struct merge_bound *b)
{
    struct block_run *r = g->run[nth];
    uint32_t n = block_run_count(r), runs = n ? block_run_entry(r, n - 1)->partition + 1 : 0;

    for (uint32_t k = 0; k < runs; k++) {
        uint32_t from, to;

        block_run_partition(r, k, &from, &to);
        shuffle__blocks(g->o, r, b, &from, &to);
        add_part(g, nth, from, to);
    }
}

/* What a run remembers for the case that one of its blocks is damaged. */
struct source {
    bool (*corrupt)(void *arg, uint32_t stage, const struct shuffle_range *block, unsigned nth);
    void *arg;
    uint32_t stage, map;
    int fd;
};

static bool
on_corrupt(void *arg, uint64_t offset, uint32_t bytes, unsigned nth)
{
    const struct source *s = arg;
    struct shuffle_range block = { s->map, s->fd, offset, bytes };

    return s->corrupt(s->arg, s->stage, &block, nth);
}

static struct err *
open_group(struct group *g, struct arena *a, const struct merge_bound *b)
{
    const struct shuffle_opts *o = g->o;

    for (uint32_t i = 0; i < g->n; i++) {
        struct arena names = { 0 };
        uint32_t from, to;
        struct err *e = shuffle__open_map(o, g->first + i, &names, &g->fd[i], &g->run[i]);

        arena_fini(&names);
        TRY(e);
        block_run_own_fd(g->run[i]);
        if (o->corrupt) {
            struct source *s = ARENA_NEW(a, struct source);

            *s = (struct source){ o->corrupt, o->arg, o->stage, g->first + i, g->fd[i] };
            block_run_on_corrupt(g->run[i], on_corrupt, s);
        }
        if (o->merge.by_key) {
            add_sorted(g, i, b);
        } else {
            block_run_partition(g->run[i], o->partition, &from, &to);
            add_part(g, i, from, to);
        }
    }
    return g->n_parts && o->need ? o->need(o->arg, o->stage, g->range, g->n_parts) : NULL;
}

static struct err *
add_group(const struct shuffle_opts *o, uint32_t first, struct arena *a, const struct merge_bound *b,
          struct merge_set *into, uint64_t *bytes)
{
    struct group g = { .o = o, .first = first, .n = o->maps - first < GROUP ? o->maps - first : GROUP };
    struct err *e = open_group(&g, a, b);

    for (uint32_t i = 0; !e && i < g.n_parts; i++) {
        const struct part *p = &g.part[i];

        *bytes += g.range[i].length;
        /* Not blamed on this map: a pass over the ones before may fail here, and names its file. */
        e = merge_set_add(into, block_run_ref(g.run[p->nth]), -1, p->from, p->to);
    }
    for (uint32_t i = 0; i < g.n; i++)
        block_run_close(g.run[i]);
    free(g.part);
    free(g.range);
    return e;
}

static struct err *
fetch(const struct shuffle_opts *o, struct arena *a, struct merge_set *into, struct merge_bound *bound,
      uint64_t *ret_bytes)
{
    uint64_t bytes = 0;

    if (o->merge.by_key)
        TRY(shuffle__range(o, a, bound));
    for (uint32_t map = 0; map < o->maps; map += GROUP)
        TRY(add_group(o, map, a, bound, into, &bytes));
    *ret_bytes = bytes;
    return NULL;
}

struct err *
shuffle_fetch(const struct shuffle_opts *opts, struct arena *a, struct merge_set *into,
              struct merge_bound *ret_bound, uint64_t *ret_bytes)
{
    ASSERT(opts->partition < opts->partitions);
    TRY_OR(fetch(opts, a, into, ret_bound, ret_bytes), "opening partition %u of stage %u", opts->partition,
           opts->stage);
    return NULL;
}

/* Reads every block of a map output. */
static struct err *
read_map(const struct shuffle_opts *o, uint32_t map)
{
    struct arena names = { 0 };
    struct block_cursor *c = NULL;
    struct block_cols cols = { .n = 1 };
    struct block_run *r = NULL;
    int fd = -1;
    struct err *e = shuffle__open_map(o, map, &names, &fd, &r);

    if (!e && o->need && block_run_count(r)) {
        const struct block_entry *last = block_run_entry(r, block_run_count(r) - 1);
        struct shuffle_range all = { map, fd, 0, last->offset + last->bytes };

        e = o->need(o->arg, o->stage, &all, 1);
    }
    if (!e)
        e = block_cursor_open(r, 0, block_run_count(r), &c);
    if (!e)
        block_cursor_ahead(c, true);
    while (!e && cols.n)
        e = block_cursor_next(c, &cols);
    block_cursor_close(c);
    block_run_close(r);
    file_close(&fd);
    arena_fini(&names);
    return e;
}

struct err *
shuffle_find_bad(const struct shuffle_opts *opts, uint32_t *ret_map)
{
    for (uint32_t map = 0; map < opts->maps; map++) {
        struct err *e = read_map(opts, map);

        if (e && e->code != ERR_CORRUPT)
            return e;
        if (e) {
            err_free(e);
            *ret_map = map;
            return NULL;
        }
    }
    *ret_map = UINT32_MAX;
    return NULL;
}
