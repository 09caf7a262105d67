/* main -- seeds one after the other.
 *
 *   sim [--seeds N] [--from SEED]    runs them; says the first that breaks a rule
 *   sim --replays N [--from SEED]    each one twice: is it the same story?
 *   sim --replay SEED                tells one story, event by event
 *   sim-planted [--seeds N]          the same with each planted bug; all must be found
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim.h"

#ifndef SCHED_PLANT
struct figures {
    const char *what;
    uint32_t *v;
};

static int
by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void
print_figures(struct figures *f, uint32_t n)
{
    qsort(f->v, n, sizeof *f->v, by_size);
    printf("  %-10s min %-6" PRIu32 " median %-6" PRIu32 " max %" PRIu32 "\n", f->what, f->v[0], f->v[n / 2],
           f->v[n - 1]);
}

static uint32_t
count_tasks(const struct world *w)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < w->n_stages; i++)
        n += w->stages[i].n;
    return n;
}

struct totals {
    uint64_t ends[5], actions[16], again, stale, lost, revoked, afar;
};

static void
add_totals(struct totals *t, const struct world *w)
{
    struct sched_counters c;

    for (int i = 0; i < 5; i++)
        t->ends[i] += w->ends[i];
    for (int i = 0; i < 16; i++)
        t->actions[i] += w->actions[i];
    t->again += w->again;
    sched_counters(w->sched, &c);
    t->stale += c.stale;
    t->lost += c.lost;
    t->revoked += c.revoked;
    t->afar += c.afar;
}

static void
print_totals(const struct totals *t)
{
    printf("  jobs: %" PRIu64 " done, %" PRIu64 " cancelled, %" PRIu64 " failed, %" PRIu64 " lost, %" PRIu64
           " with changed rows\n",
           t->ends[SCHED_OK], t->ends[SCHED_CANCELLED], t->ends[SCHED_TASK_FAILED], t->ends[SCHED_TASK_LOST],
           t->ends[SCHED_ROWS_CHANGED]);
    printf("  %" PRIu64 " launches, %" PRIu64 " accepted (%" PRIu64 " of a later generation), %" PRIu64
           " discarded, %" PRIu64 " kills, %" PRIu64 " changed, %" PRIu64 " stale events\n",
           t->actions[SCHED_LAUNCH], t->actions[SCHED_ACCEPT], t->again, t->actions[SCHED_DISCARD],
           t->actions[SCHED_KILL], t->actions[SCHED_NONDETERMINISTIC], t->stale);
    printf("  %" PRIu64 " attempts lost, %" PRIu64 " outputs gone, %" PRIu64 " revoked, %" PRIu64 " far from where they would be, %"
           PRIu64 " places avoided, %" PRIu64 " readmitted\n",
           t->lost, t->actions[SCHED_OUTPUT_GONE], t->revoked, t->afar, t->actions[SCHED_EXCLUDED],
           t->actions[SCHED_READMITTED]);
}

/* Seeds that once broke a rule. */
static int
run_known(void)
{
    static const uint64_t known[] = { 77254 };
    int bad = 0;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct world w;

        world_run(&w, known[i], 0, false);
        if (w.broken[0])
            printf("seed %" PRIu64 ": %s\n", known[i], w.broken);
        bad |= w.broken[0] != 0;
        world_fini(&w);
    }
    return bad;
}

