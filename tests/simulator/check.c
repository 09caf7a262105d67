/* check -- the driver's side of the world: what it was told, what sched asks of it, and may it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

void
broken(struct world *w, const char *fmt, ...)
{
    va_list ap;

    if (w->broken[0])
        return;
    va_start(ap, fmt);
    vsnprintf(w->broken, sizeof w->broken, fmt, ap);
    va_end(ap);
}

struct task *
check_task(struct world *w, uint32_t stage, uint32_t partition)
{
    struct stage *st = stage_by_id(w, stage);

    if (!st || partition < st->first || partition - st->first >= st->n)
        return NULL;
    return &st->tasks[partition - st->first];
}

/* Is the latest attempt one that the driver may still hear of? */
static bool
outstanding(struct world *w, const struct task *t)
{
    const struct executor *x = &w->executors[t->executor];

    return t->out && x->seen && x->seen_epoch == t->epoch && x->flush[t->slot] == t->flush;
}

/* A digest of everything that a task of the stage would read now; false if something is missing. */
uint64_t
check_read(struct world *w, const struct stage *st, bool *ret_all)
{
    uint64_t sum = 0;

    *ret_all = true;
    for (uint32_t i = 0; i < st->n_parents; i++) {
        const struct stage *p = &w->stages[st->parents[i]];

        sum += p->rows;
        *ret_all &= p->n_present == p->n;
    }
    return sum;
}

/* An attempt of a stage that somebody wants has failed. */
static void
charge(struct world *w, uint32_t stage, uint32_t partition, enum err_code code)
{
    struct stage *st = stage_by_id(w, stage);
    struct task *t = check_task(w, stage, partition);

    if (st->live == 0 || code == ERR_LOST || code == ERR_CANCELLED)
        return;
    t->charged++;
    places_failed(w, st, partition, t);
}

static void
before_submit(struct world *w, const struct sched_event *ev)
{
    struct job *job = &w->jobs[ev->job];

    job->submitted = true;
    for (uint32_t i = 0; i < job->plan.n; i++) {
        struct stage *st = &w->stages[job->stages[i].id];

        st->live++;
        if (st->teller == 0)
            st->teller = ev->job + 1;
    }
}

/* The driver hears of something: what does it believe from now on? */
void
check_before(struct world *w, const struct sched_event *ev)
{
    struct executor *x = &w->executors[ev->executor];
    struct task *t;

    switch ((enum sched_event_kind)ev->kind) {
    case SCHED_EXECUTOR_UP:
        x->seen = true;
        x->seen_node = ev->node;
        break;
    case SCHED_EXECUTOR_DOWN:
        if (x->seen && (ev->epoch == x->seen_epoch || ev->epoch == 0))
            x->seen = false;
        break;
    case SCHED_SLOT_DOWN:
        t = check_task(w, ev->stage, ev->partition);
        if (!x->seen || ev->epoch != x->seen_epoch)
            break;
        if (ev->blame != SCHED_BLAME_NONE && outstanding(w, t) && t->launches - 1 == ev->attempt)
            charge(w, ev->stage, ev->partition, (enum err_code)(t->killed ? t->killed : ev->code));
        x->flush[ev->slot]++;
        break;
    case SCHED_DONE:
        t = check_task(w, ev->stage, ev->partition);
        if (ev->code != ERR_NONE && outstanding(w, t) && t->launches - 1 == ev->attempt && t->epoch == ev->epoch) {
            charge(w, ev->stage, ev->partition, (enum err_code)ev->code);
            t->out = false;
        }
        break;
    case SCHED_NODE_DOWN:
        for (uint32_t i = 0; i < w->story.executors; i++)
            if (w->executors[i].seen_node == ev->node)
                w->executors[i].seen = false;
        break;
    case SCHED_TASK_KILL:
        t = check_task(w, ev->stage, ev->partition);
        t->doomed |= t->out && t->launches - 1 == ev->attempt;
        break;
    case SCHED_OUTPUT_LOST:
    case SCHED_STAGE_CANCEL:
    case SCHED_TIMER:
    case SCHED_JOB_CANCEL:
        break;
    case SCHED_JOB_SUBMIT:
        before_submit(w, ev);
        break;
    }
}

