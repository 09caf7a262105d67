/* blobs -- see blobs.h */
#include "submit/blobs.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { CHUNK = 1 << 20 };

static const char *
path_of(struct submit *s, const char *dir, const unsigned char sha[static 32])
{
    char hex[65];

    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", sha[i]);
    return arena_printf(&s->a, "%s/%s", dir, hex);
}

static struct err *
put_module(struct submit *s, const char *dir, struct cluster_blob *b)
{
    *b = (struct cluster_blob){ .use = 0, .size = s->module.info.size, .name = s->module.info.name };
    memcpy(b->sha256, s->module.sha256, sizeof b->sha256);
    const char *path = path_of(s, dir, b->sha256);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "making \"%s\"", path);
    struct err *e = file_write_full(fd, s->module.info.bytes, s->module.info.size, path);
    file_close(&fd);
    return e;
}

/* Copies what it hashes: what travels is what was hashed, whatever becomes of the file meanwhile. */
static struct err *
copy(int from, const char *name, int to, const char *to_name, struct cluster_blob *b)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    char *p = malloc(CHUNK);
    struct err *e = NULL;
    size_t n = 1;

    if (!md || !p || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
        abort();
    while (!e && n) {
        e = file_pread(from, p, CHUNK, b->size, &n, name);
        if (!e)
            e = file_write_full(to, p, n, to_name);
        if (!e && EVP_DigestUpdate(md, p, n) != 1)
            abort();
        b->size += e ? 0 : n;
    }
    if (EVP_DigestFinal_ex(md, b->sha256, NULL) != 1)
        abort();
    EVP_MD_CTX_free(md);
    free(p);
    return e;
}

static struct err *
put_file(struct submit *s, const char *dir, const struct submit_file *f, struct cluster_blob *b)
{
    char *fresh = arena_printf(&s->a, "%s/.new", dir);
    int from = open(f->path, O_RDONLY | O_CLOEXEC);

    if (from < 0)
        return err_errno(errno, "opening \"%s\"", f->path);
    *b = (struct cluster_blob){ .use = (uint8_t)f->use, .name = f->name };
    int to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct err *e = to < 0 ? err_errno(errno, "making \"%s\"", fresh) : copy(from, f->path, to, fresh, b);
    file_close(&from);
    file_close(&to);
    if (!e && rename(fresh, path_of(s, dir, b->sha256)) < 0)
        e = err_errno(errno, "renaming \"%s\"", fresh);
    return e;
}

struct err *
blobs_make(struct submit *s, const char *dir, struct blobs *ret)
{
    struct blobs b = { arena_strdup(&s->a, dir), ARENA_ARRAY(&s->a, struct cluster_blob, s->o.n_files + 1), 0 };

    if (mkdir(dir, 0700) < 0)
        return err_errno(errno, "making \"%s\"", dir);
    TRY(put_module(s, dir, &b.v[b.n++]));
    for (size_t i = 0; i < s->o.n_files; i++)
        TRY(put_file(s, dir, &s->o.files[i], &b.v[b.n++]));
    *ret = b;
    return NULL;
}
