/*
 * blobs -- modules, files and archives on this host: DIR/<SHA-256 in hex>, mode 0400, each fetched once.
 *
 * Fetched by a bulk client into DIR/<hex>.part, which is gone on with after a restart; verified; synced; renamed.  A
 * file that is there is verified again when its identity (inode, size, times) is not the one that was verified last.
 * Whoever needs a blob that is being fetched waits for that fetch.  What nobody holds is removed when it wasn't needed
 * for ttl_ns, or, oldest first, when all together are more than limit bytes.
 *
 * Owner: the one who made it; the folder must be its alone.  Threads: the loop's (hashing is done by hands).
 * Errors: ERR_LOST no source has it, ERR_CORRUPT the source gives other bytes (twice), ERR_IO, ERR_LIMIT.
 */
#ifndef WORKER_BLOBS_H
#define WORKER_BLOBS_H
#include <stdint.h>

#include "base/err.h"
#include "net/bulk.h"

enum { BLOBS_SHA256 = 32, BLOBS_HEX = 2 * BLOBS_SHA256 + 1 };

struct loop;
struct blobs;
struct event_sink;

struct blobs_opts {
    const char *dir;             /* exists, 0700 */
    const struct tls_files *tls; /* of the bulk client; NULL: plain */
    uint64_t limit;              /* 0: 10 GiB */
    uint64_t ttl_ns;             /* 0: 7 days */
};
struct err *blobs_new(struct loop *l, const struct blobs_opts *o, struct blobs **ret) MUST_USE;
/* Those who wait are forgotten.  NULL is allowed. */
void blobs_free(struct blobs *b);

struct blobs_want {
    unsigned char sha256[BLOBS_SHA256];
    uint64_t size;
    const char *name;            /* for sentences */
    const char *host;            /* "host:port" of who serves it */
    const char *app;             /* under which name */
    unsigned char secret[BULK_SECRET];
};
/* done(arg, NULL): it is there, and stays until blobs_release().  All is copied; never done from inside. */
void blobs_need(struct blobs *b, const struct blobs_want *w, void (*done)(void *arg, struct err *e), void *arg);
void blobs_release(struct blobs *b, const unsigned char sha256[BLOBS_SHA256]);
/* done will not be called for that arg. */
void blobs_forget(struct blobs *b, void *arg);
/* Removes what may go; now and then. */
void blobs_trim(struct blobs *b);
void blobs_hex(const unsigned char sha256[BLOBS_SHA256], char ret[BLOBS_HEX]);
/* Bytes that were fetched. */
uint64_t blobs_fetched(const struct blobs *b);
#endif
