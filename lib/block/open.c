/* open -- from the bytes of a block to columns.  Nothing in it is believed before it is checked. */
#include "block/block_priv.h"

struct err *
block__corrupt(struct block__at at, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    struct err *e = err_newv(ERR_CORRUPT, fmt, ap);
    va_end(ap);
    return err_wrap_take(e, "block at byte %llu of \"%s\"", (unsigned long long)at.offset, at.name);
}

static uint8_t
kind_of(const struct block__header *h, int i)
{
    return i ? h->val : h->key;
}

static bool
width_valid(uint8_t kind, uint8_t width)
{
    return width == 0 || width == 1 || width == 2 || width == 4 || (width == 8 && kind != BLOCK_STR);
}

/* Does the header describe columns that fill its raw bytes? */
static struct err *
check_columns(const struct block__header *h, struct block__at at)
{
    uint64_t used = 0;

    for (int i = 0; i < 2; i++) {
        const struct block__column *c = &h->col[i];
        uint64_t head = (uint64_t)c->width * h->rows;

        if (!kind_of(h, i)) {
            if (c->width || c->size || c->base)
                return block__corrupt(at, "it has a column too many");
            continue;
        }
        if (!width_valid(kind_of(h, i), c->width) || c->zero[0] || c->zero[1] || c->zero[2])
            return block__corrupt(at, "column %d has the unknown encoding %u", i, c->width);
        if (kind_of(h, i) == BLOCK_STR ? c->size < block__align8(head) : c->size != head)
            return block__corrupt(at, "column %d has %u bytes, too few or too many for %u rows", i, c->size,
                                  h->rows);
        used = block__align8(used) + c->size;
    }
    if (used != h->raw)
        return block__corrupt(at, "its columns have %llu bytes, not %u", (unsigned long long)used, h->raw);
    return NULL;
}

struct err *
block__check_header(const struct block__header *h, size_t left, struct block__at at)
{
    struct block_schema schema = { h->key, h->val };

    if (left < sizeof *h)
        return block__corrupt(at, "its header is cut after %zu bytes", left);
    if (h->magic != BLOCK__MAGIC)
        return block__corrupt(at, "there is no block here: it begins with 0x%08x", h->magic);
    if (h->version != BLOCK__VERSION)
        return block__corrupt(at, "it has version %u, this program reads version %d", h->version,
                              BLOCK__VERSION);
    if (!block_schema_valid(schema) || h->zero)
        return block__corrupt(at, "its columns have the unknown kinds %u and %u", h->key, h->val);
    if (h->rows > BLOCK_ROWS_MAX || h->raw > BLOCK_RAW_MAX + 64u || h->stored > BLOCK_RAW_MAX + 64u
        || (h->codec ? h->stored >= h->raw || h->raw / BLOCK__RATIO_MAX > h->stored : h->stored != h->raw))
        return block__corrupt(at, "its sizes can't be (%u rows, %u bytes, %u unpacked)", h->rows, h->stored,
                              h->raw);
    if (h->stored > left - sizeof *h)
        return block__corrupt(at, "it has %u bytes, but only %zu are there", h->stored, left - sizeof *h);
    return check_columns(h, at);
}

struct err *
block__check_sum(const struct block__header *h, const void *stored, struct block__at at)
{
    uint64_t sum = block__checksum(h, offsetof(struct block__header, checksum), stored, h->stored);

    if (sum != h->checksum)
        return block__corrupt(at, "its checksum is 0x%016llx, not 0x%016llx", (unsigned long long)sum,
                              (unsigned long long)h->checksum);
    return NULL;
}

struct err *
block__unpack(const struct block__header *h, const void *stored, const struct block_codec *const *codecs,
              char *raw, struct block__at at)
{
    for (; codecs && *codecs; codecs++) {
        if ((*codecs)->id != h->codec)
            continue;
        if (!(*codecs)->unpack(stored, h->stored, raw, h->raw))
            return block__corrupt(at, "%s can't unpack it to %u bytes", (*codecs)->name, h->raw);
        memset(raw + h->raw, 0, BLOCK_PAD);
        return NULL;
    }
    return block__corrupt(at, "it is packed with codec %u, which this program does not have", h->codec);
}

