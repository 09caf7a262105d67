/* driver -- see driver.h: events in, sched's actions done. */
#include "driver/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "driver/driver_priv.h"

static int
by_id(const void *id, const void *stage)
{
    uint32_t x = *(const uint32_t *)id, y = (*(struct stage *const *)stage)->id;

    return x < y ? -1 : x > y;
}

struct stage *
driver__stage(const struct driver *d, uint32_t id)
{
    struct stage **s = d->n_stages ? bsearch(&id, d->stage, d->n_stages, sizeof *d->stage, by_id) : NULL;

    return s ? *s : NULL; /* they came in the order of their ids */
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
remove_output(struct driver *d, const struct stage *s, uint32_t place, uint32_t partition, uint32_t attempt)
{
    if (s->out)
        driver__output_discard(s->out, s->id, partition, attempt);
    else
        driver__remove(d, place, s->id, partition, attempt);
}

static void
discard(struct driver *d, const struct sched_action *a)
{
    const struct stage *s = driver__stage(d, a->stage);

    if (s && d->from)
        remove_output(d, s, d->from->place, a->partition, a->attempt);
}

static void
launch(struct driver *d, const struct sched_action *a)
{
    struct remote *x = driver__remote(d, a->executor);

    if (x && x->epoch == a->epoch) /* else it has gone since, as sched will hear */
        driver__launch(x, a);
}

static void
kill_task(struct driver *d, const struct sched_action *a)
{
    struct remote *x = driver__remote(d, a->executor);

    if (x && x->epoch == a->epoch)
        driver__kill(x, a);
}

static void
count_result(struct driver *d, struct stage *s, uint32_t partition, const struct flow_result *r)
{
    driver__accs_merge(&d->accs, s, partition, r);
    d->totals.spill_bytes += r->spill_bytes;
    if (plan_branch_of(&s->plan, partition)->source != PLAN_SRC_SHUFFLE) {
        d->totals.input_bytes += r->in_bytes;
        d->totals.input_records += r->in_rows;
    }
    d->totals.bad_records += r->bad_rows;
    if (!s->result)
        d->totals.shuffle_write_bytes += r->out_bytes;
    else
        d->totals.output_records += r->out_rows;
    s->rows += r->out_rows;
    if (s->part_rows)
        s->part_rows[partition] = r->out_rows;
}

static void
accept_task(struct driver *d, const struct sched_action *a)
{
    struct stage *s = driver__stage(d, a->stage);
    uint32_t p = a->partition;

    ASSERT(s && d->done && d->from && p < s->tasks);
    if (s->attempt[p] >= 0) /* an older generation's: nobody reads it any more */
        remove_output(d, s, s->place[p], p, (uint32_t)s->attempt[p]);
    s->attempt[p] = a->attempt;
    s->generation[p] = a->generation;
    s->place[p] = d->from->place;
    s->since[p] = ++d->accepts;
    s->accepted++;
    count_result(d, s, p, &d->done->result);
    if (s->out) {
        struct err *e = driver__output_accept(d, s->out, a->stage, p, a->attempt);

        if (e)
            driver__end(d, err_code_exit(e->code), e);
    } else if (s->plan.sink == PLAN_SINK_SHUFFLE) {
        driver__tell_output(d, s, p);
    }
}

/* The accepted output counts no more; the task will run again if anybody needs it. */
static void
output_gone(struct driver *d, const struct sched_action *a)
{
    struct stage *s = driver__stage(d, a->stage);
    uint32_t p = a->partition;

    if (!s || p >= s->tasks || s->attempt[p] < 0)
        return;
    if (!d->node[s->place[p]].lost)
        remove_output(d, s, s->place[p], p, (uint32_t)s->attempt[p]);
    s->attempt[p] = -1;
    if (s->part_rows) {
        s->rows -= s->part_rows[p];
        d->totals.output_records -= s->part_rows[p];
    }
    driver__tell_output(d, s, p);
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
    case SCHED_KILL:
    case SCHED_REVOKE: kill_task(d, a); break;
    case SCHED_ACCEPT: accept_task(d, a); break;
    case SCHED_DISCARD: discard(d, a); break;
    case SCHED_OUTPUT_GONE: output_gone(d, a); break;
    case SCHED_STAGE_END: stage_end(d, a->stage); break;
    case SCHED_JOB_END: driver__job_end(d, a); break;
    case SCHED_WAKE_AT: loop_timer_start(d->loop, &d->wake, a->at, on_wake, d); break;
    case SCHED_NONDETERMINISTIC:
        EMIT(d->o.events, log_warn, .message = "a task ran again and gave other rows; nobody had used the first ones");
        break;
    default: break;
    }
}

