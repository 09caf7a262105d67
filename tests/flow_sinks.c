/* flow_sinks -- constants, ranges, block files, unions; count, collect, take, reduce, save; mistakes in a graph. */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>

TD_COUNTER(mapped);

static td_u64_u64
pair_of(td_task *t, td_u64 k)
{
    td_add(t, mapped, 1);
    return (td_u64_u64){ k % 7, k };
}
TD_MAP(pair_of, u64, u64_u64);

TD_COUNTER(folds);

static td_u64
add(td_task *t, td_u64 a, td_u64 b)
{
    td_add(t, folds, 1);
    return a + b;
}
TD_REDUCE(add, u64);

static td_str
longer(td_task *t, td_str a, td_str b)
{
    td_str m = a.n >= b.n ? a : b;
    char *p = td_tmp(t, m.n); /* a new string each time */

    if (m.n)
        memcpy(p, m.p, m.n);
    return (td_str){ p, m.n };
}
TD_REDUCE(longer, str);

static td_str
stars(td_task *t, td_u64 k)
{
    char *p = td_tmp(t, k % 300);

    memset(p, '*', k % 300);
    return (td_str){ p, k % 300 };
}
TD_MAP(stars, u64, str);

/* ---- ranges */

static int
ranges_job(td_job *j, int argc, char **argv)
{
    uint64_t parts = *(uint64_t *)rig_arg, n;
    const uint64_t lo[] = { 0, 5, 10, UINT64_MAX - 3000 }, hi[] = { 1, 3, 5000, UINT64_MAX };

    for (int i = 0; i < 4; i++) {
        td_ds *d = td_range(j, lo[i], hi[i], .partitions = (uint32_t)parts);
        uint64_t want = hi[i] > lo[i] ? hi[i] - lo[i] : 0, sum = 0;
        td_rows rows;

        if (td_count(d, &n) || td_collect(d, &rows))
            return 1;
        EQ_U64(n, want);
        EQ_U64(rows.n, want);
        for (uint64_t k = 0; k < rows.n; k++)
            sum += td_row(&rows, u64, k) != lo[i] + k;
        EQ_U64(sum, 0);
        td_rows_free(j, &rows);
    }
    return 0;
}

static void
ranges(void)
{
    for (uint64_t parts = 1; parts < 40; parts = parts * 2 + 1) {
        struct rig r = { .slots = 2 };

        EQ_U64(rig_run(&r, ranges_job, &parts), 0);
        rig_fini(&r);
    }
}

/* ---- constants: strings without a byte behind them, pairs, many */

static int
from_job(td_job *j, int argc, char **argv)
{
    static const td_str words[] = { { "ab", 2 }, { NULL, 0 }, { "c\0d", 3 }, { "", 0 } };
    static const td_str_i64 pairs[] = { { { "x", 1 }, -1 }, { { "y", 1 }, INT64_MIN } };
    enum { MANY = 150000 };
    td_u64_str *many = malloc(MANY * sizeof *many);
    char *text = malloc(MANY * 4);
    td_rows rows;
    int rc = 1;

    for (uint64_t i = 0; i < MANY; i++) {
        memcpy(text + 4 * i, &i, 4);
        many[i] = (td_u64_str){ i * 3, { text + 4 * i, i % 5 } };
        if (i % 5 == 4)
            many[i].val.n = 4;
    }
    td_ds *big = td_from(j, u64_str, many, MANY, .partitions = 7);
    memset(many, 1, MANY * sizeof *many);
    memset(text, 1, MANY * 4);
    free(text);
    free(many);
    if (td_collect(td_from(j, str, words, 4, .partitions = 3), &rows))
        return rc;
    EQ_U64(rows.n, 4);
    CU_ASSERT(td_eq(td_row(&rows, str, 0), td_lit("ab")) && td_row(&rows, str, 1).n == 0);
    CU_ASSERT(td_eq(td_row(&rows, str, 2), words[2]) && td_row(&rows, str, 3).n == 0);
    td_rows_free(j, &rows);
    if (td_collect(td_from(j, str_i64, pairs, 2), &rows))
        return rc;
    EQ_U64(rows.n, 2);
    EQ_U64(td_row_val(&rows, i64, 1), INT64_MIN);
    td_rows_free(j, &rows);
    if (td_collect(big, &rows))
        return rc;
    EQ_U64(rows.n, MANY);
    uint64_t bad = 0;
    for (uint64_t i = 0; i < rows.n; i++) {
        td_str s = td_row_val(&rows, str, i);

        bad += td_row_key(&rows, u64, i) != i * 3 || s.n != i % 5 || memcmp(s.p, &i, s.n);
    }
    EQ_U64(bad, 0);
    td_rows_free(j, &rows);
    uint64_t n = 1;
    rc = td_count(td_from(j, u64, (uint64_t *)NULL, 0), &n);
    EQ_U64(n, 0);
    return rc;
}

