/* taskd-cert -- `taskd cert init|issue`: the cluster's CA and the certificates of its hosts.
 *
 * A process of its own, so that nothing else is linked to OpenSSL's X.509 for the sake of two commands. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

enum { CA_DAYS = 3650, NODE_DAYS = 730, HOSTS_MAX = 64, CN_MAX = 64, FILE_LIMIT = 1 << 20 };
#define BACKDATED 3600 /* seconds: clocks differ */

struct line {
    const char *verb, *dir, *out;
    const char *hosts[HOSTS_MAX];
    int n_hosts;
};

static const char usage_text[] =
    "usage: taskd cert init [--dir DIR]\n"
    "       taskd cert issue --host NAME|IP [--host NAME|IP]... [--dir DIR] [--out DIR]\n\n"
    "init makes the CA of a cluster: DIR/ca.pem and DIR/ca.key (P-256, 10 years).  issue makes the certificate of a\n"
    "host, valid 2 years for the names and addresses given and for localhost: ca.pem, node.pem and node.key in the\n"
    "folder --out.  Copy that folder to the host as /etc/taskd/tls, or as ~/.config/taskd/tls of the user there, and\n"
    "keep ca.key where nobody else reads it.  Nothing is ever overwritten.\n\n"
    "      --dir DIR        where the CA is; ~/.config/taskd/ca if it is not given\n"
    "      --out DIR        where the host's files go; DIR/HOST if it is not given\n"
    "      --host NAME|IP   what the host is called by others; may be given many times, or as a list with commas\n"
    "  -h, --help           print this text\n";

/* The last thing that OpenSSL said. */
static struct err *
ssl_error(const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return why ? err_new(ERR_IO, "%s: %s", what, why) : err_new(ERR_IO, "%s", what);
}

/* ---- certificates */

static EVP_PKEY *
new_key(void)
{
    return EVP_EC_gen("P-256");
}

static bool
add_ext(X509 *x, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1);

    X509_EXTENSION_free(e);
    return ok;
}

static bool
random_serial(X509 *x)
{
    unsigned char bytes[16];
    BIGNUM *n;
    bool ok;

    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, 127 bits */
    n = BN_bin2bn(bytes, sizeof bytes, NULL);
    ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
    BN_free(n);
    return ok;
}

/* A certificate for key, signed by ca_key; without a CA by itself.  san: of a node, NULL of a CA. */
static X509 *
new_cert(EVP_PKEY *key, const char *cn, int days, const char *san, X509 *ca, EVP_PKEY *ca_key)
{
    X509 *x = X509_new();
    X509_NAME *name = x ? X509_get_subject_name(x) : NULL;
    X509V3_CTX ctx;
    bool ok = x && X509_set_version(x, X509_VERSION_3) && random_serial(x) &&
              X509_gmtime_adj(X509_getm_notBefore(x), -BACKDATED) &&
              X509_time_adj_ex(X509_getm_notAfter(x), days, 0, NULL) && X509_set_pubkey(x, key) &&
              X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"taskd", -1, -1, 0) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) &&
              X509_set_issuer_name(x, ca ? X509_get_subject_name(ca) : name);

    X509V3_set_ctx(&ctx, ca ? ca : x, x, NULL, NULL, 0);
    ok = ok && add_ext(x, &ctx, NID_basic_constraints, san ? "critical,CA:FALSE" : "critical,CA:TRUE,pathlen:0") &&
         add_ext(x, &ctx, NID_key_usage, san ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign") &&
         add_ext(x, &ctx, NID_subject_key_identifier, "hash") &&
         add_ext(x, &ctx, NID_authority_key_identifier, "keyid") &&
         (!san || (add_ext(x, &ctx, NID_ext_key_usage, "serverAuth,clientAuth") &&
                   add_ext(x, &ctx, NID_subject_alt_name, san))) &&
         X509_sign(x, ca_key, EVP_sha256());
    if (!ok) {
        X509_free(x);
        return NULL;
    }
    return x;
}

/* ---- files */

/* What was made so far; on failure all of it goes. */
struct made {
    const char *path[4];
    int n;
};

static void
unmake(struct made *m)
{
    while (m->n)
        unlink(m->path[--m->n]);
}

static struct err *
write_new(struct made *m, const char *path, mode_t mode, const void *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    struct err *e;

    if (fd < 0 && errno == EEXIST)
        return err_hint(err_new(ERR_DENIED, "\"%s\" exists already", path),
                        "Nothing is overwritten; move it away first, or name another folder.");
    if (fd < 0)
        return err_errno(errno, "making \"%s\"", path);
    m->path[m->n++] = path;
    e = fchmod(fd, mode) < 0 ? err_errno(errno, "making \"%s\"", path) : file_write_full(fd, p, n, path);
    if (!e && fsync(fd) < 0)
        e = err_errno(errno, "writing \"%s\"", path);
    close(fd);
    return e;
}

