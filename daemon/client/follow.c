/* follow -- the output of a submission, once and in order, until it ends; and ending it. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/client_priv.h"

#define LOOK_NS UINT64_C(1000000000)

static void
on_look(void *arg)
{
    struct client *c = arg;

    client__ask_status(c, c->id);
}

static void
look_later(struct client *c)
{
    loop_timer_start(c->loop, &c->look, clock_mono_ns() + (c->o.look_ns ? c->o.look_ns : LOOK_NS), on_look, c);
}

void
client__follow(struct client *c, bool wait)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__Follow f = TASKD__FOLLOW__INIT;

    c->following = true;
    c->seen[0] = c->seen[1] = UINT64_MAX;
    f.driver = (char *)c->id;
    f.out_at = c->out_at;
    f.err_at = c->err_at;
    f.wait = wait;
    item.kind_case = TASKD__ITEM__KIND_FOLLOW;
    item.follow = &f;
    client__send(c, &item);
    if (wait)
        look_later(c);
}

void
client__resume(struct client *c)
{
    c->resuming = true;
    client__ask_status(c, c->id);
}

/* Places in the output of an earlier try mean nothing in that of a later one. */
static void
resumed(struct client *c, const Taskd__DriverStatus *d)
{
    c->resuming = false;
    if (d && c->tries && d->tries > c->tries)
        c->out_at = c->err_at = 0;
    if (c->killing)
        client__ask_kill(c);
    client__follow(c, c->o.verb != CLIENT_LOGS || c->o.follow);
}

void
client__ask_kill(struct client *c)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__KillRequest k = TASKD__KILL_REQUEST__INIT;

    k.id = (char *)c->id;
    Taskd__Cancel part = TASKD__CANCEL__INIT;
    if (c->o.verb == CLIENT_KILL && (c->o.part.job || c->o.part.stage_1)) {
        part.job = c->o.part.job;
        part.stage_1 = c->o.part.stage_1;
        part.partition_1 = c->o.part.partition_1;
        part.attempt_1 = c->o.part.attempt_1;
        k.part = &part;
    }
    item.kind_case = TASKD__ITEM__KIND_KILL_REQUEST;
    item.kill_request = &k;
    client__send(c, &item);
}

/* What is before *at was printed already; what is missing is said.  A master says nothing twice on one connection: if
 * it goes back, the driver was started again, and its output begins anew. */
static void
print(struct client *c, const Taskd__Output *o)
{
    uint64_t *at = o->err ? &c->err_at : &c->out_at, *seen = &c->seen[o->err];
    uint64_t end = o->at + o->data.len;
    size_t skip;

    if (*seen != UINT64_MAX && o->at < *seen) {
        *at = o->at;
        client__ask_status(c, c->id); /* for the number of this try */
    }
    *seen = end;
    if (end <= *at)
        return;
    if (o->at > *at && !c->quiet)
        client__say(c, EVENT_LEVEL_WARN, "%llu bytes of its %s are not kept any more",
                    (unsigned long long)(o->at - *at), o->err ? "errors" : "output");
    skip = o->at < *at ? (size_t)(*at - o->at) : 0;
    *at = end;
    if (!c->quiet)
        client__write(c, o->err ? c->o.err : c->o.out, o->data.data + skip, o->data.len - skip);
}

/* Of a job that was killed on our own demand the status is the signal's. */
static void
on_end(struct client *c, const Taskd__Output *o)
{
    int status = (int)o->exit_status;
    bool finished = !strcmp(o->state, "FINISHED");

    if (c->o.verb == CLIENT_LOGS) {
        client__over(c, c->status);
        return;
    }
    if (c->killing && !finished)
        status = 128 + c->killing;
    else if (!finished && !status)
        status = 1;
    if (finished || c->quiet) {
        client__over(c, status);
        return;
    }
    c->ended = true;
    c->end_status = status;
    client__ask_status(c, c->id);
}

static const Taskd__DriverStatus *
driver_of(const Taskd__Status *s, const char *id)
{
    for (size_t i = 0; i < s->n_driver; i++)
        if (!strcmp(s->driver[i]->driver, id))
            return s->driver[i];
    return NULL;
}

/* It did not end well: in which way, and why, unless it has said so itself. */
static void
say_end(struct client *c, const Taskd__DriverStatus *d)
{
    if (!strcmp(d->state, "FAILED") && c->err_at)
        return;
    const char *how = !strcmp(d->state, "KILLED") ? "was killed" : !strcmp(d->state, "LOST") ? "was lost" : "failed";

    client__say(c, EVENT_LEVEL_ERROR, "%s %s%s%s", c->id, how, *d->why ? ": " : "", d->why);
}

/* Says why it waits, each reason once; looks again until it runs. */
static void
on_status(struct client *c, const Taskd__Status *s)
{
    const Taskd__DriverStatus *d = driver_of(s, c->id);

    if (c->ended) {
        if (d)
            say_end(c, d);
        client__over(c, c->end_status);
        return;
    }
    if (c->resuming)
        resumed(c, d);
    if (d && d->tries)
        c->tries = d->tries;
    if (d && *d->why && !d->ended_ms && strcmp(d->state, "RUNNING") && !c->quiet &&
        (!c->waiting || strcmp(c->waiting, d->why))) {
        free(c->waiting);
        c->waiting = strdup(d->why);
        client__say(c, EVENT_LEVEL_INFO, "%s waits: %s", c->id, d->why);
    }
    if (!d || strcmp(d->state, "RUNNING"))
        look_later(c);
}

void
client__follow_item(struct client *c, const Taskd__Item *item)
{
    struct err *e = NULL;

    switch (item->kind_case) {
    case TASKD__ITEM__KIND_OUTPUT:
        if (item->output->data.len)
            print(c, item->output);
        if (item->output->end && !c->over)
            on_end(c, item->output);
        break;
    case TASKD__ITEM__KIND_STATUS:
        on_status(c, item->status);
        break;
    case TASKD__ITEM__KIND_ANSWER:
        if ((e = proto_err(item->answer->error)))
            client__fail(c, e);
        break;
    default:
        break;
    }
}

void
client_signal(struct client *c, int signo)
{
    bool mine = c->o.verb == CLIENT_SUBMIT && (c->phase == PUT_DONE || c->phase == PUT_ASKED) && !c->o.submit->detach;

    if (signo == SIGHUP || c->killing || !mine) {
        if (mine && c->phase == PUT_DONE)
            client__say(c, EVENT_LEVEL_WARN, "left; %s goes on%s", c->id, c->killing ? " until it has ended" : "");
        client__over(c, 128 + signo);
        return;
    }
    c->killing = signo;
    client__say(c, EVENT_LEVEL_WARN, "%s: ending %s%s", signo == SIGINT ? "interrupted" : "terminated",
                c->phase == PUT_DONE ? c->id : "the submission", signo == SIGINT ? " (once more to leave)" : "");
    if (c->phase == PUT_DONE)
        client__ask_kill(c);
}
