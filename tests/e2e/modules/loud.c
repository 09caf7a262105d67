/* loud LINES: the job's main prints so many numbered lines. */
#include <stdio.h>
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t n = 0;

    if (argc != 2 || !td_to_u64(td_cstr(argv[1]), &n))
        return TD_USAGE(j, "loud LINES");
    for (uint64_t i = 0; i < n; i++)
        printf("line %llu of what a driver has to say\n", (unsigned long long)i);
    fflush(stdout);
    fprintf(stderr, "that was all\n");
    return 0;
}
TD_PLUGIN("loud", "1.0", job);