static struct err *
write_pem(struct made *m, const char *path, mode_t mode, X509 *x, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    struct err *e = NULL;
    char *p;
    long n;

    if (!bio || !(x ? PEM_write_bio_X509(bio, x) : PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)))
        e = ssl_error("encoding a certificate");
    n = e ? 0 : BIO_get_mem_data(bio, &p);
    if (!e)
        e = write_new(m, path, mode, p, (size_t)n);
    BIO_free(bio);
    return e;
}

static struct err *
read_pem(const char *path, X509 **ret_x, EVP_PKEY **ret_key)
{
    FILE *f = fopen(path, "re");
    struct stat st;
    bool ok;

    if (!f && errno == ENOENT)
        return err_hint(err_new(ERR_CONFIG, "there is no \"%s\"", path), "`taskd cert init` makes a CA.");
    if (!f)
        return err_errno(errno, "opening \"%s\"", path);
    if (ret_key && fstat(fileno(f), &st) == 0 && (st.st_mode & 077)) {
        fclose(f);
        return err_hint(err_new(ERR_CONFIG, "\"%s\" may be read by others (mode %04o)", path, (unsigned)st.st_mode & 07777),
                        "Run chmod 600 on it.");
    }
    if (ret_x)
        ok = (*ret_x = PEM_read_X509(f, NULL, NULL, NULL)) != NULL;
    else
        ok = (*ret_key = PEM_read_PrivateKey(f, NULL, NULL, (void *)"")) != NULL;
    fclose(f);
    return ok ? NULL : err_wrap_take(ssl_error(ret_x ? "not a certificate" : "not a private key"), "reading \"%s\"", path);
}

/* ---- init */

static struct err *
init(struct arena *a, const struct line *l)
{
    const char *cert = arena_printf(a, "%s/ca.pem", l->dir), *key_path = arena_printf(a, "%s/ca.key", l->dir);
    struct made m = { .n = 0 };
    EVP_PKEY *key = new_key();
    X509 *x = key ? new_cert(key, "taskd cluster CA", CA_DAYS, NULL, NULL, key) : NULL;
    struct err *e = x ? file_mkdirs(l->dir, 0700) : ssl_error("making a CA");

    if (!e && access(cert, F_OK) == 0)
        e = err_hint(err_new(ERR_DENIED, "\"%s\" exists already", cert),
                     "Nothing is overwritten; move it away first, or name another folder.");
    if (!e)
        e = write_pem(&m, key_path, 0600, NULL, key);
    if (!e)
        e = write_pem(&m, cert, 0644, x, NULL);
    if (e)
        unmake(&m);
    else
        printf("made %s and %s\n", cert, key_path);
    X509_free(x);
    EVP_PKEY_free(key);
    return e;
}

/* ---- issue */

struct ca {
    X509 *cert;
    EVP_PKEY *key;
};

static struct err *
load_ca(struct arena *a, const struct line *l, struct ca *ca)
{
    const char *cert = arena_printf(a, "%s/ca.pem", l->dir);

    TRY(read_pem(cert, &ca->cert, NULL));
    TRY(read_pem(arena_printf(a, "%s/ca.key", l->dir), NULL, &ca->key));
    if (X509_check_ca(ca->cert) != 1)
        return err_new(ERR_CONFIG, "\"%s\" is not the certificate of a CA", cert);
    if (X509_check_private_key(ca->cert, ca->key) != 1) {
        ERR_clear_error();
        return err_new(ERR_CONFIG, "ca.pem and ca.key in \"%s\" don't belong together", l->dir);
    }
    if (X509_cmp_current_time(X509_get0_notAfter(ca->cert)) <= 0)
        return err_new(ERR_CONFIG, "\"%s\" has expired", cert);
    return NULL;
}

static bool
is_ip(const char *s)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1;
}

static bool
is_name(const char *s)
{
    size_t n = strlen(s);

    if (n < 1 || n > 253 || strchr(".-", *s) || s[n - 1] == '-')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr(".-_", *s))
            return false;
    return true;
}

/* "DNS:a,IP:10.0.0.1,...": those of the line, then localhost. */
static struct err *
names(const struct line *l, struct buf *san)
{
    static const char *const local[] = { "localhost", "127.0.0.1", "::1" };
    const int n_local = sizeof local / sizeof *local;

    for (int i = 0; i < l->n_hosts + n_local; i++) {
        const char *host = i < l->n_hosts ? l->hosts[i] : local[i - l->n_hosts];
        bool ip = is_ip(host), twice = false;

        for (int j = 0; j < i && j < l->n_hosts; j++)
            twice |= !strcmp(l->hosts[j], host);
        if (!ip && !is_name(host))
            return err_new(ERR_USAGE, "\"%s\" is neither a host's name nor its address", host);
        if (!twice)
            buf_printf(san, "%s%s:%s", san->n ? "," : "", ip ? "IP" : "DNS", host);
    }
    return NULL;
}

