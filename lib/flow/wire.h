/*
 * wire -- what a runner and its executor say to each other.
 *
 *   executor -> runner   socket: MODULE+fd, STAGE, MAIN, replies      ring: TASK, DROP
 *   runner -> executor   socket: requests (OPEN, and those of main)   ring: DONE
 *
 * A request carries a number in frame.id; the reply repeats it.  Each reply begins with an err (wire_put_err).
 * Decoders trust nothing; what does not fit is ERR_CORRUPT.  Numbers are little-endian (base/buf.h).
 */
#ifndef FLOW_WIRE_H
#define FLOW_WIRE_H
#include "flow/flow.h"

enum wire_type {
    /* executor -> runner */
    WIRE_MODULE = 1, /* struct wire_module; fd: the verified bytes */
    WIRE_STAGE,      /* plan_stage_encode; frame.id: the stage */
    WIRE_MAIN,       /* u32 argc, str each: run the job's main */
    WIRE_REPLY,      /* err, then what the request wants */
    WIRE_TASK,       /* struct wire_task, as it lies */
    WIRE_DROP,       /* by the ring: u32, the broadcast that is to be forgotten */
    /* runner -> executor */
    WIRE_OPEN,       /* struct wire_open -> per file: str name, u64 file_size, offset, length, u8 whole; its fd.
                        Of a map output that is on another host, the fd is a copy that has its end only: whole is
                        WIRE_COPY, offset the attempt, length the node.  An err of map outputs is followed by u32 map */
    WIRE_FETCH,      /* struct wire_fetch, fds: copies as WIRE_OPEN gave them -> (err, then u32 map or UINT32_MAX) */
    WIRE_DONE,       /* struct wire_done */
    WIRE_LOG,        /* u8 level, str file, u32 line, str text; no reply */
    WIRE_LOADED,     /* err: the module is there (or not); once, before anything else */
    /* main -> driver */
    WIRE_ACT,        /* graph, action -> u32 partitions, u64 rows */
    WIRE_CONF,       /* str key -> u8 known, str value */
    WIRE_CONF_SET,   /* str key, value, origin */
    WIRE_TOTAL,      /* u32 item, u32 op -> u64 bits */
    WIRE_ADD,        /* deltas: main's own additions to accumulators */
    WIRE_BROADCAST,  /* u32 id, str name, u8 whether a path follows, str path; else fd: sealed bytes -> */
    WIRE_UNBROADCAST, /* u32 id -> */
    WIRE_MAIN_DONE,  /* u32 exit status; no reply */
};

/* What a runner begins with. */
struct wire_module {
    const char *name;
    uint64_t budget;   /* of record bytes */
    const char *codec; /* of map outputs, "": none */
    const char *files; /* folder of what went along, "": nothing did */
    const char *const *libs; /* names in that folder: to be loaded before the module, in this order */
    uint32_t n_libs;
};

/* One launch: goes through the ring as it lies. */
struct wire_task {
    uint32_t stage, partition, attempt, epoch, generation, flags;
};
enum { WIRE_ONE_RECORD = 1 };

enum wire_open_kind {
    WIRE_OPEN_PIECE = 1, /* index: piece of the task's split; no fd in the reply: there is none */
    WIRE_OPEN_OUTPUT,
    WIRE_OPEN_SPILL,
    WIRE_OPEN_MAP,       /* index, count: outputs of map tasks [index, index + count) of stage `parent` */
    WIRE_OPEN_RESULT,    /* index: partition of the finished action (main) */
    WIRE_OPEN_BROADCAST, /* index: its number; of tasks and of main.  file_size is what it has */
};
struct wire_open {
    uint8_t kind;
    uint32_t stage, partition, attempt; /* of the task that asks */
    uint32_t parent, index, count;
};
enum { WIRE_OPEN_MAX = 32 }; /* files of one reply, and of one WIRE_FETCH */
enum { WIRE_COPY = 2, WIRE_PARTS_MAX = 4096 };

/* Parts of map outputs that are to come into copies. */
struct wire_fetch {
    uint32_t stage, partition, attempt; /* of the task that asks */
    uint32_t parent;                    /* stage of the maps */
    uint32_t n;
    struct wire_part {
        uint32_t map, attempt, node, file; /* attempt and node as WIRE_OPEN said; file: which of the frame's fds */
        uint64_t offset, length;
    } *part;
};

struct wire_done {
    struct wire_task task;
    struct err *err; /* NULL: success; decoded: the receiver's */
    /* ERR_LOST or ERR_CORRUPT of a map output: which one; lost_stage UINT32_MAX: none */
    uint32_t lost_stage, lost_map;
    bool last; /* with err: the runner ends behind this answer; nothing may be launched on it any more */
    uint64_t took_ns; /* on success: how long it ran, by the runner's clock; 0: it does not say */
    struct flow_result result;
};

void wire_put_err(struct buf *b, const struct err *e);
/* *ret is NULL when there was none; a malformed one is itself an err. */
struct err *wire_get_err(struct get *g);
void wire_put_module(struct buf *b, const struct wire_module *m);
/* Strings live in a; a malformed one makes g bad. */
void wire_get_module(struct get *g, struct arena *a, struct wire_module *ret);
void wire_put_open(struct buf *b, const struct wire_open *o);
struct err *wire_get_open(struct get *g, struct wire_open *ret) MUST_USE;
void wire_put_fetch(struct buf *b, const struct wire_fetch *f);
/* The parts live in a. */
struct err *wire_get_fetch(struct get *g, struct arena *a, struct wire_fetch *ret) MUST_USE;
void wire_put_deltas(struct buf *b, const struct flow_delta *d, uint32_t n);
/* *ret_d lives in a; a malformed one makes g bad. */
void wire_get_deltas(struct get *g, struct arena *a, struct flow_delta **ret_d, uint32_t *ret_n);
void wire_put_done(struct buf *b, const struct wire_done *d);
/* The deltas live in a. */
struct err *wire_get_done(const void *p, size_t n, struct arena *a, struct wire_done *ret) MUST_USE;
#endif
