/*
 * where HOW WHAT INPUT OUTPUT: crashes (WHAT is crash) or says td_fail (fail) at the line "a POISON b", in a function of the
 * shape and at the place in the graph that HOW names.
 */
#include <taskd.h>

enum what { CRASH, FAIL, NOTHING };

static volatile int zero;

static inline void
check(td_task *t, td_str s)
{
    enum what what = *td_arg(t, enum what);

    if (what == NOTHING || !td_has(s, td_lit("POISON")))
        return;
    if (what == FAIL)
        td_fail(t, "on purpose");
    else
        *(volatile int *)(uintptr_t)zero = 1;
}

static td_str
record(td_task *t, td_str s)
{
    check(t, s);
    return s;
}
TD_MAP(record, str, str);

static int
batch(td_task *t, const td_batch *b, td_out_str *out)
{
    for (uint32_t i = 0; i < b->n; i++) {
        check(t, td_load_str(b, i));
        td_emit(out, td_load_str(b, i));
    }
    return 0;
}
TD_MAP_BATCH(batch, str, str);

static int
text(td_task *t, td_str lines, td_out_str *out)
{
    check(t, lines);
    td_emit(out, lines);
    return 0;
}
TD_MAP_TEXT(text, str);

static td_str_i64
one(td_task *t, td_str s)
{
    (void)t;
    return (td_str_i64){ s, 1 };
}
TD_MAP(one, str, str_i64);

static td_str_i64
pair(td_task *t, td_str_i64 p)
{
    check(t, p.key);
    return p;
}
TD_MAP(pair, str_i64, str_i64);

/* Lines by their length: all of "line NNNNNN" have the key 11, the poisoned one has -10. */
static td_i64_str
length(td_task *t, td_str s)
{
    (void)t;
    return (td_i64_str){ td_has(s, td_lit("POISON")) ? -10 : (int64_t)s.n, s };
}
TD_MAP(length, str, i64_str);

static td_i64_str
number(td_task *t, td_i64_str p)
{
    check(t, p.val);
    return p;
}
TD_MAP(number, i64_str, i64_str);

static void
group(td_task *t, td_i64 key, td_iter_str *it, td_out_str *out)
{
    td_str v;

    (void)key;
    while (td_next(it, &v)) {
        check(t, v);
        td_emit(out, v);
    }
}
TD_GROUP(group, i64, str, str);

static td_str_u64
seen(td_task *t, td_str s)
{
    (void)t;
    return (td_str_u64){ s, 1 };
}
TD_MAP(seen, str, str_u64);

/* Each line is there twice in each of two inputs: 1 + 1 on the map side, 2 + 2 where they meet. */
static td_u64
add(td_task *t, td_u64 a, td_u64 b)
{
    if (a + b > 3)
        check(t, td_lit("POISON"));
    return a + b;
}
TD_REDUCE(add, u64);

static int
job(td_job *j, int argc, char **argv)
{
    if (argc != 5)
        return TD_USAGE(j, "where HOW WHAT INPUT OUTPUT");
    const char *how = argv[1];
    enum what what = strcmp(argv[2], "fail") ? CRASH : FAIL, nothing = NOTHING;
    td_ds *in = td_text_file(j, argv[3], .partitions = 2), *d = NULL;

    if (!strcmp(how, "record"))
        d = td_map(in, record, TD_ARG(what));
    else if (!strcmp(how, "batch"))
        d = td_map_batch(in, batch, TD_ARG(what));
    else if (!strcmp(how, "text"))
        d = td_map_text(in, text, TD_ARG(what));
    else if (!strcmp(how, "sorted"))
        d = td_map(td_sort(in), record, TD_ARG(what));
    else if (!strcmp(how, "counted"))
        d = td_map(td_sum_by_key(td_map(in, one)), pair, TD_ARG(what));
    else if (!strcmp(how, "third")) /* stage */
        d = td_map(td_sort_by_key(td_sum_by_key(td_map(in, one))), pair, TD_ARG(what));
    else if (!strcmp(how, "number"))
        d = td_map(td_sort_by_key(td_map(in, length)), number, TD_ARG(what));
    else if (!strcmp(how, "group"))
        d = td_group_by_key(td_map(in, length), group, TD_ARG(what));
    else if (!strcmp(how, "behind-group"))
        d = td_map(td_group_by_key(td_map(in, length), group, TD_ARG(nothing)), record, TD_ARG(what));
    else if (!strcmp(how, "reduce"))
        d = td_reduce_by_key(td_map(in, seen), add, TD_ARG(what));
    else
        return TD_USAGE(j, "where HOW WHAT INPUT OUTPUT");
    return td_save_text(d, argv[4]);
}
TD_PLUGIN("where", "1.0", job);