static struct err *
write_node(struct arena *a, const struct line *l, const struct ca *ca, X509 *x, EVP_PKEY *key)
{
    const char *out = l->out ? l->out : arena_printf(a, "%s/%s", l->dir, l->hosts[0]);
    struct made m = { .n = 0 };
    struct err *e = file_mkdirs(out, 0700);

    if (!e)
        e = write_pem(&m, arena_printf(a, "%s/node.key", out), 0600, NULL, key);
    if (!e)
        e = write_pem(&m, arena_printf(a, "%s/node.pem", out), 0644, x, NULL);
    if (!e)
        e = write_pem(&m, arena_printf(a, "%s/ca.pem", out), 0644, ca->cert, NULL);
    if (e)
        unmake(&m);
    else
        printf("made ca.pem, node.pem and node.key in %s\n", out);
    return e;
}

static struct err *
issue(struct arena *a, const struct line *l)
{
    struct ca ca = { 0 };
    struct buf san = { 0 };
    EVP_PKEY *key = NULL;
    X509 *x = NULL;
    struct err *e = names(l, &san);

    if (!e)
        e = load_ca(a, l, &ca);
    if (!e) {
        const char *cn = strlen(l->hosts[0]) <= CN_MAX ? l->hosts[0] : "taskd node";

        key = new_key();
        x = key ? new_cert(key, cn, NODE_DAYS, san.p, ca.cert, ca.key) : NULL;
        e = x ? write_node(a, l, &ca, x, key) : ssl_error("making a certificate");
    }
    X509_free(x);
    X509_free(ca.cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca.key);
    buf_fini(&san);
    return e;
}

/* ---- line */

static struct err *
usage(const char *fmt, const char *arg)
{
    return err_hint(err_new(ERR_USAGE, fmt, arg), "`taskd cert --help` says how.");
}

static struct err *
add_hosts(struct arena *a, struct line *l, const char *list)
{
    char *save, *copy = arena_strdup(a, list);

    for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        if (l->n_hosts == HOSTS_MAX)
            return err_new(ERR_USAGE, "a certificate has more than %d names", HOSTS_MAX);
        l->hosts[l->n_hosts++] = p;
    }
    return NULL;
}

static struct err *
parse(int argc, char **argv, struct arena *a, struct line *l, bool *ret_help)
{
    static const struct option options[] = {
        { "dir", required_argument, NULL, 'd' }, { "out", required_argument, NULL, 'o' },
        { "host", required_argument, NULL, 'H' }, { "help", no_argument, NULL, 'h' }, { 0 },
    };
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (c == 'h')
            *ret_help = true;
        else if (c == 'd')
            l->dir = optarg;
        else if (c == 'o')
            l->out = optarg;
        else if (c == 'H')
            TRY(add_hosts(a, l, optarg));
        else
            return usage(c == ':' ? "%s needs a value" : "\"%s\" is not an option", argv[optind - 1]);
    }
    if (*ret_help)
        return NULL;
    l->verb = optind < argc ? argv[optind++] : NULL;
    if (!l->verb)
        return usage("%s: init or issue?", "taskd cert");
    if (optind < argc)
        return usage("\"%s\" is too much", argv[optind]);
    if (strcmp(l->verb, "init") && strcmp(l->verb, "issue"))
        return usage("\"%s\" is neither init nor issue", l->verb);
    if (*l->verb == 'i' && l->verb[1] == 'n' && (l->n_hosts || l->out))
        return usage("%s takes --dir only", "taskd cert init");
    if (l->verb[1] == 's' && !l->n_hosts)
        return usage("%s needs --host: what the host is called by others", "taskd cert issue");
    if (!l->dir && !(xdg && *xdg) && !(home && *home))
        return usage("%s is not set: name a folder with --dir", "HOME");
    if (!l->dir)
        l->dir = xdg && *xdg ? arena_printf(a, "%s/taskd/ca", xdg) : arena_printf(a, "%s/.config/taskd/ca", home);
    return NULL;
}

int
main(int argc, char **argv)
{
    struct line l = { 0 };
    struct arena a = { 0 };
    bool help = false;
    struct err *e = parse(argc, argv, &a, &l, &help);
    int status = 0;

    if (!e && help)
        fputs(usage_text, stdout);
    else if (!e)
        e = strcmp(l.verb, "init") ? issue(&a, &l) : init(&a, &l);
    if (!e && fflush(stdout) == EOF)
        e = err_errno(errno, "writing to standard output");
    if (e) {
        char *text = err_text(e);

        fprintf(stderr, "taskd cert: %s\n", text);
        status = err_code_exit(e->code);
        free(text);
        err_free(e);
    }
    arena_fini(&a);
    return status;
}
