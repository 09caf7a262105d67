/* broadcast_fetch -- bringing a broadcast to this host: pieces in random order from random holders. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "executor/broadcast_priv.h"
#include "net/bulk.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    UNDER_WAY = 8,                /* pieces asked for and not here yet */
    PIECE_TRIES = 6,              /* failures of one piece end the fetch; the client has retried each before */
    LOOK_AGAIN_NS = 200 * 1000 * 1000, /* whether the one who fetches for this host still lives */
};

struct piece {
    struct known *k;
    uint32_t index, node, tries;
    struct piece *next;
};

static uint32_t
random_below(uint32_t n)
{
    uint32_t r = 0;

    if (getrandom(&r, sizeof r, GRND_INSECURE) != sizeof r)
        return 0;
    return (uint32_t)((uint64_t)r * n >> 32);
}

static uint64_t
length_of(const struct known *k, uint32_t piece)
{
    uint64_t left = k->size - (uint64_t)piece * BROADCAST_PIECE;

    return left < BROADCAST_PIECE ? left : BROADCAST_PIECE;
}

void
broadcasts__stop(struct broadcasts *b, struct known *k, bool remove)
{
    loop_timer_stop(b->o.loop, &k->again);
    for (struct piece *p = k->pieces, *next; p; p = next) {
        next = p->next;
        b->o.forget(b->o.bulk, p);
        free(p);
    }
    k->pieces = NULL;
    free(k->order);
    k->order = NULL;
    k->next_piece = k->under_way = k->done = 0;
    if (k->part >= 0 && remove) {
        char *path = broadcasts__path(b->dir, k->id, ".part");

        unlink(path);
        free(path);
    }
    file_close(&k->part);
}

static void
give_up(struct broadcasts *b, struct known *k, struct err *e)
{
    broadcasts__stop(b, k, true);
    broadcasts__ready(b, k, e);
}

/* ---- pieces */

static void pump(struct broadcasts *b, struct known *k);
static void on_piece(void *arg, struct err *e, uint64_t got, uint64_t size);

/* Any holder that serves, rather not the one where it went wrong; UINT32_MAX: there is none. */
static uint32_t
pick(const struct broadcasts *b, const struct known *k, uint32_t not, struct broadcast_node *ret)
{
    uint32_t from = k->n_good ? random_below(k->n_good) : 0, found = UINT32_MAX;

    for (uint32_t i = 0; i < k->n_good; i++) {
        uint32_t node = k->holder[(from + i) % k->n_good];
        struct broadcast_node n;

        if (!b->o.node(b->o.arg, node, &n) || !n.bulk[0] || (found != UINT32_MAX && node == not))
            continue;
        *ret = n;
        found = node;
        if (node != not)
            break;
    }
    return found;
}

static struct err *
ask(struct broadcasts *b, struct piece *p)
{
    const struct known *k = p->k;
    struct broadcast_node n;
    char name[16];

    p->node = pick(b, k, p->node, &n);
    if (p->node == UINT32_MAX)
        return err_new(ERR_LOST, "nobody who has it can be reached");
    snprintf(name, sizeof name, "b%u", k->id);
    uint64_t at = (uint64_t)p->index * BROADCAST_PIECE;
    struct bulk_get g = { .host = n.bulk, .name = name, .offset = at, .length = length_of(k, p->index), .fd = k->part,
                          .at = at, .done = on_piece, .arg = p };
    b->o.get(b->o.bulk, &g);
    return NULL;
}

/* What lies in the file now is what the driver summed? */
static struct err *
check(struct broadcasts *b, const struct piece *p, uint64_t got)
{
    const struct known *k = p->k;
    uint64_t n = length_of(k, p->index);

    if (got != n)
        return err_new(ERR_CORRUPT, "piece %u has %llu bytes instead of %llu", p->index, (unsigned long long)got,
                       (unsigned long long)n);
    char *bytes = malloc(n);
    if (!bytes)
        abort();
    struct err *e = file_pread_full(k->part, bytes, n, (uint64_t)p->index * BROADCAST_PIECE, "a broadcast's copy");
    if (!e && XXH3_64bits(bytes, n) != k->xxh3[p->index])
        e = err_new(ERR_CORRUPT, "piece %u does not have the sum that the driver made", p->index);
    free(bytes);
    if (e && e->code == ERR_CORRUPT)
        b->stats.corrupt++;
    return e;
}

static void
take_out(struct known *k, struct piece *p)
{
    struct piece **at = &k->pieces;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p);
    k->under_way--;
}

static struct err *
rename_whole(struct broadcasts *b, struct known *k)
{
    char *part = broadcasts__path(b->dir, k->id, ".part"), *whole = broadcasts__path(b->dir, k->id, "");
    struct err *e = NULL;

    if (fchmod(k->part, 0400) < 0 || rename(part, whole) < 0)
        e = err_errno(errno, "renaming \"%s\"", part);
    free(part);
    free(whole);
    return e;
}

