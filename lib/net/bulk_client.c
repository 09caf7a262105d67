/* bulk_client -- gets, cut into pieces that are asked for one by one: bounded, resumed where they broke. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "net/bulk_client_priv.h"

/* ---- the end of a get */

static void
job_free(struct bulk_job *j)
{
    err_free(j->err);
    free((char *)j->get.name);
    free(j);
}

static void
on_deliver(void *arg)
{
    struct bulk_client *c = arg;
    struct bulk_job *j;
    bool freed = false;

    c->freed = &freed;
    while ((j = c->finished)) {
        struct err *e = j->err;
        struct bulk_get g = j->get;
        uint64_t got = j->got, size = j->size;

        if (!(c->finished = j->next))
            c->finished_end = &c->finished;
        j->err = NULL;
        job_free(j);
        g.done(g.arg, e, got, size);
        if (freed)
            return;
    }
    c->freed = NULL;
}

static void
unqueue(struct bulk_job *j)
{
    struct bulk_peer *p = j->peer;
    struct bulk_job **t = &p->turn;

    if (!j->queued)
        return;
    while (*t != j)
        t = &(*t)->turn_next;
    if (!(*t = j->turn_next))
        p->turn_end = t;
    j->queued = false;
}

static void
enqueue(struct bulk_job *j)
{
    *j->peer->turn_end = j;
    j->peer->turn_end = &j->turn_next;
    j->turn_next = NULL;
    j->queued = true;
}

/* Out of everything but its pieces; those forget it. */
static void
job_unlink(struct bulk_job *j)
{
    struct bulk_peer *p = j->peer;
    struct bulk_piece **link = &p->again, *x;

    *j->link = j->next;
    if (j->next)
        j->next->link = j->link;
    unqueue(j);
    while ((x = *link))
        if (x->job == j) {
            *link = x->next;
            free(x);
        } else {
            link = &x->next;
        }
    for (x = p->under_way; x; x = x->next)
        if (x->job == j)
            x->job = NULL;
}

/* Takes e; done is called from the loop. */
static void
job_end(struct bulk_job *j, struct err *e)
{
    struct bulk_client *c = j->c;

    job_unlink(j);
    j->err = e;
    j->next = NULL;
    *c->finished_end = j;
    c->finished_end = &j->next;
    loop_timer_start(c->l, &c->deliver, loop_now(c->l), on_deliver, c);
}

static struct err *
job_error(const struct bulk_job *j, enum err_code code, const char *why)
{
    return err_new(code, "getting \"%s\" from %s: %s", j->get.name, j->peer->address, why);
}

static void
job_check(struct bulk_job *j)
{
    if (j->asked && j->from == j->end && j->pieces == 0)
        job_end(j, NULL);
}

/* ---- asking */

bool
bulk__peer_wanted(const struct bulk_peer *p)
{
    return p->again || p->turn || p->under_way;
}

/* The next piece of the first get in the queue, which goes to its end. */
static struct bulk_piece *
cut_piece(struct bulk_peer *p, uint64_t room)
{
    struct bulk_job *j = p->turn;
    bool tail = j->get.offset == BULK_TAIL;
    uint64_t n = tail || j->end - j->from < p->c->piece ? j->end - j->from : p->c->piece;

    if (n > room)
        return NULL;
    struct bulk_piece *x = calloc(1, sizeof *x);
    if (!x)
        abort();
    *x = (struct bulk_piece){ .job = j, .offset = tail ? BULK_TAIL : j->from, .length = n };
    x->at = tail ? 0 : j->get.at + (j->from - j->get.offset);
    j->asked = true;
    j->pieces++;
    j->from += n;
    unqueue(j);
    if (j->from < j->end)
        enqueue(j);
    return x;
}

