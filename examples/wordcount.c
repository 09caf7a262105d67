/*
 * wordcount -- how often does each word occur?
 *
 *     taskd-cc wordcount.c -o wordcount.so
 *     taskd-submit --master 'local[*]' wordcount.so INPUT OUTPUT
 *
 * INPUT is a text file, a directory or a glob; OUTPUT/part-* has lines "word<TAB>count", in no order.  A word
 * is a run of bytes greater than a blank.
 */
#include <taskd.h>

/* A line into its words, each with a 1.  The text of a word stays where it is: nothing is copied. */
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
    td_ds *lines = td_text_file(j, argv[1]);
    td_ds *counts = td_sum_by_key(td_flat_map(lines, words));

    return td_save_text(counts, argv[2]);
}
TD_PLUGIN("wordcount", "1.0", job);
