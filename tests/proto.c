/* The room proto: what is packed comes back, and what is no message of ours is refused. */
#include "proto/proto.h"

#include <stdlib.h>
#include <string.h>

#include "proto_make.h"
#include "taskd.h"
#include "unit.h"

/* ---- the descriptors: all kinds of messages that can come */

enum { KINDS_MAX = 256 };

struct walk {
    const ProtobufCMessageDescriptor *on[32], *seen[KINDS_MAX];
    unsigned depth, n;
};

static void
walk(struct walk *w, const ProtobufCMessageDescriptor *d)
{
    unsigned oneofs = 0, plain = 0;

    for (unsigned i = 0; i < w->depth; i++)
        if (w->on[i] == d) {
            fprintf(stderr, "\n  %s contains itself\n", d->name);
            CU_FAIL("a message contains itself");
            return;
        }
    CU_ASSERT_FATAL(w->depth < 32 && w->n < KINDS_MAX);
    w->on[w->depth++] = d;
    w->seen[w->n++] = d;
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];

        if (i)
            CU_ASSERT(d->fields[i - 1].id < f->id); /* check.c looks them up by halves */
        if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            oneofs |= f->quantifier_offset == d->fields[d->n_fields - 1].quantifier_offset ? 1 : 2;
        else
            plain = i;
        if (f->type == PROTOBUF_C_TYPE_MESSAGE)
            walk(w, f->descriptor);
    }
    CU_ASSERT(plain < 63 && oneofs < 2); /* check.c has a bit for each field and one for the oneof */
    w->depth--;
}

static void
no_recursion(void)
{
    static struct walk w;

    walk(&w, &taskd__envelope__descriptor);
    walk(&w, &taskd__executor_spec__descriptor);
    walk(&w, &taskd__driver_spec__descriptor);
    CU_ASSERT(w.n > 60);
    EQ_U64(taskd__envelope__descriptor.n_fields, 1); /* joining two is concatenation */
    EQ_U64(taskd__envelope__descriptor.fields[0].label, PROTOBUF_C_LABEL_REPEATED);
}

/* ---- there and back */

static void
same(const Taskd__Item *got, const Taskd__Item *want)
{
    size_t n = protobuf_c_message_get_packed_size(&want->base);
    uint8_t *a = malloc(n + 1), *b = malloc(n + 1);

    EQ_U64(protobuf_c_message_get_packed_size(&got->base), n);
    protobuf_c_message_pack(&want->base, a);
    if (protobuf_c_message_get_packed_size(&got->base) == n) {
        protobuf_c_message_pack(&got->base, b);
        CU_ASSERT(!memcmp(a, b, n));
    }
    free(a);
    free(b);
}

/* Each kind alone, then all of them as one envelope. */
static void
round_trips(void)
{
    struct arena a = { 0 };
    struct buf all = { 0 };
    Taskd__Item *items[128], *it;
    Taskd__Envelope *e = NULL;
    unsigned n = 0;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct make m = { &a, seed, 5 };

        all.n = n = 0;
        for (unsigned k = 0; (it = make_item(&m, k)); k++) {
            struct buf one = { 0 };

            proto_put(&one, it);
            NO_ERR(proto_get(one.p, one.n, &a, &e));
            EQ_U64(e->n_item, 1);
            same(e->item[0], it);
            buf_put(&all, one.p, one.n);
            buf_fini(&one);
            CU_ASSERT_FATAL(n < 128);
            items[n++] = it;
        }
        NO_ERR(proto_get(all.p, all.n, &a, &e));
        CU_ASSERT_FATAL(e->n_item == n);
        for (unsigned i = 0; i < n; i++)
            same(e->item[i], items[i]);
        arena_reset(&a);
    }
    CU_ASSERT(n > 40);
    NO_ERR(proto_get("", 0, &a, &e));
    EQ_U64(e->n_item, 0);
    buf_fini(&all);
    arena_fini(&a);
}

/* Whole batches fit the allowance, be all numbers in them 0, which takes no byte. */
static void
batches_fit(void)
{
    struct arena a = { 0 };
    struct buf all = { 0 };
    Taskd__Item *it;
    Taskd__Envelope *e = NULL;
    struct make m = { &a, 7, 0 };

    for (unsigned k = 0; (it = make_bare_item(&m, k)); k++) {
        bool task = it->kind_case >= TASKD__ITEM__KIND_STAGE && it->kind_case <= TASKD__ITEM__KIND_BROADCAST_HELD;
        unsigned many = task ? 10000 : 100;
        struct arena into = { 0 };

        it->app = UINT64_C(0x8123456789abcdef);
        it->epoch = 1;
        all.n = 0;
        for (unsigned i = 0; i < many; i++)
            proto_put(&all, it);
        NO_ERR(proto_get(all.p, all.n, &into, &e));
        EQ_U64(e->n_item, many);
        arena_fini(&into);
    }
    buf_fini(&all);
    arena_fini(&a);
}

