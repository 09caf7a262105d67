/* results -- what an action gave, for the job's main: the file itself, or a copy of one that is on another host. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spread.h"
#include "block/block.h"
#include "driver/driver_priv.h"
#include "executor/names.h"
#include "net/bulk.h"

struct coming {
    struct driver *d;
    struct coming *next;
    uint32_t frame, index;
    const char *from; /* the node's */
    char *name;
    int fd;
    bool again; /* it came damaged once */
};

static void
coming_free(struct coming *c)
{
    struct coming **link = &c->d->coming;

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    file_close(&c->fd);
    free(c->name);
    free(c);
}

/* Takes e. */
static void
answer(struct coming *c, struct err *e)
{
    int fd = c->fd;

    c->fd = -1;
    if (e)
        file_close(&fd);
    driver__main_file(c->d, c->frame, c->name, 0, fd, err_wrap_take(e, "result %u", c->index));
    coming_free(c);
}

static void get(struct coming *c);

static void
on_file(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct coming *c = arg;

    if (!e && got < size)
        e = err_new(ERR_LOST, "\"%s\" became shorter while it was fetched from %s", c->name, c->from);
    if (!e && ftruncate(c->fd, (off_t)size) < 0)
        e = err_errno(errno, "making a copy of \"%s\"", c->name);
    if (!e)
        e = block_run_verify(c->fd, c->name);
    if (e && e->code == ERR_DENIED) { /* a server that is new, say: the files of the one before are lost to us */
        char *text = err_text(e);

        err_free(e);
        e = err_new(ERR_LOST, "%s", text);
        free(text);
    }
    if (e && e->code == ERR_CORRUPT && !c->again) { /* it may have happened on the way */
        err_free(e);
        c->again = true;
        get(c);
        return;
    }
    answer(c, e);
}

static void
get(struct coming *c)
{
    struct bulk_get g = { .host = c->from, .name = c->name, .length = INT64_MAX, .fd = c->fd, .done = on_file, .arg = c };

    c->d->fetch.get(c->d->fetch.client, &g);
}

static void
fetch(struct driver *d, uint32_t frame, uint32_t index, const struct node *n, const char *name)
{
    struct coming *c = calloc(1, sizeof *c);

    if (!c || !(c->name = strdup(name)))
        abort();
    c->d = d;
    c->frame = frame;
    c->index = index;
    c->from = n->bulk;
    c->next = d->coming;
    d->coming = c;
    c->fd = open(d->o.dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (c->fd < 0) /* a file system without unnamed files */
        c->fd = memfd_create("result", MFD_CLOEXEC);
    if (c->fd < 0)
        answer(c, err_errno(errno, "making a file in \"%s\"", d->o.dir));
    else
        get(c);
}

void
driver_fetch(struct driver *d, const struct executor_fetch *f)
{
    d->fetch = *f;
    if (f->limit)
        f->limit(f->client, conf_bytes(d->o.conf, CONF_REDUCER_IN_FLIGHT),
                 (unsigned)conf_int(d->o.conf, CONF_SHUFFLE_IO_RETRIES), conf_ns(d->o.conf, CONF_SHUFFLE_IO_RETRY_WAIT));
}

void
driver__results_free(struct driver *d)
{
    while (d->coming) {
        d->fetch.forget(d->fetch.client, d->coming);
        coming_free(d->coming);
    }
}

void
driver__open_result(struct driver *d, uint32_t frame, uint32_t index)
{
    const struct stage *s = d->job.result;
    uint32_t p = d->job.plan.first + index;
    struct buf path = { 0 };
    struct err *e = NULL;
    int fd = -1;

    if (!s || index >= d->job.plan.n_result || s->attempt[p] < 0) {
        driver__main_file(d, frame, "", 0, -1, err_new(ERR_INPUT, "the action has no result %u", index));
        return;
    }
    const struct node *n = &d->node[s->place[p]];
    bool here = strcmp(n->host, d->o.host) == 0, served = d->fetch.get && n->bulk[0];
    buf_printf(&path, "%s/", n->dir);
    size_t dir = path.n;
    names_output(&path, s->id, p, (uint32_t)s->attempt[p]);
    if (here)
        fd = spread_open(n->dir, path.p + dir);
    if (fd < 0 && served) { /* the same name of a host need not mean the same files */
        fetch(d, frame, index, n, path.p + dir);
    } else {
        if (fd < 0)
            e = here ? err_new(ERR_LOST, "result %u is gone: opening \"%s\": %s", index, path.p, strerror(errno))
                     : err_new(ERR_LOST, "result %u is on host \"%s\", and nobody serves it there", index, n->host);
        driver__main_file(d, frame, path.p, 0, fd, e);
    }
    buf_fini(&path);
}
