/* buf -- see buf.h */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they lie in memory");

void
buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){ 0 };
}

char *
buf_room(struct buf *b, size_t n)
{
    if (b->cap - b->n < n || !b->p) { /* also for no bytes: NULL + 0 is no pointer */
        size_t cap = b->cap * 2 > b->n + n ? b->cap * 2 : b->n + n + 64;

        b->p = realloc(b->p, cap);
        if (!b->p)
            abort();
        b->cap = cap;
    }
    return b->p + b->n;
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
    if (n) {
        memcpy(buf_room(b, n), p, n);
        b->n += n;
    }
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    vsnprintf(buf_room(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
    va_end(again);
    b->n += (size_t)n;
}

/* Length of the UTF-8 sequence at p (n bytes left), 0 if it is none.  Unicode 15, table 3-7. */
static size_t
utf8_len(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char lo, hi, first_lo, first_hi, len;
    } rows[] = {
        { 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
        { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
        { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (p[0] < rows[i].lo || p[0] > rows[i].hi)
            continue;
        if (rows[i].len > n)
            return 0;
        for (size_t k = 1; k < rows[i].len; k++) {
            unsigned char lo = k == 1 ? rows[i].first_lo : 0x80, hi = k == 1 ? rows[i].first_hi : 0xbf;

            if (p[k] < lo || p[k] > hi)
                return 0;
        }
        return rows[i].len;
    }
    return 0;
}

void
buf_json(struct buf *b, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s, *end = p + n;

    buf_put(b, "\"", 1);
    while (p < end) {
        size_t len = utf8_len(p, (size_t)(end - p));

        if (len == 0) {
            buf_put(b, "\\ufffd", 6);
            len = 1;
        } else if (*p == '"' || *p == '\\') {
            char esc[2] = { '\\', (char)*p };

            buf_put(b, esc, 2);
        } else if (*p < 0x20 || *p == 0x7f) {
            buf_printf(b, "\\u%04x", *p);
        } else {
            buf_put(b, p, len);
        }
        p += len;
    }
    buf_put(b, "\"", 1);
}

void
put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

void
put_u32(struct buf *b, uint32_t v)
{
    buf_put(b, &v, 4);
}

void
put_u64(struct buf *b, uint64_t v)
{
    buf_put(b, &v, 8);
}

void
put_f64(struct buf *b, double v)
{
    buf_put(b, &v, 8);
}

void
put_bytes(struct buf *b, const void *p, size_t n)
{
    ASSERT(n <= UINT32_MAX);
    put_u32(b, (uint32_t)n);
    buf_put(b, p, n);
}

void
put_str(struct buf *b, const char *s)
{
    put_bytes(b, s, s ? strlen(s) : 0);
}

static void
get_raw(struct get *g, void *to, size_t n)
{
    if (g->bad || (size_t)(g->end - g->p) < n) {
        g->bad = true;
        memset(to, 0, n);
        return;
    }
    memcpy(to, g->p, n);
    g->p += n;
}

uint8_t
get_u8(struct get *g)
{
    uint8_t v;

    get_raw(g, &v, sizeof v);
    return v;
}

uint32_t
get_u32(struct get *g)
{
    uint32_t v;

    get_raw(g, &v, sizeof v);
    return v;
}

uint64_t
get_u64(struct get *g)
{
    uint64_t v;

    get_raw(g, &v, sizeof v);
    return v;
}

double
get_f64(struct get *g)
{
    double v;

    get_raw(g, &v, sizeof v);
    return v;
}

const char *
get_bytes(struct get *g, size_t *ret_n)
{
    size_t n = get_u32(g);

    *ret_n = 0;
    if (g->bad || (size_t)(g->end - g->p) < n) {
        g->bad = true;
        return NULL;
    }
    const char *p = g->p;
    g->p += n;
    *ret_n = n;
    return p;
}

char *
get_str(struct get *g, struct arena *a)
{
    size_t n;
    const char *p = get_bytes(g, &n);

    if (n && memchr(p, 0, n)) {
        g->bad = true;
        n = 0;
    }
    return arena_memdup(a, p, n);
}

uint32_t
get_count(struct get *g, size_t each)
{
    uint32_t n = get_u32(g);

    if (!g->bad && each && n > (size_t)(g->end - g->p) / each)
        g->bad = true;
    return g->bad ? 0 : n;
}
