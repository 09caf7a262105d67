/* files -- opens for runners what they may read and write; a runner itself knows no paths. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spread.h"
#include "executor/executor_priv.h"
#include "executor/names.h"

/* What goes back: names and descriptors side by side. */
struct reply {
    struct buf b;
    int fd[WIRE_OPEN_MAX];
    int n;
};

void
executor__remove(struct executor *x, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    const struct executor__stage *s = executor__stage_of(x, stage);
    struct buf path = { 0 };

    if (s && s->tmp) {
        names_part(&path, s->tmp, s->suffix, stage, partition, attempt);
        unlink(path.p); /* it may never have been made */
    } else {
        names_output(&path, stage, partition, attempt);
        spread_unlink(x->o.dir, x->more, path.p);
    }
    buf_fini(&path);
}

/* Where an attempt is going to write. */
static void
output_path(const struct executor *x, uint32_t stage, uint32_t partition, uint32_t attempt, struct buf *out)
{
    const struct executor__stage *s = executor__stage_of(x, stage);

    if (s && s->tmp) {
        names_part(out, s->tmp, s->suffix, stage, partition, attempt);
        return;
    }
    spread_path(x->o.dir, spread_roomiest(x->o.dir, x->more), out);
    buf_printf(out, "/");
    names_output(out, stage, partition, attempt);
}

static void
describe(struct reply *r, const char *name, uint64_t size, uint64_t offset, uint64_t length, bool whole, int fd)
{
    put_str(&r->b, name);
    put_u64(&r->b, size);
    put_u64(&r->b, offset);
    put_u64(&r->b, length);
    put_u8(&r->b, whole);
    r->fd[r->n++] = fd;
}

static struct err *
open_piece(const struct executor__launch *t, const struct wire_open *o, struct reply *r)
{
    const struct plan_split *s = &t->split;
    struct stat st;

    if (o->index >= s->n)
        return NULL;
    const struct plan_piece *p = &s->pieces[o->index];
    int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK); /* a FIFO by now? */
    if (fd < 0)
        return err_errno(errno, "opening input \"%s\"", p->path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_new(ERR_INPUT, "input \"%s\" is not a regular file any more", p->path);
    }
    posix_fadvise(fd, (off_t)p->offset, (off_t)p->length, POSIX_FADV_SEQUENTIAL);
    describe(r, p->path, p->file_size, p->offset, p->length, p->whole, fd);
    return NULL;
}

static struct err *
open_output(struct executor *x, const struct wire_open *o, struct reply *r)
{
    struct buf path = { 0 };
    struct err *e = NULL;

    if (x->more) /* did it ask before, it may lie elsewhere */
        executor__remove(x, o->stage, o->partition, o->attempt);
    output_path(x, o->stage, o->partition, o->attempt, &path);
    int fd = open(path.p, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        e = err_errno(errno, "making \"%s\"", path.p);
    else
        describe(r, path.p, 0, 0, 0, false, fd);
    buf_fini(&path);
    return e;
}

static struct err *
unnamed_in(const char *folder, int *ret)
{
    int fd = open(folder, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) { /* a file system without unnamed files */
        char *path = NULL;

        if (asprintf(&path, "%s/spill-XXXXXX", folder) < 0)
            abort();
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
        free(path);
    }
    if (fd < 0)
        return err_errno(errno, "making a spill file in \"%s\"", folder);
    *ret = fd;
    return NULL;
}

struct err *
executor__unnamed_file(const struct executor *x, int *ret)
{
    unsigned nth = spread_roomiest(x->o.dir, x->more);
    struct buf path = { 0 };

    if (!nth) /* of one disk with dir */
        return unnamed_in(x->o.scratch, ret);
    spread_path(x->o.dir, nth, &path);
    struct err *e = unnamed_in(path.p, ret);
    buf_fini(&path);
    return e;
}

static struct err *
open_spill(struct executor *x, struct reply *r)
{
    int fd;

    TRY(executor__unnamed_file(x, &fd));
    describe(r, "spill file", 0, 0, 0, false, fd);
    return NULL;
}

/* Any attempt that has not answered may ask: the answer of the one before may still lie in the ring. */
static struct executor__launch *
launched(const struct executor__slot *s, const struct wire_open *o)
{
    for (uint32_t i = 0; i < s->n; i++) {
        const struct wire_task *t = &s->queue[s->head + i].task;

        if (t->stage == o->stage && t->partition == o->partition && t->attempt == o->attempt)
            return &s->queue[s->head + i];
    }
    return NULL;
}

static struct err *
begin(struct executor *x, unsigned slot, const struct wire_open *o, struct executor__launch **ret)
{
    struct executor__launch *t = launched(&x->slot[slot], o);

    if (!t)
        return err_new(ERR_DENIED, "a runner asks for files of a task that is not its own");
    if (t->revoked)
        return err_new(ERR_CANCELLED, "the task was taken back");
    t->begun = true;
    *ret = t;
    return NULL;
}

struct err *
executor__own_task(struct executor *x, unsigned slot, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    struct wire_open o = { .stage = stage, .partition = partition, .attempt = attempt };
    struct executor__launch *t;

    return begin(x, slot, &o, &t);
}

static struct err *
dispatch(struct executor *x, unsigned slot, const struct wire_open *o, struct reply *r)
{
    struct executor__launch *t;

    TRY(begin(x, slot, o, &t));
    switch (o->kind) {
    case WIRE_OPEN_PIECE: return open_piece(t, o, r);
    case WIRE_OPEN_OUTPUT: return open_output(x, o, r);
    case WIRE_OPEN_SPILL: return open_spill(x, r);
    default: return err_new(ERR_DENIED, "a task has no results to open");
    }
}

void
executor__on_open(struct executor *x, unsigned slot, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct wire_open o;
    struct reply r = { .n = 0 };
    struct buf b = { 0 };
    struct err *e = wire_get_open(&g, &o);

    if (!e && o.kind == WIRE_OPEN_BROADCAST) { /* may take time; a task that was taken back may have it, too */
        struct executor__launch *t = launched(&x->slot[slot], &o);

        if (t && !t->revoked)
            t->begun = true;
        executor__bcast_open(x, slot, f->id, o.index);
        return;
    }
    if (!e && o.kind == WIRE_OPEN_MAP) { /* they may be on other hosts */
        struct executor__launch *t;

        if (!(e = begin(x, slot, &o, &t))) {
            executor__open_maps(x, slot, f->id, &o);
            return;
        }
    }
    if (!e)
        e = dispatch(x, slot, &o, &r);
    wire_put_err(&b, e);
    if (!e)
        buf_put(&b, r.b.p, r.b.n);
    struct err *lost = runners_post(x->runners, slot, WIRE_REPLY, f->id, b.p, b.n, r.fd, e ? 0 : r.n);
    err_free(lost); /* a runner that is gone is told of by its death */
    err_free(e);
    for (int i = 0; i < r.n; i++)
        file_close(&r.fd[i]);
    buf_fini(&r.b);
    buf_fini(&b);
}
