/* The quick way for Launch and Done: the bytes of protobuf-c, and what protobuf-c would have said of any bytes. */
#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"
#include "unit.h"

enum { ROUNDS = 20000 };

static uint64_t
rnd(void)
{
    static uint64_t s = 42;

    s = s * 6364136223846793005u + 1442695040888963407u;
    return s >> 11;
}

/* Often small, now and then anything. */
static uint32_t
number(void)
{
    static const uint32_t edges[] = { 0, 1, 127, 128, 16383, 16384, UINT32_MAX };

    return rnd() % 2 ? edges[rnd() % 7] : (uint32_t)rnd();
}

static void
random_item(Taskd__Item *it, Taskd__Launch *l, Taskd__Done *d, unsigned char bytes[static 256])
{
    *it = (Taskd__Item)TASKD__ITEM__INIT;
    it->app = rnd() % 3 ? rnd() << 13 | rnd() : 0;
    it->epoch = number();
    *l = (Taskd__Launch)TASKD__LAUNCH__INIT;
    *d = (Taskd__Done)TASKD__DONE__INIT;
    if (rnd() % 2) {
        uint32_t *v[] = { &l->slot, &l->stage, &l->partition, &l->attempt, &l->generation, &l->flags, &l->life };

        for (int i = 0; i < 7; i++)
            *v[i] = number();
        it->kind_case = TASKD__ITEM__KIND_LAUNCH;
        it->launch = l;
        return;
    }
    d->slot = number();
    d->done = PROTO_BYTES(bytes, rnd() % 256);
    for (size_t i = 0; i < d->done.len; i++)
        bytes[i] = (unsigned char)rnd();
    it->kind_case = TASKD__ITEM__KIND_DONE;
    it->done = d;
}

static void
put_quick(struct buf *b, const Taskd__Item *it)
{
    if (it->kind_case == TASKD__ITEM__KIND_LAUNCH)
        proto_put_launch(b, it->app, it->epoch, it->launch);
    else
        proto_put_done(b, it->app, it->epoch, it->done->slot, it->done->done.data, it->done->done.len);
}

static void
same_bytes(void)
{
    struct buf a = { 0 }, b = { 0 };
    unsigned char bytes[256];
    unsigned different = 0;

    for (int i = 0; i < ROUNDS; i++) {
        Taskd__Item it;
        Taskd__Launch l;
        Taskd__Done d;

        a.n = b.n = 0;
        random_item(&it, &l, &d, bytes);
        proto_put(&a, &it);
        put_quick(&b, &it);
        different += a.n != b.n || memcmp(a.p, b.p, a.n) != 0;
    }
    EQ_U64(different, 0);
    buf_fini(&a);
    buf_fini(&b);
}

/* Items as bytes again, so that both ways can be compared. */
static bool
collect(void *arg, const Taskd__Item *it)
{
    proto_put(arg, it);
    return true;
}

/* What both ways make of n bytes: the same items.  strict: and they refuse the same; else the quick way may be stricter. */
static bool
agree(const void *p, size_t n, bool strict)
{
    struct buf quick = { 0 }, slow = { 0 };
    struct arena a = { 0 }, scratch = { 0 };
    Taskd__Envelope *env = NULL;
    struct err *e = proto_each(p, n, &scratch, collect, &quick), *f = proto_get(p, n, &a, &env);
    bool same = strict ? !e == !f : e || !f;

    for (size_t i = 0; !f && i < env->n_item; i++)
        proto_put(&slow, env->item[i]);
    if (!e && !f)
        same = quick.n == slow.n && (quick.n == 0 || !memcmp(quick.p, slow.p, quick.n));
    err_free(e);
    err_free(f);
    buf_fini(&quick);
    buf_fini(&slow);
    arena_fini(&a);
    arena_fini(&scratch);
    return same;
}

static void
same_items(void)
{
    struct buf b = { 0 };
    unsigned char bytes[256];
    unsigned different = 0;

    for (int i = 0; i < ROUNDS / 10; i++) {
        b.n = 0;
        for (uint64_t k = rnd() % 5; k > 0; k--) {
            Taskd__Item it;
            Taskd__Launch l;
            Taskd__Done d;
            Taskd__Piece piece = TASKD__PIECE__INIT, *pieces[] = { &piece };
            Taskd__Stop stop = TASKD__STOP__INIT;

            random_item(&it, &l, &d, bytes);
            if (rnd() % 4 == 0) {
                piece.path = "a path";
                l.piece = pieces;
                l.n_piece = it.kind_case == TASKD__ITEM__KIND_LAUNCH;
            } else if (rnd() % 4 == 0) {
                stop.why = "why";
                it.kind_case = TASKD__ITEM__KIND_STOP;
                it.stop = &stop;
            }
            proto_put(&b, &it);
        }
        different += b.n && !agree(b.p, b.n, true);
    }
    EQ_U64(different, 0);
    buf_fini(&b);
}

/* Damaged envelopes: whatever the quick way takes, protobuf-c takes, too, and understands the same. */
static void
same_of_damaged(void)
{
    struct buf b = { 0 };
    unsigned char bytes[256];
    unsigned different = 0;

    for (int i = 0; i < ROUNDS; i++) {
        Taskd__Item it;
        Taskd__Launch l;
        Taskd__Done d;

        b.n = 0;
        random_item(&it, &l, &d, bytes);
        proto_put(&b, &it);
        size_t n = b.n - (rnd() % 4 == 0 ? rnd() % b.n : 0);
        if (rnd() % 4)
            b.p[rnd() % (b.n < 24 ? b.n : 24)] ^= (char)(1 << rnd() % 8);
        char *exact = malloc(n ? n : 1); /* a byte too far is one behind the heap's block */
        memcpy(exact, b.p, n);
        different += !agree(exact, n, false);
        free(exact);
    }
    EQ_U64(different, 0);
    buf_fini(&b);
}

static const struct unit_test tests[] = {
    { "brisk.same_bytes", same_bytes },
    { "brisk.same_items", same_items },
    { "brisk.same_of_damaged", same_of_damaged },
    UNIT_END
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "proto_brisk", tests);
}
