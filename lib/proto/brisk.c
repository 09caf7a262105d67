/*
 * brisk -- the two items that come by the thousand, Launch and Done, packed and unpacked by hand.
 *
 * The bytes are those that protobuf-c makes and understands (tests/proto_brisk compares); an item with anything else
 * in it, or with pieces of input, goes the general way.  protobuf-c looks at all sixty kinds of an Item three times
 * for each; here it is a few varints.
 */
#include <string.h>

#include "proto/proto.h"

enum { VARINT = 0, BYTES = 2, VARINT_MAX = 10, ITEM_MAX = 128 };

/* ---- packing */

static size_t
put_varint(uint8_t *to, uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        to[n++] = (uint8_t)(v | 0x80);
    to[n++] = (uint8_t)v;
    return n;
}

/* Zero is what a field has that is not there. */
static size_t
put_field(uint8_t *to, unsigned field, uint64_t v)
{
    if (v == 0)
        return 0;
    size_t n = put_varint(to, field << 3 | VARINT);
    return n + put_varint(to + n, v);
}

/* An envelope with one item: what the item has before its kind, the kind's number, and its bytes in two parts. */
static void
put_item(struct buf *b, uint64_t app, uint32_t epoch, unsigned kind, const uint8_t *p, size_t n, const void *q, size_t m)
{
    uint8_t head[4 * VARINT_MAX], front[2 * VARINT_MAX];
    size_t h = put_field(head, 1, app);

    h += put_field(head + h, 2, epoch);
    h += put_varint(head + h, kind << 3 | BYTES);
    h += put_varint(head + h, n + m);
    front[0] = 1 << 3 | BYTES;
    size_t f = 1 + put_varint(front + 1, h + n + m);
    char *to = buf_room(b, f + h + n + m);
    memcpy(to, front, f);
    memcpy(to + f, head, h);
    memcpy(to + f + h, p, n);
    if (m)
        memcpy(to + f + h + n, q, m);
    b->n += f + h + n + m;
}

void
proto_put_launch(struct buf *b, uint64_t app, uint32_t epoch, const Taskd__Launch *m)
{
    uint32_t v[] = { m->slot, m->stage, m->partition, m->attempt, m->generation, m->flags };
    uint8_t p[ITEM_MAX];
    size_t n = 0;

    ASSERT(m->n_piece == 0);
    for (unsigned i = 0; i < sizeof v / sizeof *v; i++)
        n += put_field(p + n, i + 1, v[i]);
    n += put_field(p + n, 8, m->life);
    put_item(b, app, epoch, TASKD__ITEM__KIND_LAUNCH, p, n, NULL, 0);
}

void
proto_put_done(struct buf *b, uint64_t app, uint32_t epoch, uint32_t slot, const void *done, size_t done_n)
{
    uint8_t p[ITEM_MAX];
    size_t n = put_field(p, 1, slot);

    if (done_n) {
        n += put_varint(p + n, 2 << 3 | BYTES);
        n += put_varint(p + n, done_n);
    }
    put_item(b, app, epoch, TASKD__ITEM__KIND_DONE, p, n, done, done_n);
}

/* ---- unpacking */

struct in {
    const uint8_t *p, *end;
    bool bad; /* malformed, or not for us: the general way will say */
};

static uint64_t
get_varint(struct in *g)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < VARINT_MAX && g->p < g->end; i++) {
        uint8_t c = *g->p++;

        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80)
            return v;
    }
    g->bad = true;
    return 0;
}

static struct in
get_part(struct in *g)
{
    uint64_t n = get_varint(g);
    struct in part = { g->p, g->p, false };

    if (g->bad || n > (uint64_t)(g->end - g->p)) {
        g->bad = true;
        return part;
    }
    part.end = g->p += n;
    return part;
}

/* A field that comes a second time is for the general way, which refuses it. */
static bool
first_time(uint32_t *seen, uint64_t field)
{
    uint32_t bit = UINT32_C(1) << (field & 31);
    bool first = !(*seen & bit);

    *seen |= bit;
    return first;
}

static bool
get_launch(struct in g, Taskd__Launch *m)
{
    uint32_t *to[] = { NULL, &m->slot, &m->stage, &m->partition, &m->attempt, &m->generation, &m->flags, NULL, &m->life };

    uint32_t seen = 0;

    *m = (Taskd__Launch)TASKD__LAUNCH__INIT;
    while (g.p < g.end && !g.bad) {
        uint64_t key = get_varint(&g);

        if ((key & 7) != VARINT || key >> 3 >= sizeof to / sizeof *to || !to[key >> 3] || !first_time(&seen, key >> 3))
            return false;
        *to[key >> 3] = (uint32_t)get_varint(&g);
    }
    return !g.bad;
}

static bool
get_done(struct in g, Taskd__Done *m)
{
    uint32_t seen = 0;

    *m = (Taskd__Done)TASKD__DONE__INIT;
    while (g.p < g.end && !g.bad) {
        uint64_t key = get_varint(&g);

        if (!first_time(&seen, key >> 3))
            return false;
        if (key == (1 << 3 | VARINT)) {
            m->slot = (uint32_t)get_varint(&g);
        } else if (key == (2 << 3 | BYTES)) {
            struct in part = get_part(&g);

            m->done = PROTO_BYTES(part.p, (size_t)(part.end - part.p));
        } else {
            return false;
        }
    }
    return !g.bad;
}

struct quick {
    Taskd__Item item;
    Taskd__Launch launch;
    Taskd__Done done;
};

/* False: the general way. */
static bool
get_item(struct in g, struct quick *q)
{
    Taskd__Item *it = &q->item;
    uint32_t seen = 0;

    *it = (Taskd__Item)TASKD__ITEM__INIT;
    while (g.p < g.end && !g.bad) {
        uint64_t key = get_varint(&g);

        if (!first_time(&seen, key >> 3))
            return false;
        if (key == (1 << 3 | VARINT)) {
            it->app = get_varint(&g);
        } else if (key == (2 << 3 | VARINT)) {
            it->epoch = (uint32_t)get_varint(&g);
        } else if (key == (TASKD__ITEM__KIND_LAUNCH << 3 | BYTES) && !it->kind_case) {
            it->kind_case = TASKD__ITEM__KIND_LAUNCH;
            it->launch = &q->launch;
            if (!get_launch(get_part(&g), &q->launch))
                return false;
        } else if (key == (TASKD__ITEM__KIND_DONE << 3 | BYTES) && !it->kind_case) {
            it->kind_case = TASKD__ITEM__KIND_DONE;
            it->done = &q->done;
            if (!get_done(get_part(&g), &q->done))
                return false;
        } else {
            return false;
        }
    }
    return !g.bad && it->kind_case;
}

struct err *
proto_each(const void *p, size_t n, struct arena *a, bool (*fn)(void *arg, const Taskd__Item *it), void *arg)
{
    struct in g = { p, (const uint8_t *)p + n, false };
    struct quick q;

    while (g.p < g.end) {
        const uint8_t *at = g.p;
        bool item = get_varint(&g) == (1 << 3 | BYTES);
        struct in part = get_part(&g);

        if (!item || g.bad)
            return err_new(ERR_CORRUPT, "%zu bytes that came as a message are none", n);
        if (get_item(part, &q)) {
            if (!fn(arg, &q.item))
                return NULL;
            continue;
        }
        Taskd__Envelope *env;
        arena_reset(a);
        TRY(proto_get(at, (size_t)(g.p - at), a, &env));
        for (size_t i = 0; i < env->n_item; i++)
            if (!fn(arg, env->item[i]))
                return NULL;
    }
    return NULL;
}
