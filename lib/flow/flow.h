/*
 * flow -- runs one task: source, chain of the author's functions, sink.
 *
 *   text | blocks | constants | range | shuffle  ->  op -> op -> op  ->  shuffle | files | result
 *
 * Data moves by push, a batch of columns at a time; every op runs inside the push of the one before it, so
 * there are no queues and nothing runs but the innermost call.  Strings are views: into the source's buffer
 * (which announces itself by flow_run.lo/span and flushes the chain before it changes), or into the arena of
 * the op that made them, until the batch has been handed on.
 *
 * Everything from outside comes as a pointer in struct flow_world: files, spills, map outputs, the log.
 *
 * Owner: the runner.  Threads: one.  Errors: ERR_USER with the author's file:line for what the module did,
 * ERR_INPUT for input that no retry can mend, what the world's functions gave otherwise.
 */
#ifndef FLOW_FLOW_H
#define FLOW_FLOW_H
#include <stdint.h>
#include <taskd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "block/block.h"
#include "block/budget.h"
#include "block/codec.h"
#include "flow/format.h"
#include "plan/plan.h"

struct merge_bound;
struct merge_opts;
struct merge_set;

enum {
#ifdef TASKD_HOSTILE
    FLOW_ROWS = 3,            /* rows of a batch */
    FLOW_READ = 256,          /* bytes of text read at once, at first */
#else
    FLOW_ROWS = 1024,
    FLOW_READ = 256 << 10,
#endif
    FLOW_MAP_SIDE = 1u << 31, /* set in flow_delta.node for what a fold added on the map side */
    FLOW_ACTION = 1u << 30,   /* set there for what the function of an action added; the rest is its stage */
};

/* A part of an input file. */
struct flow_piece {
    int fd;                   /* the receiver's; -1: there is no such piece */
    const char *name;         /* for people; lives as long as the attempt */
    uint64_t file_size;       /* as the planner saw it */
    uint64_t offset, length;
    bool whole;
};

struct table_keep;
struct flow_bcasts;
struct flow_world {
    void *arg;
    struct err *(*open_piece)(void *arg, uint32_t index, struct flow_piece *ret);
    struct err *(*open_output)(void *arg, int *ret_fd, const char **ret_name); /* fd: the receiver's */
    struct err *(*open_spill)(void *arg, int *ret_fd);                         /* empty, has no name */
    /* Adds the map outputs of b->parent for a reduce partition to the set, in map order.  by_key: they are ordered by
     * key, and bound becomes this partition's range of keys; it is what the set was made with. */
    struct err *(*open_runs)(void *arg, const struct plan_branch *b, uint32_t partition, const struct merge_opts *order,
                             struct merge_set *into, struct merge_bound *bound);
    /* The bytes of a broadcast, shared with others, for reading; fd: the receiver's.  It may take as long as it takes to
     * bring them here. */
    struct err *(*open_broadcast)(void *arg, uint32_t id, int *ret_fd, uint64_t *ret_size);
    /* text is one line without its end */
    void (*log)(void *arg, int level, const char *file, int line, const char *text);
    /* The attempt can't go on and the author's function can't be left: tells why and ends the process. */
    void (*die)(void *arg, struct err *take);
    /* Once per region of input: what was read so far. */
    void (*progress)(void *arg, uint64_t records, uint64_t bytes, uint32_t op);
    const struct block_codec *const *codecs;  /* NULL-terminated */
    const struct block_codec *shuffle_codec;  /* NULL: none */
    const struct stream_codec *const *streams;/* NULL-terminated */
    const struct flow_format *text;
    struct table_keep *keep; /* memory that stays between attempts (flow/table.h); NULL: none does */
    struct flow_bcasts *bcasts;
    const char *files; /* folder of what went along with the module; NULL: nothing did */
};

/* Broadcasts in this process: mapped and built at first use, there until they are dropped or the process ends.
 * {0} is empty.  building: the name of the one whose build runs now, for the crash handler; NULL: none does. */
struct flow_bcasts {
    struct flow_bcast **v;
    uint32_t n, cap;
    const char *volatile building;
};
/* Takes a value away again; between attempts only.  Unknown: fine. */
void flow_bcast_drop(struct flow_bcasts *b, uint32_t id);
void flow_bcasts_fini(struct flow_bcasts *b);

/* The module's items. */
struct flow_items {
    const td_item *const *item;
    uint32_t n;
};

struct flow_task {
    const struct plan_stage *stage;
    const struct plan_graph *nodes;
    uint32_t partition;
    bool one_record; /* every batch comes from one source record, so a crash names it */
};

/* What an attempt added to an accumulator of one node. */
struct flow_delta {
    uint32_t node, item;
    uint32_t op; /* TD_A_* */
    td_slot_ v;
};

struct flow_result {
    uint64_t in_rows, in_bytes, out_rows, out_bytes, spill_bytes, bad_rows;
    uint64_t digest; /* of the output's rows, in any order */
    uint32_t n_deltas;
    struct flow_delta *deltas; /* in the arena of flow_run_task */
};

/* Runs one attempt.  Everything in *ret lives in a, which is the attempt's arena. */
struct err *flow_run_task(const struct flow_world *w, const struct flow_items *items, const struct flow_task *t,
                          struct budget *budget, struct arena *a, struct flow_result *ret) MUST_USE;

/* Where the attempt in this process is: for the crash handler, so without locks and malloc. */
enum flow_known {
    FLOW_UNKNOWN,
    FLOW_AT,          /* offset is the record's first byte in the task's input number file */
    FLOW_AT_UNPACKED, /* the same, counted in what that file unpacks to */
    FLOW_NUMBER,      /* offset is the record's number in what the partition reads, from 0 */
    FLOW_KEY,         /* p is the key whose values are in hand */
};
struct flow_spot {
    enum flow_known known;
    uint32_t op, file;
    uint64_t offset, row;
    uint8_t kind;  /* TD_K_* of p: a TD_K_STR is n bytes of text, the others are a number of 8 bytes */
    const char *p; /* the record; of a pair the key */
    size_t n;
};
void flow_where(struct flow_spot *ret);

/* Merging deltas: into = into (+) d. */
void flow_delta_merge(uint32_t op, td_slot_ *into, td_slot_ d);
td_slot_ flow_delta_zero(uint32_t op);
#endif
