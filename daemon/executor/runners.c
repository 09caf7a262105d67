/* runners -- see runners.h.  This file: slots from spawn to the end; runners_kill.c: how they are
 * ended. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "executor/runners_priv.h"
#include "net/spawn.h"

enum { ANSWERS_A_ROUND = 1024 }; /* of one runner; then the others have their turn */

static struct slot *
slot_of(const struct runners *rs, unsigned i)
{
    ASSERT(i < rs->o.slots);
    return &rs->slots[i];
}

/* ---- what comes from a runner */

static void
on_frame(void *arg, struct frame *f)
{
    struct slot *s = arg;

    s->rs->ops->on_frame(s->rs->arg, s->i, f);
}

/* ERR_LOST comes with every death, a little before it; a runner that lives on closed its socket. */
static void
on_end(void *arg, struct err *e)
{
    struct slot *s = arg;
    bool lost = e->code == ERR_LOST;

    err_free(e);
    runners__condemn(s, lost ? RUNNER_CLOSED : RUNNER_GARBLED);
}

unsigned
runners__drain(struct slot *s, unsigned max)
{
    struct ring_frame f;
    unsigned n = 0;

    while (n < max) {
        enum ring_got got = ring_recv(s->ring, &f);

        if (got == RING_BAD)
            runners__condemn(s, RUNNER_GARBLED);
        if (got != RING_FRAME)
            break;
        n++;
        s->rs->ops->on_answer(s->rs->arg, s->i, &f);
    }
    if (n)
        ring_kick(s->ring); /* it may wait for room */
    return n;
}

static bool
work(void *arg)
{
    struct runners *rs = arg;
    unsigned n = 0;

    for (unsigned i = 0; i < rs->o.slots; i++)
        if (rs->slots[i].ring && ring_pending(rs->slots[i].ring))
            n += runners__drain(&rs->slots[i], ANSWERS_A_ROUND);
    if (rs->ops->on_round)
        rs->ops->on_round(rs->arg);
    for (unsigned i = 0; i < rs->o.slots; i++)
        runners_kick(rs, i); /* whatever was launched in this round and not kicked yet */
    return n > 0;
}

static bool
arm(void *arg)
{
    struct runners *rs = arg;

    ring_bell_arm(rs->bell);
    for (unsigned i = 0; i < rs->o.slots; i++)
        if (rs->slots[i].ring && !rs->slots[i].dying && ring_pending(rs->slots[i].ring))
            return true;
    return false;
}

static void
disarm(void *arg)
{
    ring_bell_disarm(((struct runners *)arg)->bell);
}

static void
on_bell(void *arg, unsigned events)
{
    ring_bell_clear(((struct runners *)arg)->bell);
}

/* ---- slots */

/* Gives up what a slot holds; the process is gone or never was. */
static void
slot_empty(struct slot *s)
{
    struct runners *rs = s->rs;

    loop_timer_stop(rs->l, &s->timer);
    loop_child_free(s->child);
    frame_close(s->chan);
    ring_free(s->ring);
    *s = (struct slot){ .rs = rs, .i = s->i };
}

static struct err *
slot_open(struct slot *s, uint64_t data_limit)
{
    static const struct frame_handler handler = { on_frame, on_end };
    struct runners *rs = s->rs;
    struct buf b = { 0 };
    int pair[2];

    TRY(ring_pair_new(&s->ring));
    TRY(frame_pair(pair));
    struct err *e = frame_open(pair[0], rs->o.frame_limit, &s->chan);
    if (!e)
        e = frame_attach(s->chan, rs->l, &handler, s);
    if (!e) {
        int fds[SPAWN_FDS] = { pair[1], ring_fd_a(s->ring), ring_fd_b(s->ring), ring_bell_page(rs->bell),
                               ring_bell_event(rs->bell) };

        put_u64(&b, data_limit);
        e = zygote__say(rs->z, SPAWN_RUNNER, rs->first_id + s->i, b.p, b.n, fds, SPAWN_FDS);
        buf_fini(&b);
    }
    close(pair[1]);
    ring_close_fds(s->ring);
    return e;
}

struct err *
runners_spawn(struct runners *rs, unsigned slot, uint64_t data_limit)
{
    struct slot *s = slot_of(rs, slot);

    ASSERT(s->state == SLOT_EMPTY);
    if (!rs->z->pid)
        return err_new(ERR_LOST, "the process that makes runners is gone");
    struct err *e = slot_open(s, data_limit);
    if (e) {
        slot_empty(s);
        return err_wrap_take(e, "starting runner %u", slot);
    }
    s->state = SLOT_STARTING;
    return NULL;
}

/* What it sent before it died counts. */
static void
drain_all(struct slot *s)
{
    struct frame f;
    bool got = true;

    while (got && s->chan) {
        struct err *e = frame_recv_now(s->chan, &f, &got);

        if (e) {
            err_free(e);
            break;
        }
        if (got)
            on_frame(s, &f);
    }
    runners__drain(s, UINT32_MAX);
}

