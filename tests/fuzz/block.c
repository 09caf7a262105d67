/* Fuzz target: bytes as a run, as a block, and as damage to good ones.  Checksums are mended, or nothing would be
 * reached behind them.  Whatever is read must be inside its buffers, and what is valid must read back as written. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "block/block_priv.h"
#include "block/order.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Zeroes at the end are not stored. */
static size_t
trim_bound(size_t n)
{
    return n;
}

static size_t
trim_pack(const void *src, size_t n, void *dst, size_t cap)
{
    while (n && !((const char *)src)[n - 1])
        n--;
    memcpy(dst, src, n);
    return n;
}

static bool
trim_unpack(const void *src, size_t n, void *dst, size_t want)
{
    if (n > want)
        return false;
    memcpy(dst, src, n);
    memset((char *)dst + n, 0, want - n);
    return true;
}

static const struct block_codec trim = { "trim", 200, trim_bound, trim_pack, trim_unpack };
static const struct block_codec *const codecs[] = { &trim, NULL };

static volatile uint64_t sum; /* of what was touched, so that it is */

static void
touch(struct block_schema s, const struct block_cols *c)
{

    for (int k = 0; k < 2; k++) {
        uint8_t kind = k ? s.val : s.key;

        for (uint32_t i = 0; kind && i < c->n; i++) {
            if (kind != BLOCK_STR) {
                sum += ((const uint64_t *)c->col[k])[i];
                continue;
            }
            const struct block_str v = ((const struct block_str *)c->col[k])[i];
            sum += (uint64_t)(unsigned char)v.p[0] + (unsigned char)v.p[v.n + BLOCK_PAD - 1];
            sum += v.n > 1 ? (unsigned char)v.p[v.n / 2] : 0;
        }
    }
}

static void
mend_block(char *p, size_t left, size_t *ret_used)
{
    struct block__header h;

    *ret_used = left;
    if (left < sizeof h)
        return;
    memcpy(&h, p, sizeof h);
    if (h.stored > left - sizeof h)
        return;
    h.checksum = block__checksum(&h, offsetof(struct block__header, checksum), p + sizeof h, h.stored);
    memcpy(p, &h, sizeof h);
    *ret_used = sizeof h + h.stored;
}

static void
mend_run(char *p, size_t n)
{
    struct block__trailer t;
    size_t used, end;

    if (n < sizeof t)
        return;
    memcpy(&t, p + n - sizeof t, sizeof t);
    end = n - sizeof t;
    if (t.footer_bytes <= end)
        end -= t.footer_bytes;
    for (size_t at = 0; at < end; at += used)
        mend_block(p + at, end - at, &used);
    if (t.footer_bytes > n - sizeof t)
        return;
    t.checksum = block__checksum(&t, offsetof(struct block__trailer, checksum), p + end, t.footer_bytes);
    memcpy(p + n - sizeof t, &t, sizeof t);
}

/* Reads all; *ret_rows: until an error. */
static struct err *
read_run_by(const char *p, size_t n, bool ahead, uint64_t *ret_rows)
{
    struct block_run *r = NULL;
    struct block_cursor *c = NULL;
    struct block_cols cols = { .n = 1 };
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct err *e = file_write_full(fd, p, n, "fuzz");

    *ret_rows = 0;
    if (!e)
        e = block_run_open(fd, "fuzz", codecs, &r);
    for (uint32_t i = 0; !e && i < block_run_count(r); i++) {
        const struct block_entry *b = block_run_entry(r, i);
        uint32_t from, to;

        block_run_partition(r, b->partition, &from, &to);
        ASSERT(from <= i && i < to);
        for (uint32_t k = 0; k < b->first_n; k++)
            sum += (unsigned char)b->first[k];
    }
    if (!e)
        e = block_cursor_open(r, 0, block_run_count(r), &c);
    if (c)
        block_cursor_ahead(c, ahead);
    while (!e && cols.n) {
        e = block_cursor_next(c, &cols);
        if (!e) {
            touch(block_run_schema(r), &cols);
            *ret_rows += cols.n;
        }
    }
    if (!e)
        ASSERT(*ret_rows == block_run_totals(r)->rows);
    block_cursor_close(c);
    block_run_close(r);
    close(fd);
    return e;
}

/* Both ways, which must agree. */
static struct err *
read_run(const char *p, size_t n, uint64_t *ret_rows)
{
    uint64_t rows;
    struct err *e = read_run_by(p, n, false, ret_rows), *ahead = read_run_by(p, n, true, &rows);

    ASSERT(!e == !ahead && rows == *ret_rows);
    err_free(ahead);
    return e;
}

