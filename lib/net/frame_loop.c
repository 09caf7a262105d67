/* frame_loop -- a channel in a loop: frames as calls, and a queue for what the socket has no room
 * for. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"
#include "net/frame_priv.h"

enum { FRAMES_A_ROUND = 32 }; /* then the others have their turn */

static void
out_free(struct frame_out *o)
{
    for (int i = 0; i < o->nfds; i++)
        file_close(&o->fds[i]);
    free(o);
}

void
frame__queue_fini(struct frame_chan *c)
{
    while (c->out) {
        struct frame_out *o = c->out;

        c->out = o->next;
        out_free(o);
    }
    c->out_end = &c->out;
    c->queued = 0;
}

static struct err *
queue(struct frame_chan *c, uint32_t type, uint32_t id, const void *p, size_t n, const int *fds, int nfds)
{
    struct frame_out *o = calloc(1, sizeof *o + n);

    if (!o)
        abort();
    o->type = type;
    o->id = id;
    o->n = n;
    if (n)
        memcpy(o->p, p, n);
    for (; o->nfds < nfds; o->nfds++)
        if ((o->fds[o->nfds] = fcntl(fds[o->nfds], F_DUPFD_CLOEXEC, 0)) < 0) {
            int errnum = errno;

            out_free(o);
            return err_errno(errnum, "keeping descriptor %d of a frame", fds[0]);
        }
    *c->out_end = o;
    c->out_end = &o->next;
    c->queued += n + FRAME_HEAD;
    return NULL;
}

/* The end of the channel, once. */
static void
end(struct frame_chan *c, struct err *e)
{
    loop_io_free(c->io);
    c->io = NULL;
    frame__queue_fini(c);
    c->h->on_end(c->arg, e);
}

static struct err *
flush(struct frame_chan *c)
{
    while (c->out) {
        struct frame_out *o = c->out;
        bool sent;

        TRY(frame__send_once(c, o->type, o->id, o->p, o->n, o->fds, o->nfds, MSG_DONTWAIT, &sent));
        if (!sent)
            return NULL;
        c->queued -= o->n + FRAME_HEAD;
        if (!(c->out = o->next))
            c->out_end = &c->out;
        out_free(o);
    }
    loop_io_events(c->io, LOOP_IN);
    return NULL;
}

static void
on_ready(void *arg, unsigned events)
{
    struct frame_chan *c = arg;
    bool closed = false, got = true;
    struct err *e = NULL;

    c->closed = &closed;
    if (events & LOOP_OUT && c->out && (e = flush(c)) && e->code == ERR_LOST) {
        err_free(e); /* there may be frames left to read; reading ends it */
        e = NULL;
        frame__queue_fini(c);
        loop_io_events(c->io, LOOP_IN);
    }
    for (int i = 0; !e && got && i < FRAMES_A_ROUND && events & (LOOP_IN | LOOP_HUP); i++) {
        struct frame f;

        e = frame_recv_now(c, &f, &got);
        if (!e && got)
            c->h->on_frame(c->arg, &f);
        if (closed)
            return;
    }
    c->closed = NULL;
    if (e)
        end(c, e);
}

struct err *
frame_attach(struct frame_chan *c, struct loop *l, const struct frame_handler *h, void *arg)
{
    ASSERT(!c->io);
    c->h = h;
    c->arg = arg;
    return loop_io_new(l, c->fd, LOOP_IN, on_ready, c, &c->io);
}

void
frame_detach(struct frame_chan *c)
{
    if (!c->io)
        return;
    for (struct frame_out *o = c->out; o; o = o->next) {
        bool sent;
        struct err *e = frame__send_once(c, o->type, o->id, o->p, o->n, o->fds, o->nfds, 0, &sent);

        err_free(e); /* whoever receives next is told */
        if (e)
            break;
    }
    frame__queue_fini(c);
    loop_io_free(c->io);
    c->io = NULL;
}

struct err *
frame_post(struct frame_chan *c, uint32_t type, uint32_t id, const void *p, size_t n, const int *fds,
           int nfds)
{
    bool sent = false, first = !c->out;

    if (!c->io) /* it ended */
        return NULL;
    if (first) {
        struct err *e = frame__send_once(c, type, id, p, n, fds, nfds, MSG_DONTWAIT, &sent);

        if (e && e->code == ERR_LOST) {
            err_free(e);
            return NULL;
        }
        TRY(e);
    }
    if (sent)
        return NULL;
    TRY(queue(c, type, id, p, n, fds, nfds));
    if (first)
        loop_io_events(c->io, LOOP_IN | LOOP_OUT);
    return NULL;
}

size_t
frame_queued(const struct frame_chan *c)
{
    return c->queued;
}
