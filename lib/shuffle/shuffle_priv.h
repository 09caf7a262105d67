/* What the files of this room share. */
#ifndef SHUFFLE_PRIV_H
#define SHUFFLE_PRIV_H
#include "shuffle/shuffle.h"

/* Opens the output of a map and checks that it is what this exchange wants.  The name lives in a. */
struct err *shuffle__open_map(const struct shuffle_opts *o, uint32_t map, struct arena *a, int *ret_fd,
                              struct block_run **ret) MUST_USE;
/* The sentence that every error of a map output gets on top. */
struct err *shuffle__blame(struct err *e, const struct shuffle_opts *o, uint32_t map) MUST_USE;

/* The range of our partition, from the footers of all map outputs; keys live in a. */
struct err *shuffle__range(const struct shuffle_opts *o, struct arena *a, struct merge_bound *ret) MUST_USE;
/* Narrows the blocks [*ret_from, *ret_to), which are one run, to those that can hold rows of the range: all of those
 * that do, and maybe one more on each side. */
void shuffle__blocks(const struct shuffle_opts *o, const struct block_run *r, const struct merge_bound *b,
                     uint32_t *ret_from, uint32_t *ret_to);
#endif
