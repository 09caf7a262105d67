/* count INPUT: how many lines */
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    if (argc != 2)
        return TD_USAGE(j, "count INPUT");
    if (td_count(td_text_file(j, argv[1]), &n))
        return 1;
    td_say(j, "%llu lines", (unsigned long long)n);
    return 0;
}
TD_PLUGIN("count", "1.0", job);
