/* wide VERB INPUT OUTPUT: one wide operator over lines "key number", for results and for spilling. */
#include <taskd.h>

static td_str_i64
pair(td_task *t, td_str line)
{
    td_str k = line;
    int64_t v = 1;

    if (!td_cut(&line, ' ', &k) || !td_to_i64(line, &v))
        td_bad(t, "not \"key number\"");
    td_str_i64 r = { k, v };

    return r;
}
TD_MAP(pair, str, str_i64);

static td_str
key(td_task *t, td_str line)
{
    td_str k = line;

    td_cut(&line, ' ', &k);
    return k;
}
TD_MAP(key, str, str);

static td_i64
add(td_task *t, td_i64 a, td_i64 b)
{
    return (td_i64)((uint64_t)a + (uint64_t)b);
}
TD_REDUCE(add, i64);

static void
count_and_first(td_task *t, td_str k, td_iter_i64 *it, td_out_str_str *out)
{
    td_i64 v, first = 0, n = 0;

    while (td_next(it, &v))
        first = n++ ? first : v;
    char *p = (char *)td_tmp(t, 64);
    td_str text = { p, 0 };
    int len = __builtin_snprintf(p, 64, "%lld %lld", (long long)n, (long long)first);

    text.n = (size_t)len;
    td_emit(out, k, text);
}
TD_GROUP(count_and_first, str, i64, str_str);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 4)
        return TD_USAGE(j, "wide VERB INPUT OUTPUT");
    td_str verb = td_cstr(argv[1]);
    td_ds *in = td_text_file(j, argv[2], .partitions = 5);
    td_ds *kv = td_map(in, pair);
    td_ds *r = td_eq(verb, td_lit("sum"))        ? td_sum_by_key(kv)
               : td_eq(verb, td_lit("min"))      ? td_min_by_key(kv)
               : td_eq(verb, td_lit("max"))      ? td_max_by_key(kv)
               : td_eq(verb, td_lit("count"))    ? td_count_by_key(kv)
               : td_eq(verb, td_lit("reduce"))   ? td_reduce_by_key(kv, add)
               : td_eq(verb, td_lit("group"))    ? td_group_by_key(kv, count_and_first)
               : td_eq(verb, td_lit("distinct")) ? td_distinct(td_map(in, key))
               : td_eq(verb, td_lit("union"))    ? td_union(td_map(in, key), td_map(in, key))
               : td_eq(verb, td_lit("sort"))     ? td_sort(in)
               : td_eq(verb, td_lit("down"))     ? td_sort(in, .descending = 1)
               : td_eq(verb, td_lit("sortkey"))  ? td_sort_by_key(kv)
                                                 : NULL;

    if (!r)
        return TD_USAGE(j, "wide VERB INPUT OUTPUT");
    return td_save_text(r, argv[3]);
}
TD_PLUGIN("wide", "1.0", job);
