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

/* The file's blocks [from, to), of which the set gets a share of the file. */
static struct err *
add_blocks(struct block_run *whole, uint32_t from, uint32_t to, struct merge_set *into, uint64_t *bytes)
{
    if (from == to)
        return NULL;
    for (uint32_t i = from; i < to; i++)
        *bytes += block_run_entry(whole, i)->bytes;
    /* Not blamed on this map: a pass over the ones before may fail here, and names its file. */
    return merge_set_add(into, block_run_ref(whole), -1, from, to);
}

/* A sort's map output holds one run after the other, each as a "partition" of the file, in the order of their rows. */
static struct err *
add_sorted(const struct shuffle_opts *o, struct block_run *r, const struct merge_bound *b, struct merge_set *into,
           uint64_t *bytes)
{
    uint32_t n = block_run_count(r), runs = n ? block_run_entry(r, n - 1)->partition + 1 : 0;

    for (uint32_t k = 0; k < runs; k++) {
        uint32_t from, to;

        block_run_partition(r, k, &from, &to);
        shuffle__blocks(o, r, b, &from, &to);
        TRY(add_blocks(r, from, to, into, bytes));
    }
    return NULL;
}

static struct err *
add_map(const struct shuffle_opts *o, uint32_t map, const struct merge_bound *b, struct merge_set *into,
        uint64_t *bytes)
{
    struct arena names = { 0 };
    struct block_run *r = NULL;
    uint32_t from, to;
    int fd = -1;
    struct err *e = shuffle__open_map(o, map, &names, &fd, &r);

    arena_fini(&names);
    TRY(e);
    block_run_own_fd(r);
    if (o->merge.by_key) {
        e = add_sorted(o, r, b, into, bytes);
    } else {
        block_run_partition(r, o->partition, &from, &to);
        e = add_blocks(r, from, to, into, bytes);
    }
    block_run_close(r);
    return e;
}

static struct err *
fetch(const struct shuffle_opts *o, struct arena *a, struct merge_set *into, struct merge_bound *bound,
      uint64_t *ret_bytes)
{
    uint64_t bytes = 0;

    if (o->merge.by_key)
        TRY(shuffle__range(o, a, bound));
    for (uint32_t map = 0; map < o->maps; map++)
        TRY(add_map(o, map, bound, into, &bytes));
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
