/* The rpc tests with TLS: who is let in, who is not and what he is told. */
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "rpc.h"
#include "unit.h"

static char dir[] = "/tmp/taskd-tls-XXXXXX";
static char names[24][64];
static int nnames;

struct issuer {
    EVP_PKEY *key;
    X509 *cert;
};

static const char *
name_of(const char *file)
{
    snprintf(names[nnames], sizeof names[0], "%s/%s", dir, file);
    return names[nnames++];
}

static X509 *
certificate(const char *cn, EVP_PKEY *key, const struct issuer *by, long from_s, long to_s)
{
    static long serial;
    X509 *x = X509_new();
    X509_NAME *n = X509_get_subject_name(x);

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), to_s);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_pubkey(x, key);
    X509_set_issuer_name(x, by ? X509_get_subject_name(by->cert) : n);
    if (!by) {
        X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");

        X509_add_ext(x, ca, -1);
        X509_EXTENSION_free(ca);
    }
    CU_ASSERT(X509_sign(x, by ? by->key : key, EVP_sha256()) > 0);
    return x;
}

static void
write_pem(const char *path, X509 *x, EVP_PKEY *key)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    FILE *f = fdopen(fd, "w");

    CU_ASSERT_FATAL(f != NULL);
    CU_ASSERT(x ? PEM_write_X509(f, x) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    fclose(f);
}

static void
issuer_init(struct issuer *ca, const char *cn)
{
    ca->key = EVP_EC_gen("P-256");
    ca->cert = certificate(cn, ca->key, NULL, -3600, 86400);
}

static void
issuer_fini(struct issuer *ca)
{
    EVP_PKEY_free(ca->key);
    X509_free(ca->cert);
}

/* What a node gets: its own pair from by, and trusted as CA. */
static struct tls_files
node(const char *name, const struct issuer *by, const struct issuer *trusted, long from_s, long to_s)
{
    char file[32];
    struct tls_files t;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = certificate(name, key, by, from_s, to_s);

    snprintf(file, sizeof file, "%s.ca", name);
    t.ca = name_of(file);
    snprintf(file, sizeof file, "%s.pem", name);
    t.cert = name_of(file);
    snprintf(file, sizeof file, "%s.key", name);
    t.key = name_of(file);
    write_pem(t.ca, trusted->cert, NULL);
    write_pem(t.cert, x, NULL);
    write_pem(t.key, NULL, key);
    X509_free(x);
    EVP_PKEY_free(key);
    return t;
}

struct world {
    struct issuer ours, theirs;
    struct tls_files server, good, stranger, deceived, old, expired;
};

static void
world_init(struct world *w)
{
    nnames = 0;
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    issuer_init(&w->ours, "our CA");
    issuer_init(&w->theirs, "their CA");
    w->server = node("server", &w->ours, &w->ours, -3600, 86400);
    w->good = node("good", &w->ours, &w->ours, -3600, 86400);
    w->stranger = node("stranger", &w->theirs, &w->ours, -3600, 86400); /* trusts us, is not ours */
    w->deceived = node("deceived", &w->ours, &w->theirs, -3600, 86400); /* is ours, trusts others */
    w->old = node("old", &w->ours, &w->ours, -7200, -3600);
    w->expired = node("expired", &w->ours, &w->ours, -7200, -3600);
}

static void
world_fini(struct world *w)
{
    issuer_fini(&w->ours);
    issuer_fini(&w->theirs);
    NO_ERR(file_remove_tree(dir));
}

static void
dial_tls(struct party *p, struct heard *h, uint16_t port, const struct tls_files *tls)
{
    char address[32];
    struct rpc_dial_opts o = { .address = address, .tls = tls, .timeout_ns = 1500 * MS * SLOW };

    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    party_dial(p, h, &o);
    link_send(h->l, "hello", 5);
}

static void
refused(struct party *p, uint16_t port, const struct tls_files *tls, const char *words)
{
    struct heard h = { 0 };

    dial_tls(p, &h, port, tls);
    party_want_down(p, &h);
    IS_ERR(h.why, ERR_DENIED, words);
    h.why = NULL;
    EQ_U64(h.bytes, 0);
    heard_fini(&h);
}

void
tls_let_in(void)
{
    static struct party p;
    struct world w;
    struct heard h = { 0 };

    world_init(&w);
    party_init(&p);
    p.echo = true;
    struct rpc_listen_opts lo = { .host = "0.0.0.0", .tls = &w.server };
    dial_tls(&p, &h, party_listen(&p, &lo), &w.good);
    party_want_bytes(&p, &h, 5);
    heard_fini(&h);
    party_fini(&p);
    world_fini(&w);
}

void
tls_refused(void)
{
    static struct party p;
    struct world w;

    world_init(&w);
    party_init(&p);
    p.echo = true;
    struct rpc_listen_opts lo = { .host = "127.0.0.1", .tls = &w.server };
    uint16_t port = party_listen(&p, &lo);
    refused(&p, port, &w.stranger, "TLS");
    refused(&p, port, &w.deceived, "TLS");
    refused(&p, port, &w.old, "TLS");
    refused(&p, port, NULL, "TLS");
    EQ_U64(p.accepted, 0);
    party_fini(&p);
    world_fini(&w);
}

/* The server is the one who is not right. */
void
tls_server_refused(void)
{
    static struct party p;
    struct world w;

    world_init(&w);
    party_init(&p);
    struct rpc_listen_opts lo = { .host = "127.0.0.1", .tls = &w.expired };
    refused(&p, party_listen(&p, &lo), &w.good, "TLS");
    rpc_server_free(p.s);
    refused(&p, party_listen(&p, NULL), &w.good, "TLS"); /* speaks none */
    EQ_U64(p.accepted, 0);
    party_fini(&p);
    world_fini(&w);
}

void
tls_files_bad(void)
{
    static struct party p;
    struct world w;
    struct rpc_server *s = NULL;
    struct link *l = NULL;
    struct rpc_listen_opts lo = { .host = "127.0.0.1", .tls = &w.server };
    struct rpc_dial_opts o = { .address = "127.0.0.1:1", .tls = &w.good };

    world_init(&w);
    party_init(&p);
    chmod(w.server.key, 0644);
    IS_ERR(rpc_listen(p.r, &lo, NULL, NULL, &s), ERR_CONFIG, "may be read by others");
    chmod(w.server.key, 0600);
    const char *cert = w.server.cert;
    w.server.cert = w.server.key; /* no certificate */
    IS_ERR(rpc_listen(p.r, &lo, NULL, NULL, &s), ERR_CONFIG, "certificate");
    w.server.cert = w.good.cert; /* of another key */
    IS_ERR(rpc_listen(p.r, &lo, NULL, NULL, &s), ERR_CONFIG, "don't fit together");
    w.server.cert = cert;
    w.good.cert = cert;
    refused(&p, party_listen(&p, &lo), &w.good, "TLS");
    w.good.ca = "/no/such/file";
    IS_ERR(rpc_dial(p.r, &o, &l), ERR_CONFIG, "'/no/such/file'");
    w.good.ca = w.good.key;
    IS_ERR(rpc_dial(p.r, &o, &l), ERR_CONFIG, "CA");
    CU_ASSERT(!s && !l);
    party_fini(&p);
    world_fini(&w);
}