/* ---- what is refused */

static void
bounded(void)
{
    enum { N = 4 << 20 };
    struct arena a = { 0 };
    char *p = malloc(N);
    Taskd__Envelope *e = NULL;

    for (size_t i = 0; i < N; i += 2)
        memcpy(p + i, "\x0a\x00", 2); /* an item with nothing in it */
    IS_ERR(proto_get(p, N, &a, &e), ERR_LIMIT, "unpacks to more than");
    CU_ASSERT(a.held <= (size_t)N * 8);
    for (size_t i = 0; i + 4 <= N; i += 4)
        memcpy(p + i, "\x0a\x02\x72\x00", 4); /* an item with an empty message in it */
    IS_ERR(proto_get(p, N, &a, &e), ERR_LIMIT, "unpacks to more than");
    CU_ASSERT(!e);
    free(p);
    arena_fini(&a);
}

/* Messages in messages in messages, depth of them, each field a valid one of its message as long as there is such a one. */
static void
put_nested(struct buf *b, unsigned depth)
{
    static const char tags[] = { 0x0a, 0x1a, 0x32 }; /* item, Hello, token; then whatever one likes */
    char *p, *at;
    size_t n = 0;

    p = malloc(6ull * depth + 1);
    at = p + 6ull * depth; /* from the inside to the outside: a length needs what is in it */
    for (unsigned i = depth; i-- > 0;) {
        char head[6];
        size_t m = 1, rest = n;

        head[0] = tags[i < 3 ? i : 0];
        for (; rest >= 128; rest >>= 7)
            head[m++] = (char)(rest | 128);
        head[m++] = (char)rest;
        at -= m;
        memcpy(at, head, m);
        n += m;
    }
    buf_put(b, at, n);
    free(p);
}

/* Depth costs nothing: what is deeper than the schema is bytes. */
static void
deep(void)
{
    for (unsigned depth = 100; depth <= 1000000; depth *= 10) {
        struct arena a = { 0 };
        struct buf b = { 0 };
        Taskd__Envelope *e = NULL;

        put_nested(&b, depth);
        NO_ERR(proto_get(b.p, b.n, &a, &e));
        CU_ASSERT_FATAL(e && e->n_item == 1 && e->item[0]->kind_case == TASKD__ITEM__KIND_HELLO);
        CU_ASSERT(a.held <= PROTO_SMALL + 8 * b.n);
        buf_fini(&b);
        arena_fini(&a);
    }
}

static void
bad(const void *p, size_t n)
{
    struct arena a = { 0 };
    Taskd__Envelope *e = NULL;

    IS_ERR(proto_get(p, n, &a, &e), ERR_CORRUPT, "are none");
    CU_ASSERT(!e);
    arena_fini(&a);
}

#define BAD(s) bad(s, sizeof(s) - 1)

static void
refused(void)
{
    BAD("\x00");                     /* field 0 */
    BAD("\x0a");                     /* no length */
    BAD("\x0a\x05");                 /* no bytes */
    BAD("\x08\x01");                 /* a number where items are */
    BAD("\x0b\x0c");                 /* a group */
    BAD("\x32\x00");                 /* not an item, in no version */
    BAD("\x0a\x04\x08\x01\x08\x02"); /* app twice */
    BAD("\x0a\x02\x10");             /* shorter than it says */
    BAD("\x0a\x04\x1a\x00\x22\x00"); /* two kinds in one item */
    BAD("\x0a\x04\x1a\x00\x1a\x00"); /* one kind twice */
    BAD("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"); /* a number without end */
    BAD("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");         /* a length of all there is */
    BAD("\x0a\x06\x1a\x04\x22\x02\x31\x00");                     /* Hello.version "1\0" */
    BAD("\x0a\x05\x1a\x03\x22\x01\x00");                         /* "\0" */
    BAD("\x0a\x06\x6a\x04\x12\x02\x01\x80");                     /* Outputs.map: a number without end */
}

/* What a later version may say in its Hello must be readable, so that it can be refused in words. */
static void
later_version(void)
{
    struct arena a = { 0 };
    Taskd__Envelope *e = NULL;

    struct buf b = { 0 };
    put_u8(&b, 0x0a); /* item */
    put_u8(&b, 9);
    put_u8(&b, 0x1a); /* hello */
    put_u8(&b, 7);
    buf_put(&b, "\x08\x63\xfa\x01\x02hi", 7); /* protocol = 99, field 31 = "hi" */
    NO_ERR(proto_get(b.p, b.n, &a, &e));
    CU_ASSERT_FATAL(e && e->n_item == 1 && e->item[0]->kind_case == TASKD__ITEM__KIND_HELLO);
    IS_ERR(proto_check_hello(e->item[0]->hello, NULL), ERR_ABI, "speaks protocol 99");
    buf_fini(&b);
    arena_fini(&a);
}

