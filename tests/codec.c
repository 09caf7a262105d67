/* Tests of plugins/codec: each codec by its contract, on good and on damaged bytes. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "block/block.h"
#include "codec/lz4/lz4.h"
#include "codec/template/template.h"
#include "codec/zlib/zlib.h"
#include "unit.h"

static const struct block_codec *const codecs[] = { &codec_lz4, &codec_zlib, &codec_template, NULL };

static uint64_t
next_random(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15ull;
    return hash_u64(*s);
}

/* n bytes: random, in runs, or like words. */
static char *
bytes(size_t n, int shape, uint64_t seed)
{
    char *p = malloc(n + 8);
    uint64_t r = 0;

    for (size_t i = 0; i < n; i++) {
        if (shape == 0 || i % (shape == 1 ? 50 : 3) == 0)
            r = next_random(&seed);
        p[i] = (char)(shape == 2 ? "etaoin shrdlu cmfwyp"[r % 20] : (char)r);
    }
    return p;
}

static void
blocks_come_back(void)
{
    static const size_t sizes[] = { 1, 2, 15, 1000, 65536, 300001 };

    for (int c = 0; codecs[c]; c++)
        for (int shape = 0; shape < 3; shape++)
            for (unsigned i = 0; i < 6; i++) {
                size_t n = sizes[i], cap = codecs[c]->bound(n);
                char *raw = bytes(n, shape, i), *packed = malloc(cap), *back = malloc(n + 1);
                size_t got = codecs[c]->pack(raw, n, packed, cap);

                CU_ASSERT_FATAL(got > 0 && got <= cap);
                if (n > 1000 && shape == 1)
                    CU_ASSERT(got < n / 4);
                back[n] = 0x5a;
                CU_ASSERT(codecs[c]->unpack(packed, got, back, n));
                CU_ASSERT(!memcmp(back, raw, n) && back[n] == 0x5a);
                free(raw);
                free(packed);
                free(back);
            }
}

static void
no_room_is_no_error(void)
{
    for (int c = 0; codecs[c]; c++) {
        char *raw = bytes(1000, 0, 1), packed[900];

        EQ_U64(codecs[c]->pack(raw, 1000, packed, sizeof packed), 0);
        free(raw);
    }
}

/* Wrong lengths are refused; damaged bytes never leave their place (ASan looks, and the guard byte). */
static void
damaged_blocks_are_refused(void)
{
    for (int c = 0; codecs[c]; c++) {
        size_t n = 3000, cap = codecs[c]->bound(n);
        char *raw = bytes(n, 1, 7), *packed = malloc(cap), *back = malloc(n + 2);
        size_t got = codecs[c]->pack(raw, n, packed, cap);
        uint64_t seed = 5;

        CU_ASSERT(!codecs[c]->unpack(packed, got, back, n + 1));
        CU_ASSERT(!codecs[c]->unpack(packed, got, back, n - 1));
        CU_ASSERT(!codecs[c]->unpack(packed, got - 1, back, n));
        for (int i = 0; i < 2000; i++) {
            size_t cut = 1 + next_random(&seed) % got;
            char *copy = malloc(cut);

            memcpy(copy, packed, cut);
            copy[next_random(&seed) % cut] ^= (char)(1 << next_random(&seed) % 8);
            back[n] = 0x5a;
            (void)codecs[c]->unpack(copy, cut, back, n);
            CU_ASSERT(back[n] == 0x5a);
            free(copy);
        }
        free(raw);
        free(packed);
        free(back);
    }
}

/* Rows through a run with each codec. */
static void
runs_are_packed(void)
{
    enum { N = 20000 };
    uint64_t *v = malloc(8 * N);

    for (uint64_t i = 0; i < N; i++)
        v[i] = i * i / 64 * 64;
    for (int c = 0; codecs[c]; c++) {
        struct block_run_opts o = { .schema = { BLOCK_U64, BLOCK_U64 }, .codec = codecs[c], .block_bytes = 9000 };
        struct block_cols cols = { .n = N, .col = { v, v } }, got;
        struct block_run_info info;
        struct block_writer *w = NULL;
        struct block_run *r = NULL;
        struct block_cursor *cur = NULL;
        uint32_t at = 0;
        int fd = memfd_create("codec", MFD_CLOEXEC);

        NO_ERR(block_writer_open(fd, "t", &o, &w));
        NO_ERR(block_put(w, &cols, 0, N));
        NO_ERR(block_writer_close(&w, &info));
        if (codecs[c] != &codec_template)
            CU_ASSERT(info.file_bytes < info.raw_bytes * 3 / 4);
        NO_ERR(block_run_open(fd, "t", codecs, &r));
        NO_ERR(block_cursor_open(r, 0, block_run_count(r), &cur));
        for (;;) {
            NO_ERR(block_cursor_next(cur, &got));
            if (got.n == 0)
                break;
            CU_ASSERT(!memcmp(got.col[0], v + at, 8 * got.n) && !memcmp(got.col[1], v + at, 8 * got.n));
            CU_ASSERT(block_cursor_held(cur) <= block_cursor_need(cur) + info.raw_bytes);
            at += got.n;
        }
        EQ_U64(at, N);
        block_cursor_close(cur);
        block_run_close(r);
        close(fd);
    }
    free(v);
}

