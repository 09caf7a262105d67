/* store -- blobs of submissions: DIR/<SHA-256 in hex>, while it grows DIR/<hex>.part.  See master_priv.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "master/master_priv.h"

enum { HEX = 65, READ = 1 << 20, KEEP_S = 3600 };

/* One that is being put: its hash so far, so that nothing is read twice. */
struct upload {
    struct upload *next;
    char hex[HEX];
    int fd;
    uint64_t have, used; /* used: for finding the oldest */
    EVP_MD_CTX *sha;
};
enum { UPLOADS = 64 };

struct store {
    int dir;
    char *path;
    struct upload *uploads;
    unsigned n;
    uint64_t clock;
};

static void
hex_of(const unsigned char sha256[32], char ret[HEX])
{
    for (int i = 0; i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", sha256[i]);
}

static void
upload_free(struct store *s, struct upload *u)
{
    struct upload **p = &s->uploads;

    while (*p != u)
        p = &(*p)->next;
    *p = u->next;
    s->n--;
    file_close(&u->fd);
    EVP_MD_CTX_free(u->sha);
    free(u);
}

struct err *
store__new(const char *dir, struct store **ret)
{
    TRY(file_mkdirs(dir, 0700));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_errno(errno, "opening \"%s\"", dir);
    struct store *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(dir)))
        abort();
    s->dir = fd;
    *ret = s;
    return NULL;
}

void
store__free(struct store *s)
{
    if (!s)
        return;
    while (s->uploads)
        upload_free(s, s->uploads);
    close(s->dir);
    free(s->path);
    free(s);
}

static bool
whole(const struct store *s, const char *hex, uint64_t *ret_size)
{
    struct stat st;

    if (fstatat(s->dir, hex, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return false;
    *ret_size = (uint64_t)st.st_size;
    return true;
}

bool
store__has(const struct store *s, const unsigned char sha256[32])
{
    char hex[HEX];
    uint64_t size;

    hex_of(sha256, hex);
    return whole(s, hex, &size);
}

/* What an earlier life of the master had got of it. */
static struct err *
resume(struct upload *u)
{
    char *p = malloc(READ);
    struct err *e = NULL;
    size_t n = 1;

    if (!p)
        abort();
    while (!e && n) {
        e = file_pread(u->fd, p, READ, u->have, &n, u->hex);
        if (!e && n)
            EVP_DigestUpdate(u->sha, p, n);
        u->have += e ? 0 : n;
    }
    free(p);
    return e;
}

static struct err *
upload_of(struct store *s, const char *hex, struct upload **ret)
{
    struct upload *u = s->uploads, *oldest = s->uploads;
    char part[HEX + 8];

    for (; u && strcmp(u->hex, hex); u = u->next)
        if (u->used < oldest->used)
            oldest = u;
    if (!u) {
        if (s->n == UPLOADS)
            upload_free(s, oldest);
        u = calloc(1, sizeof *u);
        if (!u || !(u->sha = EVP_MD_CTX_new()) || EVP_DigestInit_ex(u->sha, EVP_sha256(), NULL) != 1)
            abort();
        memcpy(u->hex, hex, HEX);
        snprintf(part, sizeof part, "%s.part", hex);
        u->fd = openat(s->dir, part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        u->next = s->uploads;
        s->uploads = u;
        s->n++;
        struct err *e = u->fd < 0 ? err_errno(errno, "opening \"%s/%s\"", s->path, part) : resume(u);
        if (e) {
            upload_free(s, u);
            return e;
        }
    }
    u->used = ++s->clock;
    *ret = u;
    return NULL;
}

/* It is all there: is it what it was said to be?  Frees u. */
static struct err *
finish(struct store *s, struct upload *u, const Taskd__Blob *b)
{
    unsigned char got[32];
    char part[HEX + 8], hex[HEX];
    unsigned n = sizeof got;
    struct err *e = NULL;

    memcpy(hex, u->hex, HEX);
    snprintf(part, sizeof part, "%s.part", hex);
    if (EVP_DigestFinal_ex(u->sha, got, &n) != 1 || memcmp(got, b->sha256.data, 32) != 0) {
        e = err_new(ERR_CORRUPT, "what came as \"%s\" has another SHA-256", b->name);
        unlinkat(s->dir, part, 0);
    } else if (fsync(u->fd) < 0 || fchmod(u->fd, 0400) < 0 || renameat(s->dir, part, s->dir, hex) < 0 ||
               fsync(s->dir) < 0) {
        e = err_errno(errno, "keeping \"%s/%s\"", s->path, hex);
    }
    upload_free(s, u);
    return e;
}

struct err *
store__put(struct store *s, const Taskd__BlobPut *put, uint64_t *ret_have, bool *ret_whole)
{
    const Taskd__Blob *b = put->blob;
    struct upload *u;
    char hex[HEX];

    if (!b || b->sha256.len != 32)
        return err_new(ERR_CORRUPT, "a blob without a SHA-256");
    hex_of(b->sha256.data, hex);
    *ret_whole = whole(s, hex, ret_have);
    if (*ret_whole)
        return NULL;
    TRY(upload_of(s, hex, &u));
    if (put->data.len && put->at == u->have && put->data.len <= b->size - u->have && u->have <= b->size) {
        struct err *e = lseek(u->fd, (off_t)u->have, SEEK_SET) < 0
                            ? err_errno(errno, "writing \"%s/%s\"", s->path, hex)
                            : file_write_full(u->fd, put->data.data, put->data.len, hex);
        if (e) {
            upload_free(s, u); /* how much of it was written is read again */
            return e;
        }
        EVP_DigestUpdate(u->sha, put->data.data, put->data.len);
        u->have += put->data.len;
    }
    *ret_have = u->have;
    if (u->have < b->size)
        return NULL;
    TRY(finish(s, u, b));
    *ret_whole = true;
    return NULL;
}

static bool
digest_of(const char *name, unsigned char ret[32])
{
    for (int i = 0; i < 32; i++) {
        unsigned v;

        if (sscanf(name + 2 * i, "%2x", &v) != 1)
            return false;
        ret[i] = (unsigned char)v;
    }
    return !name[64] || !strcmp(name + 64, ".part");
}

void
store__trim(struct store *s, bool (*keep)(void *arg, const unsigned char sha256[32]), void *arg)
{
    DIR *d = opendir(s->path);
    struct dirent *x;

    while (d && (x = readdir(d))) {
        unsigned char sha[32];
        struct stat st;

        if (strlen(x->d_name) < 64 || !digest_of(x->d_name, sha) || keep(arg, sha))
            continue;
        if (fstatat(s->dir, x->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime + KEEP_S < time(NULL))
            unlinkat(s->dir, x->d_name, 0);
    }
    if (d)
        closedir(d);
}