static void
act_all(struct driver *d)
{
    for (uint32_t i = 0; i < d->acts.n && !d->ended; i++) {
        struct sched_action a = d->acts.v[i];

        act(d, &a);
    }
    d->acts.n = 0;
}

void
driver__step(struct driver *d, const struct sched_event *ev)
{
    uint32_t n = d->acts.n;

    if (d->ended)
        return;
    sched_step(d->sched, ev, loop_now(d->loop), &d->acts);
    if (n == 0) /* else called from inside act(): the outer loop goes on to what was appended */
        act_all(d);
}

/* ---- what executors say, checked by executors.c */

/* An attempt that found a map output unreadable: is it the one that counts now? */
static bool
blames_output(struct driver *d, const struct stage *s, const struct wire_done *w, const struct attempt *t)
{
    struct stage *p = driver__stage(d, w->lost_stage);
    bool parent = false;

    if (!p || w->lost_map >= p->tasks || (w->err->code != ERR_LOST && w->err->code != ERR_CORRUPT))
        return false;
    for (uint32_t i = 0; i < s->plan.n_parents; i++)
        parent |= s->plan.parents[i] == p->id;
    if (parent && p->attempt[w->lost_map] >= 0 && p->since[w->lost_map] <= t->since) {
        struct sched_event ev = { .kind = SCHED_OUTPUT_LOST, .stage = p->id, .partition = w->lost_map,
                                  .generation = p->generation[w->lost_map] };

        driver__step(d, &ev);
    }
    return parent;
}

static void
failed(struct driver *d, uint32_t slot, const struct attempt *t, struct err *why)
{
    char *s = err_text(why);

    EMIT(d->o.events, task_failed, .stage = t->stage, .partition = t->partition, .attempt = t->attempt, .runner = slot,
         .err = s);
    free(s);
    err_free(d->last_err);
    d->last_err = why;
}

void
driver__done(struct driver *d, const struct remote *x, uint32_t slot, struct wire_done *w, const struct attempt *t)
{
    const struct stage *s = driver__stage(d, t->stage);
    struct sched_event ev = { .kind = SCHED_DONE, .executor = x->number, .slot = slot, .stage = t->stage,
                              .partition = t->partition, .attempt = t->attempt, .epoch = x->epoch,
                              .generation = w->task.generation, .bytes = w->result.out_bytes,
                              .rows = w->result.out_rows, .digest = w->result.digest, .took_ns = w->took_ns };

    d->from = x;
    if (!w->err || w->err->code != ERR_CANCELLED)
        count_attempt(d, t->stage, w->err != NULL);
    if (w->err && w->err->code == ERR_CANCELLED) { /* it has not begun and was taken back */
        ev.code = ERR_CANCELLED;
        err_free(w->err);
    } else if (w->err) {
        ev.code = (uint8_t)w->err->code;
        if (w->lost_stage != UINT32_MAX && blames_output(d, s, w, t))
            ev.code = ERR_LOST;
        failed(d, slot, t, w->err);
    } else {
        EMIT(d->o.events, task_end, .stage = ev.stage, .partition = ev.partition, .attempt = ev.attempt, .runner = slot,
             .input_bytes = w->result.in_bytes, .input_records = w->result.in_rows, .output_bytes = w->result.out_bytes,
             .output_records = w->result.out_rows, .spill_bytes = w->result.spill_bytes);
    }
    d->done = w;
    driver__step(d, &ev);
    d->done = NULL;
    d->from = NULL;
}

