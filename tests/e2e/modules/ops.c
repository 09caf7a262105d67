/* ops VERB ...: operators put together in ways that one alone does not show; what they give is checked by
 * cases_5_ops.py. */
#include <inttypes.h>
#include <stdio.h>
#include <taskd.h>

TD_COUNTER(words_seen);
TD_COUNTER(kept);
TD_COUNTER(groups);
TD_COUNTER(numbers);
TD_COUNTER(firsts);

static void
words(td_task *t, td_str line, td_out_str_i64 *out)
{
    td_str w;

    TD_EACH_WORD(w, line) {
        td_add(t, words_seen, 1);
        td_emit(out, w, (int64_t)w.n);
    }
}
TD_FLAT_MAP(words, str, str_i64);

static bool
longer_than(td_task *t, td_str_i64 r)
{
    bool keep = r.val > *td_arg(t, int64_t);

    td_add(t, kept, keep);
    return keep;
}
TD_FILTER(longer_than, str_i64);

static td_i64_str
swap(td_task *t, td_str_i64 r)
{
    return (td_i64_str){ r.val, r.key };
}
TD_MAP(swap, str_i64, i64_str);

/* "word: n values, in all m" */
static void
summary(td_task *t, td_str k, td_iter_i64 *it, td_out_str *out)
{
    int64_t v, n = 0, m = 0;

    td_add(t, groups, 1);
    while (td_next(it, &v))
        n++, m += v;
    char *p = (char *)td_tmp(t, k.n + 80);
    int len = snprintf(p, k.n + 80, "%.*s: %" PRId64 " values, in all %" PRId64, TD_S(k), n, m);
    td_emit(out, ((td_str){ p, (size_t)len }));
}
TD_GROUP(summary, str, i64, str);

static td_u64
number(td_task *t, td_u64 v)
{
    td_add(t, numbers, 1);
    return v;
}
TD_MAP(number, u64, u64);

static td_str
name_of(td_task *t, td_u64 v)
{
    char *p = (char *)td_tmp(t, 40);

    return (td_str){ p, (size_t)snprintf(p, 40, "the number %" PRIu64, v) };
}
TD_MAP(name_of, u64, str);

static td_u64
length(td_task *t, td_str s)
{
    return s.n;
}
TD_MAP(length, str, u64);

static td_u64_i64
by_mod(td_task *t, td_u64 v)
{
    return (td_u64_i64){ v % 1000, 1 };
}
TD_MAP(by_mod, u64, u64_i64);

static td_f64_f64
real(td_task *t, td_str s)
{
    td_f64_f64 r = { 0, 0 };
    td_str k = s;

    td_cut(&s, ' ', &k);
    if (!td_to_f64(k, &r.key) || !td_to_f64(s, &r.val))
        td_bad(t, "no number");
    return r;
}
TD_MAP(real, str, f64_f64);

static td_str
larger(td_task *t, td_str a, td_str b)
{
    int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

    return c > 0 || (c == 0 && a.n > b.n) ? a : b;
}
TD_REDUCE(larger, str);

static td_str_str
first_letter(td_task *t, td_str_i64 r)
{
    return (td_str_str){ { r.key.p, 1 }, r.key };
}
TD_MAP(first_letter, str_i64, str_str);

/* Every word, and every word again without its first letter, in columns written here. */
static int
tails(td_task *t, const td_batch *b, td_out_str_i64 *out)
{
    for (uint32_t i = 0; i < b->n; i++) {
        td_str_i64 r = td_load_str_i64(b, i);

        td_emit(out, r.key, r.val);
        r.key.p++;
        r.key.n--;
        td_emit(out, r.key, r.val - 1);
    }
    return 0;
}
TD_MAP_BATCH(tails, str_i64, str_i64);

