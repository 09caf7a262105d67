/* template -- see template.h */
#include "template.h"

#include <inttypes.h>
#include <string.h>

enum { END = '\0', BETWEEN = '=' };

static size_t
template_whole(const char *p, size_t n)
{
    const char *q = n ? memrchr(p, END, n) : NULL;

    return q ? (size_t)(q + 1 - p) : 0;
}

static size_t
template_first(const char *p, size_t n, size_t from)
{
    const char *q = from < n ? memchr(p + from, END, n - from) : NULL;

    return q ? (size_t)(q + 1 - p) : 0;
}

static uint32_t
template_cut(const char *p, size_t n, uint32_t max, struct block_str *rows, size_t *ret_used)
{
    uint32_t k = 0;
    size_t at = 0;

    while (at < n && k < max) {
        const char *q = memchr(p + at, END, n - at);
        size_t end = q ? (size_t)(q - p) : n; /* the last record of a file may lack its end mark */

        rows[k++] = (struct block_str){ p + at, end - at };
        at = q ? end + 1 : n;
    }
    *ret_used = at;
    return k;
}

static void
put_cell(struct buf *out, uint8_t kind, const void *col, uint32_t i, char behind)
{
    switch (kind) {
    case BLOCK_STR: buf_put(out, ((const struct block_str *)col)[i].p, ((const struct block_str *)col)[i].n); break;
    case BLOCK_F64: buf_printf(out, "%.17g", ((const double *)col)[i]); break;
    case BLOCK_I64: buf_printf(out, "%" PRId64, ((const int64_t *)col)[i]); break;
    default: buf_printf(out, "%" PRIu64, ((const uint64_t *)col)[i]);
    }
    buf_put(out, &behind, 1);
}

static void
template_put(struct buf *out, struct block_schema s, const struct block_cols *rows, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        put_cell(out, s.key, rows->col[0], i, s.val ? BETWEEN : END);
        if (s.val)
            put_cell(out, s.val, rows->col[1], i, END);
    }
}

const struct flow_format format_template = {
    .name = "template", .whole = template_whole, .first = template_first, .cut = template_cut, .put = template_put,
};
