/*
 * remote -- map outputs for runners: the file itself when it is on this host, else a copy with holes.
 *
 * A copy is an unnamed file where spills are, as large as the original.  At first it has the original's end
 * only, with the footer, and goes to the runner like that; the runner says by WIRE_FETCH which parts it needs, and
 * sends the descriptor along.  So nothing is kept here between two requests but the ends of files (tails.h), and disk
 * is used for what is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spread.h"
#include "block/block.h"
#include "executor/executor_priv.h"
#include "executor/names.h"
#include "executor/tails.h"
#include "net/bulk.h"

enum {
#ifdef TASKD_HOSTILE
    TAIL = 100,
    TAILS_BYTES = 2000,
#else
    TAIL = 64 << 10, /* of a file that is asked for first: most footers fit */
    TAILS_BYTES = 32 << 20, /* of all that are kept */
#endif
};

struct part { /* a map output that is opened, or a part of one that is fetched */
    struct remote_ask *ask;
    uint32_t map, attempt, node;
    int fd;             /* an open's own; a fetch's: one of the ask's */
    bool copy, waits;
    bool again;         /* its end came damaged once */
    uint64_t offset, length, size;
    char *name;         /* of an open: for sentences */
};
struct remote_ask {
    struct executor *x;
    struct remote_ask *next;
    unsigned slot;
    uint32_t frame, parent;
    bool open;
    uint32_t n, waiting;
    int fd[WIRE_OPEN_MAX]; /* of a fetch */
    struct part part[];
};

/* ---- asks */

static struct remote_ask *
ask_new(struct executor *x, unsigned slot, uint32_t frame, uint32_t parent, uint32_t n)
{
    struct remote_ask *k = calloc(1, sizeof *k + n * sizeof k->part[0]);

    if (!k)
        abort();
    *k = (struct remote_ask){ .x = x, .slot = slot, .frame = frame, .parent = parent, .n = n, .next = x->asks };
    for (unsigned i = 0; i < WIRE_OPEN_MAX; i++)
        k->fd[i] = -1;
    for (uint32_t i = 0; i < n; i++) {
        k->part[i].ask = k;
        k->part[i].fd = -1;
    }
    x->asks = k;
    return k;
}

static void
ask_free(struct remote_ask *k)
{
    struct remote_ask **link = &k->x->asks;

    while (*link != k)
        link = &(*link)->next;
    *link = k->next;
    for (uint32_t i = 0; i < k->n; i++) {
        struct part *p = &k->part[i];

        if (p->waits)
            k->x->o.fetch.forget(k->x->o.fetch.client, p);
        if (k->open)
            file_close(&p->fd);
        free(p->name);
    }
    for (unsigned i = 0; i < WIRE_OPEN_MAX; i++)
        file_close(&k->fd[i]);
    free(k);
}

static void
post(struct remote_ask *k, const struct buf *b, const int *fd, int n)
{
    /* a runner that is gone is told of by its death */
    err_free(runners_post(k->x->runners, k->slot, WIRE_REPLY, k->frame, b->p, b->n, fd, n));
}

/* Takes e; map: whose output is to blame, UINT32_MAX: none. */
static void
fail(struct remote_ask *k, uint32_t map, struct err *e)
{
    struct buf b = { 0 };

    wire_put_err(&b, e);
    put_u32(&b, map);
    post(k, &b, NULL, 0);
    buf_fini(&b);
    err_free(e);
    ask_free(k);
}

static void
answer_if_done(struct remote_ask *k)
{
    struct buf b = { 0 };
    int fd[WIRE_OPEN_MAX], n = 0;

    if (k->waiting)
        return;
    wire_put_err(&b, NULL);
    for (uint32_t i = 0; k->open && i < k->n; i++) {
        const struct part *p = &k->part[i];

        put_str(&b, p->name);
        put_u64(&b, p->size);
        put_u64(&b, p->copy ? p->attempt : 0);
        put_u64(&b, p->copy ? p->node : 0);
        put_u8(&b, p->copy ? WIRE_COPY : 0);
        fd[n++] = p->fd;
    }
    post(k, &b, fd, n);
    buf_fini(&b);
    ask_free(k);
}

/* ---- fetching */

/* Takes e.  An error of our own disk is nobody's fault; everything else is a lost output, which can be made again. */
static void
part_failed(struct part *p, struct err *e)
{
    struct remote_ask *k = p->ask;

    if (e->code == ERR_IO || e->code == ERR_LIMIT) {
        fail(k, UINT32_MAX, e);
        return;
    }
    char *text = err_text(e);
    struct err *lost = err_new(ERR_LOST, "the output of task %u of stage %u can't be had: %s", p->map, k->parent, text);
    free(text);
    err_free(e);
    fail(k, p->map, lost);
}

