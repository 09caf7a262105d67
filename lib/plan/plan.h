/*
 * plan -- a job's graph, cut into stages and tasks.
 *
 * The job's main builds a graph of datasets (nodes).  An action on a node makes a job: plan_cut() walks
 * back from it and cuts at every wide node.
 *
 *   text -> map -> FOLD -> map -> save     stage 0: text, map | combine, shuffle write  (n = splits)
 *                                          stage 1: merge, fold, map | save             (n = partitions)
 *
 * A stage is one or more branches (a union has one a side) with consecutive partitions; a branch is a
 * source and the narrow nodes up to the sink, which is the same for all branches.
 *
 * Everything here is a pure function of its arguments: no clock, no files, no randomness.  Results are
 * read-only and live in the arena that was passed; they point into the graph, the action and the inputs
 * (paths, names), which must live as long.
 * Threads: any; nothing is shared.
 * Errors: ERR_CORRUPT bytes that are no graph; ERR_INPUT a graph that can't be run, with the author's
 * file:line; ERR_LIMIT one that is too large.
 */
#ifndef PLAN_PLAN_H
#define PLAN_PLAN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* ---- the graph */
enum plan_op {
    PLAN_TEXT = 1, /* lines of text files */
    PLAN_BLOCKS,   /* rows of block files */
    PLAN_FROM,     /* rows that travel in the plan */
    PLAN_RANGE,    /* u64 lo .. hi-1 */
    PLAN_MAP,      /* any chain function: map, flat_map, filter, batch, text */
    PLAN_UNION,
    PLAN_FOLD,     /* *_by_key and distinct: values of one key become one */
    PLAN_GROUP,    /* group_by_key: fn sees all values of a key */
    PLAN_SORT,     /* whole order by key (or by value where there is none) */
    PLAN_OPS
};
enum plan_fold {
    PLAN_FOLD_FN = 1,
    PLAN_FOLD_SUM,
    PLAN_FOLD_MIN,
    PLAN_FOLD_MAX,
    PLAN_FOLD_COUNT,
    PLAN_FOLD_DISTINCT,
    PLAN_FOLDS
};
enum plan_act {
    PLAN_COUNT = 1,
    PLAN_COLLECT,
    PLAN_REDUCE,
    PLAN_SAVE_TEXT,
    PLAN_SAVE_BLOCKS,
    PLAN_ACTS
};
#define PLAN_NO_FN UINT32_MAX

/* Kinds are those of the SDK: 1 u64, 2 i64, 3 f64, 4 str. */
enum plan_kind { PLAN_U64 = 1, PLAN_I64, PLAN_F64, PLAN_STR };
struct plan_schema {
    uint8_t key, val; /* val 0: single values, in key */
};

/* A broadcast of the module, and its value's number when the node was made. */
struct plan_bcast {
    uint32_t item, id; /* id 0: it was destroyed before */
};

struct plan_node {
    uint32_t id; /* unique in the application; inputs have smaller ids */
    uint8_t op, fold, on_bad, descending;
    struct plan_schema out, in; /* in: rows of the (first) input */
    uint32_t n_in, *in_ids;
    uint32_t fn;         /* item number in the module, or PLAN_NO_FN */
    uint32_t partitions; /* asked for by the author; 0: automatic */
    uint32_t line;
    const char *file; /* the author's line that made it */
    const char *name; /* the author's .name, else the function's */
    const char *path; /* TEXT, BLOCKS */
    uint64_t lo, hi;  /* RANGE; FROM: hi = number of rows */
    const char *data; /* FROM: one encoded block */
    size_t data_n;
    const char *arg; /* bytes captured by TD_ARG */
    size_t arg_n;
    uint32_t n_bcast; /* all that had been set by then, used or not */
    struct plan_bcast *bcast;
};

struct plan_graph {
    uint32_t n;
    struct plan_node *nodes; /* by id, all of the application's or some */
};

struct plan_action {
    uint8_t act;
    uint32_t node;
    uint32_t fn; /* REDUCE: item number of the fold */
    uint32_t line;
    const char *file;
    const char *path;  /* SAVE_* */
    uint32_t first, n; /* only result partitions [first, first+n); n 0: all from first on */
    uint64_t enough;   /* COLLECT: so many rows of a partition, and no more; 0: all */
};

/* Strings and arrays may be NULL where they have no meaning; NULL is written as "". */
void plan_graph_encode(const struct plan_graph *g, struct buf *out);
/* Only the node and what it is made from, which the graph must have: what a job costs does not grow with the datasets
 * that the application has made for other jobs. */
void plan_lineage_encode(const struct plan_graph *g, uint32_t node, struct buf *out);
/* Checks all that can be checked without knowing the job: counts, ids, enums.  data, arg are copied. */
struct err *plan_graph_decode(struct get *in, struct arena *a, struct plan_graph *ret) MUST_USE;
void plan_action_encode(const struct plan_action *act, struct buf *out);
struct err *plan_action_decode(struct get *in, struct arena *a, struct plan_action *ret) MUST_USE;
/* The node with that id, NULL if the graph hasn't it. */
const struct plan_node *plan_node(const struct plan_graph *g, uint32_t id);
/* What the author called: "map", "sum_by_key", ... */
const char *plan_verb(const struct plan_node *node);
/* "str", "str_u64", ... */
const char *plan_schema_name(struct plan_schema s);

