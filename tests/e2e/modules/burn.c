/* burn TASKS MS MIB [PREFIX]: each task uses so much CPU time and keeps so much memory; with a PREFIX its first attempt
 * makes the file PREFIX-N and dies when it has used the time. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <taskd.h>
#include <time.h>
#include <unistd.h>

struct what {
    int ms, mib;
    char prefix[400];
};

static double
cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static td_u64
burn(td_task *t, td_u64 v)
{
    const struct what *w = td_arg(t, struct what);
    size_t n = (size_t)w->mib << 20;
    double end = cpu_ms() + w->ms;
    volatile char *p = malloc(n); /* kept until the runner ends */

    for (size_t i = 0; p && i < n; i += 4096)
        p[i] = 1;
    while (cpu_ms() < end)
        continue;
    char name[500];
    snprintf(name, sizeof name, "%s-%" PRIu64, w->prefix, v);
    if (w->prefix[0] && open(name, O_CREAT | O_EXCL, 0600) >= 0)
        abort();
    return v;
}
TD_MAP(burn, u64, u64);

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    if (argc < 4)
        return TD_USAGE(j, "burn TASKS MS MIB [PREFIX]");
    uint32_t tasks = (uint32_t)atoi(argv[1]);
    struct what w = { .ms = atoi(argv[2]), .mib = atoi(argv[3]) };

    snprintf(w.prefix, sizeof w.prefix, "%s", argc > 4 ? argv[4] : "");
    return td_count(td_map(td_range(j, 0, tasks, .partitions = tasks), burn, TD_ARG(w)), &n);
}
TD_PLUGIN("burn", "1.0", job);