void
driver__slot_down(struct driver *d, const struct remote *x, uint32_t slot, const struct attempt *t, struct err *why)
{
    struct sched_event ev = { .kind = SCHED_SLOT_DOWN, .executor = x->number, .slot = slot, .epoch = x->epoch,
                              .code = (uint8_t)why->code, .blame = t ? SCHED_BLAME_TASK : SCHED_BLAME_NONE };

    if (t) {
        ev.stage = t->stage;
        ev.partition = t->partition;
        ev.attempt = t->attempt;
        count_attempt(d, t->stage, true);
        failed(d, slot, t, why);
    } else {
        char *s = err_text(why);

        EMIT(d->o.events, runner_lost, .runner = slot, .err = s);
        free(s);
        err_free(why);
    }
    driver__step(d, &ev);
}

void
driver__attach(struct driver *d, struct remote *x, const struct sched_event *ev)
{
    uint32_t n = d->acts.n;

    sched_step(d->sched, ev, loop_now(d->loop), &d->acts);
    x->epoch = sched_epoch(d->sched, x->number);
    driver__welcome(x);
    bcast_store_each(d->bcasts, driver__tell_broadcast, x);
    if (d->o.up)
        d->o.up(d->o.arg, x->number, x->slots);
    if (n == 0)
        act_all(d);
}

void
driver__executor_down(struct driver *d, const struct remote *x, const struct err *why)
{
    struct node *node = &d->node[x->place];
    struct sched_event ev = { .kind = SCHED_EXECUTOR_DOWN, .executor = x->number, .epoch = x->epoch,
                              .outputs = !node->worker[0] };
    char name[32], *s = err_text(why);

    snprintf(name, sizeof name, "%u", x->number);
    EMIT(d->o.events, executor_lost, .executor = name, .err = s);
    err_free(d->last_err);
    d->last_err = err_new(ERR_LOST, "executor %u on host \"%s\" is lost: %s", x->number, x->host, s);
    free(s);
    d->by_number[x->number] = NULL;
    if (!node->worker[0]) { /* nobody keeps its files */
        node->lost = true;
        bcast_store_lost(d->bcasts, x->place);
    }
    driver__step(d, &ev);
}

void
driver_executor_lost(struct driver *d, uint32_t executor, struct err *why)
{
    struct remote *x = driver__remote(d, executor);

    if (x)
        driver__drop(x, why);
    else
        err_free(why);
}

void
driver_node_lost(struct driver *d, const char *worker)
{
    for (uint32_t k = 1; k < d->n_nodes; k++) {
        struct sched_event ev = { .kind = SCHED_NODE_DOWN, .node = k };

        if (d->node[k].lost || !worker[0] || strcmp(d->node[k].worker, worker))
            continue;
        d->node[k].lost = true;
        bcast_store_lost(d->bcasts, k);
        driver__step(d, &ev);
        driver__drop_place(d, k);
    }
}

/* ---- life */

static void
on_bcast_reply(void *arg, uint32_t frame, struct err *e)
{
    driver__reply(arg, frame, e, NULL);
}


/* 0 means a default there: no wait is another word. */
static struct sched_opts
sched_opts_of(const struct driver_opts *o)
{
    const struct conf *c = o->conf;
    uint64_t wait = conf_ns(c, CONF_LOCALITY_WAIT);

    return (struct sched_opts){
#ifdef TASKD_HOSTILE
        .prefetch_max = 16,
#endif
        .max_failures = o->max_failures,
        .task_timeout_ns = o->task_timeout_ns,
        .locality_ns = wait ? wait : SCHED_NEVER,
        .max_rounds = (uint32_t)conf_int(c, CONF_STAGE_MAX_ATTEMPTS),
        .avoid_off = !conf_bool(c, CONF_EXCLUDE),
        .avoid_task_executor = (uint8_t)conf_int(c, CONF_EXCLUDE_TASK_EXECUTOR),
        .avoid_task_node = (uint8_t)conf_int(c, CONF_EXCLUDE_TASK_NODE),
        .avoid_stage_executor = (uint8_t)conf_int(c, CONF_EXCLUDE_STAGE_EXECUTOR),
        .avoid_stage_node = (uint8_t)conf_int(c, CONF_EXCLUDE_STAGE_NODE),
        .avoid_app_executor = (uint8_t)conf_int(c, CONF_EXCLUDE_APP_EXECUTOR),
        .avoid_app_node = (uint8_t)conf_int(c, CONF_EXCLUDE_APP_NODE),
        .avoid_ns = conf_ns(c, CONF_EXCLUDE_TIMEOUT),
    };
}