/* ---- streams */

/* A file in memory that gives at most `chunk` bytes a pull. */
struct file {
    const char *p;
    size_t n, at, chunk;
    size_t fail_at; /* 0: never */
    bool ended;
};

static struct err *
pull(void *arg, void *p, size_t n, size_t *ret_n)
{
    struct file *f = arg;

    CU_ASSERT(!f->ended); /* nobody asks again behind the end */
    if (f->fail_at && f->at >= f->fail_at)
        return err_new(ERR_IO, "the disk is gone");
    n = n < f->chunk ? n : f->chunk;
    n = n < f->n - f->at ? n : f->n - f->at;
    memcpy(p, f->p + f->at, n);
    f->at += n;
    f->ended = n == 0;
    *ret_n = n;
    return NULL;
}

/* All that a stream gives, in reads of `step` bytes. */
static struct err *
read_all(const struct stream_codec *c, struct file *f, size_t step, struct buf *out)
{
    struct stream_source src = { pull, f, "in.gz" };
    void *s = NULL;
    size_t got = 1;

    TRY(c->open(&src, &s));
    struct err *e = NULL;
    while (!e && got) {
        e = c->read(s, buf_room(out, step), step, &got);
        if (!e)
            out->n += got;
    }
    if (!e) { /* the end stays the end */
        e = c->read(s, buf_room(out, step), step, &got);
        EQ_U64(got, 0);
    }
    c->close(s);
    return e;
}

