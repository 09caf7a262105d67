/* split -- files into splits: the unit of work of a stage that reads text or blocks.
 *
 * Files are taken in order.  One that is larger than a split (and may be cut) becomes equal ranges; smaller
 * ones share a split until it is full.  So the rows of split i come before those of split i+1, and reading
 * all splits in order is reading all files in order. */
#include <string.h>

#include "plan/plan_priv.h"

#define MIB (1024ull * 1024)

static uint64_t
split_bytes(const struct plan_node *node, const struct plan_opts *opts, uint64_t total)
{
    uint64_t n = node->partitions ? node->partitions : 2 * (uint64_t)(opts->slots ? opts->slots : 1);
    uint64_t bytes = total / n + (total % n != 0);

    if (node->partitions)
        return bytes ? bytes : 1;
    if (opts->split_bytes)
        return opts->split_bytes;
    return bytes < 32 * MIB ? 32 * MIB : bytes > 512 * MIB ? 512 * MIB : bytes;
}

/* What a split may hold: a tenth more is not worth another one. */
static uint64_t
most_of(uint64_t bytes)
{
    return bytes > UINT64_MAX - bytes / 10 ? UINT64_MAX : bytes + bytes / 10;
}

/* Into how many splits does the file go? */
static uint64_t
ranges(const struct plan_file *f, uint64_t bytes)
{
    uint64_t most = most_of(bytes);

    return f->whole || f->size <= most ? 1 : f->size / most + (f->size % most != 0);
}

static uint64_t
total_size(const struct plan_input *in)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < in->n; i++)
        if (__builtin_add_overflow(total, in->files[i].size, &total))
            return UINT64_MAX;
    return total;
}

/* Where the next piece goes.  With splits == NULL it only counts. */
struct packer {
    struct plan_split *splits;
    struct plan_piece *pieces;
    uint64_t n_splits, n_pieces;
    uint64_t held; /* bytes in the open split */
    bool open;
};

static void
pack(struct packer *pk, const struct plan_file *f, uint64_t offset, uint64_t length)
{
    if (!pk->open && pk->splits)
        pk->splits[pk->n_splits] = (struct plan_split){ 0, pk->pieces + pk->n_pieces };
    pk->n_splits += !pk->open;
    pk->open = true;
    pk->held += length;
    if (pk->splits) {
        pk->pieces[pk->n_pieces] = (struct plan_piece){ f->path, f->size, offset, length, f->whole };
        pk->splits[pk->n_splits - 1].n++;
    }
    pk->n_pieces++;
}

static void
seal(struct packer *pk)
{
    pk->open = false;
    pk->held = 0;
}

static void
pack_cut(struct packer *pk, const struct plan_file *f, uint64_t n)
{
    for (uint64_t r = 0; r < n; r++) {
        uint64_t from, to;

        plan_slice(f->size, (uint32_t)n, (uint32_t)r, &from, &to);
        seal(pk);
        pack(pk, f, from, to - from);
    }
    seal(pk);
}

/* False if there are too many. */
static bool
pack_all(struct packer *pk, const struct plan_input *in, uint64_t bytes)
{
    for (uint32_t i = 0; i < in->n; i++) {
        const struct plan_file *f = &in->files[i];
        uint64_t n = ranges(f, bytes);

        if (n > PLAN__TASKS_MAX || pk->n_splits + n > PLAN__TASKS_MAX)
            return false;
        if (n > 1) {
            pack_cut(pk, f, n);
            continue;
        }
        if (pk->open && (pk->held >= bytes || f->size > most_of(bytes) - pk->held))
            seal(pk);
        pack(pk, f, 0, f->size);
    }
    return true;
}

struct err *
plan__splits(const struct plan_node *node, const struct plan_input *in, const struct plan_opts *opts,
             struct arena *a, struct plan_split **ret, uint32_t *ret_n)
{
    uint64_t bytes = split_bytes(node, opts, total_size(in));
    struct packer count = { 0 }, pk = { 0 };

    if (!pack_all(&count, in, bytes))
        return err_hint(err_new(ERR_LIMIT, "%s:%u: \"%s\" in splits of %llu bytes makes more than %u tasks",
                                node->file ? node->file : "?", node->line, node->path ? node->path : "",
                                (unsigned long long)bytes, PLAN__TASKS_MAX),
                        "Make the splits larger.");
    pk.splits = ARENA_ARRAY(a, struct plan_split, count.n_splits + 1);
    pk.pieces = ARENA_ARRAY(a, struct plan_piece, count.n_pieces);
    (void)pack_all(&pk, in, bytes);
    *ret = pk.splits;
    *ret_n = pk.n_splits ? (uint32_t)pk.n_splits : 1;
    return NULL;
}
