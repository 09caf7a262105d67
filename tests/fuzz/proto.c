/*
 * Fuzz target: bytes that come by a link.  What is taken must be consistent: packed again and unpacked it is the same,
 * no string of it is longer than its bytes, and it stays within its allowance.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Looks at every byte of a message as its descriptor says. */
static size_t
look(const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    size_t sum = 0;

    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        const char *at = (const char *)m + f->offset;
        size_t n = 1;

        if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            n = *(const uint32_t *)((const char *)m + f->quantifier_offset) == f->id;
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            n = *(const size_t *)((const char *)m + f->quantifier_offset);
            at = *(const char *const *)at;
        }
        for (size_t k = 0; k < n; k++) {
            if (f->type == PROTOBUF_C_TYPE_STRING) {
                if (!((const char *const *)at)[k])
                    abort(); /* never NULL */
                sum += strlen(((const char *const *)at)[k]);
            } else if (f->type == PROTOBUF_C_TYPE_BYTES) {
                const ProtobufCBinaryData *b = (const ProtobufCBinaryData *)at + k;

                for (size_t x = 0; x < b->len; x++)
                    sum += b->data[x];
            } else if (f->type == PROTOBUF_C_TYPE_MESSAGE && ((ProtobufCMessage *const *)at)[k]) {
                sum += look(((ProtobufCMessage *const *)at)[k]);
            }
        }
    }
    return sum;
}

/* As an err and as a message again. */
static void
look_error(const Taskd__Error *m, struct arena *a)
{
    struct err *e = proto_err(m);
    Taskd__Error back;

    proto_of_err(e, a, &back);
    if (e && back.n_say < 1)
        abort();
    err_free(e);
}

static size_t
look_specs(const uint8_t *p, size_t n, struct arena *a)
{
    Taskd__ExecutorSpec *s = NULL;
    Taskd__DriverSpec *d = NULL;
    struct buf b = { 0 };
    size_t sum = 0;

    err_free(proto_get_executor_spec(p, n, a, &s));
    err_free(proto_get_driver_spec(p, n, a, &d));
    if (s) {
        sum += look(&s->base);
        proto_put_executor_spec(&b, s);
    }
    if (d) {
        sum += look(&d->base);
        proto_put_driver_spec(&b, d);
    }
    sum += b.n;
    buf_fini(&b);
    return sum;
}

static bool
put_again(void *arg, const Taskd__Item *it)
{
    proto_put(arg, it);
    return true;
}

/* What is taken item by item is what is taken at once. */
static void
compare_each(const uint8_t *p, size_t n, const struct buf *want, bool good)
{
    struct arena a = { 0 };
    struct buf got = { 0 };
    struct err *e = proto_each(p, n, &a, put_again, &got);

    if (good && (e || got.n != want->n || (got.n && memcmp(got.p, want->p, got.n))))
        abort();
    err_free(e);
    buf_fini(&got);
    arena_fini(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    size_t sink = 0;
    struct arena a = { 0 };
    Taskd__Envelope *e = NULL, *again = NULL;
    struct buf b = { 0 };
    struct err *x = proto_get(p, n, &a, &e);

    if (a.held > 4 * (PROTO_SMALL + n * PROTO_GROWTH) + 4 * (size_t)ARENA_CHUNK)
        abort();
    if (!x) {
        sink += look(&e->base);
        for (size_t i = 0; i < e->n_item; i++)
            proto_put(&b, e->item[i]);
        err_free(proto_get(b.p ? b.p : "", b.n, &a, &again));
        if (again && again->n_item != e->n_item)
            abort();
        for (size_t i = 0; i < e->n_item; i++)
            if (e->item[i]->kind_case == TASKD__ITEM__KIND_HELLO)
                err_free(proto_check_hello(e->item[i]->hello, "worker"));
            else if (e->item[i]->kind_case == TASKD__ITEM__KIND_REFUSED)
                look_error(e->item[i]->refused->error, &a);
    }
    compare_each(p, n, &b, !x);
    buf_fini(&b);
    err_free(x);
    sink += look_specs(p, n, &a);
    if (sink == SIZE_MAX)
        abort();
    arena_fini(&a);
    return 0;
}