/* ---- what the driver knows about a TEXT or BLOCKS node's path */
struct plan_file {
    const char *path;
    uint64_t size;
    bool whole; /* can't be split: compressed, or a block file */
};
struct plan_input {
    uint32_t node;
    uint32_t n;
    struct plan_file *files;
};

/* The same for all jobs of an application, as are a node's inputs: shuffle stages are used again. */
struct plan_opts {
    uint32_t slots;       /* all slots of the application */
    uint32_t parallelism; /* reduce partitions; 0: 2 a slot */
    uint64_t split_bytes; /* 0: total / (2 * slots), at least 32 MiB, at most 512 MiB */
};

/* ---- the result */
struct plan_piece { /* bytes [offset, offset+length) of a file: the lines that begin there */
    const char *path;
    uint64_t file_size, offset, length;
    bool whole;
};
struct plan_split { /* what one task reads, in this order */
    uint32_t n;
    struct plan_piece *pieces;
};

enum plan_source {
    PLAN_SRC_TEXT = 1,
    PLAN_SRC_BLOCKS,
    PLAN_SRC_FROM,
    PLAN_SRC_RANGE,
    PLAN_SRC_SHUFFLE,
    PLAN_SOURCES
};
struct plan_branch {
    uint8_t source;
    uint32_t node;             /* the source node; SHUFFLE: the wide node whose reduce side this is */
    uint32_t parent;           /* SHUFFLE: stage that wrote it */
    uint32_t parent_maps;      /* SHUFFLE: number of its tasks */
    uint32_t first, n;         /* partitions of the stage that run this branch */
    struct plan_split *splits; /* TEXT, BLOCKS: n of them; NULL after plan_stage_decode */
    uint32_t n_ops, *ops;      /* MAP node ids, source to sink */
    uint32_t *op_first;        /* per op: partition p of the stage is partition p - op_first of that node */
};

enum plan_sink {
    PLAN_SINK_SHUFFLE = 1,
    PLAN_SINK_COUNT,
    PLAN_SINK_COLLECT,
    PLAN_SINK_REDUCE,
    PLAN_SINK_SAVE_TEXT,
    PLAN_SINK_SAVE_BLOCKS,
    PLAN_SINKS
};
struct plan_stage {
    uint32_t id; /* unique in the application; a shuffle stage keeps it over jobs: plan_ids */
    uint8_t sink;
    uint32_t node;       /* SHUFFLE: the wide node it feeds; else the action's node */
    uint32_t fn;         /* REDUCE, else PLAN_NO_FN */
    uint64_t enough;     /* COLLECT: a task ends when it has so many rows; 0: it gives all */
    uint32_t tasks;      /* partitions */
    uint32_t partitions; /* SHUFFLE: reduce partitions */
    uint32_t n_branches;
    struct plan_branch *branches;
    uint32_t n_parents, *parents; /* stage ids */
    struct plan_schema row;       /* rows that reach the sink */
    const char *label;            /* "words (wordcount.c:14)" for people */
};
struct plan {
    uint32_t n;
    struct plan_stage *stages; /* parents before children; the last is the result stage */
    struct plan_action action;
    uint32_t first, n_result; /* result partitions to run */
};

/* Shuffle stages already known to the application (wide node -> stage), grown by plan_cut.  {0} is empty.
 * Owner: the application's driver. */
struct plan_known {
    uint32_t node, stage, tasks, partitions;
};
struct plan_ids {
    uint32_t next; /* stage id */
    uint32_t n, cap;
    struct plan_known *known; /* by node */
};
void plan_ids_fini(struct plan_ids *ids);

/* On error ids is as it was. */
struct err *plan_cut(const struct plan_graph *g, const struct plan_action *act,
                     const struct plan_input *inputs, uint32_t n_inputs, const struct plan_opts *opts,
                     struct plan_ids *ids, struct arena *a, struct plan *ret) MUST_USE;
/* What a runner needs for any task of the stage: the stage and the nodes it mentions, without splits. */
void plan_stage_encode(const struct plan_stage *st, const struct plan_graph *g, struct buf *out);
struct err *plan_stage_decode(const void *p, size_t n, struct arena *a, struct plan_stage *ret,
                              struct plan_graph *ret_nodes) MUST_USE;
/* The branch that runs partition p (< tasks). */
const struct plan_branch *plan_branch_of(const struct plan_stage *st, uint32_t p);
/* Rows [*ret_from, *ret_to) of total for part p of n: as equal as can be. */
void plan_slice(uint64_t total, uint32_t n, uint32_t p, uint64_t *ret_from, uint64_t *ret_to);
#endif