static void
on_launch(struct world *w, const struct sched_action *a)
{
    const struct executor *x = &w->executors[a->executor];
    struct stage *st = stage_by_id(w, a->stage);
    struct task *t = check_task(w, a->stage, a->partition);
    uint32_t epoch = sched_epoch(w->sched, a->executor);

    if (!t) {
        broken(w, "launch of a task that is not there: %u.%u", a->stage, a->partition);
        return;
    }
    if (a->executor >= w->story.executors || !x->seen || a->epoch != epoch || a->slot >= w->story.slots)
        broken(w, "launch of %u.%u on executor %u slot %u, which is not up", a->stage, a->partition,
               a->executor, a->slot);
    if (st->live == 0)
        broken(w, "launch of %u.%u for a job that has ended", a->stage, a->partition);
    if (t->accepted)
        broken(w, "launch of %u.%u, which is accepted", a->stage, a->partition);
    if (outstanding(w, t))
        broken(w, "second launch of %u.%u while attempt %u runs", a->stage, a->partition, t->launches - 1);
    if (a->attempt != t->launches)
        broken(w, "attempt %u of %u.%u after %u launches", a->attempt, a->stage, a->partition, t->launches);
    if (a->generation != t->generation)
        broken(w, "generation %u of %u.%u, not %u", a->generation, a->stage, a->partition, t->generation);
    if (a->node != x->seen_node)
        broken(w, "launch of %u.%u names node %u, not %u", a->stage, a->partition, a->node, x->seen_node);
    uint32_t max = w->story.opts.max_failures;
    if (t->charged >= max)
        broken(w, "launch of %u.%u after %u failures", a->stage, a->partition, t->charged);
    if ((a->flags & SCHED_ONE_RECORD) != (t->charged > 0 && t->charged + 1 == max ? SCHED_ONE_RECORD : 0))
        broken(w, "one-record flag of %u.%u after %u failures", a->stage, a->partition, t->charged);
    for (uint32_t i = 0; i < st->n_parents; i++)
        if (w->stages[st->parents[i]].n_accepted < w->stages[st->parents[i]].n)
            broken(w, "launch of %u.%u before stage %u is complete", a->stage, a->partition, st->parents[i]);
    places_launch(w, st, a);
    t->launches++;
    t->killed = 0;
    t->doomed = false;
    t->out = true;
    t->executor = a->executor;
    t->slot = a->slot;
    t->epoch = a->epoch;
    t->flush = x->flush[a->slot];
    w->launches++;
    cluster_order(w, a);
}

static void
on_accept(struct world *w, const struct sched_event *ev, const struct sched_action *a)
{
    struct stage *st = stage_by_id(w, a->stage);
    struct task *t = check_task(w, a->stage, a->partition);

    if (!t || ev->kind != SCHED_DONE || ev->code != ERR_NONE || ev->stage != a->stage ||
        ev->partition != a->partition || ev->attempt != a->attempt) {
        broken(w, "accept of %u.%u attempt %u, which has not answered", a->stage, a->partition, a->attempt);
        return;
    }
    if (t->accepted)
        broken(w, "second accept of %u.%u generation %u", a->stage, a->partition, a->generation);
    else if (a->attempt != t->launches - 1 || ev->epoch != t->epoch || !outstanding(w, t))
        broken(w, "accept of stale attempt %u of %u.%u (epoch %u)", a->attempt, a->stage, a->partition, ev->epoch);
    if (a->generation != t->generation)
        broken(w, "accept of %u.%u generation %u, not %u", a->stage, a->partition, a->generation, t->generation);
    if (a->executor != t->executor || a->slot != t->slot)
        broken(w, "accept of %u.%u from the wrong slot", a->stage, a->partition);
    w->again += a->generation > 0;
    if (a->flags & SCHED_FIRST_EVER)
        t->merged++;
    if (t->merged != 1)
        broken(w, "accumulators of %u.%u merged %u times", a->stage, a->partition, t->merged);
    st->rows += ev->digest - t->rows;
    t->rows = ev->digest;
    t->read = w->from->read;
    t->attempt = a->attempt;
    t->out = false;
    t->accepted = true;
    t->made_by = a->executor;
    t->made_on = a->node;
    st->n_accepted++;
    st->n_present -= t->present;
    t->present = w->from->disk == w->executors[a->executor].disk && w->from->node_disk == w->node_disk[a->node];
    st->n_present += t->present;
}

