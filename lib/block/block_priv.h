/*
 * The layout of a block and a run, and what the files of this room share.
 *
 *   block    struct block__header, then `stored` bytes: the columns, packed or as they are
 *   columns  each begins at a multiple of 8; its size is in the header
 *            8-byte kinds: rows values of `width` bytes (0 1 2 4 8), base is added to each
 *            strings: rows lengths of `width` bytes (0 1 2 4), base is added to each; zeroes up to a multiple of
 *            8; the bytes of all strings, one behind the other
 *   footer   an entry a block: u32 bytes, raw, rows, partition, low half of its checksum; with first keys: u8 length, bytes
 *   trailer  struct block__trailer, the last bytes of the file
 */
#ifndef BLOCK_PRIV_H
#define BLOCK_PRIV_H
#include "block/block.h"
#include "block/codec.h"

#define BLOCK__MAGIC 0x4b424454u /* "TDBK" */
#define BLOCK__RUN_MAGIC 0x4e524454u /* "TDRN" */
enum {
    BLOCK__VERSION = 2,
    BLOCK__FIRST_KEYS = 1,    /* flag of a trailer */
    BLOCK__RATIO_MAX = 4096,  /* packed better than this is not believed: a small block can't ask for much memory */
};

struct block__column {
    uint8_t width, zero[3];
    uint32_t size; /* bytes of the column, without what aligns the next */
    uint64_t base;
};

struct block__header {
    uint32_t magic;
    uint8_t version, key, val, codec; /* codec 0: as they are */
    uint32_t rows, stored, raw, zero;
    struct block__column col[2];
    uint64_t checksum; /* of the columns as stored, seeded with that of the header before it */
};
_Static_assert(sizeof(struct block__header) == 64, "the header is part of the format");

struct block__trailer {
    uint32_t magic;
    uint8_t version, key, val, flags;
    uint64_t rows, raw_bytes, digest, footer_bytes, file_bytes;
    uint32_t blocks, zero;
    uint64_t checksum; /* of the footer, seeded with that of the trailer before it */
};
_Static_assert(sizeof(struct block__trailer) == 64, "the trailer is part of the format");

/* Short loops over whole columns: gcc makes good vectors of them at -O3 only (measured: 2 to 3 times). */
#if defined(__GNUC__) && !defined(__clang__)
#define BLOCK__KERNEL __attribute__((optimize("O3")))
#else
#define BLOCK__KERNEL
#endif

static inline size_t
block__align8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

uint64_t block__checksum(const void *head, size_t head_n, const void *p, size_t n);

/* ---- stage.c: the rows of the block in hand, as columns that grow */
struct block__stage {
    struct block_schema schema;
    uint32_t rows, rows_cap;
    size_t raw; /* 8 bytes a cell, and the bytes of strings */
    struct block__stage_col {
        uint64_t *v;   /* 8-byte kinds */
        uint32_t *len; /* strings */
        char *bytes;
        size_t n, cap; /* of bytes */
    } col[2];
};
void block__stage_init(struct block__stage *s, struct block_schema schema);
void block__stage_fini(struct block__stage *s);
void block__stage_clear(struct block__stage *s);
size_t block__stage_held(const struct block__stage *s);
/* Appends rows from `from` on while rows and raw bytes stay within the limits, but at least one if it is empty;
 * *ret_to is the first that was not taken.  A single row of more than BLOCK_RAW_MAX bytes is ERR_LIMIT. */
MUST_USE struct err *block__stage_put(struct block__stage *s, const struct block_cols *cols, uint32_t from,
                                      uint32_t to, uint32_t rows_max, size_t raw_max, uint32_t *ret_to);
/* Sum of the row hashes. */
uint64_t block__stage_digest(const struct block__stage *s);

/* ---- seal.c: a stage becomes a block behind out->n; scratch is for packing.  Returns its header by value. */
struct block__header block__seal(const struct block__stage *s, const struct block_codec *codec,
                                 struct buf *scratch, struct buf *out);
/* Bytes that the block of this stage has at most, without packing. */
size_t block__seal_bound(const struct block__stage *s);

/* ---- open.c: from bytes to columns */
/* Where a block is, for errors. */
struct block__at {
    const char *name;
    uint64_t offset;
};
/* Checks all of the header but the checksum; `left` is how many bytes there are from the header on. */
MUST_USE struct err *block__check_header(const struct block__header *h, size_t left, struct block__at at);
MUST_USE struct err *block__check_sum(const struct block__header *h, const void *stored, struct block__at at);
/* raw must have h->raw + BLOCK_PAD bytes. */
MUST_USE struct err *block__unpack(const struct block__header *h, const void *stored,
                                   const struct block_codec *const *codecs, char *raw, struct block__at at);
/* Bytes of the array that column i is decoded to; 0 if it is a view of the raw bytes. */
size_t block__array_bytes(const struct block__header *h, int i);
/* raw is aligned to 8, has BLOCK_PAD bytes behind it and lives as long as the columns; array[i] has
 * block__array_bytes. */
MUST_USE struct err *block__columns(const struct block__header *h, const char *raw, void *const array[2],
                                    struct block__at at, struct block_cols *ret);
struct err *block__corrupt(struct block__at at, const char *fmt, ...) MUST_USE PRINTF_LIKE(2, 3);

/* ---- run.c, for cursor.c */
int block__run_fd(const struct block_run *r);
/* Is the header the one that the footer promised? */
MUST_USE struct err *block__check_entry(const struct block__header *h, const struct block_entry *e,
                                        struct block_schema s, struct block__at at);
bool block__run_again(const struct block_run *r, const struct block_entry *e, unsigned nth);
const char *block__run_name(const struct block_run *r);
const struct block_codec *const *block__run_codecs(const struct block_run *r);
#endif
