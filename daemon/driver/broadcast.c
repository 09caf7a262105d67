/* broadcast -- see broadcast.h */
#include "driver/broadcast.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "flow/wire.h"
#include "net/loop.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SELF = 0 }; /* the driver's node */

struct bcast {
    uint32_t id;
    uint64_t size;
    uint64_t *xxh3;
    uint32_t n_pieces;
    uint32_t *holder, n_holders;
    bool destroyed; /* nothing else counts then; executors that come later hear it, too */
    struct bcast *next;
};

struct bcast_store {
    struct bcast_store_opts o;
    char *dir;
    struct bcast *all;
    /* the one that is being copied; NULL: none is */
    struct {
        struct bcast *b;
        uint32_t frame;
        char *name; /* of its source, for sentences */
        int from, to;
        uint64_t at;
        char *piece;
        struct loop_timer step;
    } copy;
};

static char *
path_of(const struct bcast_store *s, uint32_t id, const char *suffix)
{
    char *p = NULL;

    if (asprintf(&p, "%s/b%u%s", s->dir, id, suffix) < 0)
        abort();
    return p;
}

static struct bcast *
find(const struct bcast_store *s, uint32_t id)
{
    for (struct bcast *b = s->all; b; b = b->next)
        if (b->id == id)
            return b->destroyed ? NULL : b;
    return NULL;
}

static struct broadcast_info
info(const struct bcast *b)
{
    return (struct broadcast_info){ b->id, b->size, b->n_pieces, b->xxh3, b->n_holders, b->holder,
                                    b->destroyed };
}

static void
tell(const struct bcast_store *s, const struct bcast *b)
{
    struct broadcast_info i = info(b);

    s->o.tell(s->o.arg, &i);
}

static void
unlink_of(const struct bcast_store *s, uint32_t id, const char *suffix)
{
    char *path = path_of(s, id, suffix);

    unlink(path);
    free(path);
}

static void
bcast_free(struct bcast *b)
{
    free(b->xxh3);
    free(b->holder);
    free(b);
}

static void
add_holder(struct bcast *b, uint32_t node)
{
    b->holder = realloc(b->holder, (b->n_holders + 1) * sizeof *b->holder);
    if (!b->holder)
        abort();
    b->holder[b->n_holders++] = node;
}

/* ---- copying */

/* Read-only and under its name, which says that it is whole. */
static struct err *
finish(struct bcast_store *s)
{
    char *part = path_of(s, s->copy.b->id, ".part"), *whole = path_of(s, s->copy.b->id, "");
    struct err *e = NULL;

    if (fchmod(s->copy.to, 0400) < 0 || rename(part, whole) < 0)
        e = err_errno(errno, "renaming \"%s\"", part);
    free(part);
    free(whole);
    return e;
}

static void
copy_end(struct bcast_store *s, struct err *e)
{
    struct bcast *b = s->copy.b;

    if (!e)
        e = finish(s);
    file_close(&s->copy.from);
    file_close(&s->copy.to);
    free(s->copy.piece);
    free(s->copy.name);
    s->copy.b = NULL;
    if (e) {
        unlink_of(s, b->id, ".part");
        bcast_free(b);
    } else {
        add_holder(b, SELF);
        b->next = s->all;
        s->all = b;
        tell(s, b);
    }
    s->o.reply(s->o.arg, s->copy.frame, e);
}

/* One piece: false, it was the last. */
static struct err *
copy_piece(struct bcast_store *s, bool *ret_more)
{
    struct bcast *b = s->copy.b;
    uint64_t left = b->size - s->copy.at;
    size_t n = left < BROADCAST_PIECE ? (size_t)left : BROADCAST_PIECE;

    *ret_more = n > 0;
    if (n == 0)
        return NULL;
    TRY(file_pread_full(s->copy.from, s->copy.piece, n, s->copy.at, s->copy.name));
    TRY(file_write_full(s->copy.to, s->copy.piece, n, "the copy of a broadcast"));
    b->xxh3[s->copy.at / BROADCAST_PIECE] = XXH3_64bits(s->copy.piece, n);
    s->copy.at += n;
    return NULL;
}

static void
on_step(void *arg)
{
    struct bcast_store *s = arg;
    bool more = false;
    struct err *e = copy_piece(s, &more);

    if (e || !more)
        copy_end(s, e);
    else
        loop_timer_start(s->o.loop, &s->copy.step, loop_now(s->o.loop), on_step, s);
}

/* A number is used once, also after its value was destroyed. */
static bool
used(const struct bcast_store *s, uint32_t id)
{
    for (const struct bcast *b = s->all; b; b = b->next)
        if (b->id == id)
            return true;
    return id == 0;
}

