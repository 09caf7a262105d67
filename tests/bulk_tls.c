/* bulk_tls -- the same through mutual TLS; and those whom it keeps out. */
#include "bulk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "net/bulk_priv.h"

struct pki {
    char dir[64];
    char ca[100], cert[100], key[100];
    struct tls_files files;
};

static X509 *
certificate(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, long from, long to)
{
    X509 *x = X509_new();
    X509_NAME *n = X509_NAME_new();
    X509V3_CTX v;

    CU_ASSERT_FATAL(x && n);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), issuer ? 2 : 1);
    X509_gmtime_adj(X509_getm_notBefore(x), from);
    X509_gmtime_adj(X509_getm_notAfter(x), to);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_subject_name(x, n);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : n);
    X509_NAME_free(n);
    X509_set_pubkey(x, key);
    X509V3_set_ctx(&v, issuer ? issuer : x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &v, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
    CU_ASSERT_FATAL(e && X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
    CU_ASSERT_FATAL(X509_sign(x, issuer ? issuer_key : key, EVP_sha256()) > 0);
    return x;
}

static void
write_pem(const char *path, X509 *x, EVP_PKEY *key)
{
    FILE *f = fopen(path, "w");

    CU_ASSERT_FATAL(f != NULL);
    CU_ASSERT(fchmod(fileno(f), 0600) == 0);
    CU_ASSERT(x ? PEM_write_X509(f, x) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    CU_ASSERT(fclose(f) == 0);
}

/* A CA and a node's certificate from it, valid for an hour from now on (or until just before). */
static void
pki_init(struct pki *p, bool expired)
{
    strcpy(p->dir, "/tmp/taskd-pki-XXXXXX");
    CU_ASSERT_FATAL(mkdtemp(p->dir) != NULL);
    snprintf(p->ca, sizeof p->ca, "%s/ca.crt", p->dir);
    snprintf(p->cert, sizeof p->cert, "%s/node.crt", p->dir);
    snprintf(p->key, sizeof p->key, "%s/node.key", p->dir);
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = certificate("test CA", ca_key, NULL, NULL, -7200, 3600);
    X509 *x = certificate("node", key, ca, ca_key, -7200, expired ? -3600 : 3600);
    write_pem(p->ca, ca, NULL);
    write_pem(p->cert, x, NULL);
    write_pem(p->key, NULL, key);
    X509_free(ca);
    X509_free(x);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    p->files = (struct tls_files){ p->ca, p->cert, p->key };
}

static void
pki_fini(struct pki *p)
{
    NO_ERR(file_remove_tree(p->dir));
}

static void
transfers(void)
{
    enum { N = 12345678 };
    struct pki p;
    struct rig r;
    struct got g = { 0 }, small[40] = { 0 };

    pki_init(&p, false);
    struct bulk_server_opts so = { .host = "127.0.0.1", .tls = &p.files };
    rig_init(&r, &so, NULL);
    rig_file(&r, "f", N, 1);
    rig_start(&r, "f", 0, N, &g);
    for (unsigned i = 0; i < 40; i++)
        rig_start(&r, "f", i * 1001, i * 1000, &small[i]);
    rig_wait(&r, &g);
    EQ_U64(g.got, N);
    rig_check(&g, 0, 0, N, 1);
    got_fini(&g);
    for (unsigned i = 0; i < 40; i++) {
        rig_wait(&r, &small[i]);
        EQ_U64(small[i].got, i * 1000);
        rig_check(&small[i], i * 1001, i * 1001, i * 1000, 1);
        got_fini(&small[i]);
    }
    rig_get(&r, "f", BULK_TAIL, 65536, &g);
    EQ_U64(g.got, 65536);
    rig_check(&g, N - 65536, N - 65536, 65536, 1);
    got_fini(&g);
    EQ_U64(rig_stats(&r).refused, 0);
    EQ_U64(rig_stats(&r).connections, 1);
    bulk_client_free(r.c);
    r.c = NULL;
    rig_until_connections(&r, 0);
    rig_fini(&r);
    pki_fini(&p);
}

/* Who is kept out, and what they are told; the server counts each time and does nothing else. */
static void
kept_out(void)
{
    struct pki good, wrong, expired;
    struct rig r;
    struct got g = { 0 };
    struct bulk_client_opts o = { .app = "app" };
    uint64_t refused = 0;
    char c;

    pki_init(&good, false);
    pki_init(&wrong, false);
    pki_init(&expired, true);
    struct bulk_server_opts so = { .host = "127.0.0.1", .tls = &good.files, .idle_ns = 200000000 };
    rig_init(&r, &so, NULL);
    rig_file(&r, "f", 10, 1);
    memcpy(o.secret, r.secret, sizeof o.secret);
    o.silence_ns = 100000000;
    struct tls_files half = { good.ca, wrong.cert, wrong.key }; /* believes the server, but is not believed */
    const struct tls_files *files[] = { &wrong.files, &half, &expired.files, NULL };
    struct tls_files old = { good.ca, expired.cert, expired.key };
    files[2] = &old;
    for (size_t i = 0; i < 4; i++) {
        const struct tls_files *own = r.tls;
        bulk_client_free(r.c);
        o.tls = files[i];
        r.tls = NULL;
        rig_client(&r, &o);
        r.tls = own;
        rig_get(&r, "f", 0, 10, &g);
        CU_ASSERT(g.e && (g.e->code == ERR_DENIED || (i == 3 && g.e->code == ERR_LOST)));
        err_free(g.e);
        g.e = NULL;
        EQ_U64(g.got, 0);
        got_fini(&g);
        if (i < 3)
            rig_until_refused(&r, refused += 4);
    }
    EQ_U64(rig_stats(&r).requests, 0);
    uint64_t before = rig_stats(&r).refused;
    int fd = rig_connect(&r); /* plain bytes instead of a handshake */
    rig_write(fd, "GET / HTTP/1.1\r\n\r\n", 18);
    char alert[7]; /* one record, and closed */
    (void)!rig_read(&r, fd, alert, sizeof alert);
    CU_ASSERT(!rig_read(&r, fd, &c, 1));
    close(fd);
    rig_until_connections(&r, 0);
    CU_ASSERT(rig_stats(&r).refused > before);
    bulk_client_free(r.c);
    rig_client(&r, NULL);
    rig_get(&r, "f", 0, 10, &g); /* those who may still can */
    EQ_U64(g.got, 10);
    got_fini(&g);
    rig_fini(&r);
    pki_fini(&good);
    pki_fini(&wrong);
    pki_fini(&expired);
}

static void
bad_files(void)
{
    struct pki p, q;
    struct rig r;
    struct bulk_server *s = NULL;

    pki_init(&p, false);
    pki_init(&q, false);
    rig_init(&r, NULL, NULL);
    struct tls_files mixed = { p.ca, p.cert, q.key }, none = { p.ca, p.key, p.key };
    struct bulk_server_opts o = { .host = "127.0.0.1", .tls = &mixed };
    IS_ERR(bulk_server_new(r.l, &o, &s), ERR_CONFIG, "as TLS key");
    o.tls = &none;
    IS_ERR(bulk_server_new(r.l, &o, &s), ERR_CONFIG, "as TLS certificate");
    CU_ASSERT(s == NULL);
    CU_ASSERT(chmod(p.key, 0644) == 0);
    o.tls = &p.files;
    IS_ERR(bulk_server_new(r.l, &o, &s), ERR_CONFIG, "may be read by others");
    rig_fini(&r);
    pki_fini(&p);
    pki_fini(&q);
}

const struct unit_test bulk_tls_tests[] = {
    { "tls.transfers", transfers }, { "tls.kept_out", kept_out }, { "tls.bad_files", bad_files }, UNIT_END,
};
