/* driver -- see driver.h: events in, sched's actions done. */
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "driver/driver_priv.h"

enum { EXECUTOR = 1 }; /* local mode has one */

struct stage *
driver__stage(const struct driver *d, uint32_t id)
{
    for (uint32_t i = d->n_stages; i-- > 0;)
        if (d->stage[i]->id == id)
            return d->stage[i];
    return NULL;
}

void
driver__end(struct driver *d, int status, struct err *take)
{
    if (d->ended) {
        err_free(take);
        return;
    }
    d->ended = true;
    loop_timer_stop(d->loop, &d->wake);
    d->o.end(d->o.arg, status, take);
}

/* ---- sched's actions */

static void
launch(struct driver *d, const struct sched_action *a)
{
    struct wire_task t = { a->stage, a->partition, a->attempt, a->epoch, a->generation,
                           a->flags & SCHED_ONE_RECORD ? WIRE_ONE_RECORD : 0 };
    struct err *e = executor_launch(d->x, a->slot, &t);

    if (e)
        driver__end(d, err_code_exit(e->code), e);
}

static void
kill_task(struct driver *d, const struct sched_action *a)
{
    struct wire_task t = { a->stage, a->partition, a->attempt, a->epoch, a->generation, 0 };

    executor_kill(d->x, a->slot, &t, a->code == ERR_TIMEOUT ? RUNNER_TIMEOUT : RUNNER_CANCELLED);
}

static void
remove_output(struct driver *d, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    struct buf path = { 0 };

    executor_output_path(d->x, stage, partition, attempt, &path);
    unlink(path.p); /* it may never have been made */
    buf_fini(&path);
}

static void
accept_task(struct driver *d, const struct sched_action *a)
{
    struct stage *s = driver__stage(d, a->stage);

    ASSERT(s && d->done);
    const struct flow_result *r = &d->done->result;
    if (s->attempt[a->partition] >= 0) /* an older generation's: nobody reads it any more */
        remove_output(d, a->stage, a->partition, (uint32_t)s->attempt[a->partition]);
    s->attempt[a->partition] = a->attempt;
    s->generation[a->partition] = a->generation;
    s->accepted++;
    driver__accs_merge(&d->accs, s, a->partition, r);
    d->totals.spill_bytes += r->spill_bytes;
    if (plan_branch_of(&s->plan, a->partition)->source != PLAN_SRC_SHUFFLE) {
        d->totals.input_bytes += r->in_bytes;
        d->totals.input_records += r->in_rows;
    }
    d->totals.bad_records += r->bad_rows;
    if (!s->result)
        d->totals.shuffle_write_bytes += r->out_bytes;
    else
        d->totals.output_records += r->out_rows;
    s->rows += r->out_rows;
    if (s->out) {
        struct buf path = { 0 };

        executor_output_path(d->x, a->stage, a->partition, a->attempt, &path);
        struct err *e = driver__output_accept(d, s->out, path.p, a->partition);
        buf_fini(&path);
        if (e)
            driver__end(d, err_code_exit(e->code), e);
    }
}

static void
on_wake(void *arg)
{
    struct driver *d = arg;
    struct sched_event ev = { .kind = SCHED_TIMER };

    driver__step(d, &ev);
}

static void
stage_end(struct driver *d, uint32_t id)
{
    const struct stage *s = driver__stage(d, id);

    EMIT(d->o.events, stage_completed, .job = d->job.id, .stage = id, .wall_us = (clock_mono_ns() - s->began) / 1000,
         .attempts = s->attempts, .failed_attempts = s->failed_attempts);
}

static void
count_attempt(struct driver *d, uint32_t stage, bool failed)
{
    struct stage *s = driver__stage(d, stage);

    d->totals.attempts++;
    d->totals.failed_attempts += failed;
    if (s) {
        s->attempts++;
        s->failed_attempts += failed;
    }
}

static void
act(struct driver *d, const struct sched_action *a)
{
    switch (a->kind) {
    case SCHED_LAUNCH: launch(d, a); break;
    case SCHED_KILL: kill_task(d, a); break;
    case SCHED_ACCEPT: accept_task(d, a); break;
    case SCHED_DISCARD: remove_output(d, a->stage, a->partition, a->attempt); break;
    case SCHED_STAGE_END: stage_end(d, a->stage); break;
    case SCHED_JOB_END: driver__job_end(d, a); break;
    case SCHED_WAKE_AT: loop_timer_start(d->loop, &d->wake, a->at, on_wake, d); break;
    case SCHED_NONDETERMINISTIC:
        EMIT(d->o.events, log_warn, .message = "a task ran again and gave other rows; nobody had used the first ones");
        break;
    default: break;
    }
}