static void
on_discard(struct world *w, const struct sched_event *ev, const struct sched_action *a)
{
    struct task *t = check_task(w, a->stage, a->partition);

    if (t && t->accepted && t->attempt == a->attempt)
        broken(w, "discard of the accepted output of %u.%u", a->stage, a->partition);
    if (t && ev->epoch == t->epoch && t->launches - 1 == ev->attempt)
        t->out = false;
}

/* All outputs of the job's stages were made from the same rows of their parents. */
static void
check_rows(struct world *w, const struct job *job)
{
    bool all;

    for (uint32_t i = 0; i < job->plan.n; i++) {
        struct stage *st = stage_by_id(w, job->stages[i].id);
        uint64_t sum = check_read(w, st, &all);

        for (uint32_t k = 0; k < st->n; k++)
            if (st->tasks[k].accepted && st->tasks[k].read != sum)
                broken(w, "%u.%u was made from other rows than its parents have", st->id, st->first + k);
    }
}

/* By then any job has ended: the faults are over, what they left behind is noticed, and all that there is runs
 * once more for each failure that is allowed, on one slot. */
static uint64_t
latest(const struct world *w)
{
    const struct story *st = &w->story;
    uint64_t work = 0, longest = 15 * 100 * SIM_S; /* detection, waits for better slots */

    for (uint32_t i = 0; i < w->n_stages; i++)
        work += w->stages[i].n * 15 * w->stages[i].duration + 2 * st->opts.locality_ns;
    return st->faults_until + longest + st->opts.task_timeout_ns + work * (st->opts.max_failures + 2);
}

static void
on_job_end(struct world *w, const struct sched_event *ev, const struct sched_action *a)
{
    struct job *job = &w->jobs[a->job];
    struct stage *result = stage_by_id(w, job->stages[job->plan.n - 1].id);
    struct task *t = check_task(w, a->stage, a->partition);

    if (a->job >= w->story.jobs || !job->submitted || job->ended) {
        broken(w, "end of job %u, which does not run", a->job);
        return;
    }
    if (w->now > latest(w))
        broken(w, "job %u ends late: %.3f s, not %.3f", a->job, (double)w->now / 1e9, (double)latest(w) / 1e9);
    job->ended = true;
    w->ends[a->why]++;
    for (uint32_t i = 0; i < job->plan.n; i++)
        if (--w->stages[job->stages[i].id].live == 0)
            places_forget(&w->stages[job->stages[i].id]);
    switch ((enum sched_why)a->why) {
    case SCHED_OK:
        if (result->n_accepted != result->n)
            broken(w, "job %u is done with %u of %u partitions", a->job, result->n_accepted, result->n);
        check_rows(w, job);
        break;
    case SCHED_CANCELLED:
        if ((ev->kind != SCHED_JOB_CANCEL || ev->job != a->job) && (ev->kind != SCHED_STAGE_CANCEL || ev->stage != a->stage))
            broken(w, "job %u was cancelled by nobody", a->job);
        break;
    case SCHED_TASK_FAILED:
        if (err_code_retry((enum err_code)a->code) && t->charged < w->story.opts.max_failures)
            broken(w, "job %u failed for %u failures of %u.%u", a->job, t->charged, a->stage, a->partition);
        break;
    case SCHED_TASK_LOST:
        if (w->story.lose == 0 && w->faults == 0)
            broken(w, "job %u lost %u.%u, and nothing was lost", a->job, a->stage, a->partition);
        break;
    case SCHED_ROWS_CHANGED:
        if (!stage_by_id(w, a->stage)->unstable)
            broken(w, "job %u says that %u.%u changed", a->job, a->stage, a->partition);
        break;
    }
}

static void
on_kill(struct world *w, const struct sched_action *a)
{
    const struct executor *x = &w->executors[a->executor];
    struct task *t = check_task(w, a->stage, a->partition);

    if (!x->seen || a->epoch != sched_epoch(w->sched, a->executor))
        broken(w, "kill on executor %u, which is not up", a->executor);
    if (!t || !outstanding(w, t) || t->launches - 1 != a->attempt || t->slot != a->slot)
        broken(w, "kill of attempt %u of %u.%u, which does not run", a->attempt, a->stage, a->partition);
    if (a->code == ERR_CANCELLED ? stage_by_id(w, a->stage)->live > 0 && !(t && t->doomed) : w->story.opts.task_timeout_ns == 0)
        broken(w, "kill of %u.%u for no reason", a->stage, a->partition);
    if (t)
        t->killed = a->code;
    cluster_order(w, a);
}

