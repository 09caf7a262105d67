/* shuffle -- see shuffle.h */
#include "shuffle/shuffle_priv.h"

#include <stdlib.h>

#include "base/file.h"

struct shuffle {
    struct shuffle_opts opts;
    struct arena arena; /* keys of the range */
    struct merge_bound bound;
    struct merge_set *set;
    struct merge *merge;
    uint64_t bytes;
};

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

struct err *
shuffle__open_map(const struct shuffle_opts *o, uint32_t map, struct arena *a, int *ret_fd, struct block_run **ret)
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

/* The blocks of the run that belong to our partition. */
static void
find_blocks(const struct shuffle_opts *o, const struct block_run *r, const struct merge_bound *b, uint32_t *ret_from,
            uint32_t *ret_to)
{
    if (o->merge.by_key)
        shuffle__blocks(o, r, b, ret_from, ret_to);
    else
        block_run_partition(r, o->partition, ret_from, ret_to);
}

static struct err *
add_map(struct shuffle *s, uint32_t map)
{
    struct arena names = { 0 };
    struct block_run *r = NULL;
    uint32_t from, to;
    int fd = -1;
    struct err *e = shuffle__open_map(&s->opts, map, &names, &fd, &r);

    arena_fini(&names);
    if (e)
        return e;
    find_blocks(&s->opts, r, &s->bound, &from, &to);
    for (uint32_t i = from; i < to; i++)
        s->bytes += block_run_entry(r, i)->bytes;
    /* Not blamed on this map: a pass over the ones before may fail here, and names its file. */
    return merge_set_add(s->set, r, fd, from, to);
}

static struct err *
open_all(struct shuffle *s)
{
    const struct shuffle_opts *o = &s->opts;
    struct merge_set_opts mo = { .merge = o->merge, .bound = o->merge.by_key ? &s->bound : NULL, .codec = o->codec,
                                 .codecs = o->codecs, .budget = o->budget, .spill_open = o->spill_open,
                                 .arg = o->arg };

    if (o->merge.by_key)
        TRY(shuffle__range(o, &s->arena, &s->bound));
    TRY(merge_set_new(&mo, &s->set));
    for (uint32_t map = 0; map < o->maps; map++)
        TRY(add_map(s, map));
    return merge_set_open(s->set, &s->merge);
}

struct err *
shuffle_open(const struct shuffle_opts *opts, struct shuffle **ret)
{
    ASSERT(opts->partition < opts->partitions);
    struct shuffle *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->opts = *opts;
    struct err *e = open_all(s);
    if (e)
        shuffle_close(s);
    else
        *ret = s;
    return err_wrap_take(e, "opening partition %u of stage %u", opts->partition, opts->stage);
}

struct merge *
shuffle_merge(const struct shuffle *s)
{
    return s->merge;
}

uint64_t
shuffle_bytes(const struct shuffle *s)
{
    return s->bytes;
}

uint64_t
shuffle_spilled(const struct shuffle *s)
{
    return merge_set_spilled(s->set);
}

void
shuffle_close(struct shuffle *s)
{
    if (!s)
        return;
    merge_set_free(s->set);
    arena_fini(&s->arena);
    free(s);
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

    if (!e)
        e = block_cursor_open(r, 0, block_run_count(r), &c);
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
