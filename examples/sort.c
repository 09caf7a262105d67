/*
 * sort -- lines in the order of their bytes, over all parts: `cat OUTPUT/part-*` is sorted.
 *
 *     taskd-cc sort.c -o sort.so
 *     taskd-submit --master 'local[*]' sort.so INPUT OUTPUT [PARTS]
 *     taskd-submit --conf sort.descending=true sort.so INPUT OUTPUT
 *
 * More data than memory is fine: what does not fit in --executor-memory is spilled to disk and merged.
 */
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t parts = 0;

    if (argc < 3 || argc > 4 || (argc == 4 && (!td_to_u64(td_cstr(argv[3]), &parts) || parts > 10000)))
        return TD_USAGE(j, "sort INPUT OUTPUT [PARTS]");
    bool down = !strcmp(td_conf(j, "sort.descending", "false"), "true");
    td_ds *lines = td_text_file(j, argv[1]);
    td_ds *sorted = td_sort(lines, .partitions = (uint32_t)parts, .descending = down);

    return td_save_text(sorted, argv[2]);
}
TD_PLUGIN("sort", "1.0", job);