static struct err *
decode(const char *p, size_t n)
{
    struct arena a = { 0 };
    struct block_cols cols;
    struct block_schema s;
    size_t used;
    struct err *e = block_decode(p, n, "fuzz", codecs, &a, &cols, &s, &used);

    if (!e) {
        ASSERT(used <= n);
        touch(s, &cols);
    }
    arena_fini(&a);
    return e;
}

/* Rows made of the bytes of p: numbers, or slices of it. */
static void
make_rows(const uint8_t *p, size_t n, struct block_schema s, uint32_t rows, struct arena *a, struct block_cols *ret)
{
    char *text = arena_alloc(a, n + BLOCK_PAD);

    memcpy(text, p, n);
    memset(text + n, 0, BLOCK_PAD);
    *ret = (struct block_cols){ .n = rows };
    for (int k = 0; k < 2; k++) {
        uint8_t kind = k ? s.val : s.key;
        uint64_t *v = ARENA_ARRAY(a, uint64_t, rows + 1);
        struct block_str *str = ARENA_ARRAY(a, struct block_str, rows + 1);

        for (uint32_t i = 0; i < rows; i++) {
            size_t at = n ? (i * 7 + (unsigned)k) % n : 0, len = n - at < i % 40 ? n - at : i % 40;

            memcpy(&v[i], text + at, i % 9 < 8 ? i % 9 : 8);
            str[i] = (struct block_str){ text + at, len };
        }
        if (kind)
            ret->col[k] = kind == BLOCK_STR ? (const void *)str : v;
    }
}

static void
write_run(const struct block_run_opts *o, const struct block_cols *cols, struct buf *out)
{
    struct block_writer *w = NULL;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    struct err *e = block_writer_open(fd, "fuzz", o, &w);

    for (uint32_t i = 0; !e && i < cols->n; i++) {
        e = block_partition(w, i / 9);
        if (!e)
            e = block_put(w, cols, i, i + 1);
    }
    struct block_run_info info = { 0 };
    if (!e)
        e = block_writer_close(&w, &info);
    ASSERT(!e);
    e = file_pread_full(fd, buf_room(out, info.file_bytes), info.file_bytes, 0, "fuzz");
    ASSERT(!e);
    out->n = info.file_bytes;
    close(fd);
}

/* A good run or block, damaged at the places the input says. */
static void
damaged(const uint8_t *p, size_t n)
{
    if (n < 6)
        return;
    struct block_schema s = { p[0] % 4 + 1, p[1] % 5 };
    struct block_run_opts o = { .schema = s, .codec = p[2] & 1 ? &trim : NULL, .first_keys = p[2] & 2,
                                .block_bytes = 1 + p[3] * 8u };
    uint32_t rows = p[4], patches = p[5] % 8;
    struct arena a = { 0 };
    struct buf b = { 0 };
    struct block_cols cols;
    uint64_t got;
    bool run = p[2] & 4;

    p += 6;
    n -= 6;
    size_t used = 4 * (size_t)patches < n ? 4 * (size_t)patches : 0;
    make_rows(p + used, n - used, s, rows, &a, &cols);
    struct err *e = NULL;
    if (run)
        write_run(&o, &cols, &b);
    else
        e = block_encode(&o, &cols, &b);
    ASSERT(!e);
    e = run ? read_run(b.p, b.n, &got) : decode(b.p, b.n);
    ASSERT(!e && (!run || got == rows));
    for (size_t i = 0; i < used; i += 4)
        b.p[((size_t)p[i] << 8 | p[i + 1]) % b.n] = (char)(p[i + 2] ^ p[i + 3]);
    if (run) {
        mend_run(b.p, b.n);
        err_free(read_run(b.p, b.n, &got));
    } else {
        mend_block(b.p, b.n, &used);
        err_free(decode(b.p, b.n));
    }
    buf_fini(&b);
    arena_fini(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct buf b = { 0 };
    uint64_t rows;
    size_t used;

    if (n == 0)
        return 0;
    buf_put(&b, p + 1, n - 1);
    buf_room(&b, 1);
    if (p[0] % 4 == 0) {
        mend_run(b.p, b.n);
        err_free(read_run(b.p, b.n, &rows));
    } else if (p[0] % 4 == 1) {
        mend_block(b.p, b.n, &used);
        err_free(decode(b.p, b.n));
    } else {
        damaged(p + 1, n - 1);
    }
    buf_fini(&b);
    return 0;
}
