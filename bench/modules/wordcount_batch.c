/* wordcount_batch INPUT OUTPUT: how often each word occurs, by a batch function that reads the batch's raw text */
#include <taskd.h>

static int
words(td_task *t, const td_batch *b, td_out_str_i64 *out)
{
    td_out *o = &out->o;
    td_words k = td_words_of(b->text);
    td_str w;

    while (td_word_next(&k, &w)) {
        ((td_str *)o->col[0])[o->n] = w;
        ((td_i64 *)o->col[1])[o->n] = 1;
        if (++o->n == o->cap)
            td_flush(o);
    }
    o->mark = o->n;
    return 0;
}
TD_MAP_BATCH(words, str, str_i64);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 3)
        return TD_USAGE(j, "wordcount_batch INPUT OUTPUT");
    return td_save_text(td_sum_by_key(td_map_batch(td_text_file(j, argv[1]), words)), argv[2]);
}
TD_PLUGIN("wordcount_batch", "1.0", job);