struct err *
driver_new(struct loop *l, struct zygote *z, const struct driver_opts *o, struct driver **ret)
{
    struct driver *d = calloc(1, sizeof *d);
    struct sched_opts so = sched_opts_of(o);

    if (!d)
        abort();
    d->loop = l;
    d->zygote = z;
    d->o = *o;
    d->sched = sched_new(&so);
    d->cap_nodes = 8;
    d->node = calloc(d->cap_nodes, sizeof *d->node);
    if (!d->node)
        abort();
    d->node[d->n_nodes++] = (struct node){ (char *)o->host, (char *)o->bulk, (char *)o->dir, "", false };
    struct bcast_store_opts bo = { l, o->dir, on_bcast_reply, driver__tell_broadcast_all, d };
    d->bcasts = bcast_store_new(&bo);
    *ret = d;
    return NULL;
}

void
driver__configure(struct driver *d)
{
    if (!d->o.settings)
        return;
    d->o.settings(d->o.arg, &d->o);
    struct sched_opts so = sched_opts_of(&d->o);
    sched_configure(d->sched, &so);
    for (struct remote *x = d->remotes; x; x = x->next)
        if (x->up)
            driver__settings(x);
}

void
driver__begin(struct driver *d, const char *app_id, unsigned slots)
{
    d->app_id = arena_strdup(&d->a, app_id);
    d->app = proto_app(app_id);
    d->slots = slots;
}

struct err *
driver_run(struct driver *d, const char *app_id, unsigned slots)
{
    driver__begin(d, app_id, slots);
    return driver__main_start(d);
}

void
driver_fail(struct driver *d, struct err *why)
{
    driver__end(d, err_code_exit(why->code), why);
}

void
driver_cancel(struct driver *d, int status)
{
    driver__end(d, status, err_new(ERR_CANCELLED, "cancelled"));
}

void
driver_cancel_part(struct driver *d, uint32_t job, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    struct sched_event ev = { .job = job, .stage = stage, .partition = partition, .attempt = attempt };

    if (attempt != UINT32_MAX)
        ev.kind = SCHED_TASK_KILL;
    else
        ev.kind = stage != UINT32_MAX ? SCHED_STAGE_CANCEL : SCHED_JOB_CANCEL;
    driver__step(d, &ev);
}

void
driver_free(struct driver *d)
{
    if (!d)
        return;
    loop_timer_stop(d->loop, &d->wake);
    d->ended = true;
    driver__main_free(d);
    driver__results_free(d);
    bcast_store_free(d->bcasts); /* large files take time to remove: before executors stop and others are granted */
    driver__remotes_free(d);
    err_free(driver__output_end(d, &d->job.out, false));
    sched_free(d->sched);
    sched_actions_fini(&d->acts);
    plan_ids_fini(&d->ids);
    driver__accs_fini(&d->accs);
    for (uint32_t i = 0; i < d->n_input; i++)
        free(d->input[i].files);
    free(d->input);
    for (uint32_t i = 0; i < d->n_stages; i++)
        buf_fini(&d->stage[i]->def);
    free(d->stage);
    free(d->node);
    err_free(d->last_err);
    buf_fini(&d->msg);
    arena_fini(&d->call);
    arena_fini(&d->env);
    arena_fini(&d->answer);
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

uint64_t
driver_executors_memory(struct driver *d)
{
    uint64_t most = d->memory_most;

    d->memory_most = d->memory;
    return most;
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
    for (const struct remote *x = d->remotes; x; x = x->next)
        for (uint32_t i = 0; x->up && i < x->slots; i++) {
            ret->bytes += x->lane[i].bytes;
            ret->records += x->lane[i].records;
        }
}

int
driver_main_pid(const struct driver *d)
{
    return (int)driver__main_pid(d);
}