static void
get(struct part *p, uint64_t offset, uint64_t length, void (*done)(void *, struct err *, uint64_t, uint64_t))
{
    struct executor *x = p->ask->x;
    struct buf name = { 0 };

    names_output(&name, p->ask->parent, p->map, p->attempt);
    struct bulk_get g = { .host = x->node[p->node].bulk, .name = name.p, .offset = offset, .length = length, .fd = p->fd,
                          .at = offset, .done = done, .arg = p };
    p->waits = true;
    p->ask->waiting++;
    x->o.fetch.get(x->o.fetch.client, &g);
    buf_fini(&name);
}

/* False: it failed, and so did all that was asked for with it. */
static bool
arrived(struct part *p, struct err *e)
{
    p->waits = false;
    p->ask->waiting--;
    if (e)
        part_failed(p, e);
    return !e;
}

static void
on_part(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct part *p = arg;

    if (!e && got < p->length)
        e = err_new(ERR_LOST, "it has only %llu bytes", (unsigned long long)size);
    if (arrived(p, e))
        answer_if_done(p->ask);
}

static struct tail_key
key_of(const struct part *p)
{
    return (struct tail_key){ p->ask->parent, p->map, p->attempt, p->node };
}

/* Is the whole footer here, and right?  *ret_need: bytes of it.  ERR_CORRUPT: no. */
static struct err *
check_end(struct part *p, uint64_t got, uint64_t *ret_need)
{
    struct executor *x = p->ask->x;
    struct buf b = { 0 };
    char *end = buf_room(&b, got);
    struct err *e = file_pread_full(p->fd, end, got, p->size - got, p->name);

    if (!e)
        e = block_run_tail(end, got, p->size, p->name, ret_need);
    if (!e && *ret_need <= got)
        e = block_run_tail_check(end, got, p->size, p->name);
    if (!e && *ret_need <= got) {
        struct tail_key k = key_of(p);
        struct tail v = { p->size, end + (got - *ret_need), *ret_need };

        if (!x->tails)
            x->tails = tails_new(TAILS_BYTES);
        tails_put(x->tails, &k, &v);
    }
    buf_fini(&b);
    return e;
}

static void on_tail(void *arg, struct err *e, uint64_t got, uint64_t size);

/* The last got bytes are in the copy. */
static void
end_is_here(struct part *p, uint64_t got)
{
    uint64_t need = 0;
    struct err *e = check_end(p, got, &need);

    if (e && e->code == ERR_CORRUPT && !p->again) { /* it may have happened on the way */
        err_free(e);
        p->again = true;
        get(p, BULK_TAIL, TAIL, on_tail);
        return;
    }
    if (e && e->code != ERR_CORRUPT) {
        part_failed(p, e);
        return;
    }
    err_free(e); /* the runner will say so in its own words */
    if (need > got && need <= p->size)
        get(p, BULK_TAIL, need, on_tail);
    else
        answer_if_done(p->ask);
}

static void
on_tail(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct part *p = arg;

    if (!arrived(p, e))
        return;
    p->size = size;
    if (ftruncate(p->fd, (off_t)size) < 0)
        part_failed(p, err_errno(errno, "making a copy of \"%s\"", p->name));
    else
        end_is_here(p, got);
}

/* As it came for another task. */
static struct err *
known_end(struct part *p, bool *ret)
{
    struct executor *x = p->ask->x;
    struct tail_key k = key_of(p);
    const struct tail *v = x->tails ? tails_get(x->tails, &k) : NULL;

    *ret = v != NULL;
    if (!v)
        return NULL;
    p->size = v->size;
    if (ftruncate(p->fd, (off_t)v->size) < 0 || pwrite(p->fd, v->p, v->n, (off_t)(v->size - v->n)) != (ssize_t)v->n)
        return err_errno(errno, "making a copy of \"%s\"", p->name);
    return NULL;
}

/* ---- opening */

/* Is there a way to get at it?  Sets p->fd: of the file itself, or of a copy that is still empty. */
static struct err *
find(struct executor *x, struct part *p, uint32_t stage)
{
    const struct executor__output *o = executor__output_of(x, stage, p->map);
    struct buf path = { 0 };

    if (!o)
        return err_new(ERR_LOST, "stage %u has no output of task %u", stage, p->map);
    const struct executor__node *n = &x->node[o->node];
    p->attempt = o->attempt_1 - 1;
    p->node = o->node;
    bool here = strcmp(n->host, x->o.host) == 0, served = x->o.fetch.get && n->bulk[0];
    int why = 0;
    buf_printf(&path, "%s/", here ? n->dir : n->bulk);
    size_t name = path.n;
    names_output(&path, stage, p->map, p->attempt);
    p->name = path.p; /* taken */
    if (here && (p->fd = spread_open(n->dir, p->name + name)) >= 0)
        return NULL;
    why = errno;
    p->copy = served; /* the same name of a host need not mean the same files */
    if (served)
        return executor__unnamed_file(x, &p->fd);
    if (!here)
        return err_new(ERR_LOST, "the output of task %u of stage %u is on host \"%s\", and nobody serves it there", p->map,
                       stage, n->host);
    return err_new(ERR_LOST, "the output of task %u of stage %u is gone: opening \"%s\": %s", p->map, stage, p->name,
                   strerror(why));
}

