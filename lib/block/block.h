/*
 * block -- sealed runs of batches.  The only thing that is spilled, shuffled, collected, cached or saved.
 *
 * A block holds the rows of one schema as columns.  A run is a file of blocks in the order in which they
 * were written, with a footer that says where each block lies:
 *
 *   | block | block | ... | footer: one entry a block | trailer |
 *
 * The same bytes in memory, on disk and on the wire, little-endian; README.md has the layout.  Every block
 * and every footer carries an XXH3-64, checked before anything in it is believed, and a reader does not
 * trust what a matching checksum says either: all counts, sizes and orders are checked.  Errors of bytes
 * are ERR_CORRUPT with the name of the file and the offset.
 *
 * Columns that come in and columns that go out look alike: arrays of 8-byte values, or of struct block_str
 * whose strings have BLOCK_PAD readable bytes behind them (their values don't matter).
 *
 * Threads: one at a time for each object; different objects have nothing in common.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* The numbers are those of the SDK (TD_K_U64 ...). */
enum block_kind { BLOCK_NONE = 0, BLOCK_U64 = 1, BLOCK_I64 = 2, BLOCK_F64 = 3, BLOCK_STR = 4 };

enum {
#ifdef TASKD_HOSTILE
    BLOCK_BYTES = 64,           /* default size at which a block is sealed */
    BLOCK_WRITE_BYTES = 256,    /* sealed blocks are written together when they are this many bytes */
    BLOCK_READ_BYTES = 512,     /* what a cursor reads ahead at most */
#else
    BLOCK_BYTES = 64 << 10,
    BLOCK_WRITE_BYTES = 256 << 10,
    BLOCK_READ_BYTES = 264 << 10,
#endif
    BLOCK_PAD = 64,             /* readable bytes behind every string */
    BLOCK_FIRST_MAX = 64,       /* a first key in the footer is cut to this many bytes */
    BLOCK_ROWS_MAX = 1 << 20,   /* of one block */
    BLOCK_RAW_MAX = 1 << 30,    /* bytes of one block, so of one record, too */
};

struct block_schema {
    uint8_t key, val; /* enum block_kind; val BLOCK_NONE: single values, in the key column */
};

/* The layout of the SDK's td_str. */
struct block_str {
    const char *p;
    size_t n;
};

/* col[0] keys (or single values), col[1] values or NULL; arrays of n uint64_t, int64_t, double or struct
 * block_str. */
struct block_cols {
    uint32_t n;
    const void *col[2];
};

struct block_codec; /* block/codec.h */

/* Is it a schema: a key of some kind and a value of some kind or none? */
bool block_schema_valid(struct block_schema s);
/* Bytes of one value in a column array: 8, 16 for a string, 0 for BLOCK_NONE. */
size_t block_cell(uint8_t kind);

/* ---- writing a run ------------------------------------------------------------------------------- */

struct block_run_opts {
    struct block_schema schema;
    const struct block_codec *codec; /* NULL: stored as they are */
    uint32_t block_bytes;            /* a block is sealed when its rows (8 bytes a cell and the bytes of the
                                        strings) reach this; 0 is BLOCK_BYTES */
    bool first_keys;                 /* the footer keeps the first key of each block */
    bool no_digest;                  /* nobody will ask: it stays 0 */
};

struct block_writer;

/* fd is borrowed and at offset 0; name (copied) is for errors. */
MUST_USE struct err *block_writer_open(int fd, const char *name, const struct block_run_opts *opts,
                                       struct block_writer **ret);
/* Appends a copy of the rows [from, to).  Blocks are sealed and written as they fill. */
MUST_USE struct err *block_put(struct block_writer *w, const struct block_cols *cols, uint32_t from,
                               uint32_t to);
/* Seals the block in hand; the rows that follow belong to this partition, which is not less than the one
 * before (the first is 0).  A partition without rows has no blocks. */
MUST_USE struct err *block_partition(struct block_writer *w, uint32_t partition);

struct block_run_info {
    uint64_t rows, raw_bytes, file_bytes;
    uint64_t digest; /* wrapping sum of a hash of each row: the same for the same rows in any order */
    uint32_t blocks;
};

/* Seals, writes footer and trailer, and frees the writer in any case (*take becomes NULL).  ret may be NULL.
 * The file is not synced. */
MUST_USE struct err *block_writer_close(struct block_writer **take, struct block_run_info *ret);
/* Frees without a footer: the file is not a run.  NULL is allowed. */
void block_writer_abandon(struct block_writer **take);
/* Bytes of the file so far, those of sealed blocks. */
uint64_t block_writer_bytes(const struct block_writer *w);
/* Bytes of memory in use. */
size_t block_writer_held(const struct block_writer *w);
/* Bytes a writer with these options will hold at most, as long as no record is larger than a block. */
size_t block_writer_need(const struct block_run_opts *opts);

