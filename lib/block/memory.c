/* memory -- blocks in buffers. */
#include "block/block_priv.h"

struct err *
block_encode(const struct block_run_opts *opts, const struct block_cols *cols, struct buf *out)
{
    ASSERT(block_schema_valid(opts->schema));
    struct block__stage s;
    struct buf scratch = { 0 };
    struct err *e = NULL;
    uint32_t from = 0;

    block__stage_init(&s, opts->schema);
    do {
        e = block__stage_put(&s, cols, from, cols->n, BLOCK_ROWS_MAX, BLOCK_RAW_MAX, &from);
        if (!e)
            block__seal(&s, opts->codec, &scratch, out);
        block__stage_clear(&s);
    } while (!e && from < cols->n);
    block__stage_fini(&s);
    buf_fini(&scratch);
    return e;
}

struct err *
block_decode(const void *p, size_t n, const char *name, const struct block_codec *const *codecs,
             struct arena *a, struct block_cols *ret, struct block_schema *ret_schema, size_t *ret_used)
{
    struct block__at at = { name, 0 };
    struct block__header h = { 0 };

    memcpy(&h, p, n < sizeof h ? n : sizeof h);
    TRY(block__check_header(&h, n, at));
    const char *stored = (const char *)p + sizeof h;
    TRY(block__check_sum(&h, stored, at));
    char *raw = arena_alloc(a, (size_t)h.raw + BLOCK_PAD);
    if (h.codec) {
        TRY(block__unpack(&h, stored, codecs, raw, at));
    } else {
        memcpy(raw, stored, h.raw);
        memset(raw + h.raw, 0, BLOCK_PAD);
    }
    void *array[2] = { arena_alloc(a, block__array_bytes(&h, 0)), arena_alloc(a, block__array_bytes(&h, 1)) };
    TRY(block__columns(&h, raw, array, at, ret));
    *ret_schema = (struct block_schema){ h.key, h.val };
    *ret_used = sizeof h + h.stored;
    return NULL;
}
