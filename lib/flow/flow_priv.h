/* flow_priv -- what the files of flow share.  See flow.h. */
#ifndef FLOW_PRIV_H
#define FLOW_PRIV_H
#include <string.h>

#include "flow/flow.h"

enum { FLOW_KEEP = 1 << 20 }; /* an emptied arena keeps no more */

/* Takes batches; freed with the attempt's arena unless free is set. */
struct flow_sink {
    struct err *(*push)(struct flow_sink *, const td_batch *);
    struct err *(*finish)(struct flow_sink *); /* after the last push */
    void (*free)(struct flow_sink *);          /* NULL is allowed */
};

/* A place where a function of the author's runs: its td_task and what the host keeps for it. */
struct flow_user {
    td_task t; /* first: the author's pointer is a pointer to this */
    struct flow_run *run;
    const struct plan_node *node;
    const td_fn *fn;
    uint32_t delta_node;     /* for flow_delta.node */
    uint32_t index;          /* place in the chain, for crash reports */
    struct arena tmp;        /* what does not fit t.tmp; until the batch ends */
    size_t tmp_taken;        /* from the budget for it */
    uint32_t tmp_row;        /* the record that took it */
    bool no_record;          /* runs outside of records: td_bad has nothing to skip */
    bool ended;              /* teardown ran */
    struct flow_user *next;  /* all of the attempt */
};

/* The key in hand while a function runs that gets the values of keys. */
struct flow_keyed {
    const struct flow_user *user; /* whose function that is; NULL: none runs */
    uint8_t kind;                 /* of the keys */
    const void *keys;
    void *const *acc;             /* NULL: all of its rows belong to the first key; else row i to that of acc[i] */
    const void *acc_of_first;
};

struct flow_run {
    const struct flow_world *w;
    const struct flow_items *items;
    const struct flow_task *task;
    struct budget *budget;
    struct arena *a;
    struct flow_result *res;
    struct flow_user *users;
    struct flow_sink *head;  /* of the chain */
    struct flow_sink **sinks; /* all of them, in order: finish and free */
    uint32_t n_sinks;
    size_t alloced;          /* by td_alloc, from the budget */
    uintptr_t lo;            /* strings in [lo, lo + span) stay until flow__flush */
    size_t span;
    struct err *err;         /* the first error inside a push; pushes only return */
    bool enough;             /* the sink wants no more rows: the error that comes out of the source says only this */
    struct flow_fold *folds; /* to free */
    /* for flow_where */
    uint32_t op;             /* innermost user that runs now; 0 is the head */
    struct flow_user *head_user;
    const td_batch *head_batch;
    const char *buf;         /* the text buffer, NULL if the source has none */
    uint64_t buf_offset;     /* of buf[0] in its file */
    bool unpacked;           /* counted in what the file unpacks to */
    struct flow_keyed keyed;
    uint32_t file;
    const char *file_name;
};

/* user.c */
struct flow_user *flow__user(struct flow_run *r, const struct plan_node *n, uint32_t item, uint32_t delta_node,
                             struct err **ret_e);
void flow__user_batch(struct flow_user *u); /* before each batch: scratch memory starts again */
struct err *flow__user_err(struct flow_user *u); /* the err that td_fail left, NULL for none; taken */
struct err *flow__user_end(struct flow_user *u); /* teardown */
void flow__user_free(struct flow_user *u);
void flow__deltas(struct flow_run *r);

/* broadcast.c: what td_get gives for an item, for the dataset of node */
struct err *flow__bcast(const struct flow_run *r, const struct plan_node *node, uint32_t item, const void **ret);

/* broadcast.c: the path of a file that went along, in a */
struct err *flow__file(const struct flow_world *w, const char *name, struct arena *a, const char **ret);

/* chain.c */
struct flow_sink *flow__op_new(struct flow_run *r, struct flow_user *u, struct flow_sink *next);
struct flow_sink *flow__group_new(struct flow_run *r, struct flow_user *u, struct flow_sink *next);
/* Rows of the group reader go to its chain through this. */
td_out *flow__group_out(struct flow_sink *s);
struct err *flow__group_flush(struct flow_sink *s);
/* Hands everything that lies in the ops' columns on: after it no view into the source's buffer is left. */
struct err *flow__flush(struct flow_run *r);
struct err *flow__push(struct flow_run *r, struct flow_sink *s, const td_batch *b);