static void
constants(void)
{
    struct rig r = { .slots = 2 };

    EQ_U64(rig_run(&r, from_job, NULL), 0);
    rig_fini(&r);
}

/* ---- blocks: what one job saves another reads */

static int
save_blocks_job(td_job *j, int argc, char **argv)
{
    return td_save_blocks(td_map(td_range(j, 0, 5000, .partitions = 3), pair_of), "out");
}

static int
read_blocks_job(td_job *j, int argc, char **argv)
{
    td_rows rows;

    if (td_collect(td_block_files(j, u64_u64, "0+1+2"), &rows))
        return 1;
    EQ_U64(rows.n, 5000);
    uint64_t bad = 0;
    for (uint64_t i = 0; i < rows.n; i++)
        bad += td_row_key(&rows, u64, i) != i % 7 || td_row_val(&rows, u64, i) != i;
    EQ_U64(bad, 0);
    td_rows_free(j, &rows);
    return 0;
}

static int
wrong_blocks_job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    return td_count(td_block_files(j, u64_str, "0"), &n);
}

static void
blocks(void)
{
    static const char *const names[] = { "0", "1", "2" };
    struct rig w = { .slots = 1 }, r = { .slots = 1 }, x = { .slots = 1 };

    EQ_U64(rig_run(&w, save_blocks_job, NULL), 0);
    EQ_U64(w.out_rows, 5000);
    for (uint32_t p = 0; p < 3; p++) {
        size_t n;
        char *bytes = rig_saved(&w, p, &n);

        rig_file(&r, names[p], bytes, n);
        r.file[p].whole = true;
        if (p == 0)
            rig_file(&x, names[0], bytes, n);
    }
    EQ_U64(rig_run(&r, read_blocks_job, NULL), 0);
    EQ_U64(r.in_rows, 5000);
    x.file[0].whole = true;
    CU_ASSERT(rig_run(&x, wrong_blocks_job, NULL) != 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(x.said.p, "\"0\" holds u64_u64, the dataset is of u64_str"));
    rig_fini(&w);
    rig_fini(&r);
    rig_fini(&x);
    struct rig d = { .slots = 1 };
    rig_text(&d, "0", "this is no block file, but it is long enough for a trailer: ......................................");
    d.file[0].whole = true;
    CU_ASSERT(rig_run(&d, wrong_blocks_job, NULL) != 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(d.said.p, "\"0\""));
    rig_fini(&d);
}

/* ---- unions of sources that have nothing in common, also of unions, also with itself */

static td_u64
length(td_task *t, td_str s)
{
    return s.n;
}
TD_MAP(length, str, u64);

static int
union_job(td_job *j, int argc, char **argv)
{
    static const uint64_t some[] = { 100, 200 };
    td_ds *a = td_range(j, 0, 3), *b = td_map(td_text_file(j, "f"), length), *c = td_from(j, u64, some, 2);
    td_ds *d = td_union(td_union(a, b), td_union(c, a));
    td_rows rows;
    uint64_t n, sum;

    if (td_collect(d, &rows) || td_count(d, &n) || td_reduce(d, add, &sum))
        return 1;
    static const uint64_t want[] = { 0, 1, 2, 3, 5, 0, 100, 200, 0, 1, 2 };
    EQ_U64(rows.n, 11);
    EQ_U64(n, 11);
    EQ_U64(sum, 314);
    for (uint64_t i = 0; i < rows.n && i < 11; i++)
        EQ_U64(td_row(&rows, u64, i), want[i]);
    td_rows_free(j, &rows);
    td_ds *sums = td_sum_by_key(td_map(d, pair_of));
    if (td_count(sums, &n))
        return 1;
    EQ_U64(n, 6); /* 0 1 2 3 5 and 100 % 7 = 2, 200 % 7 = 4 */
    if (td_count(td_distinct(d), &n))
        return 1;
    EQ_U64(n, 7);
    return 0;
}

static void
unions(void)
{
    for (int one = 0; one < 2; one++) {
        struct rig r = { .one_record = one };

        rig_text(&r, "f", "abc\nhello\n\n");
        EQ_U64(rig_run(&r, union_job, NULL), 0);
        rig_fini(&r);
    }
}

