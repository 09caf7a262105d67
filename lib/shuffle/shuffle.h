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
 * Owner: the task.  Threads: one.
 */
#ifndef SHUFFLE_SHUFFLE_H
#define SHUFFLE_SHUFFLE_H
#include "flow/merge_set.h"

struct shuffle_opts {
    uint32_t stage;                 /* whose outputs they are: for sentences */
    uint32_t maps;
    uint32_t partition, partitions; /* ours, and how many there are */
    struct merge_opts merge;        /* by_key: a sort */
    const struct block_codec *codec;         /* of spilled runs, NULL: none */
    const struct block_codec *const *codecs; /* for reading, NULL-terminated, or NULL */
    struct budget *budget;                   /* NULL: no limit */
    /* The output of a map: a file of our own to read, and what to call it (in a). */
    struct err *(*open)(void *arg, uint32_t map, int *ret_fd, struct arena *a, char **ret_name);
    struct err *(*spill_open)(void *arg, int *ret_fd); /* as in merge_set.h */
    void *arg;                                         /* of both */
};

struct shuffle;
/* Reads footers; a merge of all rows of the partition is ready then. */
struct err *shuffle_open(const struct shuffle_opts *opts, struct shuffle **ret) MUST_USE;
/* Owned by the shuffle. */
struct merge *shuffle_merge(const struct shuffle *s);
/* Bytes of map outputs that belong to the partition, and bytes written to spill files so far. */
uint64_t shuffle_bytes(const struct shuffle *s);
uint64_t shuffle_spilled(const struct shuffle *s);
void shuffle_close(struct shuffle *s); /* NULL is allowed */

/* After ERR_CORRUPT: reads everything again, map by map.  *ret_map is the first whose output can't be read, UINT32_MAX
 * if all can. */
struct err *shuffle_find_bad(const struct shuffle_opts *opts, uint32_t *ret_map) MUST_USE;
#endif
