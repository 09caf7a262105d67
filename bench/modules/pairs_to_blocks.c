/* pairs_to_blocks TEXT BLOCKS: "key value" lines as block files of u64_u64 */
#include <taskd.h>

static td_u64_u64
pair(td_task *t, td_str line)
{
    td_u64_u64 r = { 0, 0 };
    td_str key;

    if (!td_cut(&line, ' ', &key) || !td_to_u64(key, &r.key) || !td_to_u64(line, &r.val))
        td_fail(t, "not a pair of numbers: \"%.*s\"", TD_S(line));
    return r;
}
TD_MAP(pair, str, u64_u64);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "pairs_to_blocks TEXT BLOCKS");
    return td_save_blocks(td_map(td_text_file(j, argv[1]), pair), argv[2]);
}
TD_PLUGIN("pairs_to_blocks", "1.0", job);