/* ---- actions */

static int
take_job(td_job *j, int argc, char **argv)
{
    struct rig *r = rig_arg;
    td_ds *d = td_map(td_range(j, 0, 100000, .partitions = 100), pair_of);
    const uint64_t n[] = { 0, 1, 10, 1000, 1001, 5000, 99999, 100000, 200000 };
    const uint32_t tasks[] = { 0, 1, 1, 1, 1 + 4, 1 + 4, 100, 100, 100 };

    for (int i = 0; i < 9; i++) {
        td_rows rows;
        uint64_t bad = 0;

        r->tasks = 0;
        if (td_take(d, n[i], &rows))
            return 1;
        EQ_U64(rows.n, n[i] < 100000 ? n[i] : 100000);
        EQ_U64(r->tasks, tasks[i]);
        for (uint64_t k = 0; k < rows.n; k++)
            bad += td_row_val(&rows, u64, k) != k || td_row_key(&rows, u64, k) != k % 7;
        EQ_U64(bad, 0);
        CU_ASSERT_FATAL(rows.type != NULL);
        EQ_STR(rows.type->name, "u64_u64");
        EQ_U64(rows.type->size, 16);
        td_rows_free(j, &rows);
    }
    return 0;
}

static void
takes(void)
{
    struct rig r = { .slots = 1 };

    EQ_U64(rig_run(&r, take_job, &r), 0);
    rig_fini(&r);
}

/* Results that are lost before main has read them: what is left of the action runs again. */
static int
lost_results_job(td_job *j, int argc, char **argv)
{
    struct rig *r = rig_arg;
    td_ds *d = td_range(j, 0, 1000, .partitions = 5);
    td_rows rows;
    uint64_t sum = 0, bad = 0;

    r->tasks = r->opened = 0;
    if (td_collect(d, &rows))
        return 1;
    EQ_U64(rows.n, 1000);
    for (uint64_t k = 0; k < rows.n; k++)
        bad += td_row(&rows, u64, k) != k;
    EQ_U64(bad, 0);
    EQ_U64(r->tasks, 5 + 4 + 3 + 2 + 1);
    td_rows_free(j, &rows);
    if (td_reduce(d, add, &sum))
        return 1;
    EQ_U64(sum, 999 * 1000 / 2);
    r->lose = 1; /* all: it gives up, and says why */
    return td_collect(d, &rows);
}

static void
lost_results(void)
{
    struct rig r = { .slots = 1, .lose = 2 };

    EQ_U64(rig_run(&r, lost_results_job, &r), err_code_exit(ERR_LOST));
    CU_ASSERT(strstr(r.said.p, "a host that is gone") != NULL);
    rig_fini(&r);
}

static int
reduce_job(td_job *j, int argc, char **argv)
{
    uint64_t sum;
    td_str s;

    if (td_reduce(td_range(j, 0, 10000, .partitions = 9), add, &sum))
        return 1;
    EQ_U64(sum, 49995000);
    EQ_U64(td_total(j, folds), 9999); /* in the tasks and in main */
    if (td_reduce(td_map(td_range(j, 0, 10000, .partitions = 9), stars), longer, &s))
        return 1;
    EQ_U64(s.n, 299);
    for (size_t i = 0; i < s.n; i++)
        CU_ASSERT(s.p[i] == '*');
    if (td_reduce(td_range(j, 5, 6, .partitions = 4), add, &sum)) /* partitions without rows */
        return 1;
    EQ_U64(sum, 5);
    return 0;
}

static int
reduce_nothing_job(td_job *j, int argc, char **argv)
{
    uint64_t sum = 77;
    int rc = td_reduce(td_range(j, 5, 5), add, &sum);

    EQ_U64(sum, 77);
    return rc;
}

static void
reduces(void)
{
    for (int one = 0; one < 2; one++) {
        struct rig r = { .one_record = one };

        EQ_U64(rig_run(&r, reduce_job, NULL), 0);
        rig_fini(&r);
    }
    struct rig r = { .slots = 1 };
    CU_ASSERT(rig_run(&r, reduce_nothing_job, NULL) != 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "td_reduce of an empty dataset"));
    rig_fini(&r);
}

static int
save_job(td_job *j, int argc, char **argv)
{
    return td_save_text(td_map(td_range(j, 0, 100000, .partitions = 4), pair_of), "out");
}