/* p as a gzip member behind out; with a name and a comment in its header if asked. */
static void
gzip(struct buf *out, const char *p, size_t n, bool named)
{
    z_stream z = { 0 };
    gz_header h = { .name = (Bytef *)"x.txt", .comment = (Bytef *)"none", .hcrc = 1 };

    CU_ASSERT_FATAL(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    if (named)
        deflateSetHeader(&z, &h);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (unsigned)n;
    z.next_out = (Bytef *)buf_room(out, n + 1000);
    z.avail_out = (unsigned)n + 1000;
    CU_ASSERT_FATAL(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out->n = (size_t)((char *)z.next_out - out->p);
    deflateEnd(&z);
}

static void
is_text(const struct stream_codec *c, const struct buf *packed, const struct buf *text, size_t chunk, size_t step)
{
    struct file f = { packed->p, packed->n, .chunk = chunk };
    struct buf out = { 0 };

    NO_ERR(read_all(c, &f, step, &out));
    EQ_U64(out.n, text->n);
    CU_ASSERT(out.n == text->n && (!text->n || !memcmp(out.p, text->p, out.n)));
    buf_fini(&out);
}

static void
gzip_members_are_one_file(void)
{
    struct buf packed = { 0 }, text = { 0 };

    for (int i = 0; i < 5; i++) {
        size_t n = i == 2 ? 0 : 3000 * (size_t)i + 1;
        char *p = bytes(n, 2, (uint64_t)i);

        gzip(&packed, p, n, i % 2);
        buf_put(&text, p, n);
        free(p);
        is_text(&codec_gzip, &packed, &text, 1 << 20, 1 << 20);
        is_text(&codec_gzip, &packed, &text, 1, 1000);
        is_text(&codec_gzip, &packed, &text, 100, 1);
    }
    buf_put(&packed, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15); /* padding of a tape */
    is_text(&codec_gzip, &packed, &text, 7, 999);
    buf_fini(&packed);
    buf_fini(&text);
}

static void
gzip_says_where_it_is_cut(void)
{
    struct buf packed = { 0 };
    char *p = bytes(500, 2, 1), want[100];

    gzip(&packed, p, 500, true);
    size_t one = packed.n;
    gzip(&packed, p, 500, false);
    for (size_t n = 0; n < packed.n; n++) {
        struct file f = { packed.p, n, .chunk = n % 13 + 1 };
        struct buf out = { 0 };

        if (n == one) {
            NO_ERR(read_all(&codec_gzip, &f, 64, &out));
        } else {
            snprintf(want, sizeof want, "\"in.gz\" is cut: it ends at byte offset %zu", n);
            IS_ERR(read_all(&codec_gzip, &f, 64, &out), ERR_CORRUPT, want);
        }
        buf_fini(&out);
    }
    buf_fini(&packed);
    free(p);
}

static void
gzip_finds_damage(void)
{
    struct buf packed = { 0 };
    char *p = bytes(500, 2, 1);
    unsigned missed = 0;

    gzip(&packed, p, 500, false);
    for (size_t i = 0; i < packed.n; i++) {
        struct file f = { packed.p, packed.n, .chunk = 1000 };
        struct buf out = { 0 };

        packed.p[i] ^= 0x10;
        struct err *e = read_all(&codec_gzip, &f, 64, &out);
        if (e)
            IS_ERR(e, ERR_CORRUPT, "\"in.gz\"");
        else
            missed++; /* time stamp, operating system, hints: nothing that matters */
        packed.p[i] ^= 0x10;
        buf_fini(&out);
    }
    CU_ASSERT(missed <= 8);
    struct file f = { packed.p, packed.n, .chunk = 1000 };
    struct buf out = { 0 };
    packed.p[packed.n - 6] ^= 1;
    IS_ERR(read_all(&codec_gzip, &f, 64, &out), ERR_CORRUPT, "\"in.gz\" is damaged near byte offset");
    buf_fini(&out);
    buf_fini(&packed);
    free(p);
}

static void
gzip_refuses_what_follows(void)
{
    struct buf packed = { 0 }, out = { 0 };
    char want[100];

    gzip(&packed, "hello", 5, false);
    size_t one = packed.n;
    buf_put(&packed, "garbage", 7);
    struct file f = { packed.p, packed.n, .chunk = 1000 };
    snprintf(want, sizeof want, "\"in.gz\" has something that is not gzip behind its end, at byte offset %zu", one);
    IS_ERR(read_all(&codec_gzip, &f, 64, &out), ERR_CORRUPT, want);
    EQ_U64(out.n, 5);
    packed.n = one;
    buf_put(&packed, "\0\0\x1f\x8b", 4);
    f = (struct file){ packed.p, packed.n, .chunk = 1000 };
    IS_ERR(read_all(&codec_gzip, &f, 64, &out), ERR_CORRUPT, "has something that is not gzip behind its end");
    f = (struct file){ "plain text", 10, .chunk = 1000 };
    IS_ERR(read_all(&codec_gzip, &f, 64, &out), ERR_CORRUPT, "\"in.gz\" is damaged near byte offset");
    buf_fini(&packed);
    buf_fini(&out);
}

static void
gzip_hands_errors_on(void)
{
    struct buf packed = { 0 }, out = { 0 };
    char *p = bytes(200000, 0, 1);

    gzip(&packed, p, 200000, false);
    struct file f = { packed.p, packed.n, .chunk = 1000, .fail_at = 100000 };
    IS_ERR(read_all(&codec_gzip, &f, 4096, &out), ERR_IO, "the disk is gone");
    CU_ASSERT(out.n > 90000 && out.n < 110000 && !memcmp(out.p, p, out.n));
    codec_gzip.close(NULL);
    buf_fini(&packed);
    buf_fini(&out);
    free(p);
}

static void
template_stream(void)
{
    struct buf packed = { 0 }, text = { 0 }, out = { 0 };

    buf_put(&packed, "RUN1\3a\1b\377c", 10);
    buf_put(&text, "aaab", 4);
    memset(buf_room(&text, 255), 'c', 255);
    text.n += 255;
    is_text(&codec_template_stream, &packed, &text, 1, 2);
    is_text(&codec_template_stream, &packed, &text, 100, 1000);
    struct file f = { packed.p, 9, .chunk = 3 };
    IS_ERR(read_all(&codec_template_stream, &f, 10, &out), ERR_CORRUPT, "\"in.gz\" is cut at byte offset 9");
    f = (struct file){ "RUN2xx", 6, .chunk = 3 };
    IS_ERR(read_all(&codec_template_stream, &f, 10, &out), ERR_CORRUPT, "does not begin with RUN1");
    f = (struct file){ "RUN1\0x", 6, .chunk = 3 };
    IS_ERR(read_all(&codec_template_stream, &f, 10, &out), ERR_CORRUPT, "empty run at byte offset 4");
    buf_fini(&packed);
    buf_fini(&text);
    buf_fini(&out);
}

int
main(int argc, char **argv)
{
    static const struct unit_test tests[] = {
        { "block.come_back", blocks_come_back },
        { "block.no_room_is_no_error", no_room_is_no_error },
        { "block.damaged_are_refused", damaged_blocks_are_refused },
        { "block.runs_are_packed", runs_are_packed },
        { "gzip.members_are_one_file", gzip_members_are_one_file },
        { "gzip.says_where_it_is_cut", gzip_says_where_it_is_cut },
        { "gzip.finds_damage", gzip_finds_damage },
        { "gzip.refuses_what_follows", gzip_refuses_what_follows },
        { "gzip.hands_errors_on", gzip_hands_errors_on },
        { "template.stream", template_stream },
        UNIT_END,
    };

    return unit_main(argc, argv, "codec", tests);
}
