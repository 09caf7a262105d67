/* blobs -- see blobs.h.  An entry goes  idle -> looking (a hand hashes what is there) -> fetching -> looking -> idle. */
#include "worker/blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "net/loop.h"
#include "worker/blobs_priv.h"
#include "worker/hand.h"

void
blobs_hex(const unsigned char sha256[BLOBS_SHA256], char ret[BLOBS_HEX])
{
    for (int i = 0; i < BLOBS_SHA256; i++)
        snprintf(ret + 2 * i, 3, "%02x", sha256[i]);
}

uint64_t
blobs_fetched(const struct blobs *b)
{
    return b->fetched;
}

char *
blobs__path(const struct blobs *b, const struct blob *x, bool part)
{
    char *s;

    if (asprintf(&s, "%s/%s%s", b->dir, x->hex, part ? ".part" : "") < 0)
        abort();
    return s;
}

/* ---- answering */

static void
waiter_free(struct blob_waiter *w)
{
    free(w->name);
    free(w->host);
    free(w->app);
    explicit_bzero(w->secret, sizeof w->secret);
    free(w);
}

/* Takes e. */
static void
answer(struct blob *x, struct err *e)
{
    struct blob_waiter *w = x->waiters;

    x->waiters = w->next;
    if (!e)
        x->holds++;
    w->done(w->arg, e);
    waiter_free(w);
}

static void
set_idle(struct blob *x)
{
    x->state = BLOB_IDLE;
    x->again = false;
}

void
blobs__there(struct blobs *b, struct blob *x)
{
    set_idle(x);
    while (x->waiters && x->state == BLOB_IDLE)
        answer(x, NULL);
    if (x->state == BLOB_IDLE)
        blobs_trim(b);
}

/* The one whose source failed is told; the next may have a better one.  Takes e. */
void
blobs__failed(struct blobs *b, struct blob *x, struct err *e)
{
    set_idle(x);
    if (x->waiters)
        answer(x, e);
    else
        err_free(e);
    if (x->state == BLOB_IDLE && x->waiters)
        blobs__look(b, x);
}

/* ---- what is there already */

static bool
same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_mode == b->st_mode;
}

static void
on_known(void *arg)
{
    struct blob *x = arg;

    blobs__there(x->blobs, x);
}

static void
on_looked(void *arg)
{
    struct blob *x = arg;
    struct blobs *b = x->blobs;
    char *path = blobs__path(b, x, false);

    x->hand = NULL;
    if (x->hash.errnum || memcmp(x->hash.got, x->sha256, BLOBS_SHA256)) {
        close(x->hash.fd);
        unlink(path);
        blobs__fetch(b, x);
    } else {
        fstat(x->hash.fd, &x->verified);
        close(x->hash.fd);
        blobs__there(b, x);
    }
    free(path);
}

void
blobs__look(struct blobs *b, struct blob *x)
{
    static const struct timespec now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
    char *path = blobs__path(b, x, false);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    x->state = BLOB_LOOKING;
    free(path);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != x->size) {
        file_close(&fd);
        blobs__fetch(b, x);
        return;
    }
    bool known = same_file(&st, &x->verified);
    futimens(fd, now); /* needed lately: for blobs_trim() */
    if (known) {
        fstat(fd, &x->verified);
        close(fd);
        loop_timer_start(b->loop, &x->timer, 0, on_known, x);
        return;
    }
    x->hash = (struct blob_hash){ .fd = fd };
    x->hand = hand_start(b->loop, blobs__hash, on_looked, x);
}

/* ---- wishes */

static struct blob *
entry(struct blobs *b, const unsigned char sha256[BLOBS_SHA256])
{
    for (struct blob *x = b->entries; x; x = x->next_blob)
        if (!memcmp(x->sha256, sha256, BLOBS_SHA256))
            return x;
    return NULL;
}

static char *
copy(const char *s)
{
    char *c = strdup(s);

    if (!c)
        abort();
    return c;
}

