/* Fuzz target: bytes as a gzip file, given in pieces of any size and read in pieces of any size; and as damage to
 * good members. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "codec/zlib/zlib.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct file {
    const char *p;
    size_t n, at, chunk;
    bool ended;
};

static struct err *
pull(void *arg, void *p, size_t n, size_t *ret_n)
{
    struct file *f = arg;

    ASSERT(n > 0 && !f->ended);
    n = n < f->chunk ? n : f->chunk;
    n = n < f->n - f->at ? n : f->n - f->at;
    if (n)
        memcpy(p, f->p + f->at, n);
    f->at += n;
    f->ended = n == 0;
    *ret_n = n;
    return NULL;
}

/* At most 1 MB of what it unpacks to, so that a bomb costs no time. */
static struct err *
read_all(const struct buf *b, size_t chunk, size_t step, struct buf *out)
{
    struct file f = { .p = b->p, .n = b->n, .chunk = chunk };
    struct stream_source src = { pull, &f, "fuzz.gz" };
    void *s = NULL;
    size_t got = 1;
    struct err *e = codec_gzip.open(&src, &s);

    while (!e && got && out->n < 1 << 20) {
        e = codec_gzip.read(s, buf_room(out, step), step, &got);
        if (!e) {
            ASSERT(got <= step);
            out->n += got;
        }
    }
    codec_gzip.close(s);
    return e;
}

static void
gzip(struct buf *out, const uint8_t *p, size_t n)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)p, .avail_in = (unsigned)n };

    ASSERT(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_out = (Bytef *)buf_room(out, n + 100);
    z.avail_out = (unsigned)n + 100;
    ASSERT(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out->n = (size_t)((char *)z.next_out - out->p);
    deflateEnd(&z);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct buf in = { 0 }, out = { 0 };

    if (n < 6)
        return 0;
    size_t chunk = p[1] + 1u, step = p[2] * 5u + 1;
    if (p[0] % 3 == 0) {
        buf_put(&in, p + 6, n - 6);
        err_free(read_all(&in, chunk, step, &out));
    } else {
        const uint8_t *text = p + 6;
        size_t half = (n - 6) / 2;

        gzip(&in, text, half);
        gzip(&in, text + half, n - 6 - half);
        struct err *e = read_all(&in, chunk, step, &out);
        ASSERT(!e && out.n == n - 6 && (!out.n || !memcmp(out.p, text, out.n)));
        in.p[((size_t)p[3] << 8 | p[4]) % in.n] ^= (char)p[5];
        if (p[0] % 3 == 2)
            in.n -= p[5] % in.n;
        out.n = 0;
        err_free(read_all(&in, chunk, step, &out));
    }
    buf_fini(&in);
    buf_fini(&out);
    return 0;
}
