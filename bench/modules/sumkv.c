/* sumkv BLOCKS OUTPUT: sums of u64 values by u64 key over block files */
#include <taskd.h>

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "sumkv BLOCKS OUTPUT");
    return td_save_text(td_sum_by_key(td_block_files(j, u64_u64, argv[1])), argv[2]);
}
TD_PLUGIN("sumkv", "1.0", job);
