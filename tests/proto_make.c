/* See proto_make.h. */
#include "proto_make.h"

#include <string.h>

uint64_t
make_random(struct make *m)
{
    m->seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = m->seed;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static char *
make_string(struct make *m)
{
    size_t n = make_random(m) % 24;
    char *s = arena_alloc(m->a, n + 1);

    for (size_t i = 0; i < n; i++)
        s[i] = (char)(1 + make_random(m) % 255); /* anything but NUL */
    s[n] = 0;
    return s;
}

static void
make_value(struct make *m, const ProtobufCFieldDescriptor *f, void *at)
{
    /* small and large numbers */
    uint64_t v = make_random(m) >> (make_random(m) % 8 * 8);

    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        *(char **)at = make_string(m);
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        ProtobufCBinaryData b = { make_random(m) % 40, NULL };

        b.data = arena_zalloc(m->a, b.len + 1);
        for (size_t i = 0; i < b.len; i++)
            b.data[i] = (uint8_t)make_random(m);
        *(ProtobufCBinaryData *)at = b;
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)at = make_message(m, f->descriptor);
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *e = f->descriptor;

        *(int *)at = e->values[v % e->n_values].value;
        break;
    }
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = (int)(v & 1);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        *(uint64_t *)at = v;
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        *(uint32_t *)at = (uint32_t)v;
        break;
    default:
        err_assert_failed("a type that no message had so far", __FILE__, __LINE__);
    }
}

static size_t
size_of(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return 4;
    default:
        return 8;
    }
}

static void
make_repeated(struct make *m, const ProtobufCFieldDescriptor *f, char *p)
{
    size_t n = m->many ? make_random(m) % (m->many + 1) : 0, each = size_of(f);
    char *all = n ? arena_zalloc(m->a, n * each) : NULL;

    for (size_t i = 0; i < n; i++)
        make_value(m, f, all + i * each);
    *(size_t *)(p + f->quantifier_offset) = n;
    *(char **)(p + f->offset) = all;
}

ProtobufCMessage *
make_message(struct make *m, const ProtobufCMessageDescriptor *d)
{
    char *p = arena_zalloc(m->a, d->sizeof_message);

    protobuf_c_message_init(d, p);
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];

        if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
            continue;
        if (f->label == PROTOBUF_C_LABEL_REPEATED)
            make_repeated(m, f, p);
        else
            make_value(m, f, p + f->offset);
    }
    return (ProtobufCMessage *)p;
}

static const ProtobufCFieldDescriptor *
kind_field(unsigned kind)
{
    const ProtobufCMessageDescriptor *d = &taskd__item__descriptor;

    for (unsigned i = 0; i < d->n_fields; i++)
        if ((d->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && kind-- == 0)
            return &d->fields[i];
    return NULL;
}

static Taskd__Item *
item_with(struct make *m, const ProtobufCFieldDescriptor *f, ProtobufCMessage *of)
{
    Taskd__Item *it = (Taskd__Item *)make_message(m, &taskd__item__descriptor);

    it->kind_case = (Taskd__Item__KindCase)f->id;
    *(ProtobufCMessage **)((char *)it + f->offset) = of;
    return it;
}

Taskd__Item *
make_item(struct make *m, unsigned kind)
{
    const ProtobufCFieldDescriptor *f = kind_field(kind);

    return f ? item_with(m, f, make_message(m, f->descriptor)) : NULL;
}

Taskd__Item *
make_bare_item(struct make *m, unsigned kind)
{
    const ProtobufCFieldDescriptor *f = kind_field(kind);

    if (!f)
        return NULL;
    const ProtobufCMessageDescriptor *d = f->descriptor;
    ProtobufCMessage *of = arena_zalloc(m->a, d->sizeof_message);
    protobuf_c_message_init(d, of);
    return item_with(m, f, of);
}
