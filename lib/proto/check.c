/*
 * check -- looks through the bytes of a message before protobuf-c unpacks them.
 *
 * protobuf-c is generous: it takes strings with NULs inside (and cuts them off there), singular fields that come twice
 * (and merges them), and members of a oneof one after the other.  No sender of ours makes such things, so they are
 * refused here, together with wire types that a field can't have and lengths that leave the message.  Fields that we
 * don't know are skipped: a Hello of a later version must be readable.
 */
#include <string.h>

#include "proto/proto_priv.h"

enum wire { VARINT, FIXED64, LEN, GROUP, GROUP_END, FIXED32 };

struct at {
    const uint8_t *p, *end;
};

static bool
varint(struct at *a, uint64_t *ret)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 70 && a->p < a->end; shift += 7) {
        uint8_t c = *a->p++;

        if (shift < 64)
            v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static enum wire
wire_of(ProtobufCType t)
{
    switch (t) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return LEN;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return FIXED64;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return FIXED32;
    default:
        return VARINT;
    }
}

/* Fields come in the order of their numbers: the one behind the last is the first guess.  -1: we don't know it. */
static int
field_of(const ProtobufCMessageDescriptor *d, uint32_t id, unsigned guess)
{
    unsigned low = 0, high = d->n_fields;

    if (guess < high && d->fields[guess].id == id)
        return (int)guess;
    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (d->fields[mid].id == id)
            return (int)mid;
        if (d->fields[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return -1;
}

static bool
packed_fits(ProtobufCType t, struct at a)
{
    enum wire w = wire_of(t);
    uint64_t v;

    if (w == LEN)
        return false;
    if (w == FIXED64 || w == FIXED32)
        return (size_t)(a.end - a.p) % (w == FIXED64 ? 8 : 4) == 0;
    while (a.p < a.end)
        if (!varint(&a, &v))
            return false;
    return true;
}

static bool
value_fits(const ProtobufCFieldDescriptor *f, enum wire w, struct at value)
{
    if (w != wire_of(f->type))
        return w == LEN && f->label == PROTOBUF_C_LABEL_REPEATED && packed_fits(f->type, value);
    if (f->type == PROTOBUF_C_TYPE_STRING)
        return value.p == value.end || !memchr(value.p, 0, (size_t)(value.end - value.p));
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return proto__fits(f->descriptor, value.p, (size_t)(value.end - value.p));
    return true;
}

/* Takes a value of that wire type from a. */
static bool
take_value(struct at *a, enum wire w, struct at *ret)
{
    uint64_t n = 0;

    if (w == LEN && !varint(a, &n))
        return false;
    if (w == FIXED64)
        n = 8;
    else if (w == FIXED32)
        n = 4;
    else if (w != LEN && w != VARINT)
        return false;
    if (n > (uint64_t)(a->end - a->p))
        return false;
    ret->p = a->p;
    if (w == VARINT && !varint(a, &n))
        return false;
    if (w != VARINT)
        a->p += n;
    ret->end = a->p;
    return true;
}

bool
proto__fits(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n)
{
    struct at a = { p, p + n };
    uint64_t seen = 0, tag;
    unsigned guess = 0;

    while (a.p < a.end) {
        struct at value;

        if (!varint(&a, &tag) || tag > UINT32_MAX || tag >> 3 == 0 || !take_value(&a, tag & 7, &value))
            return false;
        int i = field_of(d, (uint32_t)(tag >> 3), guess);
        if (i < 0 && d == &taskd__envelope__descriptor)
            return false; /* items and nothing else, in all versions */
        if (i < 0)
            continue;
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        guess = (unsigned)i + 1;
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            /* bit 63: the oneof; a message has one at most (the test looks) */
            uint64_t bit = UINT64_C(1) << (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? 63 : i);

            if (seen & bit)
                return false;
            seen |= bit;
        } else {
            guess = (unsigned)i; /* more of the same */
        }
        if (!value_fits(f, tag & 7, value))
            return false;
    }
    return true;
}
