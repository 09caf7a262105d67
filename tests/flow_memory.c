/* flow_memory -- who holds what: a filter that drops nearly all of what does not lie in the source must not keep it, a
 * merge leaves room for what collects its rows. */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>

static td_str
long_copy(td_task *t, td_u64 k)
{
    char *p = td_tmp(t, 1000);

    memset(p, (int)('a' + k % 26), 1000);
    return (td_str){ p, 1000 };
}
TD_MAP(long_copy, u64, str);

enum {
#ifdef __SANITIZE_ADDRESS__
    MUCH = INT32_MAX, /* freed memory is kept for a while */
#else
    MUCH = 50000,
#endif
};

static bool
never(td_task *t, td_str s)
{
    return false;
}
TD_FILTER(never, str);

static uint64_t counted;

static int
drop_all(td_job *j, int argc, char **argv)
{
    return td_count(td_filter(td_map(td_range(j, 0, 300000), long_copy), never), &counted);
}

static long
peak_kb(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[200];
    long kb = 0;

    while (fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6))
            kb = atol(line + 6);
    fclose(f);
    return kb;
}

static void
dropped_strings(void)
{
    struct rig r = { .slots = 1 };
    FILE *f = fopen("/proc/self/clear_refs", "w");

    if (f) {
        fputs("5", f);
        fclose(f);
    }
    long before = peak_kb();
    EQ_U64(rig_run(&r, drop_all, NULL), 0);
    EQ_U64(counted, 0);
    CU_ASSERT(peak_kb() - before < MUCH); /* 300 MB went through */
    rig_fini(&r);
}

/* Many map outputs are merged into a task that sorts, or combines, what it reads. */
enum {
#ifdef TASKD_HOSTILE /* nearly each row is a spill of its own */
    ROWS = 600,
    MAPS = 20,
#else
    ROWS = 30000,
    MAPS = 150,
#endif
};

static td_str
scattered(td_task *t, td_u64 k)
{
    char *p = td_tmp(t, 100);
    int n = snprintf(p, 100, "%0*llu", 20 + (int)(k % 60), (unsigned long long)(k * 7919 % 6000));

    return (td_str){ p, (size_t)n };
}
TD_MAP(scattered, u64, str);

static int
shuffle_again(td_job *j, int argc, char **argv)
{
    td_ds *d = td_map(td_range(j, 0, ROWS, .partitions = MAPS), scattered);
    uint64_t sorts, distinct, both;

    if (td_count(td_sort(td_distinct(d, .partitions = 2), .partitions = 2), &distinct)
        || td_count(td_sort(td_sort(d, .partitions = 2), .partitions = 2), &sorts)
        || td_count(td_distinct(td_sort(d, .partitions = 2), .partitions = 2), &both))
        return 1;
    EQ_U64(sorts, ROWS);
    EQ_U64(both, distinct);
    return 0;
}

static void
merge_leaves_room(void)
{
    for (uint64_t budget = 200 << 10; budget <= 1600 << 10; budget *= 2) {
        struct rig r = { .budget = budget };

        EQ_U64(rig_run(&r, shuffle_again, NULL), 0);
        CU_ASSERT(r.peak <= budget);
        rig_fini(&r);
    }
}

const struct unit_test flow_memory_tests[] = {
    { "chain.dropped_strings_are_not_kept", dropped_strings },
    { "merge.leaves_room_behind_it", merge_leaves_room },
    UNIT_END,
};
