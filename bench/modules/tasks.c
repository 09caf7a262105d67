/* tasks N [JOBS]: N tasks of one record each, in each of so many jobs (1), to see what a task costs */
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t n, counted, jobs = 1;
    int status = 0;

    if ((argc != 2 && argc != 3) || !td_to_u64(td_cstr(argv[1]), &n) || n == 0 || n > UINT32_MAX ||
        (argc == 3 && !td_to_u64(td_cstr(argv[2]), &jobs)))
        return TD_USAGE(j, "tasks N [JOBS]");
    while (jobs-- > 0) {
        if (td_count(td_range(j, 0, n, .partitions = (uint32_t)n), &counted))
            return 1;
        status |= counted != n; /* simulated executors count nothing: go on */
    }
    return status;
}
TD_PLUGIN("tasks", "1.0", job);
