/* template -- see template.h and README.md */
#include "codec/template/template.h"

#include <stdlib.h>
#include <string.h>

/* ---- a block codec: three pure functions */

static size_t
bound(size_t n)
{
    return 2 * n;
}

static size_t
pack(const void *src, size_t n, void *dst, size_t cap)
{
    const unsigned char *p = src;
    unsigned char *to = dst;
    size_t at = 0;

    for (size_t i = 0; i < n;) {
        size_t run = 1;

        while (run < 255 && i + run < n && p[i + run] == p[i])
            run++;
        if (cap - at < 2)
            return 0; /* it does not fit: no error, the block is stored plain */
        to[at++] = (unsigned char)run;
        to[at++] = p[i];
        i += run;
    }
    return at;
}

static bool
unpack(const void *src, size_t n, void *dst, size_t want)
{
    const unsigned char *p = src;
    size_t at = 0;

    if (n % 2)
        return false;
    for (size_t i = 0; i < n; i += 2) {
        if (p[i] == 0 || p[i] > want - at) /* src is not trusted */
            return false;
        memset((char *)dst + at, p[i + 1], p[i]);
        at += p[i];
    }
    return at == want; /* all of it, or it is not ours */
}

const struct block_codec codec_template = {
    .name = "template", .id = 200, .bound = bound, .pack = pack, .unpack = unpack,
};

/* ---- a stream codec: state, and a source that may give a byte at a time */

struct runs {
    struct stream_source src;
    uint64_t offset; /* in the file */
    unsigned count;  /* bytes of the run in hand that are still to be given */
    unsigned char byte;
    bool started, end;
};

static struct err *
runs_open(const struct stream_source *src, void **ret)
{
    struct runs *r = calloc(1, sizeof *r);

    if (!r)
        abort();
    r->src = *src;
    *ret = r;
    return NULL;
}

/* n bytes, or none at the end of the file; anything between is an error. */
static struct err *
take(struct runs *r, unsigned char *p, size_t n, bool *ret_end)
{
    size_t have = 0, got = 1;

    while (have < n && got) {
        TRY(r->src.pull(r->src.arg, p + have, n - have, &got));
        have += got;
        r->offset += got;
    }
    if (have && have < n)
        return err_new(ERR_CORRUPT, "\"%s\" is cut at byte offset %llu", r->src.name, (unsigned long long)r->offset);
    *ret_end = have == 0;
    return NULL;
}

static struct err *
next_run(struct runs *r)
{
    unsigned char p[4];

    if (!r->started) {
        TRY(take(r, p, 4, &r->end));
        if (r->end || memcmp(p, "RUN1", 4))
            return err_new(ERR_CORRUPT, "\"%s\" does not begin with RUN1", r->src.name);
        r->started = true;
    }
    TRY(take(r, p, 2, &r->end));
    if (r->end)
        return NULL;
    if (p[0] == 0)
        return err_new(ERR_CORRUPT, "\"%s\" has an empty run at byte offset %llu", r->src.name,
                       (unsigned long long)r->offset - 2);
    r->count = p[0];
    r->byte = p[1];
    return NULL;
}

static struct err *
runs_read(void *stream, void *buf, size_t n, size_t *ret_n)
{
    struct runs *r = stream;

    if (r->count == 0 && !r->end)
        TRY(next_run(r));
    size_t got = r->count < n ? r->count : n;
    memset(buf, r->byte, got);
    r->count -= (unsigned)got;
    *ret_n = got;
    return NULL;
}

static void
runs_close(void *stream)
{
    free(stream);
}

const struct stream_codec codec_template_stream = {
    .name = "template", .suffix = ".runs", .magic = "RUN1", .magic_n = 4,
    .open = runs_open, .read = runs_read, .close = runs_close, .held = sizeof(struct runs),
};