/* False: nothing to ask for, or no room for it. */
static bool
ask_one(struct bulk_peer *p)
{
    struct bulk_client *c = p->c;
    uint64_t room = c->asked == 0 ? UINT64_MAX : c->in_flight > c->asked ? c->in_flight - c->asked : 0;
    struct bulk_piece *x = p->again;

    if (p->state != BULK_READY || p->requests >= c->requests)
        return false;
    if (x) {
        if (x->length > room)
            return false;
        p->again = x->next;
    } else if (!p->turn || !(x = cut_piece(p, room))) {
        return false;
    }
    x->id = ++c->last_id;
    x->left = x->length;
    x->moved = false;
    x->next = NULL;
    if (!p->under_way)
        p->heard = loop_now(c->l);
    *p->under_way_end = x;
    p->under_way_end = &x->next;
    p->requests++;
    c->asked += x->length;
    bulk__put_request(&p->out, x->id, x->job->get.name, x->offset, x->length);
    return true;
}

void
bulk__ask(struct bulk_client *c)
{
    for (bool any = true; any;) { /* one each in turn */
        any = false;
        for (struct bulk_peer *p = c->peers; p; p = p->next) {
            struct bulk_peer *now = c->next_peer ? c->next_peer : c->peers;

            c->next_peer = now->next;
            if (now->state == BULK_IDLE && bulk__peer_wanted(now))
                bulk__peer_connect(now);
            any |= ask_one(now);
        }
    }
    for (struct bulk_peer *p = c->peers; p; p = p->next)
        if (p->state == BULK_READY && p->out.n)
            bulk__peer_flush(p);
}

/* ---- pieces */

static void
take_out(struct bulk_peer *p, struct bulk_piece *x)
{
    struct bulk_piece **link = &p->under_way;

    while (*link != x)
        link = &(*link)->next;
    if (!(*link = x->next))
        p->under_way_end = link;
    p->requests--;
}

static void
give_up(struct bulk_piece *x, struct err *e)
{
    struct bulk_job *j = x->job;

    if (j)
        job_end(j, e); /* x->job becomes NULL */
    else
        err_free(e);
}

/* The server can't give it. */
static struct err *
refusal(const struct bulk_job *j, uint32_t status)
{
    switch (status) {
    case BULK_ABSENT: return job_error(j, ERR_LOST, "there is no such file");
    case BULK_OUTSIDE: return job_error(j, ERR_DENIED, "the name is refused there");
    default: return job_error(j, ERR_LOST, "it can't be read there");
    }
}

bool
bulk__piece_head(struct bulk_peer *p, struct bulk_piece *x, const struct bulk_answer *a)
{
    uint64_t offset = x->offset, length = x->length;
    struct bulk_job *j = x->job;

    if (a->status == BULK_OK) {
        bulk__clip(a->size, &offset, &length);
        if (a->offset != offset || a->length != length)
            return false;
    }
    p->c->asked -= x->left - a->length;
    x->left = a->length;
    if (!j)
        return true;
    if (a->status != BULK_OK) {
        give_up(x, refusal(j, a->status));
        return true;
    }
    j->size = a->size;
    if (x->offset == BULK_TAIL) {
        x->at = a->offset;
        j->got = 0; /* not resumed: it may be another file by now */
    } else if (j->end > a->size) { /* what lies beyond the end is not asked for */
        j->end = a->size > j->from ? a->size : j->from;
    }
    return true;
}

static struct err *
write_at(const struct bulk_job *j, const char *p, size_t n, uint64_t at)
{
    while (n) {
        ssize_t did = pwrite(j->get.fd, p, n, (off_t)at);

        if (did < 0 && errno == EINTR)
            continue;
        if (did <= 0)
            return err_errno(did ? errno : EIO, "storing \"%s\" from %s", j->get.name, j->peer->address);
        p += did;
        n -= (size_t)did;
        at += (size_t)did;
    }
    return NULL;
}

static void
received(struct bulk_peer *p, struct bulk_piece *x, size_t n)
{
    p->c->asked -= n;
    p->progress = true;
    x->left -= n;
    x->moved = true;
}