static int
lines_of(td_task *t, td_str text, td_out_u64 *out)
{
    uint64_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    if (text.n && text.p[text.n - 1] != '\n')
        n++;
    td_emit(out, n);
    return 0;
}
TD_MAP_TEXT(lines_of, u64);

static td_u64
plus(td_task *t, td_u64 a, td_u64 b)
{
    return a + b;
}
TD_REDUCE(plus, u64);

/* ---- verbs */

static int
run_chain(td_job *j, const char *in, const char *out)
{
    int64_t min = 2;
    td_ds *long_words = td_filter(td_flat_map(td_text_file(j, in, .partitions = 6), words), longer_than, TD_ARG(min));
    td_ds *counts = td_count_by_key(long_words, .partitions = 5);

    return td_save_text(td_sort_by_key(td_map(td_sort_by_key(counts), swap), .descending = 1, .partitions = 3), out);
}

static int
run_group(td_job *j, const char *in, const char *out)
{
    td_ds *w = td_map_batch(td_flat_map(td_text_file(j, in, .partitions = 4), words), tails);

    return td_save_text(td_sort(td_group_by_key(w, summary)), out);
}

static int
run_reduce(td_job *j, const char *in, const char *out)
{
    td_ds *w = td_map(td_flat_map(td_text_file(j, in, .partitions = 4), words), first_letter);

    return td_save_text(td_reduce_by_key(w, larger, .partitions = 3), out);
}

static int
run_reals(td_job *j, const char *in, const char *out)
{
    td_ds *r = td_map(td_text_file(j, in, .partitions = 4), real, .on_bad = TD_SKIP);

    return td_save_text(td_sort_by_key(td_sum_by_key(r)), out);
}

static int
run_from(td_job *j, const char *n_, const char *out)
{
    uint64_t n = strtoull(n_, NULL, 10);
    td_u64_str *rows = (td_u64_str *)malloc((n + 1) * sizeof *rows);
    char *text = (char *)malloc(n * 24 + 1);

    for (uint64_t i = 0; i < n; i++) {
        int len = snprintf(text + i * 24, 24, "row-%" PRIu64, i);

        rows[i] = (td_u64_str){ i * 7919 % n, { text + i * 24, (size_t)len } };
    }
    td_ds *d = td_from(j, u64_str, rows, n, .partitions = 9);
    free(text);
    free(rows);
    return td_save_text(td_sort_by_key(d, .partitions = 4), out);
}

static int
run_union(td_job *j, const char *in, const char *dir)
{
    static const uint64_t some[] = { 5, 6, 7, 1005 };
    char path[4000];

    snprintf(path, sizeof path, "%s/blocks", dir);
    if (td_save_blocks(td_map(td_text_file(j, in, .partitions = 3), length), path))
        return 1;
    td_ds *all = td_union(td_union(td_range(j, 0, 50000, .partitions = 3), td_block_files(j, u64, path)),
                          td_union(td_from(j, u64, some, 4), td_map(td_text_file(j, in), length)));
    td_ds *counts = td_sum_by_key(td_map(all, by_mod), .partitions = 6);
    uint64_t n;

    if (td_count(all, &n))
        return 1;
    td_say(j, "rows %" PRIu64, n);
    snprintf(path, sizeof path, "%s/counts", dir);
    return td_save_text(td_union(td_sort_by_key(counts), counts), path);
}

static int
run_take(td_job *j, const char *parts, const char *unused)
{
    const uint64_t take[] = { 0, 1, 100, 1001, 20000 };
    td_ds *d = td_map(td_range(j, 0, 100000, .partitions = (uint32_t)atoi(parts)), number);

    for (int i = 0; i < 5; i++) {
        td_rows rows;

        if (td_take(d, take[i], &rows))
            return 1;
        uint64_t sum = 0;
        for (uint64_t k = 0; k < rows.n; k++)
            sum += td_row(&rows, u64, k);
        td_say(j, "take %" PRIu64 " sum %" PRIu64 " numbers %" PRId64, rows.n, sum, td_total(j, numbers));
        td_rows_free(j, &rows);
    }
    return 0;
}

