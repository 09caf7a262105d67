/*
 * follow -- a driver's output on its way from the worker's files to those who follow.  The worker sends each byte once,
 * from the lowest place that somebody misses; each follower gets what is new to it.  See master_priv.h.
 */
#include <stdlib.h>
#include <string.h>

#include "master/master_priv.h"

/* Bytes for a follower that does not take them: then the worker holds still, until there are few again. */
enum { QUEUED_MAX = 4 << 20, QUEUED_FEW = 1 << 20 };
#define QUIET_NS UINT64_C(300000000)      /* no output for so long: that is what there is at present */
#define SILENT_NS UINT64_C(5000000000)    /* and no end of one that is over: its worker does not know it any more */

static void
send_output(struct follow *f, bool err, uint64_t at, const void *p, size_t n)
{
    Taskd__Output o = TASKD__OUTPUT__INIT;

    o.driver = (char *)f->driver->row.id;
    o.err = err;
    o.at = at;
    o.data = PROTO_BYTES(p, n);
    MASTER_SEND(f->party->m, f->party, OUTPUT, output, &o);
}

static void
follow_free(struct follow *f)
{
    struct follow **p = &f->driver->follows;

    while (*p != f)
        p = &(*p)->next_of_driver;
    *p = f->next_of_driver;
    p = &f->party->follows;
    while (*p != f)
        p = &(*p)->next_of_party;
    *p = f->next_of_party;
    free(f);
}

static void
send_end(struct follow *f)
{
    struct drow *d = f->driver;
    Taskd__Output o = TASKD__OUTPUT__INIT;

    o.driver = (char *)d->row.id;
    o.end = true;
    o.exit_status = d->row.exit_status;
    o.state = (char *)master__driver_state(d);
    MASTER_SEND(f->party->m, f->party, OUTPUT, output, &o);
    follow_free(f);
}

static bool
is_stuck(const struct drow *d)
{
    size_t limit = d->held ? QUEUED_FEW : QUEUED_MAX;

    for (const struct follow *f = d->follows; f; f = f->next_of_driver)
        if (link_queued(f->party->link) > limit)
            return true;
    return false;
}

static void
tell_worker(struct master *m, struct drow *d, bool stop)
{
    struct wrow *w = d->row.worker[0] ? rows__worker(m, d->row.worker) : NULL;
    Taskd__FollowChild ask = TASKD__FOLLOW_CHILD__INIT;

    if (!w || !w->party)
        return;
    ask.driver = (char *)d->row.id;
    ask.stop = stop;
    ask.out_at = ask.err_at = UINT64_MAX;
    for (const struct follow *f = d->follows; f; f = f->next_of_driver) {
        ask.out_at = f->at[0] < ask.out_at ? f->at[0] : ask.out_at;
        ask.err_at = f->at[1] < ask.err_at ? f->at[1] : ask.err_at;
    }
    MASTER_SEND(m, w->party, FOLLOW_CHILD, follow_child, &ask);
}

void
follow__ask(struct master *m, struct drow *d)
{
    for (struct follow *f = d->follows; f; f = f->next_of_driver) {
        f->end[0] = f->end[1] = false;
        f->quiet_since = loop_now(m->loop);
    }
    d->held = is_stuck(d);
    if (d->follows && !d->held)
        tell_worker(m, d, false);
}

/* Is there nobody who could send the rest?  After a start of the master a worker has the time to come back. */
static bool
is_away(struct master *m, const struct drow *d)
{
    struct wrow *w = d->row.worker[0] ? rows__worker(m, d->row.worker) : NULL;

    if (!d->row.worker[0] || (w && !w->party))
        return !w || w->lost;
    return !w && loop_now(m->loop) - m->began > SILENT_NS;
}

void
follow__over(struct master *m, struct drow *d)
{
    for (struct follow *f = d->follows, *next; f; f = next) {
        next = f->next_of_driver;
        if ((f->end[0] && f->end[1]) || is_away(m, d))
            send_end(f);
    }
}

void
follow__output(struct master *m, const Taskd__ChildOutput *o)
{
    struct drow *d = rows__driver(m, o->driver);
    size_t n = o->data.len;
    int i = o->err;

    for (struct follow *f = d ? d->follows : NULL, *next; f; f = next) {
        next = f->next_of_driver;
        f->quiet_since = loop_now(m->loop);
        if (n && o->at + n > f->at[i]) {
            uint64_t skip = o->at < f->at[i] ? f->at[i] - o->at : 0;

            send_output(f, i, o->at + skip, o->data.data + skip, n - skip);
            f->at[i] = o->at + n;
        } else if (!n && f->at[i] <= o->at) {
            f->end[i] = true;
        }
    }
    if (!d)
        return;
    if (d->row.ended_ms)
        follow__over(m, d);
    if (d->follows && !d->held && is_stuck(d)) {
        d->held = true;
        tell_worker(m, d, true);
    }
}

/* Its output begins anew in another place. */
void
follow__moved(struct drow *d)
{
    for (struct follow *f = d->follows; f; f = f->next_of_driver)
        memset(f->at, 0, sizeof f->at);
}

void
follow__start(struct party *p, const Taskd__Follow *req)
{
    struct master *m = p->m;
    struct drow *d = rows__driver(m, req->driver);
    struct follow *f;

    if (!d) {
        clients__answer(p, err_new(ERR_INPUT, "no submission is named \"%s\"", req->driver), "");
        return;
    }
    f = calloc(1, sizeof *f);
    if (!f)
        abort();
    *f = (struct follow){ .next_of_driver = d->follows, .next_of_party = p->follows, .party = p, .driver = d,
                          .at = { req->out_at, req->err_at }, .wait = req->wait,
                          .quiet_since = loop_now(m->loop) };
    d->follows = p->follows = f;
    if (d->row.ended_ms && is_away(m, d))
        send_end(f);
    else
        follow__ask(m, d);
}

void
follow__drop(struct party *p)
{
    while (p->follows) {
        struct drow *d = p->follows->driver;

        follow_free(p->follows);
        if (!d->follows)
            tell_worker(p->m, d, true);
    }
}

bool
follow__tick(struct master *m)
{
    bool held = false;

    for (struct drow *d = m->drivers; d; d = d->next) {
        if (d->held && !is_stuck(d))
            follow__ask(m, d);
        held |= d->held;
        for (struct follow *f = d->follows, *next; f; f = next) {
            next = f->next_of_driver;
            if (d->row.ended_ms && is_away(m, d)) {
                send_end(f);
                continue;
            }
            uint64_t quiet = d->held ? 0 : loop_now(m->loop) - f->quiet_since;
            if (quiet > (d->row.ended_ms ? SILENT_NS : QUIET_NS) && (!f->wait || d->row.ended_ms))
                send_end(f);
        }
    }
    return held;
}