static void
stored(struct bulk_piece *x, size_t n)
{
    struct bulk_job *j = x->job;

    x->at += n;
    j->got += n;
    if (x->offset == BULK_TAIL)
        return;
    x->offset += n;
    x->length -= n;
}

void
bulk__piece_bytes(struct bulk_peer *p, struct bulk_piece *x, const void *bytes, size_t n)
{
    received(p, x, n);
    if (!x->job)
        return;
    struct err *e = write_at(x->job, bytes, n, x->at);
    if (e)
        give_up(x, e);
    else
        stored(x, n);
}

void
bulk__piece_piped(struct bulk_peer *p, struct bulk_piece *x, size_t n)
{
    struct bulk_client *c = p->c;

    while (n && x->job) {
        loff_t at = (loff_t)x->at;
        ssize_t did = splice(c->pipe[0], NULL, x->job->get.fd, &at, n, SPLICE_F_MOVE);

        if (did < 0 && errno == EINTR)
            continue;
        if (did <= 0) /* not every file can do that; what is wrong with it a write will tell */
            break;
        received(p, x, (size_t)did);
        stored(x, (size_t)did);
        n -= (size_t)did;
    }
    while (n) {
        ssize_t did = read(c->pipe[0], c->buffer, n < BULK_BUFFER ? n : BULK_BUFFER);

        ASSERT(did > 0 || errno == EINTR);
        if (did > 0) {
            bulk__piece_bytes(p, x, c->buffer, (size_t)did);
            n -= (size_t)did;
        }
    }
}

void
bulk__piece_end(struct bulk_peer *p, struct bulk_piece *x)
{
    struct bulk_job *j = x->job;

    take_out(p, x);
    free(x);
    if (j) {
        j->pieces--;
        if (j->from >= j->end) /* its end may have come nearer: nothing is left to ask for */
            unqueue(j);
        job_check(j);
    }
}

void
bulk__pieces_broken(struct bulk_peer *p, const char *why)
{
    struct bulk_piece *x, **again = &p->again;

    p->body = NULL;
    while ((x = p->under_way)) {
        take_out(p, x);
        p->c->asked -= x->left;
        if (!x->job) {
            free(x);
            continue;
        }
        /* A break counts against all, if nothing came at all; and against those that it stopped half-way. */
        bool further = x->moved && x->offset != BULK_TAIL;
        x->tries = further ? 0 : x->tries + (!p->progress || x->moved);
        if (x->tries > p->c->retries) {
            give_up(x, job_error(x->job, ERR_LOST, why));
            free(x);
            continue;
        }
        x->next = *again;
        *again = x;
        again = &x->next;
    }
}

void
bulk__peer_hopeless(struct bulk_peer *p, enum err_code code, const char *why)
{
    for (struct bulk_job *j = p->c->jobs, *next; j; j = next) {
        next = j->next;
        if (j->peer == p)
            job_end(j, job_error(j, code, why));
    }
}

/* ---- the door */

struct err *
bulk_client_new(struct loop *l, const struct bulk_client_opts *o, struct bulk_client **ret)
{
    if (!*o->app || strlen(o->app) > BULK_APP_MAX)
        return err_new(ERR_LIMIT, "the name of an application has 1 to %d bytes", BULK_APP_MAX);
    struct bulk_client *c = calloc(1, sizeof *c);
    if (!c || !(c->app = strdup(o->app)) || !(c->buffer = malloc(BULK_BUFFER)))
        abort();
    c->l = l;
    memcpy(c->secret, o->secret, BULK_SECRET);
    c->requests = o->requests ? o->requests : 8;
    bulk_client_limit(c, o->in_flight ? o->in_flight : 48 << 20, o->retries ? o->retries : 3,
                      o->backoff_ns ? o->backoff_ns : 100000000u);
    c->silence_ns = o->silence_ns ? o->silence_ns : 10000000000u;
    c->finished_end = &c->finished;
    if (o->tls || pipe2(c->pipe, O_CLOEXEC) < 0)
        c->pipe[0] = c->pipe[1] = -1;
    else
        (void)fcntl(c->pipe[1], F_SETPIPE_SZ, BULK_TURN); /* refused: it stays as small as it is */
    struct err *e = bulk__tls_new(o->tls, false, &c->tls);
    if (e)
        bulk_client_free(c);
    else
        *ret = c;
    return err_wrap_take(e, "starting a bulk client");
}

