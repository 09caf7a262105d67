/* flow_memory -- a filter that drops nearly all of what does not lie in the source must not keep it. */
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

const struct unit_test flow_memory_tests[] = {
    { "chain.dropped_strings_are_not_kept", dropped_strings },
    UNIT_END,
};