void
driver__step(struct driver *d, const struct sched_event *ev)
{
    uint32_t n = d->acts.n;

    if (d->ended)
        return;
    sched_step(d->sched, ev, loop_now(d->loop), &d->acts);
    if (n) /* called from inside act(): the outer loop goes on to what was appended */
        return;
    for (uint32_t i = 0; i < d->acts.n && !d->ended; i++) {
        struct sched_action a = d->acts.v[i];

        act(d, &a);
    }
    d->acts.n = 0;
}

/* ---- calls of the executor */

static void
on_done(void *arg, unsigned slot, struct wire_done *w)
{
    struct driver *d = arg;
    struct sched_event ev = { .kind = SCHED_DONE, .executor = EXECUTOR, .slot = slot, .stage = w->task.stage,
                              .partition = w->task.partition, .attempt = w->task.attempt, .epoch = w->task.epoch,
                              .generation = w->task.generation, .bytes = w->result.out_bytes,
                              .rows = w->result.out_rows, .digest = w->result.digest };

    count_attempt(d, w->task.stage, w->err != NULL);
    if (w->err) {
        ev.code = (uint8_t)w->err->code;
        char *s = err_text(w->err);
        EMIT(d->o.events, task_failed, .stage = ev.stage, .partition = ev.partition, .attempt = ev.attempt,
             .runner = slot, .err = s);
        free(s);
        err_free(d->last_err);
        d->last_err = w->err;
        if (w->lost_stage != UINT32_MAX) {
            struct stage *s2 = driver__stage(d, w->lost_stage);
            struct sched_event lost = { .kind = SCHED_OUTPUT_LOST, .stage = w->lost_stage, .partition = w->lost_map };

            if (s2 && w->lost_map < s2->tasks && (w->err->code == ERR_LOST || w->err->code == ERR_CORRUPT)) {
                lost.generation = s2->generation[w->lost_map];
                ev.code = ERR_LOST;
                driver__step(d, &lost);
            }
        }
    } else {
        EMIT(d->o.events, task_end, .stage = ev.stage, .partition = ev.partition, .attempt = ev.attempt, .runner = slot,
             .input_bytes = w->result.in_bytes, .input_records = w->result.in_rows, .output_bytes = w->result.out_bytes,
             .output_records = w->result.out_rows, .spill_bytes = w->result.spill_bytes);
    }
    d->done = w;
    driver__step(d, &ev);
    d->done = NULL;
}

static void
on_slot_down(void *arg, unsigned slot, const struct wire_task *t, struct err *why)
{
    struct driver *d = arg;
    struct sched_event ev = { .kind = SCHED_SLOT_DOWN, .executor = EXECUTOR, .slot = slot,
                              .epoch = sched_epoch(d->sched, EXECUTOR), .code = (uint8_t)why->code,
                              .blame = t ? SCHED_BLAME_TASK : SCHED_BLAME_NONE };
    char *s = err_text(why);

    if (t) {
        EMIT(d->o.events, task_failed, .stage = t->stage, .partition = t->partition, .attempt = t->attempt,
             .runner = slot, .err = s);
        ev.stage = t->stage;
        ev.partition = t->partition;
        ev.attempt = t->attempt;
        count_attempt(d, t->stage, true);
        err_free(d->last_err);
        d->last_err = why;
    } else {
        EMIT(d->o.events, runner_lost, .runner = slot, .err = s);
        err_free(why);
    }
    free(s);
    driver__step(d, &ev);
}

static struct err *
locate(void *arg, uint32_t stage, uint32_t map, uint32_t *ret_attempt)
{
    const struct stage *s = driver__stage(arg, stage);

    if (!s || map >= s->tasks || s->attempt[map] < 0)
        return err_new(ERR_LOST, "stage %u has no output of task %u", stage, map);
    *ret_attempt = (uint32_t)s->attempt[map];
    return NULL;
}

static const struct plan_split *
split(void *arg, uint32_t stage, uint32_t partition)
{
    const struct stage *s = driver__stage(arg, stage);

    if (!s || partition >= s->tasks)
        return NULL;
    const struct plan_branch *b = plan_branch_of(&s->plan, partition);
    return b->splits ? &b->splits[partition - b->first] : NULL;
}