void
bulk_client_limit(struct bulk_client *c, uint64_t in_flight, unsigned retries, uint64_t backoff_ns)
{
    c->in_flight = in_flight;
    c->piece = in_flight / c->requests;
    c->piece = c->piece > BULK_PIECE_MAX ? BULK_PIECE_MAX : c->piece < BULK_PIECE_MIN ? BULK_PIECE_MIN : c->piece;
    c->retries = retries;
    c->backoff_ns = backoff_ns;
}

void
bulk_client_free(struct bulk_client *c)
{
    if (!c)
        return;
    if (c->freed)
        *c->freed = true;
    while (c->jobs) {
        struct bulk_job *j = c->jobs;

        job_unlink(j);
        job_free(j);
    }
    while (c->finished) {
        struct bulk_job *j = c->finished;

        c->finished = j->next;
        job_free(j);
    }
    while (c->peers) {
        struct bulk_peer *p = c->peers;

        c->peers = p->next;
        bulk__peer_fini(p);
        free(p);
    }
    loop_timer_stop(c->l, &c->deliver);
    bulk__tls_free(c->tls);
    bulk__wipe(c->secret, sizeof c->secret);
    file_close(&c->pipe[0]);
    file_close(&c->pipe[1]);
    free(c->buffer);
    free(c->app);
    free(c);
}

static struct bulk_peer *
peer_of(struct bulk_client *c, const char *address)
{
    struct bulk_peer *p = c->peers;

    while (p && strcmp(p->address, address) != 0)
        p = p->next;
    if (p)
        return p;
    p = calloc(1, sizeof *p);
    if (!p || !(p->address = strdup(address)))
        abort();
    p->c = c;
    p->io.fd = -1;
    p->turn_end = &p->turn;
    p->under_way_end = &p->under_way;
    p->next = c->peers;
    c->peers = p;
    return p;
}

void
bulk_get(struct bulk_client *c, const struct bulk_get *g)
{
    struct bulk_job *j = calloc(1, sizeof *j);
    size_t n = strlen(g->name);

    if (!j)
        abort();
    j->c = c;
    j->get = *g;
    j->peer = peer_of(c, g->host);
    if (!(j->get.name = strdup(g->name)))
        abort();
    j->get.host = j->peer->address;
    j->from = g->offset == BULK_TAIL ? 0 : g->offset;
    j->end = g->length < INT64_MAX - j->from ? j->from + g->length : INT64_MAX;
    j->next = c->jobs;
    j->link = &c->jobs;
    if (c->jobs)
        c->jobs->link = &j->next;
    c->jobs = j;
    if (n == 0 || n > BULK_NAME_MAX || j->from > INT64_MAX) {
        job_end(j, job_error(j, ERR_DENIED, "it is not a name and a range of a file"));
        return;
    }
    enqueue(j);
    bulk__ask(c);
}

void
bulk_forget(struct bulk_client *c, void *arg)
{
    struct bulk_job **link = &c->finished;

    for (struct bulk_job *j = c->jobs, *next; j; j = next) {
        next = j->next;
        if (j->get.arg == arg) {
            job_unlink(j);
            job_free(j);
        }
    }
    while (*link) {
        struct bulk_job *j = *link;

        if (j->get.arg == arg) {
            *link = j->next;
            job_free(j);
        } else {
            link = &j->next;
        }
    }
    c->finished_end = link;
}
