/* act -- one step of grants, and what it asks for: first into the journal, then out of the door. */
#include <stdlib.h>
#include <string.h>

#include "master/master_priv.h"

#define SAVE_AGAIN_NS UINT64_C(1000000000)

const char *
master__app_state(const struct master *m, const struct arow *a)
{
    static const char *const names[] = { [GRANTS_FINISHED] = "FINISHED", [GRANTS_FAILED_STATE] = "FAILED",
                                         [GRANTS_KILLED] = "KILLED", [GRANTS_LOST] = "LOST" };
    struct grants_app_info info;

    if (a->row.ended_ms)
        return names[a->row.state] ? names[a->row.state] : "LOST";
    return grants_app(m->grants, a->row.id, &info) && info.executors ? "RUNNING" : "WAITING";
}

const char *
master__driver_state(const struct drow *d)
{
    switch (d->row.state) {
    case GRANTS_FINISHED:
        return "FINISHED";
    case GRANTS_FAILED_STATE:
        return "FAILED";
    case GRANTS_KILLED:
        return "KILLED";
    case GRANTS_LOST:
        return "LOST";
    case GRANTS_BACKOFF:
        return "RELAUNCHING";
    default:
        return d->row.worker[0] ? "RUNNING" : "SUBMITTED";
    }
}

/* ---- into the rows */

static void
note_app(struct master *m, const struct grants_action *a)
{
    struct arow *r = rows__app(m, a->id);

    if (!r)
        return;
    r->row.state = a->state == GRANTS_ACTIVE ? GRANTS_FINISHED : a->state;
    r->row.exit_status = a->status;
    r->row.ended_ms = rows__now_ms();
    master__set(&r->row.why, a->text);
    r->dirty = true;
}

static void
note_driver(struct master *m, const struct grants_action *a)
{
    struct drow *d = rows__driver(m, a->id);

    if (!d)
        return;
    d->row.state = a->state;
    d->row.tries = a->tries;
    d->row.exit_status = a->status;
    master__set(&d->row.why, a->text);
    if (a->worker[0] && strcmp(d->row.worker, a->worker) != 0) {
        follow__moved(d);
        master__set(&d->row.worker, a->worker);
    }
    if (a->state != GRANTS_ACTIVE && a->state != GRANTS_BACKOFF)
        d->row.ended_ms = rows__now_ms();
    d->dirty = true;
}

/* Numbers of executors are reserved in advance, so that granting one costs no write. */
static void
note_executor(struct master *m, const struct grants_action *a)
{
    struct arow *r = rows__app(m, a->id);

    if (!r || a->executor <= r->row.numbers)
        return;
    r->row.numbers = a->executor + 63;
    r->dirty = true;
}

/* ---- out of the door */

static void
to_worker(struct master *m, const struct grants_action *a)
{
    struct wrow *w = rows__worker(m, a->worker);
    Taskd__StopChild stop = TASKD__STOP_CHILD__INIT;
    Taskd__ForgetApp forget = TASKD__FORGET_APP__INIT;

    if (!w || !w->party)
        return;
    switch (a->kind) {
    case GRANTS_START_EXECUTOR:
        EMIT(m->o.log, executor_granted, .app = a->id, .executor = a->executor, .worker = a->worker, .cores = a->cores,
             .memory_bytes = a->memory);
        apps__start_executor(m, w, a);
        break;
    case GRANTS_START_DRIVER:
        clients__start_driver(m, w, a);
        break;
    case GRANTS_STOP:
        stop.app_id = (char *)a->id;
        stop.executor = a->executor;
        stop.why = (char *)a->text;
        MASTER_SEND(m, w->party, STOP_CHILD, stop_child, &stop);
        break;
    default:
        forget.app_id = (char *)a->id;
        MASTER_SEND(m, w->party, FORGET_APP, forget_app, &forget);
    }
}

/* Of what ended well there is nothing to be said. */
static const char *
reason(const struct grants_action *a)
{
    return a->state != GRANTS_FINISHED && a->text[0] ? a->text : NULL;
}

static void
app_over(struct master *m, const struct grants_action *a)
{
    struct arow *r = rows__app(m, a->id);

    if (!r)
        return;
    EMIT(m->o.log, app_over, .app = a->id, .state = master__app_state(m, r), .exit_code = a->status,
         .err = reason(a));
    if (!r->party)
        return;
    struct party *p = r->party;
    p->app = NULL; /* its end is known */
    r->party = NULL;
    if (a->state == GRANTS_FINISHED || a->state == GRANTS_ACTIVE)
        master__drop(p);
    else
        master__refuse(p, err_new(a->state == GRANTS_KILLED ? ERR_CANCELLED : ERR_LOST, "application %s is over: %s",
                                  a->id, a->text));
}

