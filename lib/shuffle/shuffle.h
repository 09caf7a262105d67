/*
 * shuffle -- a reduce attempt's view of the map outputs of a stage.
 *
 * A map output is one run (block/block.h).  For an exchange by hash its blocks are cut at partition borders.  For a
 * sort they are in the order of the keys, with first keys in the footer, and every reducer finds the same splitters
 * from the footers of all map outputs: reducer p reads only the blocks that can hold its range.  The rows come as one
 * merge in map order, so the result depends on the map outputs alone, not on the order in which they were made.
 *
 * Errors: sentences name map, stage and partition.  ERR_CORRUPT from a map output can be mended by running that map
 * again: shuffle_find_bad says which.
 *
 * Owner: nobody, there is no state.  Threads: any.
 */
#ifndef SHUFFLE_SHUFFLE_H
#define SHUFFLE_SHUFFLE_H
#include "flow/merge_set.h"

struct shuffle_range {
    uint32_t map;
    int fd; /* its file, as open gave it */
    uint64_t offset, length;
};
struct shuffle_opts {
    uint32_t stage;                 /* whose outputs they are: for sentences */
    uint32_t maps;
    uint32_t partition, partitions; /* ours, and how many there are */
    struct merge_opts merge;        /* by_key: a sort */
    const struct block_codec *const *codecs; /* NULL-terminated, or NULL */
    /* The output of a map: a file of our own to read, and what to call it (in a).  A sort asks twice for each: for the
     * footers of all of them first, then for the rows. */
    struct err *(*open)(void *arg, uint32_t map, int *ret_fd, struct arena *a, char **ret_name);
    /* Files of other hosts have a whole footer and holes: these ranges are going to be read.  Asked for many maps at a
     * time.  NULL: all files are whole. */
    struct err *(*need)(void *arg, uint32_t stage, const struct shuffle_range *v, uint32_t n);
    /* A block is damaged, seen for the nth time (from 0): true, it was fetched again.  NULL: never.  May be called as
     * long as the merge set lives, with this arg. */
    bool (*corrupt)(void *arg, uint32_t stage, const struct shuffle_range *block, unsigned nth);
    void *arg;
};

/* Adds what the map outputs have for the partition to a set made for opts->merge, in map order.  A sort's *ret_bound,
 * which the set was made with, becomes the partition's range (its strings live in a); else it is left alone.
 * *ret_bytes: bytes of the blocks that are to be read. */
struct err *shuffle_fetch(const struct shuffle_opts *opts, struct arena *a, struct merge_set *into,
                          struct merge_bound *ret_bound, uint64_t *ret_bytes) MUST_USE;

/* After ERR_CORRUPT: reads everything again, map by map.  *ret_map is the first whose output can't be read, UINT32_MAX
 * if all can. */
struct err *shuffle_find_bad(const struct shuffle_opts *opts, uint32_t *ret_map) MUST_USE;
#endif
