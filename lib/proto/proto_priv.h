/* proto_priv -- what the files of proto share. */
#ifndef PROTO_PROTO_PRIV_H
#define PROTO_PROTO_PRIV_H
#include <stdbool.h>

#include "proto/proto.h"

/* Are these n bytes a message of that kind that a sender of ours can have made? */
bool proto__fits(const ProtobufCMessageDescriptor *d, const uint8_t *p, size_t n);
#endif
