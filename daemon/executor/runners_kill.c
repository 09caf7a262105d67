/* runners_kill -- how runners start to exist and how they are ended: the zygote's answers, the
 * steps of killing. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "executor/runners_priv.h"
#include "net/spawn.h"

enum {
    GRACE_MS = 50, /* between the end of a runner's socket and its end, when it is just dying */
    WHERE_MS = 200 /* between "where are you" and SIGKILL */
};

static void
send_signal(struct slot *s, int signo)
{
    if (!s->child)
        return;
    loop_child_kill(s->child, signo);
    s->signalled = true;
}

static void
step_kill(void *arg)
{
    send_signal(arg, SIGKILL);
}

/* SIGXCPU makes the runner's handler record where it is (runner/crash.h) and end. */
static void
step_where(void *arg)
{
    struct slot *s = arg;

    send_signal(s, SIGXCPU);
    loop_timer_start(s->rs->l, &s->timer, loop_now(s->rs->l) + WHERE_MS * 1000000ull, step_kill, s);
}

/* The first step for its reason. */
static void
begin(struct slot *s)
{
    switch (s->why) {
    case RUNNER_TIMEOUT:
        step_where(s);
        break;
    case RUNNER_CLOSED:
        loop_timer_start(s->rs->l, &s->timer, loop_now(s->rs->l) + GRACE_MS * 1000000ull, step_where, s);
        break;
    default:
        step_kill(s);
    }
}

void
runners__condemn(struct slot *s, enum runner_why why)
{
    if (s->state == SLOT_EMPTY || s->dying)
        return;
    s->dying = true;
    s->why = why;
    if (s->state == SLOT_ALIVE)
        begin(s);
}

void
runners_kill(struct runners *rs, unsigned slot, enum runner_why why)
{
    ASSERT(slot < rs->o.slots);
    struct slot *s = &rs->slots[slot];

    if (s->dying && s->why == RUNNER_CLOSED && why != RUNNER_CLOSED && s->child) {
        s->why = why; /* it may just be dying, but whoever asks needs not wait for that */
        begin(s);
    }
    runners__condemn(s, why);
}

/* ---- the zygote's answers */

static void
on_child(void *arg, int status)
{
    struct slot *s = arg;

    s->child = NULL;
    runners__ended(s, status);
}

static void
started(struct slot *s, pid_t pid)
{
    struct err *e = loop_child_new(s->rs->l, pid, on_child, s, &s->child);

    if (e) { /* no descriptor for it: it must not run unseen */
        int status = 0;

        err_free(e);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        s->why = RUNNER_NO_START;
        runners__ended(s, EMFILE);
        return;
    }
    s->pid = pid;
    s->state = SLOT_ALIVE;
    if (s->dying)
        begin(s);
}

struct slot *
runners__slot_by_id(const struct zygote *z, uint32_t id)
{
    for (struct runners *rs = z->users; rs; rs = rs->next)
        if (id >= rs->first_id && id - rs->first_id < rs->o.slots)
            return &rs->slots[id - rs->first_id];
    return NULL;
}

void
runners__from_zygote(struct zygote *z, uint32_t type, uint32_t id, uint32_t v)
{
    struct slot *s = runners__slot_by_id(z, id);

    if (!s)
        return;
    ASSERT(s->state == SLOT_STARTING);
    if (type == SPAWN_STARTED) {
        started(s, (pid_t)v);
        return;
    }
    s->why = RUNNER_NO_START;
    runners__ended(s, (int)v);
}

static void
on_zygote_frame(void *arg, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    uint32_t v = get_u32(&g);

    ASSERT(!g.bad);
    runners__from_zygote(arg, f->type, f->id, v);
}

static void
on_zygote_end(void *arg, struct err *e)
{
    err_free(e); /* its death follows and says more */
}

static void
on_zygote_death(void *arg, int status)
{
    struct zygote *z = arg;

    z->child = NULL;
    z->pid = 0;
    for (struct runners *rs = z->users, *next; rs; rs = next) {
        next = rs->next;
        rs->ops->on_lost(rs->arg, WIFSIGNALED(status)
                                      ? err_new(ERR_LOST, "the process that makes runners was killed by signal %d",
                                                WTERMSIG(status))
                                      : err_new(ERR_LOST, "the process that makes runners ended with status %d",
                                                WEXITSTATUS(status)));
    }
}

struct err *
runners__attach_zygote(struct runners *rs)
{
    static const struct frame_handler handler = { on_zygote_frame, on_zygote_end };
    struct zygote *z = rs->z;

    rs->first_id = (rs->o.main ? SPAWN_MAIN : 0) + z->next_id;
    z->next_id += SPAWN_IDS;
    if (!z->users) {
        TRY(frame_attach(z->chan, rs->l, &handler, z));
        z->attached = true;
        TRY(loop_child_new(rs->l, z->pid, on_zygote_death, z, &z->child));
    }
    rs->next = z->users;
    z->users = rs;
    return NULL;
}

void
runners__detach_zygote(struct runners *rs)
{
    struct zygote *z = rs->z;

    for (struct runners **p = &z->users; *p; p = &(*p)->next)
        if (*p == rs) {
            *p = rs->next;
            break;
        }
    if (z->users)
        return;
    loop_child_free(z->child);
    z->child = NULL;
    if (z->attached)
        frame_detach(z->chan);
    z->attached = false;
}
