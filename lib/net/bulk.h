/*
 * bulk -- files by the byte range, from host to host: shuffle outputs, module and broadcast blobs.
 *
 *   server   serves files below folders that it was told of, to peers that know the folder's secret; sendfile
 *   client   many requests under way on few connections; received bytes are written into files of ours
 *
 * Connection:  server: nonce[32]  ->  client: magic, version, app, HMAC-SHA256(secret of app, nonce)  ->  server: ok
 * Then requests {id u64, name, offset u64, length u64} and answers {id, status, length, bytes}; many may be under way,
 * answers come in any order, each whole.  With TLS (struct tls_files) the same inside it, without sendfile.
 *
 * Names are relative, without "..", and resolved below the app's folder only (openat2 RESOLVE_BENEATH).
 * What travels here checks itself (blocks: XXH3; blobs: SHA-256); this room promises order and length, not content.
 *
 * Owner: the one who made it.  Threads: the loop's.
 */
#ifndef NET_BULK_H
#define NET_BULK_H
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/tls.h"

struct loop;
struct bulk_server;
struct bulk_client;

enum { BULK_SECRET = 32 };

struct bulk_server_opts {
    const char *host;             /* address to listen on */
    uint16_t port;                /* 0: any */
    const struct tls_files *tls;  /* NULL: only a loopback address is allowed (ERR_DENIED) */
    unsigned max_connections;     /* 0: 1024; of one peer address at most a quarter */
    uint64_t idle_ns;             /* a connection that does nothing is closed; 0: 60 s (5 s before it is authenticated) */
};
struct err *bulk_server_new(struct loop *l, const struct bulk_server_opts *o, struct bulk_server **ret) MUST_USE;
void bulk_server_free(struct bulk_server *s); /* NULL is allowed */
uint16_t bulk_server_port(const struct bulk_server *s);
/* From now on the files below dir, and of what it is spread over (base/spread.h), are there for those who know the
 * secret.  Again: replaces. */
struct err *bulk_server_add(struct bulk_server *s, const char *app, const char *dir,
                            const unsigned char secret[BULK_SECRET]) MUST_USE;
/* Closes the app's connections. */
void bulk_server_remove(struct bulk_server *s, const char *app);
struct bulk_server_stats {
    uint64_t requests, bytes, refused; /* refused: wrong secret, unknown app, malformed, outside */
    uint32_t connections;
};
void bulk_server_stats(const struct bulk_server *s, struct bulk_server_stats *ret);

struct bulk_client_opts {
    const char *app;
    unsigned char secret[BULK_SECRET];
    const struct tls_files *tls;  /* NULL: plain */
    uint64_t in_flight;           /* bytes asked for and not here yet; 0: 48 MiB (Spark's reducer.maxSizeInFlight) */
    unsigned requests;            /* under way to one address; 0: 8 */
    unsigned retries;             /* of one request after a broken connection; 0: 3 */
    uint64_t backoff_ns;          /* before the first retry, then twice as long each; 0: 100 ms, at most 2 s */
    uint64_t silence_ns;          /* a connection with requests under way that says nothing is broken; 0: 10 s */
};
struct err *bulk_client_new(struct loop *l, const struct bulk_client_opts *o, struct bulk_client **ret) MUST_USE;
/* in_flight, retries and backoff_ns as they are, from now on; retries 0: none. */
void bulk_client_limit(struct bulk_client *c, uint64_t in_flight, unsigned retries, uint64_t backoff_ns);
/* Requests under way are forgotten without a call. */
void bulk_client_free(struct bulk_client *c); /* NULL is allowed */

struct bulk_get {
    const char *host; /* "10.0.0.2:7337"; copied, as is name */
    const char *name;
    uint64_t offset, length; /* offset BULK_TAIL: the last length bytes (or all) */
    int fd;                  /* where to: borrowed until done */
    uint64_t at;             /* place in fd; not used by a BULK_TAIL, which goes where it is in the file (size - got) */
    /* err is the callee's.  ERR_LOST: not there, or not to be had; ERR_DENIED.  got: bytes; size: of the whole file. */
    void (*done)(void *arg, struct err *e, uint64_t got, uint64_t size);
    void *arg;
};
#define BULK_TAIL UINT64_MAX
/* Never calls done before it returns. */
void bulk_get(struct bulk_client *c, const struct bulk_get *g);
/* Requests with that arg end without a call; for owners that go away. */
void bulk_forget(struct bulk_client *c, void *arg);
#endif
