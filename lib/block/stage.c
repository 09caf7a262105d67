/* stage -- rows are copied into growing columns, a batch at a time. */
#include <stdlib.h>

#include "block/block_priv.h"
#include "block/order.h"

enum { SLACK = 64 }; /* short strings are copied 16 bytes at a time */

static const char nothing[16];

void
block__stage_init(struct block__stage *s, struct block_schema schema)
{
    *s = (struct block__stage){ .schema = schema };
}

void
block__stage_fini(struct block__stage *s)
{
    for (int i = 0; i < 2; i++) {
        free(s->col[i].v);
        free(s->col[i].len);
        free(s->col[i].bytes);
    }
    block__stage_init(s, s->schema);
}

void
block__stage_clear(struct block__stage *s)
{
    s->rows = 0;
    s->raw = 0;
    s->col[0].n = s->col[1].n = 0;
}

size_t
block__stage_held(const struct block__stage *s)
{
    size_t n = 0;

    for (int i = 0; i < 2; i++)
        n += s->col[i].cap + (s->col[i].v ? 8 * (size_t)s->rows_cap : 0)
             + (s->col[i].len ? 4 * (size_t)s->rows_cap : 0);
    return n;
}

static void *
grow(void *p, size_t n)
{
    p = realloc(p, n);
    if (!p)
        abort();
    return p;
}

static uint8_t
kind_of(const struct block__stage *s, int i)
{
    return i ? s->schema.val : s->schema.key;
}

/* Room for `rows` rows in all, never more than `most`. */
static void
need_rows(struct block__stage *s, uint32_t rows, uint32_t most)
{
    if (rows <= s->rows_cap)
        return;
    uint32_t cap = s->rows_cap ? s->rows_cap * 2 : 64;
    cap = cap < rows ? rows : cap > most ? most : cap;
    for (int i = 0; i < 2; i++) {
        struct block__stage_col *c = &s->col[i];

        if (kind_of(s, i) == BLOCK_STR)
            c->len = grow(c->len, 4 * (size_t)cap);
        else if (kind_of(s, i))
            c->v = grow(c->v, 8 * (size_t)cap);
    }
    s->rows_cap = cap;
}

static void
need_bytes(struct block__stage_col *c, size_t n, size_t most)
{
    if (c->n + n + SLACK <= c->cap)
        return;
    size_t cap = c->cap ? c->cap * 2 : 1024;
    if (cap > most + SLACK)
        cap = most + SLACK;
    if (cap < c->n + n + SLACK)
        cap = c->n + n + SLACK;
    c->bytes = grow(c->bytes, cap);
    c->cap = cap;
}

static size_t
sum_lengths(const struct block_str *v, uint32_t from, uint32_t to)
{
    size_t sum = 0;

    for (uint32_t i = from; i < to; i++)
        sum += v[i].n;
    return sum;
}

static size_t
row_bytes(const struct block__stage *s, const struct block_cols *cols, uint32_t i)
{
    size_t n = 0;

    for (int k = 0; k < 2; k++)
        if (kind_of(s, k) == BLOCK_STR)
            n += 8 + ((const struct block_str *)cols->col[k])[i].n;
        else if (kind_of(s, k))
            n += 8;
    return n;
}

/* How many rows from `from` on fit: all of them at the price of one look at each length, which is the common
 * case, or as many as a walk finds. */
static uint32_t
fitting(const struct block__stage *s, const struct block_cols *cols, uint32_t from, uint32_t to, size_t room,
        size_t *ret_raw)
{
    size_t all = 0;

    for (int k = 0; k < 2; k++) {
        if (kind_of(s, k))
            all += 8 * (size_t)(to - from);
        if (kind_of(s, k) == BLOCK_STR)
            all += sum_lengths(cols->col[k], from, to);
    }
    *ret_raw = all;
    if (all <= room)
        return to;
    *ret_raw = 0;
    for (; from < to; from++) {
        size_t n = row_bytes(s, cols, from);

        if (*ret_raw + n > room)
            break;
        *ret_raw += n;
    }
    return from;
}

