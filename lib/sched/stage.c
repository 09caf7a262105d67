/* stage -- jobs and stages: what may run now, and when it is complete.
 *
 * A shuffle stage stays when its job ends: the next job may read its output.  A stage is active when a live
 * job needs its output and hasn't got all of it; it is in the list of stages with something to launch when
 * it is active, no parent misses an output, and a task is left. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sched/sched_priv.h"

/* ---- the list of stages with something to launch */
void
sched__unlist(struct sched *s, struct sched__stage *st)
{
    if (!st->listed)
        return;
    st->listed = false;
    *(st->list_prev ? &st->list_prev->list_next : &s->list_first) = st->list_next;
    *(st->list_next ? &st->list_next->list_prev : &s->list_last) = st->list_prev;
}

static void
list(struct sched *s, struct sched__stage *st)
{
    struct sched__stage *after = s->list_last;

    if (st->listed || !st->active || st->missing > 0)
        return;
    if (st->again == SCHED__NONE && st->cursor == st->n)
        return;
    while (after && after->order > st->order)
        after = after->list_prev;
    st->listed = true;
    if (st->near)
        st->near->stuck = false;
    st->list_prev = after;
    st->list_next = after ? after->list_next : s->list_first;
    *(st->list_prev ? &st->list_prev->list_next : &s->list_first) = st;
    *(st->list_next ? &st->list_next->list_prev : &s->list_last) = st;
}

uint32_t
sched__fresh(struct sched__stage *st)
{
    while (st->all_written && st->cursor < st->n && st->tasks[st->cursor].state != SCHED__FRESH)
        st->cursor++;
    if (st->cursor == st->n)
        return SCHED__NONE;
    if (!st->all_written)
        st->tasks[st->cursor] = (struct sched__task){ .state = SCHED__FRESH };
    return st->cursor;
}

void
sched__taken(struct sched__stage *st, uint32_t i)
{
    struct sched__task *t = &st->tasks[i];

    if (i == st->cursor)
        st->cursor++;
    t->state = SCHED__LAUNCHED;
    t->version = st->version;
    t->attempts++;
    st->n_running++;
}

void
sched__push_again(struct sched *s, struct sched__stage *st, uint32_t partition)
{
    struct sched__task *t = sched__task(st, partition);
    uint32_t i = partition - st->first;

    t->state = SCHED__AGAIN;
    t->next = SCHED__NONE;
    if (st->again == SCHED__NONE)
        st->again = i;
    else
        st->tasks[st->again_last].next = i;
    st->again_last = i;
    list(s, st);
}

/* ---- stages */
enum { HUGE_PAGE = 2 << 20 };

/* A table whose tasks are written when they are handed out (sched__fresh): none behind the cursor may be read.
 * A large one asks for huge pages: with small ones a task costs a quarter more, all of it page faults. */
static struct sched__task *
tasks_new(uint32_t n)
{
    size_t bytes = (size_t)n * sizeof(struct sched__task);
    void *p;

    if (bytes < 2 * HUGE_PAGE) {
        p = malloc(bytes);
    } else {
        bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        p = aligned_alloc(HUGE_PAGE, bytes);
        if (p)
            (void)madvise(p, bytes, MADV_HUGEPAGE); /* or not: it is only slower */
    }
    ASSERT(p != NULL);
    return p;
}

static struct sched__stage *
stage_new(struct sched *s, const struct plan_stage *from, uint32_t first, uint32_t n)
{
    struct sched__stage *st = calloc(1, sizeof *st);

    ASSERT(st != NULL && from->id < SCHED__NONE / 16);
    st->id = from->id;
    st->shuffle = from->sink == PLAN_SINK_SHUFFLE;
    st->files = st->shuffle || from->sink == PLAN_SINK_COLLECT || from->sink == PLAN_SINK_REDUCE;
    st->first = first;
    st->n = n;
    st->again = SCHED__NONE;
    st->want = 1;
    st->tasks = tasks_new(n);
    st->parents = calloc(from->n_parents + 1, sizeof(struct sched__stage *));
    ASSERT(st->parents != NULL);
    for (uint32_t i = 0; i < from->n_parents; i++) {
        struct sched__stage *p = sched__stage(s, from->parents[i]);

        ASSERT(p != NULL);
        st->parents[st->n_parents++] = p;
        st->missing += !sched__complete(p);
        p->children = sched__more(p->children, p->n_children, sizeof(struct sched__stage *), &p->cap_children);
        p->children[p->n_children++] = st;
    }
    if (st->id >= s->n_stages) {
        uint32_t more = st->id + st->id / 2 + 16;

        s->stages = realloc(s->stages, more * sizeof(struct sched__stage *));
        ASSERT(s->stages != NULL);
        memset(s->stages + s->n_stages, 0, (more - s->n_stages) * sizeof(struct sched__stage *));
        s->n_stages = more;
    }
    ASSERT(s->stages[st->id] == NULL);
    s->stages[st->id] = st;
    return st;
}

