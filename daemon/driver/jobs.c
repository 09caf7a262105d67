/* jobs -- what the job's main asks for: actions above all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/spread.h"
#include "driver/driver_priv.h"

void
driver__reply(struct driver *d, uint32_t frame, struct err *take, const struct buf *more)
{
    struct buf b = { 0 };

    wire_put_err(&b, take);
    if (!take && more)
        buf_put(&b, more->p, more->n);
    err_free(take);
    struct err *e = driver__main_reply(d, frame, &b, -1);
    buf_fini(&b);
    if (e)
        driver__end(d, 1, e);
}

/* Stages that are new; known ones keep what they have. */
static void
define(struct driver *d, const struct plan_stage *p, const struct plan_graph *g, bool result)
{
    struct stage *s = driver__stage(d, p->id);

    if (s)
        return;
    s = ARENA_NEW(&d->a, struct stage);
    *s = (struct stage){ .id = p->id, .tasks = p->tasks, .node = p->node, .result = result, .plan = *p };
    s->attempt = ARENA_ARRAY(&d->a, int64_t, p->tasks);
    s->generation = ARENA_ARRAY(&d->a, uint32_t, p->tasks);
    s->place = ARENA_ARRAY(&d->a, uint32_t, p->tasks);
    s->since = ARENA_ARRAY(&d->a, uint32_t, p->tasks);
    s->part_rows = result ? ARENA_ARRAY(&d->a, uint64_t, p->tasks) : NULL;
    for (uint32_t i = 0; i < p->tasks; i++)
        s->attempt[i] = -1;
    if (d->n_stages == d->cap_stages) {
        d->cap_stages = d->cap_stages ? d->cap_stages * 2 : 16;
        d->stage = realloc(d->stage, d->cap_stages * sizeof *d->stage);
        if (!d->stage)
            abort();
    }
    ASSERT(d->n_stages == 0 || d->stage[d->n_stages - 1]->id < s->id);
    d->stage[d->n_stages++] = s;
    bool saves = p->sink == PLAN_SINK_SAVE_TEXT || p->sink == PLAN_SINK_SAVE_BLOCKS;
    if (saves) {
        s->out = ARENA_NEW(&d->a, struct output);
        *s->out = d->job.out;
    }
    plan_stage_encode(p, g, &s->def);
    for (uint32_t i = 0; i < p->n_branches; i++)
        if (p->branches[i].splits)
            d->totals.splits += p->branches[i].n;
}

static struct err *
start(struct driver *d, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct plan_graph graph;
    struct plan_action act;
    struct plan_opts po = { d->slots, d->o.parallelism, d->o.split_bytes };

    TRY(plan_graph_decode(&g, d->job.a, &graph));
    TRY(plan_action_decode(&g, d->job.a, &act));
    TRY(driver__inputs(d, &graph));
    if (act.act == PLAN_SAVE_TEXT || act.act == PLAN_SAVE_BLOCKS)
        TRY(driver__output_begin(d, &act, &d->job.out));
    TRY(plan_cut(&graph, &act, d->input, d->n_input, &po, &d->ids, d->job.a, &d->job.plan));
    for (uint32_t i = 0; i < d->job.plan.n; i++)
        define(d, &d->job.plan.stages[i], &graph, i + 1 == d->job.plan.n);
    d->job.result = driver__stage(d, d->job.plan.stages[d->job.plan.n - 1].id);
    return NULL;
}

static void
arena_end(void *a)
{
    arena_fini(a);
}

static void
on_act(struct driver *d, struct frame *f)
{
    /* Stages are asked for their splits in later jobs, too: a job's arena lives to the end. */
    d->job.a = ARENA_NEW(&d->a, struct arena);
    arena_on_reset(&d->a, arena_end, d->job.a);
    d->job.frame = f->id;
    d->job.out = (struct output){ 0 };
    d->job.id++;
    d->job.began = clock_mono_ns();
    struct err *e = start(d, f);
    if (e) {
        err_free(driver__output_end(d, &d->job.out, false));
        driver__reply(d, f->id, e, NULL);
        return;
    }
    d->job.active = true;
    EMIT(d->o.events, job_start, .job = d->job.id, .action = d->job.plan.stages[d->job.plan.n - 1].label,
         .stages = d->job.plan.n);
    for (uint32_t i = 0; i < d->job.plan.n; i++) {
        const struct plan_stage *p = &d->job.plan.stages[i];

        if (!driver__stage(d, p->id)->began) /* not one of an earlier job */
            EMIT(d->o.events, stage_submitted, .job = d->job.id, .stage = p->id, .tasks = p->tasks, .name = p->label);
        driver__stage(d, p->id)->began = clock_mono_ns();
    }
    struct sched_event ev = { .kind = SCHED_JOB_SUBMIT, .job = d->job.id, .plan = &d->job.plan };
    driver__step(d, &ev);
}

/* A full disk: people want to know which, and a runner knows no paths. */
static struct err *
name_scratch(const struct driver *d, struct err *e)
{
    char *text = err_text(e);
    bool full = e->code == ERR_LIMIT && d->o.scratch[0] && strstr(text, strerror(ENOSPC)), ours = strstr(text, "spill file");
    struct buf all = { 0 }, path = { 0 };

    for (unsigned i = 0, n = full ? 1 + spread_count(d->o.scratch) : 0; i < n; i++) {
        path.n = 0;
        spread_path(d->o.scratch, i, &path);
        ours = ours || strstr(text, path.p);
        buf_printf(&all, "%s\"%s\"", i ? ", " : "", path.p);
    }
    if (full && ours)
        err_hint(e, "Shuffle and spill files are in %s; --conf taskd.local.dir=DIR takes them elsewhere.", all.p);
    buf_fini(&path);
    buf_fini(&all);
    free(text);
    return e;
}

