/* identity -- see identity.h */
#include "common/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* PATH below the user's configuration folder; NULL if nobody says where that is. */
static const char *
user_path(struct arena *a, const char *path)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

    if (xdg && *xdg)
        return arena_printf(a, "%s/taskd/%s", xdg, path);
    return home && *home ? arena_printf(a, "%s/.config/taskd/%s", home, path) : NULL;
}

static const struct tls_files *
tls_in(struct arena *a, const char *dir)
{
    struct tls_files *f = ARENA_NEW(a, struct tls_files);

    if (!dir)
        return NULL;
    f->ca = arena_printf(a, "%s/ca.pem", dir);
    f->cert = arena_printf(a, "%s/node.pem", dir);
    f->key = arena_printf(a, "%s/node.key", dir);
    return access(f->ca, R_OK) || access(f->cert, R_OK) || access(f->key, R_OK) ? NULL : f;
}

static const struct tls_files *
tls_files(const struct conf *c, struct arena *a)
{
    const struct tls_files *there;
    struct tls_files *f;

    if (*conf_str(c, CONF_SSL_CA)) {
        f = ARENA_NEW(a, struct tls_files);
        f->ca = arena_strdup(a, conf_str(c, CONF_SSL_CA));
        f->cert = arena_strdup(a, conf_str(c, CONF_SSL_CERT));
        f->key = arena_strdup(a, conf_str(c, CONF_SSL_KEY));
        return f;
    }
    there = tls_in(a, user_path(a, "tls"));
    return there ? there : tls_in(a, "/etc/taskd/tls");
}

/* The token in the open file; what others could have read is no secret. */
static struct err *
read_token(int fd, struct arena *a, struct identity *id)
{
    char bytes[IDENTITY_TOKEN_MAX + 1];
    struct stat st;
    size_t n;

    if (fstat(fd, &st) < 0)
        return err_errno(errno, "reading the token file \"%s\"", id->token_file);
    if (!S_ISREG(st.st_mode))
        return err_new(ERR_CONFIG, "the token file \"%s\" is not a file", id->token_file);
    if (st.st_mode & 077)
        return err_hint(err_new(ERR_CONFIG, "the token file \"%s\" may be read by others (mode %04o)", id->token_file,
                                (unsigned)st.st_mode & 07777),
                        "Run chmod 600 on it.");
    TRY(file_pread(fd, bytes, sizeof bytes, 0, &n, id->token_file));
    while (n && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
        n--;
    if (n < IDENTITY_TOKEN_MIN || n > IDENTITY_TOKEN_MAX)
        return err_new(ERR_CONFIG, "the token file \"%s\" has not between %d and %d bytes", id->token_file,
                       IDENTITY_TOKEN_MIN, IDENTITY_TOKEN_MAX);
    id->token = (const unsigned char *)arena_memdup(a, bytes, n);
    id->token_n = n;
    explicit_bzero(bytes, sizeof bytes);
    return NULL;
}

static struct err *
open_token(const char *path, bool must, struct arena *a, struct identity *id)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct err *e;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && !must)
        return NULL;
    if (fd < 0)
        return err_wrap_take(err_new(ERR_CONFIG, "%s", strerror(errno)), "opening the token file \"%s\"", path);
    e = read_token(fd, a, id);
    close(fd);
    return e;
}

/* A whole file appears under its name, or the one that somebody else made stays. */
static struct err *
make_token(const char *path, struct arena *a)
{
    unsigned char random[32];
    char text[2 * sizeof random + 2], *dir = arena_strdup(a, path), *tmp = arena_printf(a, "%s.XXXXXX", path);
    struct err *e;
    int fd;

    *strrchr(dir, '/') = 0;
    if (*dir)
        TRY(file_mkdirs(dir, 0700));
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_errno(errno, "making a token");
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(text + 2 * i, 4, "%02x\n", random[i]);
    if ((fd = mkostemp(tmp, O_CLOEXEC)) < 0) /* 0600 */
        return err_errno(errno, "making the token file \"%s\"", path);
    e = file_write_full(fd, text, sizeof text - 1, tmp);
    if (!e && fsync(fd) < 0)
        e = err_errno(errno, "writing the token file \"%s\"", path);
    if (!e && link(tmp, path) < 0 && errno != EEXIST)
        e = err_errno(errno, "making the token file \"%s\"", path);
    unlink(tmp);
    close(fd);
    explicit_bzero(random, sizeof random);
    explicit_bzero(text, sizeof text);
    return e;
}

static struct err *
load(const struct conf *c, struct arena *a, bool make, struct identity *ret)
{
    const char *named = conf_str(c, CONF_SECRET_FILE);
    struct identity id = { .tls = tls_files(c, a) };

    id.token_file = *named ? arena_strdup(a, named) : user_path(a, "token");
    if (!id.token_file && make)
        return err_hint(err_new(ERR_CONFIG, "there is no place for the cluster's token: HOME is not set"),
                        "Name a file with --conf taskd.authenticate.secretFile=FILE.");
    if (id.token_file && strchr(id.token_file, '/') == NULL)
        id.token_file = arena_printf(a, "./%s", id.token_file);
    if (id.tls && !*named && !make) { /* the token there may be that of a cluster on this machine alone */
        *ret = id;
        return NULL;
    }
    if (id.token_file)
        TRY(open_token(id.token_file, *named && !make, a, &id));
    if (!id.token && (make || (!*named && id.token_file))) { /* a worker may start before its master */
        struct err *e = make_token(id.token_file, a);

        if (e && make)
            return e;
        err_free(e); /* who only asks goes on without one */
        TRY(open_token(id.token_file, make, a, &id));
    }
    *ret = id;
    return NULL;
}

struct err *
identity_load(const struct conf *c, struct arena *a, struct identity *ret)
{
    return load(c, a, false, ret);
}

struct err *
identity_make(const struct conf *c, struct arena *a, struct identity *ret)
{
    return load(c, a, true, ret);
}

bool
identity_token_fits(const struct identity *i, const void *token, size_t n)
{
    const unsigned char *p = token;
    unsigned char differ = 0;

    if (!i->token || n != i->token_n)
        return false;
    for (size_t k = 0; k < n; k++)
        differ |= (unsigned char)(p[k] ^ i->token[k]);
    return !differ;
}