static void
saves_text(void)
{
    struct rig r = { .slots = 1 };
    struct buf want = { 0 };
    size_t n;

    EQ_U64(rig_run(&r, save_job, NULL), 0);
    for (uint64_t i = 0; i < 100000; i++)
        buf_printf(&want, "%llu\t%llu\n", (unsigned long long)(i % 7), (unsigned long long)i);
    char *got = rig_saved_all(&r, &n);
    EQ_U64(n, want.n);
    CU_ASSERT(n == want.n && !memcmp(got, want.p, n));
    EQ_U64(r.out_rows, 100000);
    buf_fini(&want);
    rig_fini(&r);
}

/* Two actions on one lineage: the shuffle is not written twice. */
static int
twice_job(td_job *j, int argc, char **argv)
{
    struct rig *r = rig_arg;
    td_ds *d = td_sum_by_key(td_map(td_range(j, 0, 1000, .partitions = 4), pair_of), .partitions = 3);
    uint64_t n;

    if (td_count(d, &n))
        return 1;
    EQ_U64(n, 7);
    EQ_U64(r->tasks, 7);
    if (td_count(d, &n))
        return 1;
    EQ_U64(n, 7);
    EQ_U64(r->tasks, 10);
    EQ_U64(td_total(j, mapped), 1000);
    return 0;
}

static void
two_actions(void)
{
    struct rig r = { .slots = 1 };

    EQ_U64(rig_run(&r, twice_job, &r), 0);
    rig_fini(&r);
}

/* ---- mistakes are told with the author's line, once, and what is built on them does nothing */

static int
mistakes_job(td_job *j, int argc, char **argv)
{
    td_ds *n = td_range(j, 0, 10);
    td_rows rows;
    uint64_t c;

    switch (*(int *)rig_arg) {
    case 0: n = td_map(n, length); break;
    case 1: n = td_sum_by_key(n); break;
    case 2: n = td_distinct(td_map(n, pair_of)); break;
    case 3: n = td_union(n, td_map(n, pair_of)); break;
    case 4: n = td_text_file(j, ""); break;
    case 5: n = td_from(j, u64, (uint64_t *)NULL, 3); break;
    case 6: n = td_sum_by_key(td_from(j, str_str, (td_str_str *)NULL, 0)); break;
    case 7: n = td_reduce_by_key(td_map(n, pair_of), longer); break;
    case 8: n = td_sort_by_key(n); break;
    case 9: return td_save_text(n, "");
    case 10: return td_reduce(td_map(n, pair_of), add, &c);
    case 11: n = td_block_files(j, u64, ""); break;
    case 12: td_conf_set(j, "taskd.x", "1"); return 0;
    }
    n = td_map(td_map(n, pair_of), pair_of);
    int rc = td_collect(n, &rows) + td_count(n, &c) + td_save_text(n, "out");
    CU_ASSERT(rc == 3);
    return 0; /* the job fails all the same */
}

static void
mistakes(void)
{
    static const char *const want[] = {
        "length() takes str, the dataset holds u64", "td_sum_by_key needs pairs, the dataset holds u64",
        "td_distinct takes single values, the dataset holds u64_u64", "td_union of u64 and u64_u64",
        "td_text_file needs a path", "td_from of 3 values got no array",
        "td_sum_by_key needs values that are numbers, the dataset holds str_str",
        "longer() folds str, the dataset's values are u64", "td_sort_by_key needs pairs, the dataset holds u64",
        "saving needs a path", "add() folds u64, the dataset holds u64_u64",
        "td_block_files needs a path", "\"taskd.x\" can't be set after the first dataset was made",
    };

    for (int i = 0; i < 13; i++) {
        struct rig r = { .slots = 1 };

        CU_ASSERT(rig_run(&r, mistakes_job, &i) != 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, want[i]));
        if (!strstr(r.said.p, want[i]))
            fprintf(stderr, "\n  %d: %s\n", i, r.said.p);
        CU_ASSERT(!strncmp(r.said.p, "flow_sinks.c:", 13));
        CU_ASSERT(strchr(r.said.p, '\n')[1] == 0);
        EQ_U64(r.tasks, 0);
        rig_fini(&r);
    }
}

const struct unit_test flow_sink_tests[] = {
    { "source.ranges", ranges },
    { "source.constants", constants },
    { "source.block_files", blocks },
    { "source.unions", unions },
    { "act.take", takes },
    { "act.lost_results", lost_results },
    { "act.reduce", reduces },
    { "act.save_text", saves_text },
    { "act.two_on_one_lineage", two_actions },
    { "job.mistakes", mistakes },
    UNIT_END,
};
