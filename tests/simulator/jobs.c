/* jobs -- what a seed draws. */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

uint64_t
rng_next(struct rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint32_t
rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

bool
rng_chance(struct rng *r, uint32_t per_million)
{
    return rng_below(r, 1000000) < per_million;
}

uint64_t
rng_log(struct rng *r, uint64_t lo, uint64_t hi)
{
    uint32_t doublings = 0;

    while (hi >> doublings > lo)
        doublings++;
    uint64_t top = hi >> rng_below(r, doublings + 1);
    uint64_t v = top / 2 + rng_next(r) % (top / 2 + 1);
    return v < lo ? lo : v > hi ? hi : v;
}

/* Nothing in a third of the stories, else up to most. */
static uint32_t
maybe(struct rng *r, uint32_t most)
{
    return rng_below(r, 3) == 0 ? 0 : (uint32_t)rng_log(r, most / 100 + 1, most);
}

void
story_draw(struct story *st, struct rng *r, uint8_t plant)
{
    *st = (struct story){ .local = rng_chance(r, 200000) };
    st->executors = st->local ? 1 : (uint32_t)rng_log(r, 1, rng_chance(r, 10000) ? 1000 : 64);
    st->slots = (uint32_t)rng_log(r, 1, 8);
    st->tasks = (uint32_t)rng_log(r, 8, 4000);
    st->chain = rng_below(r, 2);
    st->jobs = 1 + rng_below(r, 3);
    st->stages = 1 + rng_below(r, 4);
    st->delay = st->local ? 0 : rng_log(r, 1000, 200 * SIM_MS);
    st->reorder = !st->local && rng_below(r, 2);
    st->duplicate = st->local ? 0 : maybe(r, 200000);
    st->fail = maybe(r, 100000);
    st->die = maybe(r, 100000);
    st->lose = maybe(r, 50000);
    st->fatal = rng_chance(r, 100000) ? 1000 : 0;
    st->poison = rng_chance(r, 100000) ? 10000 : 0;
    st->unstable = rng_chance(r, 200000);
    st->crashes = st->local ? 0 : maybe(r, 30);
    st->pauses = st->local ? 0 : maybe(r, 30);
    st->losses = maybe(r, 30);
    st->jumps = maybe(r, 5);
    st->breaks = st->local ? 0 : maybe(r, 30);
    st->nodes = st->local || rng_below(r, 3) == 0 ? 0 : 1 + rng_below(r, st->executors);
    st->node_crashes = st->nodes ? maybe(r, 10) : 0;
    st->moves = st->nodes > 0 && rng_below(r, 4) == 0;
    st->no_service = !st->local && rng_below(r, 3) == 0;
    st->bad = maybe(r, 500000);
    st->no_start = rng_chance(r, 100000) ? 1000000 : 0;
    st->deaf = maybe(r, 1000000);
    st->wishes = st->local ? 0 : maybe(r, 1000000);
    st->stage_cancels = rng_chance(r, 50000);
    st->task_kills = maybe(r, 20);
    st->cancels = rng_chance(r, 100000);
    st->faults_until = rng_log(r, 100 * SIM_MS, 1000 * SIM_S);
    st->opts.max_failures = rng_below(r, 2) ? 4 : 1 + rng_below(r, 10);
    st->opts.max_lost = rng_below(r, 4) ? 0 : 1 + rng_below(r, 10);
    st->opts.task_timeout_ns = rng_below(r, 2) ? rng_log(r, SIM_S, 1000 * SIM_S) : 0;
    st->opts.prefetch_max = rng_below(r, 4) ? 0 : 1 + rng_below(r, 8);
    st->opts.max_rounds = rng_below(r, 4) ? 0 : 1 + rng_below(r, 20);
    st->opts.revoke_ns = rng_below(r, 2) ? rng_log(r, SIM_MS, SIM_S) : 0;
    st->opts.prefetch_ns = rng_below(r, 2) ? rng_log(r, SIM_MS, 10 * SIM_S) : 0;
    st->opts.locality_ns = rng_below(r, 2) ? rng_log(r, SIM_MS, 100 * SIM_S) : 0;
    st->opts.avoid_off = rng_below(r, 8) == 0;
    st->opts.avoid_ns = rng_below(r, 2) ? rng_log(r, SIM_S, 10000 * SIM_S) : 0;
    st->opts.plant = plant;
    st->hangs = st->opts.task_timeout_ns > 0 && rng_below(r, 2);
}

struct stage *
stage_by_id(struct world *w, uint32_t id)
{
    return id < w->n_stages ? &w->stages[id] : NULL;
}

static struct stage *
add_stage(struct world *w, bool shuffle, uint32_t tasks, uint32_t n_below)
{
    struct stage *st = &w->stages[w->n_stages];

    *st = (struct stage){ .id = w->n_stages++, .n = tasks, .shuffle = shuffle };
    st->first = shuffle ? 0 : rng_below(&w->rng, 3);
    st->duration = rng_log(&w->rng, 1000, 3 * SIM_S);
    st->bytes = rng_log(&w->rng, 1, 1000000000);
    st->unstable = shuffle && w->story.unstable && rng_below(&w->rng, 2);
    st->tasks = calloc(tasks, sizeof *st->tasks);
    for (uint32_t i = 0; i < SIM_PARENTS && n_below > 0; i++) {
        uint32_t p = rng_below(&w->rng, n_below + 1);

        if (p < n_below && (st->n_parents == 0 || st->parents[0] != p))
            st->parents[st->n_parents++] = p;
    }
    return st;
}

/* The result stage and all that lies below it. */
static void
plan_of(struct world *w, struct job *job, const struct stage *result)
{
    bool need[SIM_STAGES + SIM_JOBS] = { false };

    need[result->id] = true;
    for (uint32_t i = result->id + 1; i-- > 0;)
        for (uint32_t k = 0; need[i] && k < w->stages[i].n_parents; k++)
            need[w->stages[i].parents[k]] = true;
    job->plan.stages = job->stages;
    for (uint32_t i = 0; i <= result->id; i++) {
        struct stage *st = &w->stages[i];

        if (need[i])
            job->stages[job->plan.n++] = (struct plan_stage){
                .id = i,
                .sink = st->shuffle ? PLAN_SINK_SHUFFLE : PLAN_SINK_COUNT,
                .tasks = st->first + st->n + (st->shuffle ? 0 : rng_below(&w->rng, 3)),
                .n_parents = st->n_parents,
                .parents = st->parents,
            };
    }
    job->plan.first = result->first;
    job->plan.n_result = result->n;
}

/* Some tasks would rather run here or there. */
static void
wish(struct world *w, struct job *job)
{
    const struct story *st = &w->story;
    uint32_t n = 0;

    for (uint32_t i = 0; i < job->plan.n; i++)
        n += 3 * w->stages[job->stages[i].id].n;
    job->wishes = calloc(n, sizeof *job->wishes);
    for (uint32_t i = 0; i < job->plan.n; i++) {
        const struct stage *of = &w->stages[job->stages[i].id];
        bool few = rng_below(&w->rng, 2); /* all the same one */

        for (uint32_t k = 0; k < of->n; k++)
            for (uint32_t j = 0; j < 3 && rng_chance(&w->rng, st->wishes); j++) {
                uint32_t executor = few ? 0 : rng_below(&w->rng, st->executors);

                job->wishes[job->n_wishes++] = (struct sched_prefer){
                    .stage = of->id, .partition = of->first + k,
                    .executor = st->nodes && rng_below(&w->rng, 2) ? SCHED_ANY : executor,
                    .node = st->nodes ? 1 + executor % st->nodes : 0,
                    .bytes = rng_below(&w->rng, 2) ? 0 : rng_log(&w->rng, 1, 1000000000),
                };
            }
    }
}

void
jobs_build(struct world *w)
{
    const struct story *st = &w->story;
    uint32_t shuffles = st->stages - 1, share = st->tasks / (shuffles + st->jobs) + 1;

    for (uint32_t i = 0; i < shuffles; i++)
        add_stage(w, true, 1 + rng_below(&w->rng, 2 * share), i);
    for (uint32_t i = 0; i < st->jobs; i++) {
        plan_of(w, &w->jobs[i], add_stage(w, false, 1 + rng_below(&w->rng, 2 * share), shuffles));
        wish(w, &w->jobs[i]);
    }
}