/* ---- reading a run ------------------------------------------------------------------------------- */

struct block_run; /* the footer of one file; immutable after open */

struct block_entry {
    uint64_t offset;
    uint32_t bytes;     /* in the file, with the header */
    uint32_t raw_bytes; /* unpacked, without the header */
    uint32_t rows;      /* never 0 */
    uint32_t partition;
    const char *first;  /* first key: 8 bytes, or a string of at most BLOCK_FIRST_MAX; NULL if not kept */
    uint32_t first_n;
    uint32_t sum;       /* low half of the block's checksum: a block in another one's place is noticed */
};

/* fd is borrowed until the run is closed; codecs is NULL-terminated, or NULL for none. */
MUST_USE struct err *block_run_open(int fd, const char *name, const struct block_codec *const *codecs,
                                    struct block_run **ret);
void block_run_close(struct block_run *r); /* NULL is allowed; after its cursors */
/* One more owner: it is gone when each has closed it.  Several cursors then share one footer and one descriptor. */
struct block_run *block_run_ref(struct block_run *r);
/* The descriptor is the run's own from now on: closed with it. */
void block_run_own_fd(struct block_run *r);
/* Asked when a block of the file turns out to be damaged, the nth time for that block (from 0): true, it was written
 * into the file again: read it again.  Cursors that share the run share this. */
void block_run_on_corrupt(struct block_run *r, bool (*again)(void *arg, uint64_t offset, uint32_t bytes, unsigned nth),
                          void *arg);
/* For files that come over a network: p is the last n bytes of one of file_size bytes.  *ret_bytes: how many bytes
 * from its end block_run_open() reads. */
MUST_USE struct err *block_run_tail(const void *p, size_t n, uint64_t file_size, const char *name, uint64_t *ret_bytes);
/* Whether the last n bytes, which are that many at least, are as they were written. */
MUST_USE struct err *block_run_tail_check(const void *p, size_t n, uint64_t file_size, const char *name);
/* Reads the whole file and checks every sum, without unpacking anything. */
MUST_USE struct err *block_run_verify(int fd, const char *name);
struct block_schema block_run_schema(const struct block_run *r);
const struct block_run_info *block_run_totals(const struct block_run *r);
uint32_t block_run_count(const struct block_run *r);
bool block_run_has_first_keys(const struct block_run *r);
const struct block_entry *block_run_entry(const struct block_run *r, uint32_t i);
/* First and one-past-last block of a partition (equal when it has none). */
void block_run_partition(const struct block_run *r, uint32_t partition, uint32_t *ret_from,
                         uint32_t *ret_to);
/* Bytes of memory of the footer. */
size_t block_run_held(const struct block_run *r);

/* Reads the blocks [from, to) of a run, one at a time.  It has no buffers before the first next and after
 * the end. */
struct block_cursor;
MUST_USE struct err *block_cursor_open(struct block_run *r, uint32_t from, uint32_t to,
                                       struct block_cursor **ret);
/* Lets it read several blocks with one system call (no: from the next one on, one again): faster, for more memory. */
void block_cursor_ahead(struct block_cursor *c, bool on);
/* The next block; ret->n is 0 at the end.  Views are valid until the next call. */
MUST_USE struct err *block_cursor_next(struct block_cursor *c, struct block_cols *ret);
void block_cursor_close(struct block_cursor *c); /* NULL is allowed */
struct block_schema block_cursor_schema(const struct block_cursor *c);
/* Bytes of memory in use. */
size_t block_cursor_held(const struct block_cursor *c);
/* Bytes it will hold at most, and rows of a block at most, while it reads what is left. */
size_t block_cursor_need(const struct block_cursor *c);
uint32_t block_cursor_rows(const struct block_cursor *c);

/* ---- blocks in memory (results, constants): the same format, a buffer instead of a file ----------- */

/* Appends the rows as one block, or several if they are more than BLOCK_ROWS_MAX or BLOCK_RAW_MAX bytes.  No
 * rows: one empty block.  Only schema and codec of the options matter. */
MUST_USE struct err *block_encode(const struct block_run_opts *opts, const struct block_cols *cols,
                                  struct buf *out);
/* The block at p; *ret_used (<= n) is its length.  Everything it returns lives in a; p may go. */
MUST_USE struct err *block_decode(const void *p, size_t n, const char *name,
                                  const struct block_codec *const *codecs, struct arena *a,
                                  struct block_cols *ret, struct block_schema *ret_schema,
                                  size_t *ret_used);
#endif