/* source.c, reduce.c */
struct err *flow__source_text(struct flow_run *r, const struct plan_branch *b);
struct err *flow__source_blocks(struct flow_run *r, const struct plan_branch *b);
struct err *flow__source_from(struct flow_run *r, const struct plan_branch *b);
struct err *flow__source_range(struct flow_run *r, const struct plan_branch *b);
struct err *flow__source_shuffle(struct flow_run *r, const struct plan_branch *b);

/* sink.c, combine.c, sorter.c: each adds itself to nothing; the caller does */
struct err *flow__sink_new(struct flow_run *r, struct flow_sink **ret);
struct err *flow__combine_new(struct flow_run *r, const struct plan_node *n, struct flow_sink **ret);
struct err *flow__sorter_new(struct flow_run *r, const struct plan_node *n, struct flow_sink **ret);

/* fold.c: rows in rank order become one row a key.  push takes (rows, ranks, same) of merge_next. */
struct flow_fold;
struct err *flow__fold_new(struct flow_run *r, const struct plan_node *n, uint32_t delta_node, bool combined,
                           struct err *(*out)(void *arg, const struct block_cols *rows), void *arg,
                           struct flow_fold **ret);
struct err *flow__fold_push(struct flow_fold *f, const struct block_cols *rows, const uint8_t *same);
struct err *flow__fold_end(struct flow_fold *f);
void flow__folds_free(struct flow_run *r); /* all that it made */

/* spill.c: the runs of one attempt and what they become */
struct flow_spills {
    struct flow_run *r;
    struct block_schema schema;
    bool by_key, descending;
    uint32_t n, cap;
    struct { int fd; unsigned level; struct block_run_info info; } *run;
};
struct err *flow__spill_begin(struct flow_spills *s, struct block_writer **ret_w);
struct err *flow__spill_end(struct flow_spills *s, struct block_writer **take);
/* So many runs that they should become one before the next.  That takes memory: give up what can be given up. */
bool flow__spill_many(const struct flow_spills *s);
struct err *flow__spill_collapse(struct flow_spills *s);
/* Calls out(arg, rows, same) over all runs, merged. */
struct err *flow__spill_merge(struct flow_spills *s,
                              struct err *(*out)(void *, const struct block_cols *, const uint8_t *), void *arg);
void flow__spill_free(struct flow_spills *s);

/* output.c: the sealed run of a map attempt, cut at partition borders */
struct flow_output {
    struct flow_run *r;
    struct block_writer *w;
    int fd;
    const char *name;
    struct block_schema schema;
    uint32_t partitions; /* 0: not cut (sorts) */
    uint32_t now;
};
struct err *flow__output_open(struct flow_run *r, struct block_schema schema, uint32_t partitions, bool first_keys,
                              struct flow_output *ret);
/* Rows in rank order; ranks NULL: computed here when it matters. */
struct err *flow__output_put(struct flow_output *o, const struct block_cols *rows, const uint64_t *ranks);
struct err *flow__output_close(struct flow_output *o);

/* Rows as a fold shuffles them: one value a key, none for distinct. */
struct block_schema flow__fold_schema(const struct plan_node *n);

/* A size of dflt bytes, less in a small budget: at most one part of `parts`, but not below least. */
static inline size_t
flow__share(const struct budget *b, size_t dflt, unsigned parts, size_t least)
{
    uint64_t n = b->limit / parts;

    return n >= dflt ? dflt : n > least ? (size_t)n : least < dflt ? least : dflt;
}

/* For the blocks of a run that will be merged: several must fit into the budget at once. */
static inline uint32_t
flow__block_bytes(const struct budget *b)
{
    return (uint32_t)flow__share(b, BLOCK_BYTES, 64, 1024);
}

/* Forgets what is in it; memory for giants is freed. */
static inline void
flow__arena_empty(struct arena *a)
{
    if (a->held > FLOW_KEEP)
        arena_fini(a);
    else if (a->chunks)
        arena_reset(a);
}

/* A copy with BLOCK_PAD bytes behind it that may be read. */
static inline struct block_str
flow__str_copy(struct arena *a, const char *p, size_t n)
{
    char *q = arena_alloc(a, n + BLOCK_PAD);

    if (n)
        memcpy(q, p, n);
    memset(q + n, 0, BLOCK_PAD);
    return (struct block_str){ q, n };
}

static inline struct block_schema
flow__schema(struct plan_schema s)
{
    return (struct block_schema){ s.key, s.val };
}
#endif
