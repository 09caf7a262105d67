/* cursor -- reads the blocks of a run one at a time into buffers that it keeps. */
#include <stdlib.h>

#include "base/file.h"
#include "block/block_priv.h"

struct area {
    char *p;
    size_t n;
};

struct block_cursor {
    struct block_run *run;
    uint32_t next, to;
    struct area stored, raw, array[2];
};

struct err *
block_cursor_open(struct block_run *r, uint32_t from, uint32_t to, struct block_cursor **ret)
{
    ASSERT(from <= to && to <= block_run_count(r));
    struct block_cursor *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    *c = (struct block_cursor){ .run = r, .next = from, .to = to };
    *ret = c;
    return NULL;
}

static void
drop(struct area *a)
{
    free(a->p);
    *a = (struct area){ 0 };
}

static void
drop_all(struct block_cursor *c)
{
    drop(&c->stored);
    drop(&c->raw);
    drop(&c->array[0]);
    drop(&c->array[1]);
}

void
block_cursor_close(struct block_cursor *c)
{
    if (!c)
        return;
    drop_all(c);
    free(c);
}

/* At least n bytes, what was in it is gone; much too large is given back. */
static struct err *
area_need(struct area *a, size_t n, struct block__at at)
{
    if (n <= a->n && a->n <= 4 * n + (1 << 20))
        return NULL;
    drop(a);
    a->p = malloc(n);
    if (!a->p)
        return err_new(ERR_LIMIT, "no memory for %zu bytes of \"%s\"", n, at.name);
    a->n = n;
    return NULL;
}

static struct err *
read_block(struct block_cursor *c, const struct block_entry *e, struct block_cols *ret)
{
    struct block__at at = { block__run_name(c->run), e->offset };
    struct block__header h;

    TRY(area_need(&c->stored, (size_t)e->bytes + BLOCK_PAD, at));
    TRY(file_pread_full(block__run_fd(c->run), c->stored.p, e->bytes, e->offset, at.name));
    memset(c->stored.p + e->bytes, 0, BLOCK_PAD);
    memcpy(&h, c->stored.p, sizeof h);
    TRY(block__check_header(&h, e->bytes, at));
    TRY(block__check_entry(&h, e, block_run_schema(c->run), at));
    const char *raw = c->stored.p + sizeof h;
    TRY(block__check_sum(&h, raw, at));
    if (h.codec) {
        TRY(area_need(&c->raw, (size_t)h.raw + BLOCK_PAD, at));
        TRY(block__unpack(&h, raw, block__run_codecs(c->run), c->raw.p, at));
        raw = c->raw.p;
    }
    for (int i = 0; i < 2; i++)
        TRY(area_need(&c->array[i], block__array_bytes(&h, i), at));
    return block__columns(&h, raw, (void *const[]){ c->array[0].p, c->array[1].p }, at, ret);
}

struct err *
block_cursor_next(struct block_cursor *c, struct block_cols *ret)
{
    if (c->next == c->to) {
        drop_all(c);
        *ret = (struct block_cols){ 0 };
        return NULL;
    }
    const struct block_entry *e = block_run_entry(c->run, c->next);
    struct err *why = read_block(c, e, ret);
    for (unsigned nth = 0; why && why->code == ERR_CORRUPT && block__run_again(c->run, e, nth); nth++) {
        err_free(why);
        why = read_block(c, e, ret);
    }
    TRY(why);
    c->next++;
    return NULL;
}

struct block_schema
block_cursor_schema(const struct block_cursor *c)
{
    return block_run_schema(c->run);
}

size_t
block_cursor_held(const struct block_cursor *c)
{
    return sizeof *c + c->stored.n + c->raw.n + c->array[0].n + c->array[1].n;
}

size_t
block_cursor_need(const struct block_cursor *c)
{
    struct block_schema s = block_run_schema(c->run);
    size_t cell = block_cell(s.key) + block_cell(s.val), stored = 0, raw = 0;

    for (uint32_t i = c->next; i < c->to; i++) {
        const struct block_entry *e = block_run_entry(c->run, i);
        bool packed = e->bytes - sizeof(struct block__header) != e->raw_bytes;

        stored = e->bytes > stored ? e->bytes : stored;
        raw = packed && e->raw_bytes > raw ? e->raw_bytes : raw;
    }
    return sizeof *c + stored + raw + 2 * BLOCK_PAD + cell * block_cursor_rows(c);
}

uint32_t
block_cursor_rows(const struct block_cursor *c)
{
    uint32_t most = 0;

    for (uint32_t i = c->next; i < c->to; i++) {
        uint32_t n = block_run_entry(c->run, i)->rows;

        most = n > most ? n : most;
    }
    return most;
}