void
executor__open_maps(struct executor *x, unsigned slot, uint32_t frame, const struct wire_open *o)
{
    struct remote_ask *k = ask_new(x, slot, frame, o->parent, o->count);

    k->open = true;
    for (uint32_t i = 0; i < k->n; i++) {
        struct part *p = &k->part[i];

        p->map = o->index + i;
        struct err *e = find(x, p, o->parent);
        if (e) {
            fail(k, e->code == ERR_LOST ? p->map : UINT32_MAX, e);
            return;
        }
    }
    for (uint32_t i = 0; i < k->n; i++) {
        struct part *p = &k->part[i];
        bool known = !p->copy;
        struct err *e = p->copy ? known_end(p, &known) : NULL;

        if (e) {
            fail(k, UINT32_MAX, e);
            return;
        }
        if (!known)
            get(p, BULK_TAIL, TAIL, on_tail);
    }
    answer_if_done(k);
}

/* ---- parts */

/* A copy of ours, and nothing else that a runner may have got hold of. */
static bool
is_copy(int fd, uint64_t end)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & (O_ACCMODE | O_APPEND)) == O_RDWR && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           st.st_nlink == 0 && end <= (uint64_t)st.st_size;
}

static struct err *
take_parts(struct executor *x, const struct wire_fetch *w, struct remote_ask *k)
{
    if (!x->o.fetch.get)
        return err_new(ERR_DENIED, "there are no other hosts");
    for (uint32_t i = 0; i < w->n; i++) {
        const struct wire_part *from = &w->part[i];
        struct part *p = &k->part[i];

        if (from->node >= x->n_nodes || !x->node[from->node].known || k->fd[from->file] < 0 ||
            !is_copy(k->fd[from->file], from->offset + from->length))
            return err_new(ERR_DENIED, "a runner asks for parts of a file that it was not given");
        p->map = from->map;
        p->attempt = from->attempt;
        p->node = from->node;
        p->fd = k->fd[from->file];
        p->offset = from->offset;
        p->length = from->length;
    }
    return NULL;
}

void
executor__on_fetch(struct executor *x, unsigned slot, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct arena a = { 0 };
    struct wire_fetch w = { 0 };
    struct err *e = wire_get_fetch(&g, &a, &w);

    if (e || f->nfds > WIRE_OPEN_MAX) {
        err_free(e);
        arena_fini(&a);
        runners_kill(x->runners, slot, RUNNER_GARBLED);
        return;
    }
    struct remote_ask *k = ask_new(x, slot, f->id, w.parent, w.n);
    for (int i = 0; i < f->nfds; i++)
        k->fd[i] = frame_take_fd(f, i);
    e = executor__own_task(x, slot, w.stage, w.partition, w.attempt);
    if (!e)
        e = take_parts(x, &w, k);
    arena_fini(&a);
    if (e) {
        fail(k, UINT32_MAX, e);
        return;
    }
    for (uint32_t i = 0; i < k->n; i++)
        get(&k->part[i], k->part[i].offset, k->part[i].length, on_part);
    answer_if_done(k);
}

/* ---- what changes meanwhile */

void
executor__remote_down(struct executor *x, unsigned slot)
{
    for (struct remote_ask *k = x->asks, *next; k; k = next) {
        next = k->next;
        if (k->slot == slot)
            ask_free(k);
    }
}

static struct part *
lost_part(struct executor *x, struct remote_ask *k)
{
    for (uint32_t i = 0; i < k->n; i++)
        if (k->part[i].waits && !executor__output_of(x, k->parent, k->part[i].map))
            return &k->part[i];
    return NULL;
}

void
executor__remote_check(struct executor *x)
{
    for (struct remote_ask *k = x->asks, *next; k; k = next) {
        struct part *p = lost_part(x, k);

        next = k->next;
        if (p)
            part_failed(p, err_new(ERR_LOST, "the driver says that it is lost"));
    }
}

void
executor__remote_fini(struct executor *x)
{
    while (x->asks)
        ask_free(x->asks);
    tails_free(x->tails);
}
