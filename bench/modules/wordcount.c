/* wordcount INPUT OUTPUT: how often each word occurs, by a record function */
#include <taskd.h>

static void
words(td_task *t, td_str line, td_out_str_i64 *out)
{
    td_str w;

    TD_EACH_WORD(w, line)
        td_emit(out, w, 1);
}
TD_FLAT_MAP(words, str, str_i64);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "wordcount INPUT OUTPUT");
    return td_save_text(td_sum_by_key(td_flat_map(td_text_file(j, argv[1]), words)), argv[2]);
}
TD_PLUGIN("wordcount", "1.0", job);
