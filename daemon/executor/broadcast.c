/* broadcast -- see broadcast.h: what is known, and who opens it. */
#include "executor/broadcast.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "executor/broadcast_priv.h"

struct known *
broadcasts__find(const struct broadcasts *b, uint32_t id)
{
    for (struct known *k = b->all; k; k = k->next)
        if (k->id == id)
            return k;
    return NULL;
}

char *
broadcasts__path(const char *dir, uint32_t id, const char *suffix)
{
    char *p = NULL;

    if (asprintf(&p, "%s/b%u%s", dir, id, suffix) < 0)
        abort();
    return p;
}

/* ---- opening */

/* A whole file in a folder of this host; -1: it is not there. */
static int
open_in(const char *dir, const struct known *k)
{
    char *path = broadcasts__path(dir, k->id, "");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    free(path);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != k->size)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int
open_here(const struct broadcasts *b, const struct known *k)
{
    int fd = open_in(b->dir, k);

    for (uint32_t i = 0; fd < 0 && i < k->n_holders; i++) {
        struct broadcast_node n;

        if (b->o.node(b->o.arg, k->holder[i], &n) && !strcmp(n.host, b->host))
            fd = open_in(n.dir, k);
    }
    return fd;
}

bool
broadcasts__here(const struct broadcasts *b, const struct known *k)
{
    int fd = open_here(b, k);
    bool here = fd >= 0;

    file_close(&fd);
    return here;
}

static void
answer(struct broadcasts *b, const struct waiter *w, const struct known *k, struct err *e, int fd)
{
    b->o.opened(b->o.arg, w->slot, w->frame, w->id, e, fd, k ? k->size : 0);
}

/* The same once more: each runner gets its own. */
static struct err *
again(const struct err *e)
{
    char *text = err_text(e), *hint = strstr(text, "\nhint: ");
    struct err *r = err_new(e->code, "%.*s", hint ? (int)(hint - text) : (int)strlen(text), text);

    free(text);
    return r;
}

/* Everybody who waits for k. */
static void
answer_all(struct broadcasts *b, struct known *k, struct err *e)
{
    struct waiter *mine = k->waiters;

    k->waiters = NULL; /* an answer may lead to the next question */
    for (struct waiter *w = mine, *next; w; w = next) {
        int fd = e ? -1 : open_here(b, k);

        next = w->next;
        if (e)
            answer(b, w, k, again(e), -1);
        else if (fd < 0)
            answer(b, w, k, err_new(ERR_LOST, "its copy on this host is gone"), -1);
        else
            answer(b, w, k, NULL, fd);
        free(w);
    }
    err_free(e);
}

void
broadcasts__ready(struct broadcasts *b, struct known *k, struct err *e)
{
    answer_all(b, k, e);
}

void
broadcasts_open(struct broadcasts *b, unsigned slot, uint32_t frame, uint32_t id)
{
    struct known *k = broadcasts__find(b, id);
    struct waiter one = { .slot = slot, .frame = frame, .id = id };

    if (!k || k->destroyed) {
        answer(b, &one, NULL, err_new(ERR_INPUT, k ? "it was destroyed" : "the driver told nothing of it"), -1);
        return;
    }
    int fd = open_here(b, k);
    if (fd >= 0) {
        answer(b, &one, k, NULL, fd);
        return;
    }
    struct waiter *w = malloc(sizeof *w);
    if (!w)
        abort();
    *w = one;
    w->next = k->waiters;
    k->waiters = w;
    broadcasts__fetch(b, k);
}

void
broadcasts_forget(struct broadcasts *b, unsigned slot)
{
    for (struct known *k = b->all; k; k = k->next)
        for (struct waiter **p = &k->waiters, *w; (w = *p);) {
            if (w->slot != slot) {
                p = &w->next;
                continue;
            }
            *p = w->next;
            free(w);
        }
}

/* ---- what the driver says */

static void
destroy(struct broadcasts *b, struct known *k)
{
    char *path = broadcasts__path(b->dir, k->id, "");

    k->destroyed = true;
    broadcasts__stop(b, k, true);
    unlink(path); /* it may never have been here, or another executor was first */
    free(path);
    free(k->xxh3);
    free(k->holder);
    k->xxh3 = NULL;
    k->holder = NULL;
    k->n_holders = k->n_pieces = 0;
    answer_all(b, k, err_new(ERR_INPUT, "it was destroyed"));
}

static void *
copy_of(const void *p, size_t n)
{
    void *q = malloc(n + 1);

    if (!q)
        abort();
    if (n)
        memcpy(q, p, n);
    return q;
}

static struct err *
no_sense(const struct broadcast_info *i)
{
    return err_new(ERR_CORRUPT, "the driver says of broadcast %u what can't be", i->id);
}

static struct err *
more_holders(struct broadcasts *b, struct known *k, const struct broadcast_info *i)
{
    if (!k || k->size != i->size)
        return no_sense(i);
    if (k->destroyed)
        return NULL; /* on its way before the driver knew */
    k->holder = realloc(k->holder, (k->n_holders + i->n_holders) * sizeof *k->holder + 1);
    if (!k->holder)
        abort();
    if (i->n_holders)
        memcpy(k->holder + k->n_holders, i->holder, i->n_holders * sizeof *k->holder);
    k->n_holders += i->n_holders;
    k->n_good = k->n_holders;
    broadcasts__holders_changed(b, k);
    return NULL;
}

struct err *
broadcasts_tell(struct broadcasts *b, const struct broadcast_info *i)
{
    struct known *k = broadcasts__find(b, i->id);

    if (!i->destroyed && i->n_pieces == 0 && i->size > 0)
        return more_holders(b, k, i);
    if (!i->destroyed && (i->n_pieces != (i->size + BROADCAST_PIECE - 1) / BROADCAST_PIECE ||
                          (k && (k->size != i->size || k->destroyed))))
        return no_sense(i);
    if (!k) {
        k = calloc(1, sizeof *k);
        if (!k)
            abort();
        *k = (struct known){ .id = i->id, .size = i->size, .b = b, .next = b->all, .part = -1 };
        b->all = k;
    }
    if (i->destroyed) {
        destroy(b, k);
        return NULL;
    }
    free(k->xxh3);
    free(k->holder);
    k->xxh3 = copy_of(i->xxh3, i->n_pieces * sizeof *i->xxh3);
    k->holder = copy_of(i->holder, i->n_holders * sizeof *i->holder);
    k->n_pieces = i->n_pieces;
    k->n_holders = k->n_good = i->n_holders;
    broadcasts__holders_changed(b, k);
    return NULL;
}

/* ---- life */

struct broadcasts *
broadcasts_new(const struct broadcasts_opts *o)
{
    struct broadcasts *b = calloc(1, sizeof *b);

    if (!b || !(b->dir = strdup(o->dir)) || !(b->host = strdup(o->host)))
        abort();
    b->o = *o;
    return b;
}

void
broadcasts_free(struct broadcasts *b)
{
    if (!b)
        return;
    for (struct known *k = b->all, *next; k; k = next) {
        next = k->next;
        broadcasts__stop(b, k, true);
        for (struct waiter *w = k->waiters, *after; w; w = after) {
            after = w->next;
            free(w);
        }
        free(k->xxh3);
        free(k->holder);
        free(k);
    }
    free(b->dir);
    free(b->host);
    free(b);
}

void
broadcasts_stats(const struct broadcasts *b, struct broadcasts_stats *ret)
{
    *ret = b->stats;
}
