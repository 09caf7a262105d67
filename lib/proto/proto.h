/*
 * proto -- messages between processes: control.proto, packed and unpacked with care.
 *
 * A sender appends items to a buf (proto_put) and hands the buf to a link; a receiver unpacks an envelope into an
 * arena (proto_get), of which a message may take only so much: protobuf-c makes 44 bytes of heap out of one byte of
 * empty sub-messages if it is let.  Items live as long as the arena.
 *
 * Strings from a message are NUL-terminated, may hold any bytes but NUL (one inside makes the envelope bad) and are
 * never NULL; what they may be used for is the receiver's business.
 *
 * Owner: nobody, there is no state.  Threads: any.  Errors: ERR_CORRUPT what is no envelope, ERR_LIMIT.
 */
#ifndef PROTO_PROTO_H
#define PROTO_PROTO_H
#include "base/arena.h"
#include "base/buf.h"
#include "proto/control.pb-c.h"

/* Goes up by one with every change of control.proto: both sides must have the same. */
enum { PROTO_VERSION = 7 };
/* Bytes that unpacking may take: for any message, for each byte of its first PROTO_BATCH, for each byte after that. */
enum { PROTO_SMALL = 16 << 10, PROTO_GROWTH = 16, PROTO_BATCH = 1 << 20, PROTO_GROWTH_BIG = 4 };

/* Appends an envelope with this one item. */
void proto_put(struct buf *b, const Taskd__Item *item);
struct err *proto_get(const void *p, size_t n, struct arena *a, Taskd__Envelope **ret) MUST_USE;

/* For those who send and get items by the thousand: the same bytes in less time.
 * proto_put() of a Launch without pieces; of a Done. */
void proto_put_launch(struct buf *b, uint64_t app, uint32_t epoch, const Taskd__Launch *m);
void proto_put_done(struct buf *b, uint64_t app, uint32_t epoch, uint32_t slot, const void *done, size_t done_n);
/* Calls fn for each item of an envelope, in order, until it says false; the item lives until fn returns, a is reset
 * between items.  An error behind some items comes after they were handed over; bytes are views into p. */
struct err *proto_each(const void *p, size_t n, struct arena *a, bool (*fn)(void *arg, const Taskd__Item *it),
                       void *arg) MUST_USE;

/* What a worker hands to a child by descriptor: one message, no envelope.  Appends. */
void proto_put_executor_spec(struct buf *b, const Taskd__ExecutorSpec *s);
void proto_put_driver_spec(struct buf *b, const Taskd__DriverSpec *s);
struct err *proto_get_executor_spec(const void *p, size_t n, struct arena *a, Taskd__ExecutorSpec **ret) MUST_USE;
struct err *proto_get_driver_spec(const void *p, size_t n, struct arena *a, Taskd__DriverSpec **ret) MUST_USE;

/* e as a message; views into e and into a.  NULL is an Error with code "". */
void proto_of_err(const struct err *e, struct arena *a, Taskd__Error *ret);
/* NULL for NULL and for code "". */
struct err *proto_err(const Taskd__Error *m);

#define PROTO_BYTES(ptr, len) ((ProtobufCBinaryData){ (len), (uint8_t *)(ptr) })
/* Refuses a peer that is not of our kind, in a sentence that says who and which; NULL if it fits. */
struct err *proto_check_hello(const Taskd__Hello *h, const char *role) MUST_USE;
/* Fills what every Hello of this process says. */
void proto_hello(Taskd__Hello *ret, const char *role, const char *host);
/* The number of an application, for Item.app. */
uint64_t proto_app(const char *app_id);
#endif