size_t
block__array_bytes(const struct block__header *h, int i)
{
    uint8_t kind = kind_of(h, i);

    return kind != BLOCK_STR && h->col[i].width == 8 ? 0 : block_cell(kind) * h->rows;
}

#define WIDEN(bits, T)                                                              \
    static BLOCK__KERNEL void widen_##bits(const void *restrict from, uint32_t n,   \
                                           uint64_t base, uint64_t *restrict to)    \
    {                                                                               \
        const T *restrict v = from;                                                 \
                                                                                    \
        for (uint32_t i = 0; i < n; i++)                                            \
            to[i] = base + v[i];                                                    \
    }                                                                               \
    static BLOCK__KERNEL uint64_t sum_##bits(const void *from, uint32_t n)          \
    {                                                                               \
        const T *v = from;                                                          \
        uint64_t sum = 0;                                                           \
                                                                                    \
        for (uint32_t i = 0; i < n; i++)                                            \
            sum += v[i];                                                            \
        return sum;                                                                 \
    }                                                                               \
    static void slice_##bits(const void *restrict from, uint32_t n, uint64_t base,  \
                             const char *p, struct block_str *restrict to)          \
    {                                                                               \
        const T *restrict v = from;                                                 \
                                                                                    \
        for (uint32_t i = 0; i < n; i++) {                                          \
            size_t k = base + v[i];                                                 \
            to[i] = (struct block_str){ p, k };                                     \
            p += k;                                                                 \
        }                                                                           \
    }
WIDEN(8, uint8_t)
WIDEN(16, uint16_t)
WIDEN(32, uint32_t)

static const void *
values(const struct block__column *c, uint32_t rows, const char *raw, uint64_t *to)
{
    if (c->width == 8)
        return raw;
    if (c->width == 4)
        widen_32(raw, rows, c->base, to);
    else if (c->width == 2)
        widen_16(raw, rows, c->base, to);
    else if (c->width == 1)
        widen_8(raw, rows, c->base, to);
    else
        for (uint32_t i = 0; i < rows; i++)
            to[i] = c->base;
    return to;
}

static struct err *
strings(const struct block__column *c, uint32_t rows, const char *raw, struct block_str *to,
        struct block__at at)
{
    size_t head = block__align8((size_t)c->width * rows), bytes = c->size - head;
    const char *p = raw + head;
    uint64_t sum = c->width == 1   ? sum_8(raw, rows)
                   : c->width == 2 ? sum_16(raw, rows)
                   : c->width == 4 ? sum_32(raw, rows)
                                   : 0;

    if (c->base > bytes || c->base * rows + sum != bytes)
        return block__corrupt(at, "the lengths of its strings don't sum up to %zu bytes", bytes);
    if (c->width == 1)
        slice_8(raw, rows, c->base, p, to);
    else if (c->width == 2)
        slice_16(raw, rows, c->base, p, to);
    else if (c->width == 4)
        slice_32(raw, rows, c->base, p, to);
    else
        for (uint32_t i = 0; i < rows; i++)
            to[i] = (struct block_str){ p + i * c->base, c->base };
    return NULL;
}

struct err *
block__columns(const struct block__header *h, const char *raw, void *const array[2], struct block__at at,
               struct block_cols *ret)
{
    struct block_cols cols = { .n = h->rows };
    size_t off = 0;

    for (int i = 0; i < 2; i++) {
        const struct block__column *c = &h->col[i];

        if (!kind_of(h, i))
            continue;
        off = block__align8(off);
        if (kind_of(h, i) == BLOCK_STR) {
            TRY(strings(c, h->rows, raw + off, array[i], at));
            cols.col[i] = array[i];
        } else {
            cols.col[i] = values(c, h->rows, raw + off, array[i]);
        }
        off += c->size;
    }
    *ret = cols;
    return NULL;
}
