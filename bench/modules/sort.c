/* sort INPUT OUTPUT: all lines in the order of their bytes */
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "sort INPUT OUTPUT");
    return td_save_text(td_sort(td_text_file(j, argv[1])), argv[2]);
}
TD_PLUGIN("sort", "1.0", job);