static void
to_app(struct master *m, const struct grants_action *a)
{
    struct arow *r = rows__app(m, a->id);
    struct party *p = r ? r->party : NULL;
    Taskd__AppWelcome welcome = TASKD__APP_WELCOME__INIT;
    Taskd__Granted granted = TASKD__GRANTED__INIT;
    Taskd__Gone gone = TASKD__GONE__INIT;
    Taskd__Waiting waiting = TASKD__WAITING__INIT;

    if (a->kind == GRANTS_GONE && a->executor)
        EMIT(m->o.log, executor_gone, .app = a->id, .executor = a->executor, .worker = a->worker, .err = a->text);
    if (a->kind == GRANTS_WAITING && a->text[0])
        EMIT(m->o.log, app_waiting, .app = a->id, .why = a->text);
    if (!p)
        return;
    switch (a->kind) {
    case GRANTS_WELCOME:
        welcome.app_id = (char *)a->id;
        welcome.cores = a->cores;
        MASTER_SEND(m, p, APP_WELCOME, app_welcome, &welcome);
        break;
    case GRANTS_GRANTED:
        granted.executor = a->executor;
        granted.worker = (char *)a->worker;
        granted.host = (char *)a->host;
        granted.cores = a->cores;
        granted.memory = a->memory;
        MASTER_SEND(m, p, GRANTED, granted, &granted);
        break;
    case GRANTS_GONE:
        gone.executor = a->executor;
        gone.text = (char *)a->text;
        gone.worker_lost = a->lost;
        gone.worker = (char *)a->worker;
        MASTER_SEND(m, p, GONE, gone, &gone);
        break;
    default:
        waiting.why = (char *)a->text;
        MASTER_SEND(m, p, WAITING, waiting, &waiting);
    }
}

static void
driver_changed(struct master *m, const struct grants_action *a)
{
    struct drow *d = rows__driver(m, a->id);

    if (!d)
        return;
    EMIT(m->o.log, driver_state, .driver = a->id, .state = master__driver_state(d),
         .worker = a->worker[0] ? a->worker : NULL, .try = a->tries, .exit_code = a->status, .err = reason(a));
    if (d->row.ended_ms)
        follow__over(m, d);
}

static void
on_wake(void *arg)
{
    MASTER_STEP(arg, TIMER);
}

static void
act(struct master *m, const struct grants_action *a)
{
    struct wrow *w;

    switch (a->kind) {
    case GRANTS_START_EXECUTOR:
    case GRANTS_START_DRIVER:
    case GRANTS_STOP:
    case GRANTS_FORGET:
        to_worker(m, a);
        break;
    case GRANTS_APP_STATE:
        app_over(m, a);
        break;
    case GRANTS_DRIVER_STATE:
        driver_changed(m, a);
        break;
    case GRANTS_WORKER_LOST:
        EMIT(m->o.log, worker_lost, .worker = a->worker, .worker_host = a->host, .err = a->text);
        if ((w = rows__worker(m, a->worker)))
            w->lost = !w->party;
        break;
    case GRANTS_WAKE_AT:
        loop_timer_start(m->loop, &m->wake, a->at, on_wake, m);
        break;
    default:
        to_app(m, a);
    }
}

static void
on_save(void *arg)
{
    struct master *m = arg;
    struct err *e = rows__save(m);

    if (e)
        loop_timer_start(m->loop, &m->save, loop_now(m->loop) + SAVE_AGAIN_NS, on_save, m);
    err_free(e);
}

void
master__step(struct master *m, const struct grants_event *ev)
{
    struct grants_actions out = m->actions;

    ASSERT(!m->stepping);
    m->stepping = true;
    grants_step(m->grants, ev, loop_now(m->loop), &out);
    for (uint32_t i = 0; i < out.n; i++) {
        const struct grants_action *a = &out.v[i];

        if (a->kind == GRANTS_APP_STATE)
            note_app(m, a);
        else if (a->kind == GRANTS_DRIVER_STATE)
            note_driver(m, a);
        else if (a->kind == GRANTS_START_EXECUTOR)
            note_executor(m, a);
    }
    struct err *e = rows__save(m);
    if (e) { /* the cluster goes on; what is not written yet is written when that works again */
        char *text = err_text(e);

        EMIT(m->o.log, log_error, .message = "the journal can't be written", .err = text);
        free(text);
        err_free(e);
        loop_timer_start(m->loop, &m->save, loop_now(m->loop) + SAVE_AGAIN_NS, on_save, m);
    }
    for (uint32_t i = 0; i < out.n; i++)
        act(m, &out.v[i]);
    grants_actions_clear(&out);
    m->actions = out;
    m->stepping = false;
}
