/* seal -- the stage becomes a block: the narrowest encoding of each column, packed if that helps, checksum. */
#include "block/block_priv.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t
block__checksum(const void *head, size_t head_n, const void *p, size_t n)
{
    return XXH3_64bits_withSeed(p, n, XXH3_64bits(head, head_n));
}

/* Bytes that hold every value up to max. */
static uint8_t
width_for(uint64_t max)
{
    return max <= UINT8_MAX ? 1 : max <= UINT16_MAX ? 2 : max <= UINT32_MAX ? 4 : 8;
}

/* Blocks lie anywhere in the buffer: columns are written as they come. */
typedef uint16_t loose16 __attribute__((aligned(1), may_alias));
typedef uint32_t loose32 __attribute__((aligned(1), may_alias));

#define NARROW(name, T, U)                                                          \
    static BLOCK__KERNEL void name(const U *restrict v, uint32_t n, U base,        \
                                   void *restrict out)                              \
    {                                                                               \
        T *restrict to = out;                                                       \
                                                                                    \
        for (uint32_t i = 0; i < n; i++)                                            \
            to[i] = (T)(v[i] - base);                                               \
    }
NARROW(narrow_64_8, uint8_t, uint64_t)
NARROW(narrow_64_16, loose16, uint64_t)
NARROW(narrow_64_32, loose32, uint64_t)
NARROW(narrow_32_8, uint8_t, uint32_t)
NARROW(narrow_32_16, loose16, uint32_t)

/* The bits in which the values are not alike. */
static BLOCK__KERNEL uint64_t
differ_64(const uint64_t *v, uint32_t n)
{
    uint64_t differ = 0;

    for (uint32_t i = 1; i < n; i++)
        differ |= v[i] ^ v[0];
    return differ;
}

/* The same for lengths, and those that any has. */
static BLOCK__KERNEL uint32_t
differ_32(const uint32_t *v, uint32_t n, uint32_t *ret_any)
{
    uint32_t any = n ? v[0] : 0, differ = 0;

    for (uint32_t i = 1; i < n; i++) {
        any |= v[i];
        differ |= v[i] ^ v[0];
    }
    *ret_any = any;
    return differ;
}

/* Distance of the largest from the smallest value; a rough one is enough when it is beyond 32 bits. */
static uint64_t
spread(const uint64_t *v, uint32_t n, uint64_t flip, uint64_t *ret_min)
{
    uint64_t lo = UINT64_MAX, hi = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t x = v[i] ^ flip;

        lo = x < lo ? x : lo;
        hi = x > hi ? x : hi;
        if (i % 64 == 63 && hi - lo > UINT32_MAX)
            break;
    }
    *ret_min = lo ^ flip;
    return hi - lo;
}

/* Width and base of a column of 8-byte values.  Most are counts, small and near each other: then the bits in
 * which they differ decide, and the bits they share are the base.  Only when that seems wide, or has both signs,
 * is the minimum looked for. */
static void
choose_values(const uint64_t *v, uint32_t n, uint8_t kind, uint8_t *ret_width, uint64_t *ret_base)
{
    uint64_t differ, first = n ? v[0] : 0;

    differ = differ_64(v, n);
    *ret_width = differ ? width_for(differ) : 0;
    *ret_base = differ ? first & ~((2ull << (63 - __builtin_clzll(differ))) - 1) : first;
    if (*ret_width <= 2)
        return;
    *ret_width = width_for(spread(v, n, kind == BLOCK_I64 ? 1ull << 63 : 0, ret_base));
    if (*ret_width == 8)
        *ret_base = 0;
}

static size_t
seal_values(const uint64_t *v, uint32_t n, uint8_t kind, struct block__column *c, char *out)
{
    choose_values(v, n, kind, &c->width, &c->base);
    if (c->width == 1)
        narrow_64_8(v, n, c->base, out);
    else if (c->width == 2)
        narrow_64_16(v, n, c->base, out);
    else if (c->width == 4)
        narrow_64_32(v, n, c->base, out);
    else if (c->width == 8)
        memcpy(out, v, 8 * (size_t)n);
    return (size_t)c->width * n;
}

static size_t
seal_strings(const struct block__stage_col *s, uint32_t n, struct block__column *c, char *out)
{
    uint32_t any, differ = differ_32(s->len, n, &any);

    c->width = differ ? width_for(any) : 0;
    c->base = differ || !n ? 0 : s->len[0];
    if (c->width == 1)
        narrow_32_8(s->len, n, 0, out);
    else if (c->width == 2)
        narrow_32_16(s->len, n, 0, out);
    else if (c->width == 4)
        memcpy(out, s->len, 4 * (size_t)n);
    size_t head = (size_t)c->width * n, at = block__align8(head);
    memset(out + head, 0, at - head);
    if (s->n)
        memcpy(out + at, s->bytes, s->n);
    return at + s->n;
}

size_t
block__seal_bound(const struct block__stage *s)
{
    size_t n = sizeof(struct block__header);

    for (int i = 0; i < 2; i++)
        n += 8 * (size_t)s->rows + s->col[i].n + 16;
    return n;
}

/* The columns of s at out; returns their bytes. */
static size_t
seal_columns(const struct block__stage *s, struct block__header *h, char *out)
{
    size_t at = 0;

    for (int i = 0; i < 2; i++) {
        uint8_t kind = i ? s->schema.val : s->schema.key;
        size_t n = 0, pad = block__align8(at) - at;

        if (!kind)
            continue;
        memset(out + at, 0, pad);
        at += pad;
        if (kind == BLOCK_STR)
            n = seal_strings(&s->col[i], s->rows, &h->col[i], out + at);
        else
            n = seal_values(s->col[i].v, s->rows, kind, &h->col[i], out + at);
        h->col[i].size = (uint32_t)n;
        at += n;
    }
    return at;
}

/* The n raw bytes at raw become the stored bytes at to, which has room for n; returns how many. */
static size_t
pack(const struct block_codec *codec, const char *raw, size_t n, struct buf *out, uint8_t *ret_codec)
{
    size_t cap = codec->bound(n);
    size_t got = n ? codec->pack(raw, n, buf_room(out, cap), cap) : 0;

    *ret_codec = 0;
    if (got && got < n - n / 16 && n / BLOCK__RATIO_MAX <= got) {
        *ret_codec = codec->id;
        out->n += got;
        return got;
    }
    buf_put(out, raw, n);
    return n;
}

struct block__header
block__seal(const struct block__stage *s, const struct block_codec *codec, struct buf *scratch,
            struct buf *out)
{
    struct block__header h = { .magic = BLOCK__MAGIC, .version = BLOCK__VERSION, .key = s->schema.key,
                               .val = s->schema.val, .rows = s->rows };
    size_t start = out->n;

    buf_room(out, block__seal_bound(s));
    out->n += sizeof h;
    if (codec) {
        scratch->n = 0;
        h.raw = (uint32_t)seal_columns(s, &h, buf_room(scratch, block__seal_bound(s)));
        h.stored = (uint32_t)pack(codec, scratch->p, h.raw, out, &h.codec);
    } else {
        h.raw = h.stored = (uint32_t)seal_columns(s, &h, out->p + out->n);
        out->n += h.raw;
    }
    h.checksum = block__checksum(&h, offsetof(struct block__header, checksum),
                                 out->p + start + sizeof h, h.stored);
    memcpy(out->p + start, &h, sizeof h);
    return h;
}