static int
run_blocks(td_job *j, const char *in, const char *out)
{
    return td_save_text(td_block_files(j, u64, in), out);
}

/* Numbers, and strings, of which main has room for a part only. */
static int
run_collect(td_job *j, const char *n, const char *kind)
{
    td_ds *d = td_range(j, 0, strtoull(n, NULL, 10), .partitions = 4);
    td_rows r;

    if (td_collect(kind[0] == 's' ? td_map(d, name_of) : d, &r))
        return 1;
    td_say(j, "collected %" PRIu64, r.n);
    return 0;
}

/* More rows than anybody could read. */
static int
run_takebig(td_job *j, const char *unused, const char *unused2)
{
    td_rows r;

    if (td_take(td_map(td_range(j, 7, UINT64_MAX), number), 3, &r) || r.n != 3)
        return 1;
    td_say(j, "first %" PRIu64 " %" PRIu64 " %" PRIu64, td_row(&r, u64, 0), td_row(&r, u64, 1), td_row(&r, u64, 2));
    return 0;
}

/* Actions again and again on one lineage: every accumulator counts once. */
static int
run_again(td_job *j, const char *in, const char *out)
{
    td_ds *w = td_flat_map(td_text_file(j, in, .partitions = 4), words);
    td_ds *g = td_group_by_key(w, summary, .partitions = 3);
    uint64_t n[4], lines = 0;
    td_rows rows;

    if (td_count(w, &n[0]) || td_count(g, &n[1]) || td_collect(td_sort(g), &rows) || td_count(td_union(g, g), &n[2])
        || td_count(td_union(w, w), &n[3]) || td_reduce(td_map_text(td_text_file(j, in), lines_of), plus, &lines))
        return 1;
    td_say(j, "counts %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " lines %" PRIu64, n[0], n[1], n[2], n[3], lines);
    td_say(j, "totals %" PRId64 " %" PRId64, td_total(j, words_seen), td_total(j, groups));
    td_say(j, "first %.*s", TD_S(td_row(&rows, str, 0)));
    td_rows_free(j, &rows);
    return td_save_text(g, out);
}

static int
run_conf(td_job *j, const char *in, const char *out)
{
    if (td_conf_set(j, "taskd.default.parallelism", "5") || td_conf_set(j, "my.word", "hello"))
        return 1;
    td_say(j, "word %s, parallelism %s, other %s", td_conf(j, "my.word", "-"), td_conf(j, "taskd.default.parallelism", "-"),
           td_conf(j, "my.other", "-"));
    return td_save_text(td_distinct(td_text_file(j, in)), out);
}

static int
run_sortkey(td_job *j, const char *in, const char *out)
{
    td_ds *w = td_flat_map(td_text_file(j, in, .partitions = 3), words);

    return td_save_text(td_sort_by_key(td_map(w, swap), .partitions = 4), out);
}

static int
job(td_job *j, int argc, char **argv)
{
    static const struct {
        const char *verb;
        int (*run)(td_job *, const char *, const char *);
    } verbs[] = { { "chain", run_chain }, { "group", run_group }, { "reduce", run_reduce }, { "reals", run_reals },
                  { "from", run_from }, { "union", run_union }, { "take", run_take }, { "takebig", run_takebig }, { "blocks", run_blocks }, { "collect", run_collect }, { "again", run_again },
                  { "conf", run_conf }, { "sortkey", run_sortkey } };

    for (size_t i = 0; argc == 4 && i < sizeof verbs / sizeof verbs[0]; i++)
        if (!strcmp(argv[1], verbs[i].verb))
            return verbs[i].run(j, argv[2], argv[3]);
    return TD_USAGE(j, "ops VERB INPUT OUTPUT");
}
TD_PLUGIN("ops", "1.0", job);
