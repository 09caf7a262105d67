/* bulk_serve -- a connection: proof first, then requests into a ring and answers out of it, a turn at a time. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "net/bulk_server_priv.h"

/* ---- what was said */

static void
verdict(struct bulk_conn *c, const struct bulk_auth *a)
{
    struct bulk_app *app = bulk__app_of(c->s, a->app);
    unsigned char nobody[BULK_SECRET], want[BULK_MAC];
    struct bulk_verdict v = { .status = BULK_REFUSED };

    if (!app) /* as long as for one that exists */
        err_free(bulk__nonce(nobody));
    bulk__prove(false, app ? app->secret : nobody, c->nonce, a->nonce, a->app, want);
    if (bulk__same(want, a->mac) && app && a->version == BULK_VERSION) {
        v.status = BULK_OK;
        bulk__prove(true, app->secret, c->nonce, a->nonce, a->app, v.mac);
        c->app = app;
        bulk__conn_alive(c);
    } else {
        c->s->stats.refused++;
        c->closing = true;
    }
    bulk__put_verdict(&c->out, &v);
}

static enum bulk_parse
take_message(struct bulk_conn *c, const char *p, size_t n, size_t *ret_used)
{
    struct bulk_request r;
    struct bulk_auth a;
    enum bulk_parse got;

    if (!c->app) {
        if ((got = bulk__get_auth(p, n, &a, ret_used)) == BULK_WHOLE)
            verdict(c, &a);
        return got;
    }
    if ((got = bulk__get_request(p, n, &r, ret_used)) != BULK_WHOLE)
        return got;
    struct bulk_ask *q = &c->ask[(c->head + c->asks++) % BULK_QUEUE];
    *q = (struct bulk_ask){ r.id, r.offset, r.length, strdup(r.name) };
    if (!q->name)
        abort();
    c->s->stats.requests++;
    if (c->asks == 1 && !c->left)
        bulk__conn_alive(c);
    return BULK_WHOLE;
}

/* Messages out of in while there is room for them; false: nonsense. */
static bool
take_messages(struct bulk_conn *c)
{
    size_t off = 0, used = 0;
    enum bulk_parse got = BULK_WHOLE;

    while (got == BULK_WHOLE && !c->closing && c->asks < BULK_QUEUE && off < c->in_n)
        if ((got = take_message(c, c->in + off, c->in_n - off, &used)) == BULK_WHOLE)
            off += used;
    memmove(c->in, c->in + off, c->in_n - off);
    c->in_n -= off;
    c->s->stats.refused += got == BULK_BAD;
    return got != BULK_BAD;
}

/* False: the connection is over. */
static bool
receive(struct bulk_conn *c)
{
    size_t n = 0;

    for (unsigned turn = 0; turn < 8 || bulk__pending(&c->io); turn++) {
        if (!take_messages(c))
            return false;
        if (c->closing || c->asks == BULK_QUEUE || c->in_n == sizeof c->in)
            return true;
        switch (bulk__recv(&c->io, c->in + c->in_n, sizeof c->in - c->in_n, &n)) {
        case BULK_MOVED: c->in_n += n; break;
        case BULK_AGAIN: return true;
        case BULK_END: return false;
        case BULK_FAILED: c->s->stats.refused += !c->app && c->io.ssl; return false;
        }
    }
    return true;
}

/* ---- answers */