static void
on_gone(struct world *w, const struct sched_event *ev, const struct sched_action *a)
{
    struct task *t = check_task(w, a->stage, a->partition);

    if (ev->kind != SCHED_OUTPUT_LOST && ev->kind != SCHED_NODE_DOWN && !(ev->kind == SCHED_EXECUTOR_DOWN && ev->outputs))
        broken(w, "output of %u.%u is gone, and nobody said so", a->stage, a->partition);
    if (!t || !t->accepted || t->attempt != a->attempt || t->generation + 1 != a->generation)
        broken(w, "output of %u.%u attempt %u is gone, which was not accepted", a->stage, a->partition, a->attempt);
    if (!t)
        return;
    t->accepted = false;
    t->generation++;
    stage_by_id(w, a->stage)->n_accepted--;
}

static void
on_revoke(struct world *w, const struct sched_action *a)
{
    struct task *t = check_task(w, a->stage, a->partition);

    if (!t || !outstanding(w, t) || t->launches - 1 != a->attempt || t->slot != a->slot || t->executor != a->executor)
        broken(w, "revoke of attempt %u of %u.%u, which does not run", a->attempt, a->stage, a->partition);
    cluster_order(w, a);
}

void
check_action(struct world *w, const struct sched_event *ev, const struct sched_action *a)
{
    w->actions[a->kind]++;
    switch ((enum sched_action_kind)a->kind) {
    case SCHED_LAUNCH:
        on_launch(w, a);
        break;
    case SCHED_KILL:
        on_kill(w, a);
        break;
    case SCHED_ACCEPT:
        on_accept(w, ev, a);
        break;
    case SCHED_DISCARD:
        on_discard(w, ev, a);
        break;
    case SCHED_STAGE_END:
        if (stage_by_id(w, a->stage)->n_accepted != stage_by_id(w, a->stage)->n)
            broken(w, "stage %u ends with tasks to do", a->stage);
        places_forget(stage_by_id(w, a->stage));
        break;
    case SCHED_NONDETERMINISTIC:
        if (!stage_by_id(w, a->stage)->unstable)
            broken(w, "stage %u is called non-deterministic", a->stage);
        break;
    case SCHED_JOB_END:
        on_job_end(w, ev, a);
        break;
    case SCHED_WAKE_AT:
        world_send(w, (struct msg){ .kind = MSG_TIMER }, a->at > w->now + w->skew ? a->at - w->now - w->skew : 0);
        break;
    case SCHED_OUTPUT_GONE:
        on_gone(w, ev, a);
        break;
    case SCHED_REVOKE:
        on_revoke(w, a);
        break;
    case SCHED_EXCLUDED:
        places_excluded(w, a);
        break;
    case SCHED_READMITTED:
        places_readmitted(w, a);
        break;
    }
}

/* sched was told that a machine is lost: nothing that was made there counts. */
void
check_node_down(struct world *w, uint32_t node)
{
    for (uint32_t i = 0; i < w->n_stages; i++)
        for (uint32_t k = 0; k < w->stages[i].n && w->stages[i].shuffle; k++)
            if (w->stages[i].tasks[k].accepted && w->stages[i].tasks[k].made_on == node)
                broken(w, "%u.%u was made on node %u, which is lost, and counts", i, k, node);
}

/* Nothing will happen any more. */
void
check_end(struct world *w)
{
    struct sched_counters c;

    for (uint32_t i = 0; i < w->story.jobs; i++)
        if (!w->jobs[i].ended)
            broken(w, "job %u never ends", i);
    inside_check(w);
    sched_counters(w->sched, &c);
    if (c.jobs != 0 || c.launched != w->launches)
        broken(w, "counters: %u jobs left, %llu launches of %llu", c.jobs, (unsigned long long)c.launched,
               (unsigned long long)w->launches);
}
