/*
 * cursor -- gives the blocks of a run one at a time from buffers that it keeps.
 *
 * Ahead, a system call reads four blocks of the usual size, or more that are smaller: the call itself costs as much as an
 * eighth of a block.  Beside a program that preads a MiB at a time bench/shuffle is at 0.75 with one block a call, 0.81 with
 * two, 0.83 with three, 0.85 with four.
 */
#include <stdlib.h>
#include <sys/uio.h>

#include "base/file.h"
#include "block/block_priv.h"

struct area {
    char *p;
    size_t n;
};

enum { AHEAD_MAX = 16 }; /* blocks a system call reads */

struct block_cursor {
    struct block_run *run;
    bool ahead;
    uint32_t next, to, have; /* blocks before `have` are in stored, */
    size_t at;               /* the next one here */
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

void
block_cursor_ahead(struct block_cursor *c, bool on)
{
    c->ahead = on;
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

/* Bytes of stored that a block takes: it begins at a multiple of 8 and has BLOCK_PAD bytes behind it. */
static size_t
place(const struct block_entry *e)
{
    return block__align8((size_t)e->bytes + BLOCK_PAD);
}

/* How many blocks the next system call reads; *ret_bytes: the memory they take. */
static uint32_t
together(const struct block_cursor *c, size_t *ret_bytes)
{
    uint32_t n = 0;
    size_t bytes = 0, more = place(block_run_entry(c->run, c->next));

    do {
        bytes += more;
        n++;
        more = c->next + n < c->to ? place(block_run_entry(c->run, c->next + n)) : 0;
    } while (c->ahead && more && n < AHEAD_MAX && bytes + more <= BLOCK_READ_BYTES);
    *ret_bytes = bytes;
    return n;
}

/* Reads the next block, or several if all is well with them. */
static struct err *
read_some(struct block_cursor *c, struct block__at at)
{
    struct iovec v[AHEAD_MAX];
    size_t bytes, all = 0;
    uint32_t n = together(c, &bytes);

    TRY(area_need(&c->stored, bytes, at));
    char *p = c->stored.p;
    for (uint32_t i = 0; i < n; i++) {
        const struct block_entry *e = block_run_entry(c->run, c->next + i);

        v[i] = (struct iovec){ p, e->bytes };
        memset(p + e->bytes, 0, place(e) - e->bytes);
        p += place(e);
        all += e->bytes;
    }
    if (n > 1 && preadv(block__run_fd(c->run), v, (int)n, (off_t)at.offset) != (ssize_t)all)
        n = 1;
    if (n == 1)
        TRY(file_pread_full(block__run_fd(c->run), c->stored.p, v[0].iov_len, at.offset, at.name));
    c->have = c->next + n;
    c->at = 0;
    return NULL;
}

static struct err *
read_block(struct block_cursor *c, const struct block_entry *e, struct block_cols *ret)
{
    struct block__at at = { block__run_name(c->run), e->offset };
    struct block__header h;

    if (c->next >= c->have)
        TRY(read_some(c, at));
    const char *raw = c->stored.p + c->at;
    memcpy(&h, raw, sizeof h);
    TRY(block__check_header(&h, e->bytes, at));
    TRY(block__check_entry(&h, e, block_run_schema(c->run), at));
    raw += sizeof h;
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
        c->have = c->next; /* the file has other bytes now */
        why = read_block(c, e, ret);
    }
    TRY(why);
    c->at += place(e);
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
    size_t cell = block_cell(s.key) + block_cell(s.val), all = 0, largest = 0, raw = 0;

    for (uint32_t i = c->next; i < c->to; i++) {
        const struct block_entry *e = block_run_entry(c->run, i);
        bool packed = e->bytes - sizeof(struct block__header) != e->raw_bytes;

        all += place(e);
        largest = place(e) > largest ? place(e) : largest;
        raw = packed && e->raw_bytes > raw ? e->raw_bytes : raw;
    }
    size_t stored = all < BLOCK_READ_BYTES ? all : BLOCK_READ_BYTES;
    stored = c->ahead && stored > largest ? stored : largest;
    return sizeof *c + stored + raw + BLOCK_PAD + cell * block_cursor_rows(c);
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
