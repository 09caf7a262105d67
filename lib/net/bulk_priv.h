/*
 * bulk_priv -- what server and client share: a byte stream over a non-blocking socket, plain or TLS, and the proofs.
 */
#ifndef NET_BULK_PRIV_H
#define NET_BULK_PRIV_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "net/bulk.h"
#include "net/bulk_wire.h"
#include "net/loop.h"

struct ssl_st;
struct ssl_ctx_st;

enum {
    BULK_TURN = 1 << 20, /* bytes that one connection moves before the others have their turn */
};

/* ---- bulk_stream.c */
enum bulk_io {
    BULK_MOVED, /* *ret_n > 0 bytes */
    BULK_AGAIN, /* later: the stream's `want` says what it waits for */
    BULK_END,   /* the other side closed, or the file ended (bulk__send_file) */
    BULK_FAILED /* broken; bulk__why says why */
};
struct bulk_stream {
    int fd;
    struct ssl_st *ssl;  /* NULL: plain */
    unsigned want;       /* LOOP_IN, LOOP_OUT: what TLS waits for besides what the owner wants */
    int errnum;          /* of BULK_FAILED */
    char why[96];        /* what TLS said; "" */
    char *file;          /* TLS: the part of a file that is being sent */
    size_t file_n, file_sent;
};
/* Takes fd, which is non-blocking.  ctx: NULL for plain, borrowed. */
struct err *bulk__stream_open(struct bulk_stream *s, int fd, struct ssl_ctx_st *ctx, bool server) MUST_USE;
void bulk__stream_close(struct bulk_stream *s);
enum bulk_io bulk__recv(struct bulk_stream *s, void *p, size_t n, size_t *ret_n);
/* Into a pipe, without looking at them; plain only. */
enum bulk_io bulk__recv_pipe(struct bulk_stream *s, int pipe, size_t n, size_t *ret_n);
/* more: further bytes follow at once. */
enum bulk_io bulk__send(struct bulk_stream *s, const void *p, size_t n, bool more, size_t *ret_n);
/* At most n bytes of file at off; the same arguments again after BULK_AGAIN. */
enum bulk_io bulk__send_file(struct bulk_stream *s, int file, uint64_t off, size_t n, size_t *ret_n);
/* Bytes that arrived already and that the socket will not announce. */
bool bulk__pending(const struct bulk_stream *s);
const char *bulk__why(const struct bulk_stream *s);
/* Mutual TLS 1.3 from the files; NULL files give a NULL context. */
struct err *bulk__tls_new(const struct tls_files *files, bool server, struct ssl_ctx_st **ret) MUST_USE;
void bulk__tls_free(struct ssl_ctx_st *ctx); /* NULL is allowed */

/* ---- bulk_proof.c */
struct err *bulk__nonce(unsigned char nonce[BULK_NONCE]) MUST_USE;
/* The server's or the client's proof that it knows the secret. */
void bulk__prove(bool server, const unsigned char secret[BULK_SECRET], const unsigned char server_nonce[BULK_NONCE],
                 const unsigned char client_nonce[BULK_NONCE], const char *app, unsigned char ret[BULK_MAC]);
/* In constant time. */
bool bulk__same(const unsigned char a[BULK_MAC], const unsigned char b[BULK_MAC]);
/* memset that stays. */
void bulk__wipe(void *p, size_t n);

/* "10.0.0.2:7337", "[::1]:7337", "localhost:7337".  Names are looked up, which may block. */
struct err *bulk__resolve(const char *address, struct sockaddr_storage *ret, socklen_t *ret_n) MUST_USE;
#endif
