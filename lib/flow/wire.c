/* wire -- see wire.h */
#include "flow/wire.h"

enum { TEXT_MAX = 4096, CHAIN_MAX = 16 };

static void
put_text(struct buf *b, const char *s)
{
    size_t n = s ? strlen(s) : 0;

    put_bytes(b, s, n < TEXT_MAX ? n : TEXT_MAX);
}

void
wire_put_err(struct buf *b, const struct err *e)
{
    uint8_t n = 0;

    for (const struct err *i = e; i && n < CHAIN_MAX; i = i->cause)
        n++;
    put_u8(b, n);
    for (const struct err *i = e; n-- > 0; i = i->cause) {
        put_u8(b, (uint8_t)i->code);
        put_text(b, i->msg);
        put_text(b, i->hint);
    }
}

struct err *
wire_get_err(struct get *g)
{
    struct arena a = { 0 };
    struct err *top = NULL, **tail = &top;
    uint8_t n = get_u8(g);

    if (n > CHAIN_MAX)
        g->bad = true;
    while (n-- > 0 && !g->bad) {
        uint8_t code = get_u8(g);
        const char *msg = get_str(g, &a), *hint = get_str(g, &a);

        *tail = err_new(code > 0 && code < ERR_CODES ? (enum err_code)code : ERR_USER, "%s", msg);
        if (hint[0])
            err_hint(*tail, "%s", hint);
        tail = &(*tail)->cause;
    }
    if (g->bad) {
        err_free(top);
        top = err_new(ERR_CORRUPT, "a reply is malformed");
    }
    arena_fini(&a);
    return top;
}

void
wire_put_module(struct buf *b, const struct wire_module *m)
{
    put_str(b, m->name);
    put_u64(b, m->budget);
    put_str(b, m->codec);
    put_str(b, m->files);
    put_u32(b, m->n_libs);
    for (uint32_t i = 0; i < m->n_libs; i++)
        put_str(b, m->libs[i]);
}

void
wire_get_module(struct get *g, struct arena *a, struct wire_module *m)
{
    m->name = get_str(g, a);
    m->budget = get_u64(g);
    m->codec = get_str(g, a);
    m->files = get_str(g, a);
    m->n_libs = get_count(g, 4);
    const char **libs = ARENA_ARRAY(a, const char *, m->n_libs);
    for (uint32_t i = 0; i < m->n_libs; i++)
        libs[i] = get_str(g, a);
    m->libs = libs;
}

void
wire_put_open(struct buf *b, const struct wire_open *o)
{
    put_u8(b, o->kind);
    put_u32(b, o->stage);
    put_u32(b, o->partition);
    put_u32(b, o->attempt);
    put_u32(b, o->parent);
    put_u32(b, o->index);
    put_u32(b, o->count);
}

struct err *
wire_get_open(struct get *g, struct wire_open *o)
{
    o->kind = get_u8(g);
    o->stage = get_u32(g);
    o->partition = get_u32(g);
    o->attempt = get_u32(g);
    o->parent = get_u32(g);
    o->index = get_u32(g);
    o->count = get_u32(g);
    if (g->bad || o->kind < WIRE_OPEN_PIECE || o->kind > WIRE_OPEN_BROADCAST || o->count > WIRE_OPEN_MAX)
        return err_new(ERR_CORRUPT, "a request for a file is malformed");
    return NULL;
}

void
wire_put_fetch(struct buf *b, const struct wire_fetch *f)
{
    put_u32(b, f->stage);
    put_u32(b, f->partition);
    put_u32(b, f->attempt);
    put_u32(b, f->parent);
    put_u32(b, f->n);
    for (uint32_t i = 0; i < f->n; i++) {
        const struct wire_part *p = &f->part[i];

        put_u32(b, p->map);
        put_u32(b, p->attempt);
        put_u32(b, p->node);
        put_u32(b, p->file);
        put_u64(b, p->offset);
        put_u64(b, p->length);
    }
}

