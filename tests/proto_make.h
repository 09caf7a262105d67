/* Messages of any kind, made from their descriptors. */
#ifndef TESTS_PROTO_MAKE_H
#define TESTS_PROTO_MAKE_H
#include "base/arena.h"
#include "proto/proto.h"

struct make {
    struct arena *a;
    uint64_t seed;
    unsigned many;      /* repeated fields get up to so many */
};

/* A value that looks like nothing; the same from the same seed. */
uint64_t make_random(struct make *m);
/* Fills all fields; of a oneof none. */
ProtobufCMessage *make_message(struct make *m, const ProtobufCMessageDescriptor *d);
/* An item of the kind-th kind (0, 1 ...); NULL when there are no more. */
Taskd__Item *make_item(struct make *m, unsigned kind);
/* The same with nothing in it but app and epoch. */
Taskd__Item *make_bare_item(struct make *m, unsigned kind);
#endif
