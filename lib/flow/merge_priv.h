/* What the files of a merge share: merge.c reads blocks and makes batches; the rows of a batch are picked from a tree
 * of losers (merge_tree.c) or, by hash, spread into their places by their rank (merge_spread.c). */
#ifndef FLOW_MERGE_PRIV_H
#define FLOW_MERGE_PRIV_H
#include "flow/merge.h"

enum { MERGE__NONE = UINT16_MAX + 1 };

/* Where an input is in its block: the rows [at, n) are still to come.  Apart from the rest, to be small. */
struct spot {
    const uint64_t *rank; /* of each row of the block */
    uint32_t at, n;
};

struct input {
    struct block_cursor *cursor;
    const struct merge_bound *bound;
    struct block_cols cols;
    uint64_t *rank;
    uint32_t cap;
    uint64_t last_rank; /* of the block before */
    bool inside;        /* lo has been passed */
    bool cut;           /* hi was met: no more blocks */
};

/* The head of an input: its rank in the upper half, in the lower the input's number (and DONE behind the end of the
 * last block).  One comparison of 128 bits says which of two is first. */
typedef __uint128_t head_t;
#define DONE (1ull << 32)

struct origin {
    uint32_t in, row;
};

struct merge {
    struct merge_opts opts;
    bool ties;    /* strings by key: equal ranks say little, keys are compared in the tree */
    bool collide; /* by hash: equal ranks mean equal keys, nearly; see merge.c */
    struct input *in;
    struct spot *spot;
    head_t *tree; /* tree[0] the winner, tree[1..n) the losers; parent of leaf i is (n + i) / 2 */
    head_t *heads; /* 2 * n, for building it */
    uint32_t *end; /* n, for spreading */
    uint32_t n;
    uint32_t ended; /* the input whose block was used up by the last batch, or NONE */
    bool rebuild;   /* the tree is not that of the spots */
    uint32_t wait;  /* batches to be picked from the tree before they are spread again */
    bool any;           /* there was a row before */
    uint64_t last_rank; /* of it; its key: */
    uint64_t last_bits;
    struct buf last_str;
    uint64_t rank[MERGE_ROWS];
    uint8_t same[MERGE_ROWS];
    struct origin from[MERGE_ROWS];
    struct block_str col[2][MERGE_ROWS]; /* 8-byte kinds use half of it */
};

/* All of these fill rank[] and from[], move the spots, and return how many rows they took. */

/* Makes the tree of the spots; exact: equal ranks are decided by the keys. */
void merge__build(struct merge *m, bool exact);
/* The block of the winner was used up and another was loaded. */
void merge__replay(struct merge *m, uint32_t winner, bool exact);
/* Until the batch is full, or a block is used up: then m->ended says whose. */
uint32_t merge__pick(struct merge *m, bool exact);
/* By rank and input only; uses up no block.  0: the tree is the better way for the next batch. */
uint32_t merge__spread(struct merge *m);
#endif
