/* bulk_stream -- bytes over a non-blocking socket, plain or in TLS. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/file.h"
#include "net/bulk_priv.h"

enum { TLS_FILE = 256 << 10 }; /* bytes of a file that are read at once */

/* ---- TLS */

/* The first reason that OpenSSL gives; its queue is empty afterwards. */
static const char *
reason(char s[static 96])
{
    unsigned long code = ERR_get_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    strncpy(s, text ? text : "", 95);
    s[95] = 0;
    return s;
}

struct err *
bulk__tls_new(const struct tls_files *files, bool server, struct ssl_ctx_st **ret)
{
    char why[96];

    *ret = NULL;
    if (!files)
        return NULL;
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!ctx)
        abort();
    struct err *e = NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    ERR_clear_error();
    if (SSL_CTX_load_verify_locations(ctx, files->ca, NULL) != 1)
        e = err_new(ERR_CONFIG, "cannot use \"%s\" as TLS CA: %s", files->ca, reason(why));
    else if (SSL_CTX_use_certificate_chain_file(ctx, files->cert) != 1)
        e = err_new(ERR_CONFIG, "cannot use \"%s\" as TLS certificate: %s", files->cert, reason(why));
    else if (SSL_CTX_use_PrivateKey_file(ctx, files->key, SSL_FILETYPE_PEM) != 1)
        e = err_new(ERR_CONFIG, "cannot use \"%s\" as TLS key: %s", files->key, reason(why));
    if (e)
        SSL_CTX_free(ctx);
    else
        *ret = ctx;
    return e;
}

void
bulk__tls_free(struct ssl_ctx_st *ctx)
{
    SSL_CTX_free(ctx);
}

static enum bulk_io
tls_result(struct bulk_stream *s, int ok, size_t n, size_t *ret_n)
{
    int errnum = errno;

    s->want = 0;
    if (ok == 1) {
        *ret_n = n;
        return BULK_MOVED;
    }
    switch (SSL_get_error(s->ssl, ok)) {
    case SSL_ERROR_WANT_READ: s->want = LOOP_IN; return BULK_AGAIN;
    case SSL_ERROR_WANT_WRITE: s->want = LOOP_OUT; return BULK_AGAIN;
    case SSL_ERROR_ZERO_RETURN: return BULK_END;
    default:
        s->errnum = errnum;
        reason(s->why);
        return BULK_FAILED;
    }
}

/* ---- both */

struct err *
bulk__stream_open(struct bulk_stream *s, int fd, struct ssl_ctx_st *ctx, bool server)
{
    *s = (struct bulk_stream){ .fd = fd };
    if (!ctx)
        return NULL;
    s->ssl = SSL_new(ctx);
    if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1)
        return err_new(ERR_LIMIT, "no memory for a TLS connection");
    if (server)
        SSL_set_accept_state(s->ssl);
    else
        SSL_set_connect_state(s->ssl);
    return NULL;
}

void
bulk__stream_close(struct bulk_stream *s)
{
    if (s->ssl && SSL_is_init_finished(s->ssl) && !s->why[0]) {
        ERR_clear_error();
        (void)SSL_shutdown(s->ssl); /* says goodbye if there is room; waits for nothing */
        ERR_clear_error();
    }
    SSL_free(s->ssl);
    free(s->file);
    file_close(&s->fd);
    s->ssl = NULL;
    s->file = NULL;
}

static enum bulk_io
plain_result(struct bulk_stream *s, ssize_t n, size_t *ret_n)
{
    if (n > 0) {
        *ret_n = (size_t)n;
        return BULK_MOVED;
    }
    if (n == 0)
        return BULK_END;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return BULK_AGAIN;
    s->errnum = errno;
    return BULK_FAILED;
}

enum bulk_io
bulk__recv(struct bulk_stream *s, void *p, size_t n, size_t *ret_n)
{
    ssize_t got;
    size_t tls_got = 0;

    if (s->ssl) {
        ERR_clear_error();
        errno = 0;
        int ok = SSL_read_ex(s->ssl, p, n, &tls_got);
        return tls_result(s, ok, tls_got, ret_n);
    }
    do
        got = recv(s->fd, p, n, 0);
    while (got < 0 && errno == EINTR);
    return plain_result(s, got, ret_n);
}

enum bulk_io
bulk__recv_pipe(struct bulk_stream *s, int pipe, size_t n, size_t *ret_n)
{
    ssize_t got;

    do
        got = splice(s->fd, NULL, pipe, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (got < 0 && errno == EINTR);
    return plain_result(s, got, ret_n);
}

enum bulk_io
bulk__send(struct bulk_stream *s, const void *p, size_t n, bool more, size_t *ret_n)
{
    ssize_t sent;
    size_t tls_sent = 0;

    if (s->ssl) {
        ERR_clear_error();
        errno = 0;
        int ok = SSL_write_ex(s->ssl, p, n, &tls_sent);
        return tls_result(s, ok, tls_sent, ret_n);
    }
    do
        sent = send(s->fd, p, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    while (sent < 0 && errno == EINTR);
    return plain_result(s, sent, ret_n);
}

/* TLS must see the bytes: they are read into a buffer that stays until it is sent. */
static enum bulk_io
send_file_tls(struct bulk_stream *s, int file, uint64_t off, size_t n, size_t *ret_n)
{
    if (s->file_sent == s->file_n) {
        size_t got = 0;

        if (!s->file && !(s->file = malloc(TLS_FILE)))
            abort();
        struct err *e = file_pread(file, s->file, n < TLS_FILE ? n : TLS_FILE, off, &got, "file");
        s->file_sent = 0;
        s->file_n = got;
        if (e) {
            err_free(e);
            s->file_n = 0;
            s->errnum = EIO;
            return BULK_FAILED;
        }
        if (!got)
            return BULK_END;
    }
    enum bulk_io r = bulk__send(s, s->file + s->file_sent, s->file_n - s->file_sent, false, ret_n);
    if (r == BULK_MOVED)
        s->file_sent += *ret_n;
    return r;
}

enum bulk_io
bulk__send_file(struct bulk_stream *s, int file, uint64_t off, size_t n, size_t *ret_n)
{
    off_t at = (off_t)off;
    ssize_t sent;

    if (s->ssl)
        return send_file_tls(s, file, off, n, ret_n);
    do
        sent = sendfile(s->fd, file, &at, n);
    while (sent < 0 && errno == EINTR);
    return plain_result(s, sent, ret_n);
}

bool
bulk__pending(const struct bulk_stream *s)
{
    return s->ssl && SSL_pending(s->ssl) > 0;
}

const char *
bulk__why(const struct bulk_stream *s)
{
    return s->why[0] ? s->why : s->errnum ? strerror(s->errnum) : "closed";
}