static void
stage_free(struct sched *s, struct sched__stage *st)
{
    sched__near_free(s, st);
    sched__avoid_free(st->avoid);
    free(st->node_bytes);
    free(st->tasks);
    free(st->parents);
    free(st->children);
    free(st);
}

/* A result stage that nothing names any more. */
static void
bury_if_dead(struct sched *s, struct sched__stage *st)
{
    if (st->shuffle || st->buried || st->live_jobs > 0 || st->n_running > 0)
        return;
    st->buried = true;
    st->grave_next = s->graves;
    s->graves = st;
}

void
sched__bury(struct sched *s)
{
    while (s->graves) {
        struct sched__stage *st = s->graves;

        s->graves = st->grave_next;
        s->stages[st->id] = NULL;
        for (uint32_t i = 0; i < st->n_parents; i++) {
            struct sched__stage *p = st->parents[i];
            uint32_t k = 0;

            while (p->children[k] != st)
                k++;
            p->children[k] = p->children[--p->n_children];
        }
        stage_free(s, st);
    }
}

/* What the job needs now: its result stage, and of what is needed the parents that are not complete. */
static void
activate(struct sched *s, struct sched__job *job)
{
    job->stages[job->n - 1]->mark = true;
    for (uint32_t i = job->n; i-- > 0;) {
        struct sched__stage *st = job->stages[i];

        if (!st->mark)
            continue;
        st->mark = false;
        if (sched__complete(st))
            continue;
        st->active = true;
        list(s, st);
        for (uint32_t k = 0; k < st->n_parents; k++)
            st->parents[k]->mark = true;
    }
}

static bool
has(const struct sched__job *job, const struct sched__stage *st)
{
    for (uint32_t i = 0; i < job->n; i++)
        if (job->stages[i] == st)
            return true;
    return false;
}

/* ---- jobs */
static struct sched_action *
act_job_end(struct sched *s, uint32_t job, enum sched_why why, enum err_code code)
{
    struct sched_action *a = sched__act(s, SCHED_JOB_END);

    a->job = job;
    a->why = (uint8_t)why;
    a->code = (uint8_t)code;
    return a;
}

void
sched__submit(struct sched *s, const struct sched_event *ev)
{
    const struct plan *plan = ev->plan;
    struct sched__job *job;
    uint32_t id = ev->job;

    if (plan->n_result == 0) {
        act_job_end(s, id, SCHED_OK, ERR_NONE);
        return;
    }
    job = calloc(1, sizeof *job);
    ASSERT(job != NULL);
    job->id = id;
    job->n = plan->n;
    job->stages = calloc(plan->n, sizeof(struct sched__stage *));
    ASSERT(job->stages != NULL);
    for (uint32_t i = 0; i < plan->n; i++) {
        const struct plan_stage *from = &plan->stages[i];
        bool last = i + 1 == plan->n;
        struct sched__stage *st = last ? NULL : sched__stage(s, from->id);

        if (!st) {
            st = last ? stage_new(s, from, plan->first, plan->n_result) : stage_new(s, from, 0, from->tasks);
            sched__near_prefer(s, st, ev->prefer, ev->n_prefer);
        }
        ASSERT(last || (st->shuffle && st->n == from->tasks));
        if (st->live_jobs++ == 0)
            st->order = s->n_submits << 32 | i;
        job->stages[i] = st;
    }
    job->stages[job->n - 1]->job = job;
    s->n_submits++;
    s->count.jobs++;
    job->prev = s->jobs_last;
    *(job->prev ? &job->prev->next : &s->jobs) = job;
    s->jobs_last = job;
    activate(s, job);
}

/* What was learnt of places is of no use any more. */
static void
forget_places(struct sched *s, struct sched__stage *st)
{
    sched__near_free(s, st);
    sched__avoid_free(st->avoid);
    st->avoid = NULL;
}