/* Cut anywhere: an error or fewer items, never anything else. */
static void
cut(void)
{
    struct arena a = { 0 };
    struct make m = { &a, 3, 3 };
    struct buf b = { 0 };
    Taskd__Item *it;
    Taskd__Envelope *e;
    size_t borders = 0;

    for (unsigned k = 0; (it = make_item(&m, k)); k++)
        proto_put(&b, it);
    for (size_t n = 0; n < b.n; n++) {
        struct arena into = { 0 };
        char *exact = malloc(n ? n : 1); /* the sanitizer sees a byte too far */

        memcpy(exact, b.p, n);
        struct err *x = proto_get(exact, n, &into, &e);
        borders += x == NULL;
        CU_ASSERT(!x || x->code == ERR_CORRUPT);
        err_free(x);
        free(exact);
        arena_fini(&into);
    }
    CU_ASSERT(borders > 40 && borders < 80); /* one before each item */
    buf_fini(&b);
    arena_fini(&a);
}

/* Bytes changed at random (PROTO_ROUNDS times): whatever is taken is consistent, as packing it again shows. */
static void
random_bytes(void)
{
    struct arena a = { 0 }, into = { 0 };
    struct make m = { &a, 11, 3 };
    unsigned taken = 0, rounds = getenv("PROTO_ROUNDS") ? (unsigned)atoi(getenv("PROTO_ROUNDS")) : 20000;

    for (unsigned round = 0; round < rounds; round++) {
        struct buf b = { 0 };
        Taskd__Envelope *e;

        for (uint64_t n = make_random(&m) % 3; n < 3; n++) {
            Taskd__Item *it = make_item(&m, (unsigned)(make_random(&m) % 40));
            proto_put(&b, it);
        }
        for (uint64_t n = make_random(&m) % 3; n < 3; n++)
            b.p[make_random(&m) % b.n] = (char)make_random(&m);
        struct err *x = proto_get(b.p, b.n, &into, &e);
        if (!x) {
            size_t n = protobuf_c_message_get_packed_size(&e->base);
            uint8_t *again = malloc(n + 1);

            EQ_U64(protobuf_c_message_pack(&e->base, again), n);
            free(again);
            taken++;
        }
        err_free(x);
        buf_fini(&b);
        arena_reset(&a);
        arena_reset(&into);
    }
    printf("%u damaged messages, %u taken ... ", rounds, taken);
    CU_ASSERT(taken > rounds / 200);
    arena_fini(&a);
    arena_fini(&into);
}

/* ---- errors and hellos */

static void
errors(void)
{
    struct arena a = { 0 };
    struct buf b = { 0 };
    Taskd__Error m;
    Taskd__Refused r = TASKD__REFUSED__INIT;
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Envelope *e = NULL;
    struct err *x = err_hint(err_wrap_take(err_new(ERR_LIMIT, "below"), "above %d", 1), "Do this.");

    proto_of_err(x, &a, &m);
    r.error = &m;
    it.kind_case = TASKD__ITEM__KIND_REFUSED;
    it.refused = &r;
    proto_put(&b, &it);
    NO_ERR(proto_get(b.p, b.n, &a, &e));
    struct err *y = proto_err(e->item[0]->refused->error);
    char *s = err_text(y), *want = err_text(x);
    EQ_STR(s, want);
    EQ_U64(y->code, ERR_LIMIT);
    free(s);
    free(want);
    err_free(x);
    err_free(y);
    proto_of_err(NULL, &a, &m);
    CU_ASSERT(!proto_err(&m) && !proto_err(NULL));
    Taskd__Error odd = TASKD__ERROR__INIT;
    odd.code = (char *)"NO_SUCH_CODE";
    IS_ERR(proto_err(&odd), ERR_CORRUPT, "did not say why");
    buf_fini(&b);
    arena_fini(&a);
}

static void
hellos(void)
{
    Taskd__Hello h;

    proto_hello(&h, "executor", "host-a");
    NO_ERR(proto_check_hello(&h, NULL));
    NO_ERR(proto_check_hello(&h, "executor"));
    IS_ERR(proto_check_hello(&h, "worker"), ERR_DENIED, "only a worker may call");
    h.protocol++;
    IS_ERR(proto_check_hello(&h, NULL), ERR_ABI, "executor on \"host-a\" is taskd");
    h.protocol--;
    h.abi_minor++;
    IS_ERR(proto_check_hello(&h, NULL), ERR_ABI, "modules of ABI");
}

static const struct unit_test tests[] = {
    { "shape.no_recursion", no_recursion },
    { "good.round_trips", round_trips },
    { "good.batches_fit", batches_fit },
    { "good.later_version", later_version },
    { "bad.bounded", bounded },
    { "bad.deep", deep },
    { "bad.refused", refused },
    { "bad.cut", cut },
    { "bad.random_bytes", random_bytes },
    { "said.errors", errors },
    { "said.hellos", hellos },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "proto", tests);
}