void
runners__ended(struct slot *s, int status)
{
    struct runners *rs = s->rs;
    unsigned i = s->i;
    struct runner_death d = { .status = status, .pid = s->pid };

    s->dying = true;
    if (s->pid) {
        drain_all(s);
        kill(-s->pid, SIGKILL); /* processes the module made: same group */
    }
    d.why = s->why;
    if (s->pid && !(s->signalled && WIFSIGNALED(status) &&
                    (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGXCPU)))
        d.why = RUNNER_DIED; /* it ended before our signal came */
    recorder_copy(ring_recorder(s->ring), &d.rec);
    slot_empty(s);
    rs->ops->on_death(rs->arg, i, &d);
}

bool
runners_alive(const struct runners *rs, unsigned slot)
{
    const struct slot *s = slot_of(rs, slot);

    return s->state != SLOT_EMPTY && !s->dying;
}

bool
runners_empty(const struct runners *rs, unsigned slot)
{
    return slot_of(rs, slot)->state == SLOT_EMPTY;
}

pid_t
runners_pid(const struct runners *rs, unsigned slot)
{
    return slot_of(rs, slot)->pid;
}

bool
runners_launch(struct runners *rs, unsigned slot, uint32_t type, const void *p, size_t n)
{
    struct slot *s = slot_of(rs, slot);

    if (!runners_alive(rs, slot) || !ring_send(s->ring, type, p, n))
        return false;
    s->kick = true;
    return true;
}

void
runners_kick(struct runners *rs, unsigned slot)
{
    struct slot *s = slot_of(rs, slot);

    if (s->kick && runners_alive(rs, slot))
        ring_kick(s->ring);
    s->kick = false;
}

struct err *
runners_post(struct runners *rs, unsigned slot, uint32_t type, uint32_t id, const void *p, size_t n,
             const int *fds, int nfds)
{
    if (!runners_alive(rs, slot))
        return NULL; /* its on_death is under way */
    return frame_post(slot_of(rs, slot)->chan, type, id, p, n, fds, nfds);
}

void
runners_look(const struct runners *rs, unsigned slot, struct recorder *ret)
{
    struct ring *r = slot_of(rs, slot)->ring;

    if (r)
        recorder_copy(ring_recorder(r), ret);
    else
        memset(ret, 0, sizeof *ret);
}

uint64_t
runners_budget(const struct runners *rs, unsigned slot)
{
    struct ring *r = slot_of(rs, slot)->ring;

    return r ? *ring_budget(r) : 0;
}

/* ---- all of them */

struct err *
runners_new(struct loop *l, struct zygote *z, const struct runners_opts *o, const struct runners_ops *ops,
            void *arg, struct runners **ret)
{
    struct runners *rs = calloc(1, sizeof *rs);

    if (!rs || !(rs->slots = calloc(o->slots, sizeof *rs->slots)))
        abort();
    rs->l = l;
    rs->z = z;
    rs->o = *o;
    rs->ops = ops;
    rs->arg = arg;
    for (unsigned i = 0; i < o->slots; i++)
        rs->slots[i] = (struct slot){ .rs = rs, .i = i };
    rs->poll = (struct loop_poll){ work, arm, disarm, rs, NULL };
    loop_poll_add(l, &rs->poll);
    struct err *e = ring_bell_new(&rs->bell);
    if (!e)
        e = loop_io_new(l, ring_bell_event(rs->bell), LOOP_IN, on_bell, rs, &rs->bell_io);
    if (!e)
        e = runners__attach_zygote(rs);
    if (e) {
        runners_free(rs);
        return e;
    }
    *ret = rs;
    return NULL;
}

/* Ids of processes that are still being made: there is no loop to bring them any more.  */
static unsigned
count_starting(const struct runners *rs)
{
    unsigned n = 0;

    for (unsigned i = 0; i < rs->o.slots; i++)
        n += rs->slots[i].state == SLOT_STARTING;
    return n;
}

static void
wait_for_started(struct runners *rs)
{
    unsigned n = rs->slots ? count_starting(rs) : 0;
    struct frame f;

    while (n && rs->z->pid && !frame_queued(rs->z->chan)) {
        struct err *e = frame_recv(rs->z->chan, &f);

        if (e) {
            err_free(e);
            return;
        }
        struct get g = GET_OF(f.p, f.n);
        uint32_t v = get_u32(&g);
        struct slot *s = runners__slot_by_id(rs->z, f.id);
        if (s && s->rs == rs) {
            if (f.type == SPAWN_STARTED)
                s->pid = (pid_t)v;
            n--;
        } else { /* of others who have runners of this zygote */
            runners__from_zygote(rs->z, f.type, f.id, v);
        }
    }
}

void
runners_free(struct runners *rs)
{
    if (!rs)
        return;
    wait_for_started(rs);
    for (unsigned i = 0; i < rs->o.slots; i++)
        if (rs->slots[i].pid)
            kill(rs->slots[i].pid, SIGKILL);
    for (unsigned i = 0; i < rs->o.slots; i++) {
        pid_t pid = rs->slots[i].pid;

        while (pid && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        if (pid)
            kill(-pid, SIGKILL);
        slot_empty(&rs->slots[i]);
    }
    runners__detach_zygote(rs);
    loop_poll_remove(rs->l, &rs->poll);
    loop_io_free(rs->bell_io);
    ring_bell_free(rs->bell);
    free(rs->slots);
    free(rs);
}
