/* output -- what a driver writes: by pipes into DIR/SUB/stdout and stderr, and from these files to the master while it
 * follows.  The file is the buffer between the two, so nothing is lost and nothing grows in memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/worker_priv.h"

enum { CHUNK = 64 << 10, PIPE_BYTES = 256 << 10 };
#define PUMP_NS UINT64_C(10000000) /* until the link has room again */
#define REST_NS UINT64_C(2000000)  /* after a piece that was not a full one: line by line costs too much */

struct stream {
    struct place *place;
    bool err;
    int pipe, file;
    struct loop_io *io;
    struct loop_timer rest;
    uint64_t size, sent, lost;
    bool following, said_end;
};

static void pump_stream(struct stream *s);

/* ---- the file */

static struct err *
stream_get(struct place *p, bool err, struct stream **ret)
{
    struct stream *s = p->stream[err];
    char path[PATH_BYTES];
    struct stat st;

    if (!s) {
        snprintf(path, sizeof path, "%s/%s", p->dir, err ? "stderr" : "stdout");
        int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0 || fstat(fd, &st) < 0)
            return err_errno(errno, "opening \"%s\"", path);
        s = calloc(1, sizeof *s);
        if (!s)
            abort();
        *s = (struct stream){ .place = p, .err = err, .pipe = -1, .file = fd, .size = (uint64_t)st.st_size };
        p->stream[err] = s;
    }
    *ret = s;
    return NULL;
}

static void
store(struct stream *s, const char *p, size_t n)
{
    struct err *e = file_write_full(s->file, p, n, s->err ? "stderr" : "stdout");
    struct stat st;

    if (e && !s->lost)
        worker__log(s->place->w, EVENT_LEVEL_ERROR, s->place->id, e, "output of the driver is lost");
    if (e)
        s->lost += n;
    err_free(e);
    if (fstat(s->file, &st) == 0)
        s->size = (uint64_t)st.st_size;
}

static void
close_pipe(struct stream *s)
{
    loop_timer_stop(s->place->w->loop, &s->rest);
    loop_io_free(s->io);
    s->io = NULL;
    file_close(&s->pipe);
}

/* One piece; 0: nothing more at present, or the end. */
static size_t
read_some(struct stream *s)
{
    char p[CHUNK];
    ssize_t n;

    do
        n = read(s->pipe, p, sizeof p);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        store(s, p, (size_t)n);
    if (n == 0)
        close_pipe(s);
    return n > 0 ? (size_t)n : 0;
}

static void
on_rested(void *arg)
{
    struct stream *s = arg;

    loop_io_events(s->io, LOOP_IN);
}

static void
on_pipe(void *arg, unsigned events)
{
    struct stream *s = arg;
    struct loop *l = s->place->w->loop;

    if (read_some(s) < CHUNK && s->io) {
        loop_io_events(s->io, 0);
        loop_timer_start(l, &s->rest, loop_now(l) + REST_NS, on_rested, s);
    }
    pump_stream(s);
}

static struct err *
open_one(struct place *p, bool err, int *ret_write)
{
    struct stream *s;
    int fd[2];

    TRY(stream_get(p, err, &s));
    close_pipe(s);
    s->said_end = false;
    if (pipe2(fd, O_CLOEXEC) < 0)
        return err_errno(errno, "making a pipe");
    fcntl(fd[0], F_SETPIPE_SZ, PIPE_BYTES);
    fcntl(fd[0], F_SETFL, O_NONBLOCK);
    s->pipe = fd[0];
    *ret_write = fd[1];
    return loop_io_new(p->w->loop, s->pipe, LOOP_IN, on_pipe, s, &s->io);
}

struct err *
output__open(struct place *p, int ret_write[2])
{
    TRY(open_one(p, false, &ret_write[0]));
    return open_one(p, true, &ret_write[1]);
}

void
output__end(struct place *p)
{
    for (int i = 0; i < 2; i++) {
        struct stream *s = p->stream[i];

        while (s && s->pipe >= 0 && read_some(s))
            ;
        if (s)
            close_pipe(s);
        if (s)
            pump_stream(s);
    }
}

/* ---- followers */

/* Does a process still write there? */
static bool
is_live(const struct place *p)
{
    struct child *c = child__find(p->w, p->id, 0);

    return c && !c->ended;
}

static void
on_pump(void *arg)
{
    output__pump(arg);
}

/* Empty data: that was all, the driver has ended. */
static void
pump_stream(struct stream *s)
{
    struct worker *w = s->place->w;
    char p[CHUNK];

    if (!s->following || !w->welcome)
        return;
    while (s->sent < s->size && uplink__ready(w)) {
        size_t n = 0;
        struct err *e = file_pread(s->file, p, sizeof p, s->sent, &n, "output");

        if (e || n == 0) {
            err_free(e);
            s->sent = s->size;
            break;
        }
        uplink__output(w, s->place->id, s->err, s->sent, p, n);
        s->sent += n;
    }
    if (s->sent < s->size) {
        loop_timer_start(w->loop, &w->pump, loop_now(w->loop) + PUMP_NS, on_pump, w);
    } else if (!s->said_end && !is_live(s->place)) {
        s->said_end = true;
        uplink__output(w, s->place->id, s->err, s->sent, "", 0);
    }
}

void
output__pump(struct worker *w)
{
    struct child *c, *next;

    for (struct place *p = w->places; p; p = p->next)
        for (int i = 0; i < 2; i++)
            if (p->stream[i])
                pump_stream(p->stream[i]);
    for (c = w->children; c; c = next) {
        next = c->next;
        if (c->ended && output__drained(c->place))
            child__drained(c);
    }
}

bool
output__drained(const struct place *p)
{
    for (int i = 0; i < 2; i++)
        if (p->stream[i] && p->stream[i]->following && p->stream[i]->sent < p->stream[i]->size)
            return false;
    return true;
}

void
output__follow(struct worker *w, const Taskd__FollowChild *m)
{
    struct place *p = place__find(w, m->driver);

    for (int i = 0; p && p->driver && i < 2; i++) {
        struct stream *s;
        struct err *e = stream_get(p, i, &s);

        if (e) {
            worker__log(w, EVENT_LEVEL_WARN, p->id, e, "its output can't be followed");
            err_free(e);
            continue;
        }
        s->following = !m->stop;
        s->said_end = false;
        s->sent = i ? m->err_at : m->out_at;
    }
    output__pump(w);
    if (p && p->driver && m->stop && !is_live(p))
        output__close(p);
}

void
output__unfollow_all(struct worker *w)
{
    for (struct place *p = w->places; p; p = p->next)
        for (int i = 0; i < 2; i++)
            if (p->stream[i])
                p->stream[i]->following = false;
    output__pump(w); /* who waited for followers need not any more */
}

void
output__free(struct place *p)
{
    for (int i = 0; i < 2; i++) {
        struct stream *s = p->stream[i];

        if (!s)
            continue;
        close_pipe(s);
        file_close(&s->file);
        free(s);
        p->stream[i] = NULL;
    }
}

void
output__close(struct place *p)
{
    if ((p->stream[0] && p->stream[0]->following) || (p->stream[1] && p->stream[1]->following))
        return;
    output__free(p);
}
