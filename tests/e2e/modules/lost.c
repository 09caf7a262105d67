/* lost REMOVE...: a shuffle that is read twice; before the second time the outputs of the map tasks REMOVE are gone.  It
 * says "rows SUM MAPPED": what the second action saw, and how often the map function counted. */
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <taskd.h>
#include <unistd.h>

enum { MAPS = 8 };
TD_COUNTER(mapped);

static td_u64_u64
spread(td_task *t, td_u64 v)
{
    td_add(t, mapped, 1);
    return (td_u64_u64){ v % 100, 1 };
}
TD_MAP(spread, u64, u64_u64);

static int
lose(td_job *j, const char *map)
{
    char pattern[4200];
    glob_t g;

    snprintf(pattern, sizeof pattern, "%s/*/s*-p%s-a*", getenv("TASKD_LOCAL_DIR"), map);
    if (glob(pattern, 0, NULL, &g) || g.gl_pathc != 1 || unlink(g.gl_pathv[0]))
        return td_say(j, "%s is not one file", pattern), 1;
    globfree(&g);
    return 0;
}

static int
job(td_job *j, int argc, char **argv)
{
    td_ds *in = td_range(j, 0, 100000, .partitions = MAPS);
    td_ds *sums = td_sum_by_key(td_map(in, spread), .partitions = 4);
    uint64_t n, sum = 0;
    td_rows rows;

    if (td_count(sums, &n))
        return 1;
    for (int i = 1; i < argc; i++)
        if (lose(j, argv[i]))
            return 1;
    if (td_collect(sums, &rows))
        return 1;
    for (uint64_t i = 0; i < rows.n; i++)
        sum += td_row_val(&rows, u64, i);
    td_say(j, "%" PRIu64 " %" PRIu64 " %" PRId64, rows.n, sum, td_total(j, mapped));
    return 0;
}
TD_PLUGIN("lost", "1.0", job);
