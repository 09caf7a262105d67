/*
 * recorder -- the flight recorder: a page in which a runner says where it is, and where it crashed.
 *
 * The runner writes it, in signal handlers too, so there are only plain numbers and fixed arrays.
 * It survives the runner.  The executor trusts nothing of it: recorder_copy() takes one copy with
 * all counts bounded; texts are printed by quote_text() only.
 *
 * Owner: memory B of ring.h.  Threads: the runner writes, the executor copies; a copy made while
 * the runner runs may mix two moments (good enough for a progress line).
 */
#ifndef NET_RECORDER_H
#define NET_RECORDER_H
#include <stddef.h>
#include <stdint.h>

enum { RECORDER_PCS = 32, RECORDER_FIRST = 64, RECORDER_TEXT = 200 };
enum recorder_kind {
    RECORDER_RUNNING, /* nothing happened (or SIGKILL, _exit: no chance to write) */
    RECORDER_SIGNAL,  /* signo, code, addr, pcs */
    RECORDER_EXIT,    /* the module called exit(status); pcs */
    RECORDER_WHERE,   /* the executor asked where it was; pcs */
    RECORDER_GAVE_UP, /* the runner itself could not go on; text */
};
enum recorder_known {
    RECORDER_UNKNOWN,     /* which record it was; the other fields mean nothing */
    RECORDER_AT,          /* at a byte offset of a file */
    RECORDER_AT_UNPACKED, /* at a byte offset of what a packed file holds */
    RECORDER_NUMBER,      /* so many records were read before it */
    RECORDER_KEY,         /* one with this key */
};
enum recorder_value { RECORDER_STR, RECORDER_U64, RECORDER_I64, RECORDER_F64 };

struct recorder {
    /* progress: kept up to date once per batch by whoever runs the task */
    struct {
        uint32_t stage, partition, attempt;
        uint32_t op;         /* operator in the chain */
        uint64_t records;    /* read so far in this attempt */
        uint64_t bytes;      /* of the input so far */
    } task;
    /* the end */
    struct {
        uint32_t kind;       /* enum recorder_kind; written last but pcs and record */
        int32_t signo, code; /* si_code */
        int32_t status;      /* of exit() */
        uint64_t addr;       /* si_addr */
        uint64_t pc, sp;
        uint64_t module_base, module_size; /* where the module lies; 0 before it was loaded */
        uint64_t data_bytes; /* private writable memory held (statm) */
        uint32_t npcs;
        uint64_t pcs[RECORDER_PCS]; /* innermost first; return addresses but for the first */
        uint32_t text_n;
        char text[RECORDER_TEXT];
    } end;
    /* the record in hand when it ended, filled in by the callback of crash.h */
    struct {
        uint32_t known;  /* enum recorder_known */
        uint32_t file;   /* index of the input among the task's */
        uint64_t offset; /* byte offset of the record in that file, or its number */
        uint64_t row;    /* row in its batch */
        uint32_t kind;   /* of first: enum recorder_value */
        uint32_t first_n, cut; /* bytes in first; 1: the record is longer */
        char first[RECORDER_FIRST];
    } rec;
};

/* One copy of *shared with every count bounded. */
void recorder_copy(const volatile struct recorder *shared, struct recorder *ret);
#endif
