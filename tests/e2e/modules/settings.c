/* settings WHAT [KEY VALUE]...: sets keys, then does what shows whether they count; settings.rows is how much to sort. */
#include <stdio.h>
#include <stdlib.h>
#include <taskd.h>

static td_u64
odd_one(td_task *t, td_u64 v)
{
    if (v == 5)
        td_fail(t, "it is five");
    for (volatile uint64_t forever = v == 7; forever;)
        ;
    return v;
}
TD_MAP(odd_one, u64, u64);

static td_str
name_of(td_task *t, td_u64 v)
{
    char *p = (char *)td_tmp(t, 60);

    return (td_str){ p, (size_t)snprintf(p, 60, "the name of number %llu", (unsigned long long)(v * 7919 % 100003)) };
}
TD_MAP(name_of, u64, str);

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t n, rows = strtoull(td_conf(j, "settings.rows", "200000"), NULL, 10);

    for (int i = 2; i + 1 < argc; i += 2)
        if (td_conf_set(j, argv[i], argv[i + 1]))
            return 1;
    if (!strcmp(argv[1], "read")) {
        td_say(j, "it is %s", td_conf(j, argv[2], "nothing"));
        return 0;
    }
    if (!strcmp(argv[1], "fail"))
        return td_count(td_map(td_range(j, 5, 6), odd_one), &n);
    if (!strcmp(argv[1], "hang"))
        return td_count(td_map(td_range(j, 7, 8), odd_one), &n);
    return td_count(td_sort(td_map(td_range(j, 0, rows, .partitions = 2), name_of), .partitions = 2), &n);
}
TD_PLUGIN("settings", "1.0", job);