static void
job_free(struct sched__job *job)
{
    free(job->stages);
    free(job);
}

/* Nothing of the job runs on, but what other jobs want. */
static void
job_end(struct sched *s, struct sched__job *job)
{
    bool running = false;

    *(job->prev ? &job->prev->next : &s->jobs) = job->next;
    *(job->next ? &job->next->prev : &s->jobs_last) = job->prev;
    s->count.jobs--;
    job->stages[job->n - 1]->job = NULL;
    for (uint32_t i = 0; i < job->n; i++) {
        struct sched__stage *st = job->stages[i];

        if (--st->live_jobs > 0)
            continue;
        st->active = false;
        sched__unlist(s, st);
        forget_places(s, st);
        running |= st->n_running > 0;
        bury_if_dead(s, st);
    }
    job_free(job);
    if (running)
        sched__kill_unwanted(s);
}

void
sched__fail(struct sched *s, struct sched__stage *st, enum sched_why why, enum err_code code,
            const struct sched__entry *where)
{
    struct sched__job *next;

    for (struct sched__job *job = s->jobs; job; job = next) {
        next = job->next;
        if (!has(job, st))
            continue;
        struct sched_action *a = act_job_end(s, job->id, why, code);
        a->stage = where->stage;
        a->partition = where->partition;
        a->attempt = where->attempt;
        job_end(s, job);
    }
}

void
sched__cancel_stage(struct sched *s, uint32_t stage)
{
    struct sched__stage *st = sched__stage(s, stage);

    if (st && st->live_jobs > 0)
        sched__fail(s, st, SCHED_CANCELLED, ERR_CANCELLED, &(struct sched__entry){ .stage = stage });
    else
        s->count.stale++;
}

void
sched__cancel(struct sched *s, uint32_t id)
{
    for (struct sched__job *job = s->jobs; job; job = job->next)
        if (job->id == id) {
            act_job_end(s, id, SCHED_CANCELLED, ERR_CANCELLED);
            job_end(s, job);
            return;
        }
    s->count.stale++;
}

/* ---- tasks */
void
sched__again(struct sched *s, struct sched__stage *st, uint32_t partition)
{
    st->n_running--;
    sched__push_again(s, st, partition);
    bury_if_dead(s, st);
}

static void
complete(struct sched *s, struct sched__stage *st)
{
    sched__act(s, SCHED_STAGE_END)->stage = st->id;
    st->active = false;
    sched__avoid_learn(s, st);
    forget_places(s, st);
    for (uint32_t i = 0; i < st->n_children; i++)
        if (--st->children[i]->missing == 0)
            list(s, st->children[i]);
    if (st->job) {
        act_job_end(s, st->job->id, SCHED_OK, ERR_NONE);
        job_end(s, st->job);
    }
}

void
sched__accept(struct sched *s, struct sched__stage *st, const struct sched_event *ev)
{
    struct sched__task *t = sched__task(st, ev->partition);
    struct sched_action *a = sched__act(s, SCHED_ACCEPT);

    a->executor = s->slots[t->slot].executor;
    a->slot = s->slots[t->slot].number;
    a->node = s->slots[t->slot].node;
    a->epoch = ev->epoch;
    a->stage = ev->stage;
    a->partition = ev->partition;
    a->attempt = ev->attempt;
    a->generation = t->generation;
    a->flags = t->generation == 0 ? SCHED_FIRST_EVER : 0;
    t->state = SCHED__ACCEPTED;
    t->accepted = ev->attempt;
    t->digest = ev->digest;
    s->count.accepted++;
    st->bytes += ev->bytes;
    st->rows += ev->rows;
    st->rounds = 0;
    if (st->shuffle && a->node != 0)
        sched__near_bytes(st, a->node, ev->bytes);
    st->n_running--;
    if (++st->n_done == st->n)
        complete(s, st);
}

void
sched__activate(struct sched *s, struct sched__stage *st)
{
    for (struct sched__job *job = st->live_jobs > 0 ? s->jobs : NULL; job; job = job->next)
        if (has(job, st))
            activate(s, job);
}

void
sched__stages_free(struct sched *s)
{
    struct sched__job *next;

    for (struct sched__job *job = s->jobs; job; job = next) {
        next = job->next;
        job_free(job);
    }
    for (uint32_t i = 0; i < s->n_stages; i++)
        if (s->stages[i])
            stage_free(s, s->stages[i]);
    free(s->stages);
}
