/* gzip -- a file of gzip members as a stream of bytes. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "codec/zlib/zlib.h"

enum {
#ifdef TASKD_HOSTILE
    RAW = 7,
#else
    RAW = 64 << 10,
#endif
    STATE = 48 << 10, /* what inflate takes, about: its window and tables */
    GZIP = 16 + MAX_WBITS,
};

struct gzip {
    struct stream_source src;
    z_stream z;
    uint64_t pulled; /* bytes of the file so far; z.avail_in of them are still to be used */
    bool eof;        /* the source has no more */
    bool between;    /* members: the last one is whole */
    bool padding;    /* zeroes were seen between members */
    bool end;
    unsigned char raw[RAW];
};

static struct err *
gzip_open(const struct stream_source *src, void **ret)
{
    struct gzip *g = calloc(1, sizeof *g);

    if (!g)
        abort();
    g->src = *src;
    if (inflateInit2(&g->z, GZIP) != Z_OK) {
        free(g);
        return err_new(ERR_LIMIT, "no memory to unpack \"%s\"", src->name);
    }
    *ret = g;
    return NULL;
}

static void
gzip_close(void *stream)
{
    struct gzip *g = stream;

    if (!g)
        return;
    inflateEnd(&g->z);
    free(g);
}

static unsigned long long
offset(const struct gzip *g)
{
    return g->pulled - g->z.avail_in;
}

/* At least one byte in g->raw, or eof. */
static struct err *
pull(struct gzip *g)
{
    size_t n = 0;

    if (g->z.avail_in || g->eof)
        return NULL;
    TRY(g->src.pull(g->src.arg, g->raw, sizeof g->raw, &n));
    ASSERT(n <= sizeof g->raw);
    g->eof = n == 0;
    g->pulled += n;
    g->z.next_in = g->raw;
    g->z.avail_in = (unsigned)n;
    return NULL;
}

/* Behind a member: the end, padding, or another member. */
static struct err *
next_member(struct gzip *g)
{
    for (;;) {
        TRY(pull(g));
        if (g->eof) {
            g->end = true;
            return NULL;
        }
        if (*g->z.next_in != 0)
            break;
        g->padding = true;
        g->z.next_in++;
        g->z.avail_in--;
    }
    if (g->padding || *g->z.next_in != 0x1f)
        return err_new(ERR_CORRUPT, "\"%s\" has something that is not gzip behind its end, at byte offset %llu",
                       g->src.name, offset(g));
    g->between = false;
    inflateReset(&g->z);
    return NULL;
}

static struct err *
inflate_some(struct gzip *g)
{
    unsigned long long at = offset(g);
    int rc = inflate(&g->z, Z_NO_FLUSH);

    if (rc == Z_STREAM_END)
        g->between = true;
    else if (rc == Z_MEM_ERROR)
        return err_new(ERR_LIMIT, "no memory to unpack \"%s\"", g->src.name);
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return err_new(ERR_CORRUPT, "\"%s\" is damaged near byte offset %llu: %s", g->src.name,
                       offset(g) ? offset(g) : at, g->z.msg ? g->z.msg : "it needs a dictionary");
    return NULL;
}

static struct err *
gzip_read(void *stream, void *buf, size_t n, size_t *ret_n)
{
    struct gzip *g = stream;
    unsigned cap = n < 1u << 30 ? (unsigned)n : 1u << 30;

    g->z.next_out = buf;
    g->z.avail_out = cap;
    while (g->z.avail_out == cap && !g->end) {
        if (g->between) {
            TRY(next_member(g));
            continue;
        }
        TRY(pull(g));
        if (g->eof)
            return err_new(ERR_CORRUPT, "\"%s\" is cut: it ends at byte offset %llu in the middle of its gzip data",
                           g->src.name, offset(g));
        TRY(inflate_some(g));
    }
    *ret_n = cap - g->z.avail_out;
    return NULL;
}

const struct stream_codec codec_gzip = {
    .name = "gzip", .suffix = ".gz", .magic = "\x1f\x8b", .magic_n = 2,
    .open = gzip_open, .read = gzip_read, .close = gzip_close, .held = sizeof(struct gzip) + STATE,
};