/* Why, for people: the stage and task that failed, and the last thing that went wrong there. */
static struct err *
why(struct driver *d, const struct sched_action *a)
{
    const struct stage *s = driver__stage(d, a->stage);
    struct err *last = d->last_err;
    const char *label = s ? s->plan.label : "?";

    d->last_err = NULL;
    if (!last)
        last = err_new(a->code ? a->code : ERR_LOST, "it is not known why");
    last = name_scratch(d, last);
    switch (a->why) {
    case SCHED_CANCELLED:
        err_free(last);
        return err_new(ERR_CANCELLED, "the job was cancelled");
    case SCHED_TASK_FAILED:
        if (!err_code_retry(last->code))
            return err_wrap_take(last, "stage %u \"%s\": task %u failed", a->stage, label, a->partition);
        if (d->o.max_failures == 1)
            return err_wrap_take(last, "stage %u \"%s\": task %u failed", a->stage, label, a->partition);
        return err_wrap_take(last, "stage %u \"%s\": task %u failed %u times; the last time", a->stage, label,
                             a->partition, d->o.max_failures);
    case SCHED_TASK_LOST:
        return err_wrap_take(last, "stage %u \"%s\": task %u was lost too often; the last time", a->stage, label,
                             a->partition);
    default:
        err_free(last);
        return err_hint(err_new(ERR_USER, "stage %u \"%s\": task %u ran again and gave other rows than before", a->stage,
                                label, a->partition),
                        "A function of this stage is not deterministic: it depends on more than its input.");
    }
}

void
driver__job_end(struct driver *d, const struct sched_action *a)
{
    struct err *e = a->why == SCHED_OK ? NULL : why(d, a);
    struct buf b = { 0 };

    d->job.active = false;
    struct err *o = driver__output_end(d, &d->job.out, !e);
    if (e)
        err_free(o);
    else
        e = o;
    char *text = e ? err_text(e) : NULL;
    EMIT(d->o.events, job_end, .job = d->job.id, .wall_us = (clock_mono_ns() - d->job.began) / 1000, .err = text);
    free(text);
    put_u32(&b, d->job.result->tasks);
    put_u32(&b, d->job.plan.first);
    put_u32(&b, d->job.plan.n_result);
    put_u64(&b, d->job.result->rows);
    driver__reply(d, d->job.frame, e, &b);
    buf_fini(&b);
}

static void
on_conf(struct driver *d, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct arena a = { 0 };
    struct buf b = { 0 };
    const char *key = get_str(&g, &a), *v = conf_get(d->o.conf, key);
    struct err *e = conf_check_name(key);

    put_u8(&b, v != NULL);
    put_str(&b, v);
    driver__reply(d, f->id, e, &b);
    buf_fini(&b);
    arena_fini(&a);
}

static void
on_conf_set(struct driver *d, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct arena a = { 0 };
    const char *key = get_str(&g, &a), *value = get_str(&g, &a), *origin = get_str(&g, &a);
    enum conf_key k = conf_key_of(key);
    struct err *e;

    if (d->o.asked && (k == CONF_EXECUTOR_MEMORY || k == CONF_EXECUTOR_CORES))
        e = err_hint(err_new(ERR_CONFIG, "%s: %s: on a cluster executors are asked for before the program runs", origin, key),
                     "Use %s on the command line.", conf_def(k)->flag);
    else
        e = conf_set(d->o.conf, CONF_PROGRAM, key, value, origin);
    if (!e)
        driver__configure(d);
    driver__reply(d, f->id, e, NULL);
    arena_fini(&a);
}

static void
on_total(struct driver *d, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct buf b = { 0 };
    uint32_t item = get_u32(&g), op = get_u32(&g);

    put_u64(&b, (uint64_t)driver__accs_total(&d->accs, item, op).i);
    driver__reply(d, f->id, NULL, &b);
    buf_fini(&b);
}

static void
on_add(struct driver *d, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct arena a = { 0 };
    struct flow_delta *v;
    uint32_t n;

    wire_get_deltas(&g, &a, &v, &n);
    for (uint32_t i = 0; !g.bad && i < n; i++)
        driver__accs_add(&d->accs, &v[i]);
    driver__reply(d, f->id, g.bad ? err_new(ERR_CORRUPT, "additions to accumulators are malformed") : NULL, NULL);
    arena_fini(&a);
}

void
driver__main_frame(struct driver *d, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);

    switch (f->type) {
    case WIRE_ACT:
        if (d->job.active)
            driver__end(d, 1, err_new(ERR_USER, "the job's main asked for an action inside an action"));
        else
            on_act(d, f);
        break;
    case WIRE_CONF: on_conf(d, f); break;
    case WIRE_CONF_SET: on_conf_set(d, f); break;
    case WIRE_TOTAL: on_total(d, f); break;
    case WIRE_ADD: on_add(d, f); break;
    case WIRE_BROADCAST: bcast_store_add(d->bcasts, f); break;
    case WIRE_UNBROADCAST: bcast_store_remove(d->bcasts, f); break;
    case WIRE_MAIN_DONE: driver__end(d, (int)get_u32(&g), NULL); break;
    default: driver__end(d, 1, err_new(ERR_USER, "the job's main wrote nonsense to the driver"));
    }
}