struct err *
wire_get_fetch(struct get *g, struct arena *a, struct wire_fetch *f)
{
    bool bad = false;

    f->stage = get_u32(g);
    f->partition = get_u32(g);
    f->attempt = get_u32(g);
    f->parent = get_u32(g);
    f->n = get_count(g, 32);
    f->part = ARENA_ARRAY(a, struct wire_part, f->n);
    for (uint32_t i = 0; i < f->n; i++) {
        struct wire_part *p = &f->part[i];

        p->map = get_u32(g);
        p->attempt = get_u32(g);
        p->node = get_u32(g);
        p->file = get_u32(g);
        p->offset = get_u64(g);
        p->length = get_u64(g);
        bad |= p->file >= WIRE_OPEN_MAX || p->offset > INT64_MAX || p->length > INT64_MAX - p->offset;
    }
    if (g->bad || bad || g->p != g->end || f->n > WIRE_PARTS_MAX)
        return err_new(ERR_CORRUPT, "a request for parts of files is malformed");
    return NULL;
}

void
wire_put_deltas(struct buf *b, const struct flow_delta *d, uint32_t n)
{
    put_u32(b, n);
    for (uint32_t i = 0; i < n; i++) {
        put_u32(b, d[i].node);
        put_u32(b, d[i].item);
        put_u8(b, (uint8_t)d[i].op);
        put_u64(b, (uint64_t)d[i].v.i);
    }
}

void
wire_get_deltas(struct get *g, struct arena *a, struct flow_delta **ret_d, uint32_t *ret_n)
{
    uint32_t n = get_count(g, 17);
    struct flow_delta *d = ARENA_ARRAY(a, struct flow_delta, n);

    for (uint32_t i = 0; i < n; i++) {
        d[i].node = get_u32(g);
        d[i].item = get_u32(g);
        d[i].op = get_u8(g);
        d[i].v.i = (int64_t)get_u64(g);
    }
    *ret_d = d;
    *ret_n = n;
}

void
wire_put_done(struct buf *b, const struct wire_done *d)
{
    const struct flow_result *r = &d->result;

    buf_put(b, &d->task, sizeof d->task);
    wire_put_err(b, d->err);
    if (d->err) {
        put_u32(b, d->lost_stage);
        put_u32(b, d->lost_map);
        put_u8(b, d->last);
        return;
    }
    uint64_t n[] = { r->in_rows, r->in_bytes, r->out_rows, r->out_bytes, r->spill_bytes, r->bad_rows, r->digest,
                     d->took_ns };
    buf_put(b, n, sizeof n);
    wire_put_deltas(b, r->deltas, r->n_deltas);
}

struct err *
wire_get_done(const void *p, size_t n, struct arena *a, struct wire_done *d)
{
    struct get g = GET_OF(p, n);

    *d = (struct wire_done){ .lost_stage = UINT32_MAX };
    if (n < sizeof d->task)
        return err_new(ERR_CORRUPT, "an answer of %zu bytes is too short", n);
    memcpy(&d->task, g.p, sizeof d->task);
    g.p += sizeof d->task;
    bool failed = g.p < g.end && *g.p != 0;
    d->err = wire_get_err(&g);
    if (failed) {
        d->lost_stage = get_u32(&g);
        d->lost_map = get_u32(&g);
        d->last = get_u8(&g);
    } else if (!d->err) {
        struct flow_result *r = &d->result;
        uint64_t *to[] = { &r->in_rows, &r->in_bytes, &r->out_rows, &r->out_bytes, &r->spill_bytes, &r->bad_rows, &r->digest,
                           &d->took_ns };

        for (size_t i = 0; i < sizeof to / sizeof to[0]; i++)
            *to[i] = get_u64(&g);
        wire_get_deltas(&g, a, &r->deltas, &r->n_deltas);
    }
    if (g.bad || g.p != g.end) {
        err_free(d->err);
        d->err = NULL;
        return err_new(ERR_CORRUPT, "an answer of %zu bytes is malformed", n);
    }
    return NULL;
}
