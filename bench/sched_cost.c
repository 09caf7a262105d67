/* sched_cost -- CPU time per task of sched_step: launch, answer, accept.  Is it flat from 10 thousand to 1
 * million tasks, and from 1 to 1,000 executors?
 *
 *   bench/sched_cost [ROUNDS [EXECUTORS TASKS]]
 *
 * Time is made up (tasks of 10 us), answers come in order, in batches as a driver drains its rings. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "sched/sched.h"

enum { SLOTS = 4, BATCH = 64 };

struct due { /* a launch that waits for its answer */
    uint32_t stage, partition, attempt, epoch;
};
struct line {
    struct due *v;
    uint32_t head, n, cap;
};

static void
take_launches(const struct sched_actions *out, struct line *line, uint32_t *ended)
{
    for (uint32_t i = 0; i < out->n; i++) {
        const struct sched_action *a = &out->v[i];

        *ended += a->kind == SCHED_JOB_END;
        if (a->kind == SCHED_LAUNCH)
            line->v[(line->head + line->n++) & (line->cap - 1)] =
                (struct due){ a->stage, a->partition, a->attempt, a->epoch };
    }
}

/* Nanoseconds per task of a job of two stages. */
static double
run(uint32_t executors, uint32_t tasks)
{
    struct sched *s = sched_new(&(struct sched_opts){ .task_timeout_ns = 1000000000000 });
    struct sched_actions out = { 0 };
    struct line line = { .cap = 1 };
    uint32_t parent = 0, ended = 0;
    uint64_t now = 1;
    struct plan_stage stages[2] = { { .id = 0, .sink = PLAN_SINK_SHUFFLE, .tasks = tasks / 2 },
                                    { .id = 1, .sink = PLAN_SINK_COUNT, .tasks = tasks / 2, .n_parents = 1,
                                      .parents = &parent } };
    struct plan plan = { .n = 2, .stages = stages, .n_result = tasks / 2 };

    while (line.cap < executors * SLOTS * 256)
        line.cap *= 2;
    line.v = calloc(line.cap, sizeof *line.v);
    uint64_t began = clock_cpu_ns();
    for (uint32_t i = 0; i < executors; i++)
        sched_step(s, &(struct sched_event){ .kind = SCHED_EXECUTOR_UP, .executor = i, .slots = SLOTS }, now, &out);
    sched_step(s, &(struct sched_event){ .kind = SCHED_JOB_SUBMIT, .plan = &plan }, now, &out);
    take_launches(&out, &line, &ended);
    while (line.n > 0) {
        uint32_t batch = line.n < BATCH ? line.n : BATCH;

        out.n = 0;
        now += 10000ull * batch / (executors * SLOTS) + 1;
        for (uint32_t i = 0; i < batch; i++) {
            const struct due *d = &line.v[line.head++ & (line.cap - 1)];
            struct sched_event ev = { .kind = SCHED_DONE, .stage = d->stage, .partition = d->partition,
                                      .attempt = d->attempt, .epoch = d->epoch };

            sched_step(s, &ev, now, &out);
        }
        line.n -= batch;
        take_launches(&out, &line, &ended);
    }
    uint64_t took = clock_cpu_ns() - began;
    if (ended != 1)
        fprintf(stderr, "the job did not end\n");
    free(line.v);
    sched_actions_fini(&out);
    sched_free(s);
    return (double)took / tasks;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double
median(uint32_t executors, uint32_t tasks, int rounds)
{
    double v[99], m;

    for (int i = 0; i < rounds; i++)
        v[i] = run(executors, tasks);
    qsort(v, (size_t)rounds, sizeof v[0], by_value);
    m = v[rounds / 2];
    return m;
}

int
main(int argc, char **argv)
{
    static const uint32_t executors[] = { 1, 10, 1000 };
    int rounds = argc > 1 ? atoi(argv[1]) : 11;

    if (rounds < 1 || rounds > 99)
        rounds = 11;
    if (argc > 3) {
        printf("%.1f ns\n", median((uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]), rounds));
        return 0;
    }
    printf("executors    10k tasks     1M tasks   ratio   (CPU ns a task, medians of %d)\n", rounds);
    for (int i = 0; i < 3; i++) {
        double few = median(executors[i], 10000, rounds), many = median(executors[i], 1000000, rounds);

        printf("%9u %12.1f %12.1f %7.2f\n", executors[i], few, many, many / few);
    }
    return 0;
}
