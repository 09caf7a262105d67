/* sched_rig -- see sched.h. */
#include "sched.h"

void
open_desk(struct desk *d, const struct sched_opts *opts)
{
    *d = (struct desk){ 0 };
    d->s = sched_new(opts ? opts : &(struct sched_opts){ 0 });
}

void
close_desk(struct desk *d)
{
    sched_free(d->s);
    sched_actions_fini(&d->out);
}

void
step(struct desk *d, struct sched_event ev)
{
    d->out.n = 0;
    sched_step(d->s, &ev, d->now, &d->out);
}

void
submit(struct desk *d, uint32_t job, uint32_t n, const uint32_t *tasks, uint32_t last)
{
    for (uint32_t i = 0; i < n; i++) {
        d->stages[i] = (struct plan_stage){ .id = i, .sink = PLAN_SINK_SHUFFLE, .tasks = tasks[i] };
        d->parents[i] = i - 1;
        d->stages[i].parents = &d->parents[i];
        d->stages[i].n_parents = i > 0;
    }
    d->stages[n - 1].id = last;
    d->stages[n - 1].sink = PLAN_SINK_COUNT;
    d->plan = (struct plan){ .n = n, .stages = d->stages, .n_result = tasks[n - 1] };
    step(d, (struct sched_event){ .kind = SCHED_JOB_SUBMIT, .job = job, .plan = &d->plan, .prefer = d->prefer,
                                   .n_prefer = d->n_prefer });
}

void
up_on(struct desk *d, uint32_t executor, uint32_t slots, uint32_t node)
{
    step(d, (struct sched_event){ .kind = SCHED_EXECUTOR_UP, .executor = executor, .slots = slots, .node = node });
}

void
up(struct desk *d, uint32_t executor, uint32_t slots)
{
    up_on(d, executor, slots, 0);
}

const struct sched_action *
nth(const struct desk *d, enum sched_action_kind kind, uint32_t n)
{
    static const struct sched_action none;

    for (uint32_t i = 0; i < d->out.n; i++)
        if (d->out.v[i].kind == kind && n-- == 0)
            return &d->out.v[i];
    return &none;
}

uint32_t
count(const struct desk *d, enum sched_action_kind kind)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->out.n; i++)
        n += d->out.v[i].kind == kind;
    return n;
}

struct sched_event
answer(uint32_t epoch, uint32_t stage, uint32_t partition, uint32_t attempt, enum err_code code)
{
    return (struct sched_event){ .kind = SCHED_DONE, .epoch = epoch, .stage = stage, .partition = partition,
                                 .attempt = attempt, .code = (uint8_t)code };
}

void
done(struct desk *d, uint32_t epoch, uint32_t stage, uint32_t partition, uint32_t attempt, enum err_code code)
{
    step(d, answer(epoch, stage, partition, attempt, code));
}

struct sched_counters
counters(const struct desk *d)
{
    struct sched_counters c;

    sched_counters(d->s, &c);
    return c;
}