static void
put_strings(struct block__stage_col *c, uint32_t at, const struct block_str *v, uint32_t n)
{
    char *to = c->bytes + c->n;
    uint32_t *len = c->len + at;

    for (uint32_t i = 0; i < n; i++) {
        size_t k = v[i].n;
        const char *p = k ? v[i].p : nothing;

        len[i] = (uint32_t)k;
        memcpy(to, p, 16);
        if (__builtin_expect(k > 16, 0))
            memcpy(to + 16, p + 16, k - 16);
        to += k;
    }
    c->n = (size_t)(to - c->bytes);
}

struct err *
block__stage_put(struct block__stage *s, const struct block_cols *cols, uint32_t from, uint32_t to,
                 uint32_t rows_max, size_t raw_max, uint32_t *ret_to)
{
    size_t raw, room = s->raw < raw_max ? raw_max - s->raw : 0;

    if (to - from > rows_max - s->rows)
        to = from + (rows_max - s->rows);
    uint32_t end = fitting(s, cols, from, to, room, &raw);
    if (end == from && s->rows == 0 && from < to) {
        raw = row_bytes(s, cols, from);
        if (raw > BLOCK_RAW_MAX)
            return err_new(ERR_LIMIT, "a record of %zu bytes is larger than a block can be (%d bytes)", raw,
                           BLOCK_RAW_MAX);
        end = from + 1;
    }
    *ret_to = end;
    uint32_t n = end - from;
    if (n == 0)
        return NULL;
    need_rows(s, s->rows + n, rows_max);
    for (int k = 0; k < 2; k++) {
        struct block__stage_col *c = &s->col[k];

        if (kind_of(s, k) == BLOCK_STR) {
            const struct block_str *v = (const struct block_str *)cols->col[k] + from;

            need_bytes(c, raw, raw_max);
            put_strings(c, s->rows, v, n);
        } else if (kind_of(s, k)) {
            memcpy(c->v + s->rows, (const char *)cols->col[k] + 8 * (size_t)from, 8 * (size_t)n);
        }
    }
    s->rows += n;
    s->raw += raw;
    return NULL;
}

/* The digest reads the stage, not the rows: what was just copied is near. */
struct reader {
    const uint64_t *v;
    const uint32_t *len;
    const char *p;
};

static inline __attribute__((always_inline)) uint64_t
next_cell(struct reader *r, int kind, uint32_t i)
{
    uint64_t lo, hi;

    if (kind == BLOCK_NONE)
        return 0;
    if (kind != BLOCK_STR)
        return r->v[i];
    const char *p = r->p;
    size_t n = r->len[i];
    r->p += n;
    if (__builtin_expect(n > 16, 0))
        return hash_long(p, n);
    block_words(p, n, &lo, &hi);
    return hash_short(lo, hi, n);
}

static inline __attribute__((always_inline)) uint64_t
digest(const struct block__stage *s, int key, int val)
{
    struct reader k = { s->col[0].v, s->col[0].len, s->col[0].bytes };
    struct reader v = { s->col[1].v, s->col[1].len, s->col[1].bytes };
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->rows; i++) {
        uint64_t a = next_cell(&k, key, i), b = next_cell(&v, val, i);

        sum += hash_fold(a ^ HASH_S0, b ^ HASH_S1);
    }
    return sum;
}

uint64_t
block__stage_digest(const struct block__stage *s)
{
    if (s->schema.val == BLOCK_NONE)
        return s->schema.key == BLOCK_STR ? digest(s, BLOCK_STR, BLOCK_NONE) : digest(s, BLOCK_U64, BLOCK_NONE);
    if (s->schema.val == BLOCK_STR)
        return s->schema.key == BLOCK_STR ? digest(s, BLOCK_STR, BLOCK_STR) : digest(s, BLOCK_U64, BLOCK_STR);
    return s->schema.key == BLOCK_STR ? digest(s, BLOCK_STR, BLOCK_U64) : digest(s, BLOCK_U64, BLOCK_U64);
}
