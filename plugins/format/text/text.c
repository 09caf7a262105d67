/* text -- see text.h */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scan.h"

static size_t
text_whole(const char *p, size_t n)
{
    const char *q = n ? memrchr(p, '\n', n) : NULL;

    return q ? (size_t)(q + 1 - p) : 0;
}

static size_t
text_first(const char *p, size_t n, size_t from)
{
    const char *q = from < n ? memchr(p + from, '\n', n - from) : NULL;

    return q ? (size_t)(q + 1 - p) : 0;
}

static uint32_t
text_cut(const char *p, size_t n, uint32_t max, struct block_str *rows, size_t *ret_used)
{
    uint32_t k = 0;
    size_t start = 0;

    for (size_t at = 0; at < n; at += 64) {
        uint64_t ends = scan_eq64(p + at, '\n');

        if (n - at < 64)
            ends &= (1ull << (n - at)) - 1;
        for (; ends; ends &= ends - 1) {
            size_t end = at + (size_t)__builtin_ctzll(ends);

            rows[k++] = (struct block_str){ p + start, end - start };
            start = end + 1;
            if (k == max) {
                *ret_used = start;
                return k;
            }
        }
    }
    if (start < n)
        rows[k++] = (struct block_str){ p + start, n - start };
    *ret_used = n;
    return k;
}

/* Decimal digits of v before end, two at a time; returns where they begin. */
static char *
digits(char *end, uint64_t v)
{
    static const char two[] =
        "0001020304050607080910111213141516171819"
        "2021222324252627282930313233343536373839"
        "4041424344454647484950515253545556575859"
        "6061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";

    for (; v >= 100; v /= 100)
        memcpy(end -= 2, two + v % 100 * 2, 2);
    if (v >= 10)
        return memcpy(end - 2, two + v * 2, 2);
    *--end = (char)('0' + v);
    return end;
}

/* The shortest of %.15g .. %.17g that reads back as the same number. */
static size_t
real(char *to, size_t cap, double d)
{
    int n = 0;

    if (d != d)
        return (size_t)snprintf(to, cap, "nan");
    for (int precision = 15; precision <= 17; precision++) {
        n = snprintf(to, cap, "%.*g", precision, d);
        if (strtod(to, NULL) == d)
            break;
    }
    return (size_t)n;
}

static void
put_cell(struct buf *out, uint8_t kind, const void *col, uint32_t i, char end)
{
    char tmp[40], *e = tmp + sizeof tmp, *p = e;
    const uint64_t bits = kind == BLOCK_STR ? 0 : ((const uint64_t *)col)[i];

    if (kind == BLOCK_STR) {
        struct block_str s = ((const struct block_str *)col)[i];
        char *to = buf_room(out, s.n + 1);

        if (s.n)
            memcpy(to, s.p, s.n);
        to[s.n] = end;
        out->n += s.n + 1;
        return;
    }
    if (kind == BLOCK_F64) {
        double d;

        memcpy(&d, &bits, 8);
        p = tmp;
        e = tmp + real(tmp, sizeof tmp - 1, d);
    } else if (kind == BLOCK_I64 && (int64_t)bits < 0) {
        p = digits(e, 0 - bits);
        *--p = '-';
    } else {
        p = digits(e, bits);
    }
    size_t n = (size_t)(e - p);
    char *to = buf_room(out, n + 1);
    memcpy(to, p, n);
    to[n] = end;
    out->n += n + 1;
}

static void
text_put(struct buf *out, struct block_schema s, const struct block_cols *rows, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        put_cell(out, s.key, rows->col[0], i, s.val ? '\t' : '\n');
        if (s.val)
            put_cell(out, s.val, rows->col[1], i, '\n');
    }
}

const struct flow_format format_text = {
    .name = "text", .whole = text_whole, .first = text_first, .cut = text_cut, .put = text_put,
};
