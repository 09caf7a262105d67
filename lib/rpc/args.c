/* args -- what every channel and server of ours is told, and the credentials. */
#include <string.h>

#include "base/file.h"
#include "rpc/rpc_priv.h"

enum {
    KEEPALIVE_MS = 2000,
    KEEPALIVE_TIMEOUT_MS = 1500,
    PING_FLOOR_MS = 500,      /* faster pings are ill manners; those of ours come every two seconds */
    HANDSHAKE_MS = 5000,      /* connections that say nothing are dropped */
    STREAMS = 64,             /* of one connection; ours have one */
    METADATA_BYTES = 8192,
    PEM_LIMIT = 1 << 20,
};

static void
number(struct rpc__args *a, const char *key, int64_t v)
{
    ASSERT(a->all.num_args < RPC_ARGS);
    a->arg[a->all.num_args++] =
        (grpc_arg){ .type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = v > INT32_MAX ? INT32_MAX : (int)v };
}

static void
common(struct rpc__args *a, uint32_t message_limit)
{
    a->all = (grpc_channel_args){ .args = a->arg };
    number(a, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, message_limit);
    number(a, GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
    number(a, GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES);
    number(a, GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS);
    number(a, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
    number(a, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    number(a, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    /* What costs and what nobody asked for.  GRPC_ARG_MINIMAL_STACK would leave the message limit out, too. */
    number(a, GRPC_ARG_ENABLE_CHANNELZ, 0);
    number(a, GRPC_ARG_MAX_CHANNEL_TRACE_EVENT_MEMORY_PER_NODE, 0);
    number(a, GRPC_ARG_ENABLE_DEADLINE_CHECKS, 0);
    number(a, GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
    number(a, GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

void
rpc__args_server(struct rpc__args *a, uint32_t message_limit)
{
    common(a, message_limit);
    number(a, GRPC_ARG_ALLOW_REUSEPORT, 0);
    number(a, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_FLOOR_MS);
    number(a, GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
    number(a, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS);
    number(a, GRPC_ARG_MAX_CONNECTION_IDLE_MS, HANDSHAKE_MS);
    number(a, GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS);
}

void
rpc__args_dial(struct rpc__args *a, uint32_t message_limit, uint64_t timeout_ns)
{
    uint64_t ms = timeout_ns / 1000000;

    common(a, message_limit);
    number(a, GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    number(a, GRPC_ARG_ENABLE_RETRIES, 0);
    number(a, GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    number(a, GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    /* A channel makes one attempt, which may take the whole time; between attempts it is dial.c that waits. */
    number(a, GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, ms < 100 ? 100 : (int64_t)(ms < 60000 ? ms : 60000));
    number(a, GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    number(a, GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
    number(a, GRPC_ARG_DNS_ARES_QUERY_TIMEOUT_MS, ms < 100 ? 100 : (int64_t)ms);
}

/* ---- credentials */

struct pem {
    struct buf ca, cert, key;
};

static struct err *
slurp(const char *path, const char *what, const char *kind, struct buf *b)
{
    TRY_OR(file_slurp(path, PEM_LIMIT, b), "reading the TLS %s file \"%s\"", what, path);
    put_u8(b, 0);
    if (!strstr(b->p, kind))
        return err_new(ERR_CONFIG, "the TLS %s file \"%s\" has no line with \"%s\"", what, path, kind);
    return NULL;
}

static void
pem_fini(struct pem *p)
{
    if (p->key.p)
        explicit_bzero(p->key.p, p->key.cap);
    buf_fini(&p->ca);
    buf_fini(&p->cert);
    buf_fini(&p->key);
}

static struct err *
pem_read(const struct tls_files *tls, struct pem *p)
{
    struct err *e = slurp(tls->ca, "CA", "BEGIN CERTIFICATE-----", &p->ca);

    if (!e)
        e = slurp(tls->cert, "certificate", "BEGIN CERTIFICATE-----", &p->cert);
    if (!e)
        e = slurp(tls->key, "key", "PRIVATE KEY-----", &p->key);
    if (e)
        pem_fini(p);
    return e;
}

/*
 * The certificate must be of our CA; which name it has is not asked: all of a cluster's nodes trust each other, and
 * drivers are dialled by whatever address their host has.
 */
static grpc_channel_credentials *
dial_by_chain(const struct pem *p)
{
    grpc_tls_identity_pairs *own = grpc_tls_identity_pairs_create();
    grpc_tls_identity_pairs_add_pair(own, p->key.p, p->cert.p);
    grpc_tls_certificate_provider *from = grpc_tls_certificate_provider_static_data_create(p->ca.p, own);
    grpc_tls_certificate_verifier *names = grpc_tls_certificate_verifier_no_op_create();
    grpc_tls_credentials_options *o = grpc_tls_credentials_options_create();

    grpc_tls_credentials_options_set_certificate_provider(o, from);
    grpc_tls_credentials_options_watch_root_certs(o);
    grpc_tls_credentials_options_watch_identity_key_cert_pairs(o);
    grpc_tls_credentials_options_set_verify_server_cert(o, 1);
    grpc_tls_credentials_options_set_certificate_verifier(o, names);
    grpc_tls_credentials_options_set_check_call_host(o, 0);
    grpc_tls_certificate_verifier_release(names);
    grpc_tls_certificate_provider_release(from);
    return grpc_tls_credentials_create(o);
}

struct err *
rpc__creds_dial(const struct tls_files *tls, grpc_channel_credentials **ret)
{
    struct pem p = { 0 };

    if (!tls) {
        *ret = grpc_insecure_credentials_create();
        return NULL;
    }
    TRY(pem_read(tls, &p));
    grpc_channel_credentials *c = dial_by_chain(&p);
    pem_fini(&p);
    if (!c)
        return err_new(ERR_CONFIG, "the TLS files \"%s\", \"%s\" and \"%s\" are of no use", tls->ca, tls->cert, tls->key);
    *ret = c;
    return NULL;
}

struct err *
rpc__creds_server(const struct tls_files *tls, grpc_server_credentials **ret)
{
    struct pem p = { 0 };

    if (!tls) {
        *ret = grpc_insecure_server_credentials_create();
        return NULL;
    }
    TRY(pem_read(tls, &p));
    grpc_ssl_pem_key_cert_pair own = { .private_key = p.key.p, .cert_chain = p.cert.p };
    grpc_server_credentials *c = grpc_ssl_server_credentials_create_ex(
        p.ca.p, &own, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
    pem_fini(&p);
    if (!c)
        return err_new(ERR_CONFIG, "the TLS files \"%s\", \"%s\" and \"%s\" are of no use", tls->ca, tls->cert, tls->key);
    *ret = c;
    return NULL;
}