static void
finish(struct broadcasts *b, struct known *k)
{
    struct err *e = rename_whole(b, k);

    broadcasts__stop(b, k, e != NULL);
    if (!e)
        b->o.held(b->o.arg, k->id);
    broadcasts__ready(b, k, e);
}

/* Where it went wrong we ask again only when it has gone wrong everywhere. */
static void
avoid(struct known *k, uint32_t node)
{
    for (uint32_t i = 0; i < k->n_good; i++)
        if (k->holder[i] == node) {
            k->holder[i] = k->holder[--k->n_good];
            k->holder[k->n_good] = node;
        }
    if (k->n_good == 0)
        k->n_good = k->n_holders;
}

static void
on_piece(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct piece *p = arg;
    struct known *k = p->k;
    struct broadcasts *b = k->b;

    if (!e)
        e = check(b, p, got);
    if (!e) {
        b->stats.fetched++;
        b->stats.bytes += got;
        k->done++;
        take_out(k, p);
        pump(b, k);
        return;
    }
    avoid(k, p->node);
    struct err *no = p->tries++ < PIECE_TRIES ? ask(b, p) : err_new(ERR_LOST, "it was tried %d times", PIECE_TRIES + 1);
    if (!no) {
        err_free(e);
        return;
    }
    err_free(no);
    give_up(b, k, err_wrap_take(e, "fetching it to this host"));
    (void)size;
}

/* Asks for as many as may be under way; ends the fetch behind the last. */
static void
pump(struct broadcasts *b, struct known *k)
{
    while (k->next_piece < k->n_pieces && k->under_way < UNDER_WAY) {
        struct piece *p = calloc(1, sizeof *p);

        if (!p)
            abort();
        *p = (struct piece){ .k = k, .index = k->order[k->next_piece++], .node = UINT32_MAX, .next = k->pieces };
        k->pieces = p;
        k->under_way++;
        struct err *e = ask(b, p);
        if (e) {
            give_up(b, k, e);
            return;
        }
    }
    if (k->done == k->n_pieces)
        finish(b, k);
}

/* ---- the partial file */

static void
on_again(void *arg)
{
    struct known *k = arg;

    broadcasts__holders_changed(k->b, k);
}

/* *ret_locked false: another executor of this host is at it. */
static struct err *
lock_part(struct broadcasts *b, const char *path, int *ret_fd, bool *ret_locked)
{
    struct stat mine, there;

    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
            return err_errno(errno, "making \"%s\"", path);
        *ret_locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (!*ret_locked) {
            close(fd);
            return NULL;
        }
        if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino) {
            *ret_fd = fd;
            return NULL;
        }
        close(fd); /* it was renamed between open and lock */
    }
}

static struct err *
begin(struct broadcasts *b, struct known *k, const char *path)
{
    bool locked;

    TRY(lock_part(b, path, &k->part, &locked));
    if (!locked) {
        loop_timer_start(b->o.loop, &k->again, loop_now(b->o.loop) + LOOK_AGAIN_NS, on_again, k);
        return NULL;
    }
    if (ftruncate(k->part, 0) < 0 || (k->size && fallocate(k->part, 0, 0, (off_t)k->size) < 0 && errno != EOPNOTSUPP))
        return err_errno(errno, "making room for %llu bytes in \"%s\"", (unsigned long long)k->size, path);
    k->n_good = k->n_holders;
    k->order = malloc((k->n_pieces + 1) * sizeof *k->order);
    if (!k->order)
        abort();
    for (uint32_t i = 0; i < k->n_pieces; i++) {
        uint32_t at = random_below(i + 1);

        k->order[i] = k->order[at];
        k->order[at] = i;
    }
    return NULL;
}

void
broadcasts__fetch(struct broadcasts *b, struct known *k)
{
    if (k->part >= 0)
        return;
    loop_timer_stop(b->o.loop, &k->again);
    if (!b->o.get || !k->n_holders) {
        broadcasts__ready(b, k, err_new(ERR_LOST, "nobody who has it can be reached"));
        return;
    }
    char *path = broadcasts__path(b->dir, k->id, ".part");
    struct err *e = begin(b, k, path);

    free(path);
    if (e)
        give_up(b, k, e);
    else if (k->part >= 0 && broadcasts__here(b, k)) /* it came while we took the lock */
        give_up(b, k, NULL);
    else if (k->part >= 0)
        pump(b, k);
}

/* It may be on this host now; or there is at least somebody to ask. */
void
broadcasts__holders_changed(struct broadcasts *b, struct known *k)
{
    if (k->part >= 0 || !k->waiters)
        return;
    if (broadcasts__here(b, k))
        broadcasts__ready(b, k, NULL);
    else
        broadcasts__fetch(b, k);
}
