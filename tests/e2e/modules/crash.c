#include <taskd.h>

static bool keep(td_task *t, td_str line)
{
    volatile int *nowhere = NULL;
    if (td_has(line, td_lit("POISON")))
        *nowhere = 1; /* line 7: what the report must name */
    return true;
}
TD_FILTER(keep, str);

/* crash INPUT OUTPUT PARTITIONS: dies of a null pointer at a record that contains POISON. */
static int
job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    if (argc != 4 || !td_to_u64(td_cstr(argv[3]), &n))
        return TD_USAGE(j, "crash INPUT OUTPUT PARTITIONS");
    return td_save_text(td_filter(td_text_file(j, argv[1], .partitions = (uint32_t)n), keep), argv[2]);
}
TD_PLUGIN("crash", "1.0", job);
