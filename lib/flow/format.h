/*
 * format -- the contract of file formats: how bytes become records and back.  plugins/format/NAME implements it.
 *
 * A format is one const struct without state.  The engine reads, splits, unpacks and buffers; a format only
 * finds record ends and prints rows.  Threads: any.
 */
#ifndef FLOW_FORMAT_H
#define FLOW_FORMAT_H
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "block/block.h"

struct flow_format {
    const char *name;
    /* The bytes of p[0, n) up to and including the last record end; 0 when there is none. */
    size_t (*whole)(const char *p, size_t n);
    /* The bytes up to and including the first record end at or behind from; 0 when there is none. */
    size_t (*first)(const char *p, size_t n, size_t from);
    /* Cuts p[0, n), which ends with a record (its end mark may be missing at the end of a file), into at most
     * max rows without their end marks.  p has 64 readable bytes behind it. */
    uint32_t (*cut)(const char *p, size_t n, uint32_t max, struct block_str *rows, size_t *ret_used);
    /* Appends rows [from, to) in the format. */
    void (*put)(struct buf *out, struct block_schema schema, const struct block_cols *rows, uint32_t from,
                uint32_t to);
};
#endif