/* A name below the folder, of a regular file; links lead nowhere. */
static enum bulk_status
open_below(int dir, const char *name, int *ret)
{
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
    struct stat st;
    long fd;

    do /* EAGAIN: something was renamed meanwhile, and ".." could not be judged */
        fd = syscall(SYS_openat2, dir, name, &how, sizeof how);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return errno == EXDEV || errno == ELOOP || errno == EAGAIN || errno == EACCES || errno == EPERM ? BULK_OUTSIDE
               : errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG                            ? BULK_ABSENT
                                                                                                          : BULK_BROKEN;
    if (fstat((int)fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close((int)fd);
        return BULK_OUTSIDE;
    }
    *ret = (int)fd;
    return BULK_OK;
}

static enum bulk_status
open_file(struct bulk_conn *c, const char *name)
{
    if (c->file_name && strcmp(c->file_name, name) == 0)
        return BULK_OK;
    file_close(&c->file);
    free(c->file_name);
    c->file_name = NULL;
    enum bulk_status s = BULK_ABSENT;
    for (unsigned i = 0; s != BULK_OK && i < c->app->n_dir; i++) {
        enum bulk_status here = open_below(c->app->dir[i], name, &c->file);

        if (here == BULK_OK || s == BULK_ABSENT) /* else the first reason stays */
            s = here;
    }
    if (s == BULK_OK && !(c->file_name = strdup(name)))
        abort();
    return s;
}

/* Short answers are copied: several of them leave in one call.  False: the file ended early. */
static bool
copy_in(struct bulk_conn *c, struct bulk_answer *a)
{
    size_t before = c->out.n, got = 0;

    bulk__put_answer(&c->out, a);
    struct err *e = file_pread(c->file, buf_room(&c->out, a->length), a->length, a->offset, &got, "file");
    c->out.n += got;
    if (!e && got == a->length)
        return true;
    err_free(e);
    c->out.n = before;
    return false;
}

static void
answer(struct bulk_conn *c, const struct bulk_ask *q)
{
    struct bulk_answer a = { .id = q->id };
    struct stat st;

    a.status = open_file(c, q->name);
    if (a.status == BULK_OK && fstat(c->file, &st) < 0)
        a.status = BULK_BROKEN;
    if (a.status == BULK_OK) {
        a.size = (uint64_t)st.st_size;
        a.offset = q->offset;
        a.length = q->length;
        bulk__clip(a.size, &a.offset, &a.length);
        if (a.length <= BULK_SMALL) {
            if (copy_in(c, &a)) {
                c->s->stats.bytes += a.length;
                return;
            }
            a = (struct bulk_answer){ .id = q->id, .status = BULK_BROKEN };
        }
    }
    if (a.status == BULK_OK) /* what isn't in memory comes there meanwhile: sendfile() would wait for each part */
        (void)posix_fadvise(c->file, (off_t)a.offset, (off_t)a.length, POSIX_FADV_WILLNEED);
    c->s->stats.refused += a.status == BULK_OUTSIDE;
    bulk__put_answer(&c->out, &a);
    c->off = a.offset;
    c->left = a.length;
}

/* Answers into out, until one needs the file itself. */
static void
take_asks(struct bulk_conn *c)
{
    while (c->asks && !c->left && c->out.n < BULK_JOINED) {
        struct bulk_ask *q = &c->ask[c->head];

        answer(c, q);
        free(q->name);
        c->head = (c->head + 1) % BULK_QUEUE;
        c->asks--;
    }
}

/* One turn; false: it is over. */
static bool
send_turn(struct bulk_conn *c)
{
    enum bulk_io r = BULK_MOVED;

    for (size_t turn = 0, n = 0; turn < BULK_TURN && r == BULK_MOVED; turn += n) {
        if (c->out_sent == c->out.n) {
            c->out.n = c->out_sent = 0;
            if (!c->left)
                take_asks(c);
        }
        if (c->out.n) {
            r = bulk__send(&c->io, c->out.p + c->out_sent, c->out.n - c->out_sent, c->left, &n);
            c->out_sent += r == BULK_MOVED ? n : 0;
        } else if (c->left) {
            size_t most = c->left < BULK_TURN - turn ? (size_t)c->left : BULK_TURN - turn;
            r = bulk__send_file(&c->io, c->file, c->off, most, &n);
            if (r == BULK_MOVED) {
                c->off += n;
                c->left -= n;
                c->s->stats.bytes += n;
            }
        } else {
            return !c->closing;
        }
        if (r == BULK_MOVED && ((c->moved += n) >= BULK_LIVELY || (!c->left && c->out_sent == c->out.n && c->app)))
            bulk__conn_alive(c);
    }
    c->s->stats.refused += r == BULK_FAILED && !c->app && c->io.ssl;
    return r == BULK_MOVED || r == BULK_AGAIN; /* BULK_END: the file is shorter now; the client asks again and is told */
}

/* ---- turns */

static void
wait_for(struct bulk_conn *c)
{
    bool idle = !c->asks && !c->left && c->out_sent == c->out.n;
    unsigned events = (c->asks < BULK_QUEUE && !c->closing ? LOOP_IN : 0u) | (idle ? 0u : LOOP_OUT);

    if (c->io.want == LOOP_IN) /* TLS can't write before it has read */
        events = LOOP_IN;
    else
        events |= c->io.want;
    if (idle) { /* a file that is removed meanwhile must not be held */
        file_close(&c->file);
        free(c->file_name);
        free(c->io.file);
        c->file_name = c->io.file = NULL;
        c->io.file_n = c->io.file_sent = 0;
        buf_fini(&c->out);
        c->out_sent = 0;
    }
    if (events != c->events)
        loop_io_events(c->watch, c->events = events);
}

void
bulk__conn_pump(struct bulk_conn *c)
{
    if (!send_turn(c) || !take_messages(c)) /* the ring may have room again */
        bulk__conn_close(c);
    else
        wait_for(c);
}

void
bulk__conn_ready(void *arg, unsigned events)
{
    struct bulk_conn *c = arg;

    if ((events & (LOOP_IN | LOOP_HUP) || c->io.want) && !receive(c)) {
        bulk__conn_close(c);
        return;
    }
    if (events & LOOP_HUP && c->asks == BULK_QUEUE) { /* nobody will take the answers */
        bulk__conn_close(c);
        return;
    }
    bulk__conn_pump(c);
}
