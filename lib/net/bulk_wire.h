/*
 * bulk_wire -- the bytes of a bulk connection.  Pure: nothing here owns or reads anything.
 *
 *   server -> client   hello    magic u32, version u32, nonce[32]
 *   client -> server   auth     magic u32, version u32, app_n u32, nonce[32], mac[32], app
 *   server -> client   verdict  magic u32, status u32, mac[32]
 *   client -> server   request  magic u32, name_n u16, zero u16, id u64, offset u64, length u64, name
 *   server -> client   answer   magic u32, status u32, id u64, size u64, offset u64, length u64; then length bytes
 *
 * mac is HMAC-SHA256 with the app's secret over a word that says who speaks, both nonces and the app's name: a client's
 * cannot be used again (the server's nonce is new in each connection) nor be reflected (the words differ), and a server
 * that does not know the secret is noticed.  Numbers are little-endian.
 *
 * Parsers get what has arrived: BULK_MORE, it is not whole yet; BULK_BAD, it never will be right.
 */
#ifndef NET_BULK_WIRE_H
#define NET_BULK_WIRE_H
#include "base/buf.h"
#include "net/bulk.h"

enum { BULK_VERSION = 1, BULK_NONCE = 32, BULK_MAC = 32 };
enum { BULK_APP_MAX = 128, BULK_NAME_MAX = 1024 };
enum {
    BULK_HELLO_BYTES = 8 + BULK_NONCE,
    BULK_AUTH_HEAD = 12 + BULK_NONCE + BULK_MAC,
    BULK_VERDICT_BYTES = 8 + BULK_MAC,
    BULK_REQUEST_HEAD = 32,
    BULK_ANSWER_HEAD = 40,
    BULK_REQUEST_MAX = BULK_REQUEST_HEAD + BULK_NAME_MAX,
};

enum bulk_status {
    BULK_OK,
    BULK_REFUSED, /* a verdict: wrong secret or unknown app */
    BULK_ABSENT,  /* no such file */
    BULK_OUTSIDE, /* a name that leads out of the folder, or not to a regular file */
    BULK_BROKEN,  /* it is there, but can't be read */
    BULK_STATUSES
};
enum bulk_parse { BULK_MORE, BULK_WHOLE, BULK_BAD };

struct bulk_hello {
    uint32_t version; /* not checked: the reader has the better sentence */
    unsigned char nonce[BULK_NONCE];
};
struct bulk_auth {
    uint32_t version;
    unsigned char nonce[BULK_NONCE], mac[BULK_MAC];
    char app[BULK_APP_MAX + 1];
};
struct bulk_verdict {
    uint32_t status;
    unsigned char mac[BULK_MAC];
};
struct bulk_request {
    uint64_t id, offset, length;
    char name[BULK_NAME_MAX + 1]; /* not empty, no NUL inside */
};
struct bulk_answer {
    uint32_t status;
    uint64_t id, size, offset, length; /* BULK_OK: offset + length <= size; else all 0 but id */
};

void bulk__put_hello(struct buf *b, const struct bulk_hello *h);
void bulk__put_auth(struct buf *b, const struct bulk_auth *a);
void bulk__put_verdict(struct buf *b, const struct bulk_verdict *v);
void bulk__put_request(struct buf *b, uint64_t id, const char *name, uint64_t offset, uint64_t length);
void bulk__put_answer(struct buf *b, const struct bulk_answer *a);

/* *ret_used is set with BULK_WHOLE only: the bytes of the message (of an answer: of its head). */
enum bulk_parse bulk__get_hello(const void *p, size_t n, struct bulk_hello *ret, size_t *ret_used) MUST_USE;
enum bulk_parse bulk__get_auth(const void *p, size_t n, struct bulk_auth *ret, size_t *ret_used) MUST_USE;
enum bulk_parse bulk__get_verdict(const void *p, size_t n, struct bulk_verdict *ret, size_t *ret_used) MUST_USE;
enum bulk_parse bulk__get_request(const void *p, size_t n, struct bulk_request *ret, size_t *ret_used) MUST_USE;
enum bulk_parse bulk__get_answer(const void *p, size_t n, struct bulk_answer *ret, size_t *ret_used) MUST_USE;

/* The part [*offset, *offset + *length) of a file of that size which a request means: *offset BULK_TAIL is the end;
 * what lies beyond the end is cut off. */
void bulk__clip(uint64_t size, uint64_t *offset, uint64_t *length);
#endif