static struct err *
result(void *arg, uint32_t index, struct wire_task *ret)
{
    const struct driver *d = arg;
    const struct stage *s = d->job.result;
    uint32_t p = d->job.plan.first + index;

    if (!s || index >= d->job.plan.n_result || s->attempt[p] < 0)
        return err_new(ERR_INPUT, "the action has no result %u", index);
    *ret = (struct wire_task){ .stage = s->id, .partition = p, .attempt = (uint32_t)s->attempt[p] };
    return NULL;
}

static void
on_main_frame(void *arg, struct frame *f)
{
    driver__main_frame(arg, f);
}

static void
on_main_down(void *arg, struct err *why)
{
    struct driver *d = arg;

    if (d->ended)
        err_free(why);
    else
        driver__end(d, 1, err_wrap_take(why, "the job's main died"));
}

static void
on_log(void *arg, int level, const char *file, uint32_t line, const char *text)
{
    struct driver *d = arg;

    d->o.say(d->o.arg, level, file, line, text);
}

static void
on_fatal(void *arg, struct err *why)
{
    driver__end(arg, err_code_exit(why->code), why);
}

static const struct executor_up up = {
    .done = on_done, .slot_down = on_slot_down, .locate = locate, .split = split, .result = result,
    .main_frame = on_main_frame, .main_down = on_main_down, .log = on_log, .fatal = on_fatal,
};

/* ---- life */

struct err *
driver_new(struct loop *l, struct zygote *z, const struct driver_opts *o, struct driver **ret)
{
    struct driver *d = calloc(1, sizeof *d);
    struct sched_opts so = { .max_failures = o->max_failures, .task_timeout_ns = o->task_timeout_ns };

    if (!d)
        abort();
#ifdef TASKD_HOSTILE
    so.prefetch_max = 16;
#endif
    d->loop = l;
    d->zygote = z;
    d->o = *o;
    d->sched = sched_new(&so);
    struct err *e = executor_new(l, z, &o->executor, &up, d, &d->x);
    if (!e) {
        struct sched_event ev = { .kind = SCHED_EXECUTOR_UP, .executor = EXECUTOR, .slots = o->slots };

        driver__step(d, &ev);
        e = executor_main(d->x, o->argc, o->argv);
    }
    if (e) {
        driver_free(d);
        return e;
    }
    *ret = d;
    return NULL;
}

void
driver_cancel(struct driver *d, int status)
{
    driver__end(d, status, err_new(ERR_CANCELLED, "cancelled"));
}

void
driver_free(struct driver *d)
{
    if (!d)
        return;
    loop_timer_stop(d->loop, &d->wake);
    executor_free(d->x);
    err_free(driver__output_end(d, &d->job.out, false));
    sched_free(d->sched);
    sched_actions_fini(&d->acts);
    plan_ids_fini(&d->ids);
    driver__accs_fini(&d->accs);
    for (uint32_t i = 0; i < d->n_input; i++)
        free(d->input[i].files);
    free(d->input);
    free(d->stage);
    err_free(d->last_err);
    arena_fini(&d->a);
    free(d);
}

void
driver_totals(const struct driver *d, struct driver_totals *ret)
{
    *ret = d->totals;
    for (uint32_t i = 0; i < d->n_stages; i++)
        ret->tasks += d->stage[i]->accepted;
}

void
driver_progress(const struct driver *d, struct driver_progress *ret)
{
    *ret = (struct driver_progress){ .bytes = d->totals.input_bytes, .records = d->totals.input_records };
    for (uint32_t i = 0; d->job.active && i < d->job.plan.n; i++) {
        struct sched_stage_info in;

        ret->stages++;
        if (!sched_stage_info(d->sched, d->job.plan.stages[i].id, &in))
            continue;
        if (in.done == in.tasks) {
            ret->stages_done++;
        } else if (!ret->stage && in.active) { /* the first that is not complete: later ones wait for it */
            ret->stage = d->job.plan.stages[i].label;
            ret->tasks_done = in.done;
            ret->tasks = in.tasks;
            ret->running = in.running;
        }
    }
    for (unsigned i = 0; i < d->o.slots; i++) {
        struct executor_look k;

        executor_look(d->x, i, &k);
        if (k.busy) {
            ret->bytes += k.bytes;
            ret->records += k.records;
        }
    }
}

unsigned
driver_pids(const struct driver *d, int *pids, unsigned n)
{
    unsigned k = 0;

    for (unsigned i = 0; i <= d->o.slots && k < n; i++) {
        struct executor_look l;

        executor_look(d->x, i, &l);
        if (l.pid)
            pids[k++] = l.pid;
    }
    return k;
}
