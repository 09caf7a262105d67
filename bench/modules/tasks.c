/* tasks N: N tasks of one record each, to see what a task costs */
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t n, counted;

    if (argc != 2 || !td_to_u64(td_cstr(argv[1]), &n) || n == 0 || n > UINT32_MAX)
        return TD_USAGE(j, "tasks N");
    if (td_count(td_range(j, 0, n, .partitions = (uint32_t)n), &counted))
        return 1;
    return counted == n ? 0 : 1;
}
TD_PLUGIN("tasks", "1.0", job);