void
blobs_need(struct blobs *b, const struct blobs_want *want, void (*done)(void *arg, struct err *e), void *arg)
{
    struct blob *x = entry(b, want->sha256);
    struct blob_waiter *w = calloc(1, sizeof *w), **end;

    if (!x) {
        if (!(x = calloc(1, sizeof *x)))
            abort();
        memcpy(x->sha256, want->sha256, BLOBS_SHA256);
        blobs_hex(x->sha256, x->hex);
        x->size = want->size;
        x->blobs = b;
        x->next_blob = b->entries;
        b->entries = x;
    }
    if (!w)
        abort();
    w->name = copy(want->name);
    w->host = copy(want->host);
    w->app = copy(want->app);
    memcpy(w->secret, want->secret, BULK_SECRET);
    w->done = done;
    w->arg = arg;
    for (end = &x->waiters; *end; end = &(*end)->next)
        ;
    *end = w;
    if (x->state == BLOB_IDLE) {
        x->size = want->size;
        blobs__look(b, x);
    }
}

void
blobs_release(struct blobs *b, const unsigned char sha256[BLOBS_SHA256])
{
    struct blob *x = entry(b, sha256);

    if (x && x->holds)
        x->holds--;
}

void
blobs_forget(struct blobs *b, void *arg)
{
    for (struct blob *x = b->entries; x; x = x->next_blob)
        for (struct blob_waiter **at = &x->waiters; *at;) {
            struct blob_waiter *w = *at;

            if (w->arg != arg) {
                at = &w->next;
                continue;
            }
            *at = w->next;
            waiter_free(w);
        }
}

/* ---- room */

struct found {
    char name[BLOBS_HEX + 8];
    uint64_t size, used_ns;
    bool held;
};

static int
older_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

static bool
is_held(struct blobs *b, const char *name)
{
    for (struct blob *x = b->entries; x; x = x->next_blob)
        if (!strncmp(x->hex, name, BLOBS_HEX - 1))
            return x->holds || x->state != BLOB_IDLE;
    return false;
}

static size_t
list(struct blobs *b, int dir, struct buf *out, uint64_t *ret_total)
{
    DIR *d = fdopendir(dup(dir));
    struct dirent *e;
    size_t n = 0;

    while (d && (e = readdir(d))) {
        struct found f = { 0 };
        struct stat st;

        if (strlen(e->d_name) < BLOBS_HEX - 1 || strlen(e->d_name) >= sizeof f.name ||
            fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        strcpy(f.name, e->d_name);
        f.size = (uint64_t)st.st_size;
        f.used_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
        f.held = is_held(b, e->d_name);
        *ret_total += f.size;
        buf_put(out, &f, sizeof f);
        n++;
    }
    if (d)
        closedir(d);
    return n;
}

void
blobs_trim(struct blobs *b)
{
    int dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct buf all = { 0 };
    uint64_t total = 0, now = clock_wall_ns();

    if (dir < 0)
        return;
    size_t n = list(b, dir, &all, &total);
    struct found *f = (struct found *)(void *)all.p;
    if (n)
        qsort(f, n, sizeof *f, older_first);
    for (size_t i = 0; i < n; i++) {
        if (f[i].held || (total <= b->limit && f[i].used_ns + b->ttl_ns > now))
            continue;
        if (unlinkat(dir, f[i].name, 0) == 0)
            total -= f[i].size;
    }
    buf_fini(&all);
    close(dir);
}

/* ---- life */

struct err *
blobs_new(struct loop *l, const struct blobs_opts *o, struct blobs **ret)
{
    struct blobs *b = calloc(1, sizeof *b);

    if (!b)
        abort();
    b->loop = l;
    b->dir = copy(o->dir);
    b->limit = o->limit ? o->limit : UINT64_C(10) << 30;
    b->ttl_ns = o->ttl_ns ? o->ttl_ns : UINT64_C(7) * 24 * 3600 * 1000000000;
    if (o->tls) {
        b->tls_files = (struct tls_files){ copy(o->tls->ca), copy(o->tls->cert), copy(o->tls->key) };
        b->tls = &b->tls_files;
    }
    blobs_trim(b);
    *ret = b;
    return NULL;
}

void
blobs_free(struct blobs *b)
{
    if (!b)
        return;
    while (b->entries) {
        struct blob *x = b->entries;

        b->entries = x->next_blob;
        if (x->hand) {
            hand_drop(x->hand);
            file_close(&x->hash.fd);
        }
        loop_timer_stop(b->loop, &x->timer);
        blobs__fetch_drop(x);
        while (x->waiters) {
            struct blob_waiter *w = x->waiters;

            x->waiters = w->next;
            waiter_free(w);
        }
        free(x);
    }
    free((char *)b->tls_files.ca);
    free((char *)b->tls_files.cert);
    free((char *)b->tls_files.key);
    free(b->dir);
    free(b);
}