/* Opens the source. */
static struct err *
source(struct frame *f, struct get *g, struct arena *a, uint64_t *ret_size, int *ret_fd, const char **ret_name)
{
    const char *name = get_str(g, a);
    bool is_path = get_u8(g);
    const char *path = get_str(g, a);
    struct stat st;

    int fd = is_path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : frame_take_fd(f, 0);
    if (fd < 0 && is_path)
        return err_errno(errno, "opening \"%s\"", path);
    if (g->bad || fd < 0 || fstat(fd, &st) < 0) {
        file_close(&fd);
        return err_new(ERR_CORRUPT, "main's request for a broadcast is malformed");
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return err_new(ERR_INPUT, "\"%s\" is not a regular file", path);
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *ret_name = is_path ? path : name;
    *ret_size = (uint64_t)st.st_size;
    *ret_fd = fd;
    return NULL;
}

static struct err *
begin(struct bcast_store *s, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct arena a = { 0 };
    uint32_t id = get_u32(&g);
    uint64_t size = 0;
    int from = -1;
    const char *name = "";

    struct err *e = s->copy.b     ? err_new(ERR_USER, "main asked for a broadcast inside another") :
                    used(s, id) ? err_new(ERR_USER, "main asked for broadcast %u again", id) :
                                  NULL;
    if (!e)
        e = source(f, &g, &a, &size, &from, &name);
    char *part = path_of(s, id, ".part");
    int to = e ? -1 : open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (!e && to < 0)
        e = err_errno(errno, "making \"%s\"", part);
    if (e) {
        file_close(&from);
    } else {
        struct bcast *b = calloc(1, sizeof *b);

        if (!b)
            abort();
        b->id = id;
        b->size = size;
        b->n_pieces = (uint32_t)((size + BROADCAST_PIECE - 1) / BROADCAST_PIECE);
        b->xxh3 = calloc(b->n_pieces + 1, sizeof *b->xxh3);
        s->copy.b = b;
        s->copy.frame = f->id;
        s->copy.name = strdup(name);
        s->copy.from = from;
        s->copy.to = to;
        s->copy.at = 0;
        s->copy.piece = malloc(BROADCAST_PIECE);
        if (!b->xxh3 || !s->copy.name || !s->copy.piece)
            abort();
        loop_timer_start(s->o.loop, &s->copy.step, loop_now(s->o.loop), on_step, s);
    }
    free(part);
    arena_fini(&a);
    return e;
}

void
bcast_store_add(struct bcast_store *s, struct frame *f)
{
    struct err *e = begin(s, f);

    if (e)
        s->o.reply(s->o.arg, f->id, e);
}

/* ---- the rest */

void
bcast_store_remove(struct bcast_store *s, const struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    uint32_t id = get_u32(&g);
    struct bcast *b = find(s, id);

    if (!b) {
        s->o.reply(s->o.arg, f->id, err_new(ERR_INPUT, "there is no broadcast %u", id));
        return;
    }
    free(b->xxh3);
    free(b->holder);
    *b = (struct bcast){ .id = id, .destroyed = true, .next = b->next };
    unlink_of(s, id, "");
    tell(s, b);
    s->o.reply(s->o.arg, f->id, NULL);
}

struct err *
bcast_store_open(struct bcast_store *s, uint32_t id, int *ret_fd, uint64_t *ret_size)
{
    const struct bcast *b = find(s, id);

    if (!b)
        return err_new(ERR_INPUT, "it was destroyed");
    char *path = path_of(s, id, "");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct err *e = fd < 0 ? err_errno(errno, "opening \"%s\"", path) : NULL;
    free(path);
    if (e)
        return e;
    *ret_fd = fd;
    *ret_size = b->size;
    return NULL;
}

void
bcast_store_each(const struct bcast_store *s, void (*fn)(void *, const struct broadcast_info *), void *arg)
{
    for (const struct bcast *b = s->all; b; b = b->next) {
        struct broadcast_info i = info(b);

        fn(arg, &i);
    }
}

void
bcast_store_held(struct bcast_store *s, uint32_t id, uint32_t node)
{
    struct bcast *b = find(s, id);

    if (!b)
        return; /* destroyed meanwhile: who holds it hears that, too */
    for (uint32_t i = 0; i < b->n_holders; i++)
        if (b->holder[i] == node)
            return;
    add_holder(b, node);
    struct broadcast_info i = { .id = id, .size = b->size, .n_holders = 1, .holder = &node };
    s->o.tell(s->o.arg, &i);
}

void
bcast_store_lost(struct bcast_store *s, uint32_t node)
{
    for (struct bcast *b = s->all; b; b = b->next)
        for (uint32_t i = 0; i < b->n_holders; i++)
            if (b->holder[i] == node) {
                b->holder[i] = b->holder[--b->n_holders];
                tell(s, b);
                break;
            }
}

struct bcast_store *
bcast_store_new(const struct bcast_store_opts *o)
{
    struct bcast_store *s = calloc(1, sizeof *s);

    if (!s || !(s->dir = strdup(o->dir)))
        abort();
    s->o = *o;
    return s;
}

void
bcast_store_free(struct bcast_store *s)
{
    if (!s)
        return;
    loop_timer_stop(s->o.loop, &s->copy.step);
    if (s->copy.b) {
        file_close(&s->copy.from);
        file_close(&s->copy.to);
        unlink_of(s, s->copy.b->id, ".part");
        free(s->copy.piece);
        free(s->copy.name);
        bcast_free(s->copy.b);
    }
    for (struct bcast *b = s->all, *next; b; b = next) {
        next = b->next;
        if (!b->destroyed)
            unlink_of(s, b->id, "");
        bcast_free(b);
    }
    free(s->dir);
    free(s);
}