static int
run_seeds(uint64_t first, uint32_t n)
{
    struct totals totals = { 0 };

    struct figures fig[] = { { "executors", 0 }, { "slots", 0 }, { "tasks", 0 }, { "attempts", 0 },
                             { "faults", 0 },    { "events", 0 } };
    uint64_t hash = 0, events = 0;
    int bad = 0;
    struct world w;
    clock_t began = clock();

    for (int k = 0; k < 6; k++)
        fig[k].v = calloc(n, sizeof(uint32_t));
    for (uint32_t i = 0; i < n && !bad; i++) {
        world_run(&w, first + i, 0, false);
        uint32_t v[] = { w.story.executors, w.story.executors * w.story.slots, count_tasks(&w),
                         (uint32_t)w.launches, (uint32_t)w.faults, (uint32_t)w.events };
        for (int k = 0; k < 6; k++)
            fig[k].v[i] = v[k];
        hash = hash * 31 + w.hash;
        events += w.events;
        add_totals(&totals, &w);
        bad = w.broken[0] != 0;
        if (bad)
            printf("seed %" PRIu64 ": %s\n", first + i, w.broken);
        world_fini(&w);
    }
    if (!bad) {
        double s = (double)(clock() - began) / CLOCKS_PER_SEC;

        printf("%" PRIu32 " seeds from %" PRIu64 ": no rule broken, hash %016" PRIx64 ", %" PRIu64
               " events in %.2f s of CPU, %.0f seeds a minute\n",
               n, first, hash, events, s, 60 * n / s);
        for (int k = 0; k < 6; k++)
            print_figures(&fig[k], n);
        print_totals(&totals);
    }
    for (int k = 0; k < 6; k++)
        free(fig[k].v);
    return bad;
}
#endif

static int
replay(uint64_t seed)
{
    struct world one, two;

    world_run(&one, seed, 0, true);
    world_run(&two, seed, 0, false);
    printf("seed %" PRIu64 ": hash %016" PRIx64 ", again %016" PRIx64 "; %s\n", seed, one.hash, two.hash,
           one.broken[0] ? one.broken : "no rule broken");
    int bad = one.hash != two.hash || one.broken[0];
    world_fini(&one);
    world_fini(&two);
    return bad;
}

static int
replays(uint64_t first, uint32_t n)
{
    uint32_t same = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct world one, two;

        world_run(&one, first + i, 0, false);
        world_run(&two, first + i, 0, false);
        same += one.hash == two.hash && one.events == two.events && !one.broken[0];
        world_fini(&one);
        world_fini(&two);
    }
    printf("%" PRIu32 " of %" PRIu32 " seeds from %" PRIu64 " tell the same story twice\n", same, n, first);
    return same != n;
}

#ifdef SCHED_PLANT
static int
run_planted(uint64_t first, uint32_t n)
{
    static const char *const bugs[] = { "", "double commit", "lost DONE", "stale epoch accepted", "bad places used",
                                        "revoked attempt runs twice", "lost node keeps its outputs",
                                        "waits for a better slot for ever", "preferences ignored",
                                        "rows of two kinds", "readers of old rows accepted" };
    int missed = 0;

    for (uint8_t bug = 1; bug < sizeof bugs / sizeof *bugs; bug++) {
        bool found = false;

        for (uint32_t i = 0; i < n && !found; i++) {
            struct world w;

            world_run(&w, first + i, bug, false);
            found = w.broken[0] != 0;
            if (found)
                printf("%s: found by seed %" PRIu32 " of %" PRIu32 ": %s\n", bugs[bug], i + 1, n, w.broken);
            world_fini(&w);
        }
        if (!found)
            printf("%s: not found in %" PRIu32 " seeds\n", bugs[bug], n);
        missed += !found;
    }
    return missed > 0;
}
#endif

static int
usage(const char *name)
{
    fprintf(stderr, "usage: %s [--seeds N | --replays N] [--from SEED] | --replay SEED\n", name);
    return 2;
}

int
main(int argc, char **argv)
{
    uint64_t first = 1;
    uint32_t n = 2000, twice = 0;

#ifdef SCHED_PLANT
    n = 1000;
#endif
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return usage(argv[0]);
        uint64_t v = strtoull(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--seeds") && v > 0 && v < UINT32_MAX)
            n = (uint32_t)v;
        else if (!strcmp(argv[i], "--from"))
            first = v;
        else if (!strcmp(argv[i], "--replays") && v > 0 && v < UINT32_MAX)
            twice = (uint32_t)v;
        else if (!strcmp(argv[i], "--replay"))
            return replay(v);
        else
            return usage(argv[0]);
    }
    if (twice > 0)
        return replays(first, twice);
#ifdef SCHED_PLANT
    return run_planted(first, n);
#else
    return run_known() | run_seeds(first, n);
#endif
}
