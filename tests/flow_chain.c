/* flow_chain -- the author's functions between source and sink. */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>

TD_COUNTER(seen);
TD_COUNTER(kept);
TD_MAXIMUM(highest);
TD_MINIMUM(lowest);
TD_FSUM(weight);

/* ---- a chain of all shapes: range -> flat_map -> map -> filter -> batch, strings from everywhere */

static const char letters[] = "the quick brown fox jumps over the lazy dog and does not stop there, but runs on and on and on";

/* The string of row k, by itself. */
static td_str
word_of(uint64_t k, char *buf)
{
    int n = snprintf(buf, 100, "%llu %.*s", (unsigned long long)k, (int)(k % 60), letters);

    return (td_str){ buf, (size_t)n };
}

/* 0 to 4 rows; a stack string, a td_tmp string, a literal, an empty one. */
static void
many(td_task *t, td_u64 k, td_out_u64_str *out)
{
    char stack[100];

    td_add(t, seen, 1);
    if (k % 5 > 0)
        td_emit(out, k, word_of(k, stack));
    if (k % 5 > 1)
        td_emit(out, k, word_of(k + 1, td_tmp(t, 100)));
    if (k % 5 > 2)
        td_emit(out, k, td_lit("literal"));
    if (k % 5 > 3)
        td_emit(out, k, ((td_str){ NULL, 0 }));
    memset(stack, '#', sizeof stack);
}
TD_FLAT_MAP(many, u64, u64_str);

static td_str
bracket(td_task *t, td_u64_str r)
{
    char *p = td_tmp(t, r.val.n + 2);

    p[0] = '[';
    if (r.val.n)
        memcpy(p + 1, r.val.p, r.val.n);
    p[r.val.n + 1] = ']';
    return (td_str){ p, r.val.n + 2 };
}
TD_MAP(bracket, u64_str, str);

static bool
even_length(td_task *t, td_str s)
{
    return s.n % 2 == 0;
}
TD_FILTER(even_length, str);

static int
twice(td_task *t, const td_batch *b, td_out_str *out)
{
    for (uint32_t i = 0; i < b->n; i++) {
        td_str s = td_load_str(b, i);
        char stack[300];

        memcpy(stack, s.p, s.n);
        memcpy(stack + s.n, s.p, s.n);
        td_emit(out, ((td_str){ stack, 2 * s.n }));
    }
    return 0;
}
TD_MAP_BATCH(twice, str, str);

static void
put_want(struct buf *want, td_str s)
{
    if ((s.n + 2) % 2)
        return;
    for (int i = 0; i < 2; i++)
        buf_printf(want, "[%.*s]", (int)s.n, s.n ? s.p : "");
    buf_put(want, "\n", 1);
}

static struct buf got;

static int
collect_strings(td_job *j, td_ds *d)
{
    td_rows rows;

    if (td_collect(d, &rows))
        return 1;
    got.n = 0;
    for (uint64_t i = 0; i < rows.n; i++) {
        td_str s = td_row(&rows, str, i);

        buf_put(&got, s.p, s.n);
        buf_put(&got, "\n", 1);
    }
    td_rows_free(j, &rows);
    return 0;
}

static int
all_shapes(td_job *j, int argc, char **argv)
{
    uint64_t n = *(uint64_t *)rig_arg;

    return collect_strings(j, td_map_batch(td_filter(td_map(td_flat_map(td_range(j, 0, n), many), bracket), even_length), twice));
}

static void
want_rows(struct buf *want, uint64_t n)
{
    char b[100];

    for (uint64_t k = 0; k < n; k++) {
        if (k % 5 > 0)
            put_want(want, word_of(k, b));
        if (k % 5 > 1)
            put_want(want, word_of(k + 1, b));
        if (k % 5 > 2)
            put_want(want, td_lit("literal"));
        if (k % 5 > 3)
            put_want(want, (td_str){ NULL, 0 });
    }
}

static void
same_bytes(const struct buf *a, const struct buf *b)
{
    EQ_U64(a->n, b->n);
    CU_ASSERT(a->n == b->n && (!a->n || !memcmp(a->p, b->p, a->n)));
}

static void
shapes(void)
{
    const uint64_t sizes[] = { 0, 1, 2, FLOW_ROWS - 1, FLOW_ROWS, FLOW_ROWS + 1, 5000 };

    for (int i = 0; i < 7; i++)
        for (int one = 0; one < 2; one++) {
            struct rig r = { .one_record = one };
            struct buf want = { 0 };
            uint64_t n = sizes[i];

            EQ_U64(rig_run(&r, all_shapes, &n), 0);
            want_rows(&want, n);
            same_bytes(&got, &want);
            EQ_U64(r.in_rows, n);
            uint64_t sum = 0;
            for (int k = 0; k < 256; k++)
                if (r.touched[k] && r.total[k].i > 0)
                    sum += (uint64_t)r.total[k].i;
            EQ_U64(sum, n);
            rig_fini(&r);
            buf_fini(&want);
        }
}

/* ---- a batch function that writes the columns itself */

static int
columns(td_task *t, const td_batch *b, td_out_str_i64 *out)
{
    td_out *o = &out->o;

    for (uint32_t i = 0; i < b->n; i++)
        for (int k = 0; k < 3; k++) {
            td_str s = td_load_str(b, i);

            td_store_str_i64(o, o->n, (td_str_i64){ { s.p, s.n / (k + 1) }, k });
            td_keep_str_i64(o, o->n);
            if (++o->n == o->cap)
                td_flush(o);
        }
    return 0;
}
TD_MAP_BATCH(columns, str, str_i64);

static td_str
word_map(td_task *t, td_u64 k)
{
    return word_of(k, td_tmp(t, 100));
}
TD_MAP(word_map, u64, str);

static int
columns_job(td_job *j, int argc, char **argv)
{
    td_rows rows;
    uint64_t bad = 0;
    char b[100];

    if (td_collect(td_map_batch(td_map(td_range(j, 0, 5000), word_map), columns), &rows))
        return 1;
    EQ_U64(rows.n, 15000);
    for (uint64_t i = 0; i < rows.n; i++) {
        td_str s = word_of(i / 3, b), got_s = td_row_key(&rows, str, i);

        s.n /= i % 3 + 1;
        bad += !td_eq(s, got_s) || td_row_val(&rows, i64, i) != (int64_t)(i % 3);
    }
    EQ_U64(bad, 0);
    td_rows_free(j, &rows);
    return 0;
}

static void
own_columns(void)
{
    for (int one = 0; one < 2; one++) {
        struct rig r = { .one_record = one };

        EQ_U64(rig_run(&r, columns_job, NULL), 0);
        rig_fini(&r);
    }
}

/* ---- strings that are views into the source, kept while a batch fills */

static void
split_words(td_task *t, td_str line, td_out_str *out)
{
    td_str w;

    TD_EACH_WORD(w, line)
        td_emit(out, w);
}
TD_FLAT_MAP(split_words, str, str);

static td_str
same_str(td_task *t, td_str s)
{
    return s;
}
TD_MAP(same_str, str, str);

static int
view_job(td_job *j, int argc, char **argv)
{
    return collect_strings(j, td_filter(td_map(td_flat_map(td_text_file(j, "f"), split_words), same_str), even_length));
}

static void
views(void)
{
    for (int one = 0; one < 2; one++) {
        struct rig r = { .one_record = one };
        struct buf text = { 0 }, want = { 0 };

        for (int i = 0; text.n < 3 * FLOW_READ + 1000; i++) {
            char w[40];
            int n = snprintf(w, sizeof w, "w%d%.*s", i * 7919 % 10007, i % 20, letters);

            for (int k = 0; k < n; k++)
                w[k] = w[k] == ' ' ? '_' : w[k];
            buf_put(&text, w, (size_t)n);
            buf_put(&text, i % 11 ? " " : "\n", 1);
            if (n % 2 == 0)
                buf_printf(&want, "%.*s\n", n, w);
        }
        rig_file(&r, "f", text.p, text.n);
        EQ_U64(rig_run(&r, view_job, NULL), 0);
        same_bytes(&got, &want);
        rig_fini(&r);
        buf_fini(&want);
        buf_fini(&text);
    }
}

/* ---- bad records */

struct bad_opts {
    uint32_t on_bad;
    int shape; /* 0 flat_map, 1 map, 2 filter */
};

static bool
is_bad(td_task *t, uint64_t k)
{
    td_add(t, seen, 1);
    td_max(t, highest, (int64_t)k);
    td_min(t, lowest, -(int64_t)k);
    td_fadd(t, weight, 0.5);
    if (k % 7 == 3) {
        td_bad(t, "number %llu is bad", (unsigned long long)k), td_bad(t, "and once more");
        return true;
    }
    td_add(t, kept, 1);
    return false;
}

static void
bad_flat(td_task *t, td_u64 k, td_out_u64 *out)
{
    td_emit(out, k);
    td_emit(out, k);
    if (is_bad(t, k))
        return;
    td_emit(out, k);
}
TD_FLAT_MAP(bad_flat, u64, u64);

static td_u64
bad_map(td_task *t, td_u64 k)
{
    return is_bad(t, k) ? 999 : k;
}
TD_MAP(bad_map, u64, u64);

static bool
bad_filter(td_task *t, td_u64 k)
{
    return !is_bad(t, k);
}
TD_FILTER(bad_filter, u64);

static struct buf numbers;

static int
bad_job(td_job *j, int argc, char **argv)
{
    const struct bad_opts *o = rig_arg;
    td_ds *d = td_range(j, 0, 5000);
    td_rows rows;

    d = o->shape == 0   ? td_flat_map(d, bad_flat, .on_bad = o->on_bad)
        : o->shape == 1 ? td_map(d, bad_map, .on_bad = o->on_bad)
                        : td_filter(d, bad_filter, .on_bad = o->on_bad);
    if (td_collect(d, &rows))
        return 1;
    numbers.n = 0;
    for (uint64_t i = 0; i < rows.n; i++)
        put_u64(&numbers, td_row(&rows, u64, i));
    td_rows_free(j, &rows);
    EQ_U64(td_total(j, seen), 5000 - 714);
    EQ_U64(td_total(j, kept), 5000 - 714);
    EQ_U64(td_total(j, highest), 4999);
    EQ_U64(td_total(j, lowest), -4999);
    CU_ASSERT_EQUAL(td_total(j, weight), 0.5 * (5000 - 714));
    return 0;
}

static void
bad_skipped(void)
{
    for (int shape = 0; shape < 3; shape++)
        for (int one = 0; one < 2; one++) {
            struct rig r = { .one_record = one };
            struct bad_opts o = { TD_SKIP, shape };
            uint64_t k = 0;

            EQ_U64(rig_run(&r, bad_job, &o), 0);
            EQ_U64(r.bad_rows, 714);
            EQ_U64(numbers.n / 8, (5000 - 714) * (shape ? 1 : 3));
            for (size_t i = 0; i < numbers.n / 8; i++) {
                uint64_t v;

                memcpy(&v, numbers.p + 8 * i, 8);
                k = i % (shape ? 1 : 3) || i == 0 ? k : k + 1;
                if (i == 0 && shape == 0)
                    k = 0;
                while (k % 7 == 3)
                    k++;
                if (v != k) {
                    EQ_U64(v, k);
                    break;
                }
            }
            rig_fini(&r);
        }
}

static void
bad_fails(void)
{
    for (int shape = 0; shape < 3; shape++) {
        struct rig r = { .slots = 1 };
        struct bad_opts o = { 0, shape };

        CU_ASSERT(rig_run(&r, bad_job, &o) != 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "number 3 is bad"));
        CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "failed at flow_chain.c:"));
        CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "TD_SKIP"));
        EQ_U64(r.bad_rows, 0);
        rig_fini(&r);
    }
}

/* A bad record may take back up to a batch; more is an error. */
static void
over_full(td_task *t, td_u64 k, td_out_u64 *out)
{
    uint64_t n = *td_arg(t, uint64_t);

    if (k == 1)
        for (uint64_t i = 0; i < n; i++)
            td_emit(out, 1000 + i);
    if (k == 1)
        td_bad(t, "no, not these");
    else
        td_emit(out, k);
}
TD_FLAT_MAP(over_full, u64, u64);

static int
over_job(td_job *j, int argc, char **argv)
{
    td_rows rows;
    uint64_t n = *(uint64_t *)rig_arg;

    if (td_collect(td_flat_map(td_range(j, 0, 3), over_full, .on_bad = TD_SKIP, TD_ARG(n)), &rows))
        return 1;
    EQ_U64(rows.n, 2);
    EQ_U64(td_row(&rows, u64, 0), 0);
    EQ_U64(td_row(&rows, u64, 1), 2);
    td_rows_free(j, &rows);
    return 0;
}

static void
bad_over_full(void)
{
    uint64_t n[] = { 0, 1, FLOW_ROWS - 2, FLOW_ROWS - 1, FLOW_ROWS, 3 * FLOW_ROWS };

    for (int i = 0; i < 6; i++) {
        struct rig r = { .slots = 1 };
        int rc = rig_run(&r, over_job, &n[i]);

        if (i < 4) {
            EQ_U64(rc, 0);
            EQ_U64(r.bad_rows, 1);
        } else {
            CU_ASSERT(rc != 0);
            CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "a bad record had already emitted more than a batch"));
        }
        rig_fini(&r);
    }
}

static void
sudden(td_task *t, td_str s, td_out_str *out)
{
    if (td_has(s, td_lit("POISON")))
        td_fail(t, "cannot go on with \"%.*s\"", TD_S(s));
    else
        td_emit(out, s);
}
TD_FLAT_MAP(sudden, str, str);

static int
fail_job(td_job *j, int argc, char **argv)
{
    td_ds *d = td_flat_map(td_text_file(j, "f"), sudden, .on_bad = TD_SKIP);

    return collect_strings(j, rig_arg ? td_map(d, same_str) : d);
}

static void
fails(void)
{
    for (int one = 0; one < 2; one++) {
        struct rig r = { .one_record = one };

        rig_text(&r, "f", "a\nb\na POISON b\nc\n");
        CU_ASSERT(rig_run(&r, fail_job, NULL) != 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "cannot go on with \"a POISON b\""));
        CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "sudden() failed at flow_chain.c:"));
        CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "partition 0, f at byte offset 4: \"a POISON b\""));
        rig_fini(&r);
    }
}

/* ---- an error further down ends the function above it, too */

static uint64_t calls;

static void
endless(td_task *t, td_u64 k, td_out_u64 *out)
{
    calls++;
    for (int i = 0; i < 100; i++)
        td_emit(out, k);
}
TD_FLAT_MAP(endless, u64, u64);

static td_u64
fails_late(td_task *t, td_u64 k)
{
    if (k == 50)
        td_fail(t, "fifty");
    return k;
}
TD_MAP(fails_late, u64, u64);

static int
late_job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    return td_count(td_map(td_flat_map(td_range(j, 0, 1000), endless), fails_late), &n);
}

static void
fails_below(void)
{
    struct rig r = { .slots = 1 };

    calls = 0;
    CU_ASSERT(rig_run(&r, late_job, NULL) != 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "fifty"));
    CU_ASSERT(calls < 100);
    rig_fini(&r);
}

/* ---- state, setup, teardown, arguments, memory, log */

struct state {
    uint64_t n, sum, *table;
};
struct args {
    uint64_t factor;
    char word[16];
};

static int
state_setup(td_task *t)
{
    struct state *s = td_state(t, struct state);

    CU_ASSERT(s->n == 0 && s->sum == 0 && !s->table);
    s->table = td_alloc(t, 1000 * sizeof *s->table);
    CU_ASSERT(s->table[0] == 0 && s->table[999] == 0 && ((uintptr_t)s->table & 15) == 0);
    td_log(t, TD_INFO, "set up with %s", td_arg(t, struct args)->word);
    return 0;
}

static void
state_teardown(td_task *t)
{
    struct state *s = td_state(t, struct state);

    td_add(t, kept, (int64_t)s->n);
    td_log(t, TD_WARN, "ended with %llu", (unsigned long long)s->sum);
}

static td_u64
stateful(td_task *t, td_u64 k)
{
    struct state *s = td_state(t, struct state);
    char *a = td_tmp(t, 3), *b = td_tmp(t, 100000), *c = td_tmp(t, 0);

    CU_ASSERT(((uintptr_t)a & 15) == 0 && ((uintptr_t)b & 15) == 0 && ((uintptr_t)c & 15) == 0);
    memset(b, 1, 100000);
    memset(a, 2, 3);
    s->table[k % 1000]++;
    s->n++;
    s->sum += k;
    return k * td_arg(t, struct args)->factor;
}
TD_MAP(stateful, u64, u64, .state_size = sizeof(struct state), .setup = state_setup, .teardown = state_teardown);

static int
state_job(td_job *j, int argc, char **argv)
{
    struct args a = { 3, "hello" };
    td_ds *d = td_map(td_range(j, 0, 500, .partitions = 2), stateful, TD_ARG(a));
    td_rows rows;

    memset(&a, 0, sizeof a);
    if (td_collect(d, &rows))
        return 1;
    EQ_U64(rows.n, 500);
    for (uint64_t i = 0; i < rows.n; i++)
        CU_ASSERT(td_row(&rows, u64, i) == 3 * i);
    EQ_U64(td_total(j, kept), 500);
    td_rows_free(j, &rows);
    return 0;
}

static void
task_state(void)
{
    for (int one = 0; one < 2; one++) {
        struct rig r = { .one_record = one };

        EQ_U64(rig_run(&r, state_job, NULL), 0);
        EQ_U64(r.tasks, 2);
        EQ_STR(r.log.p, "2 set up with hello\n3 ended with 31125\n2 set up with hello\n3 ended with 93625\n");
        CU_ASSERT(r.peak >= 8000);
        rig_fini(&r);
    }
}

static td_str
scratch(td_task *t, td_u64 k)
{
    char *a = td_tmp(t, 60000), *b = td_tmp(t, 100000);

    memset(a, 'a', 60000);
    memset(b, 'b', 100000);
    CU_ASSERT(a[59999] == 'a');
    return (td_str){ b, k % 50 };
}
TD_MAP(scratch, u64, str);

static int
scratch_job(td_job *j, int argc, char **argv)
{
    td_rows rows;

    if (td_collect(td_map(td_range(j, 0, 1500, .partitions = 1), scratch), &rows))
        return 1;
    EQ_U64(rows.n, 1500);
    for (uint64_t i = 0; i < rows.n; i++) {
        td_str s = td_row(&rows, str, i);

        CU_ASSERT(s.n == i % 50 && (s.n == 0 || (s.p[0] == 'b' && s.p[s.n - 1] == 'b')));
    }
    return 0;
}

/* What one record takes is free for the next: 1500 times 160 kB in a budget of 1 MiB. */
static void
task_scratch(void)
{
    struct rig r = { .budget = 1 << 20 };

    EQ_U64(rig_run(&r, scratch_job, NULL), 0);
    CU_ASSERT(r.peak >= 100000);
    rig_fini(&r);
}

static int
refuse(td_task *t)
{
    if (*td_arg(t, int) == 1)
        td_fail(t, "the dictionary is missing");
    return *td_arg(t, int) == 2;
}

static void
end_badly(td_task *t)
{
    if (*td_arg(t, int) == 3)
        td_fail(t, "the last word");
    if (*td_arg(t, int) == 4)
        td_bad(t, "not a record");
}

static td_u64
plain(td_task *t, td_u64 k)
{
    return k;
}
TD_MAP(plain, u64, u64, .setup = refuse, .teardown = end_badly);

static int
setup_job(td_job *j, int argc, char **argv)
{
    int how = *(int *)rig_arg;
    uint64_t n;

    return td_count(td_map(td_range(j, 0, 10), plain, .on_bad = TD_SKIP, TD_ARG(how)), &n);
}

static void
setup_fails(void)
{
    const char *want[] = { "the dictionary is missing", "the .setup function of plain() failed", "the last word",
                           "not a record" };

    for (int how = 1; how <= 4; how++) {
        struct rig r = { .slots = 1 };

        CU_ASSERT(rig_run(&r, setup_job, &how) != 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, want[how - 1]));
        rig_fini(&r);
    }
}

static int
returns_seven(td_task *t, const td_batch *b, td_out_u64 *out)
{
    return 7;
}
TD_MAP_BATCH(returns_seven, u64, u64);

static int
seven_job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    return td_count(td_map_batch(td_range(j, 0, 10), returns_seven), &n);
}

static void
batch_returns(void)
{
    struct rig r = { .slots = 1 };

    CU_ASSERT(rig_run(&r, seven_job, NULL) != 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "returns_seven() returned 7"));
    rig_fini(&r);
}

/* ---- many accumulator updates of one record; all taken back when it is bad */

static void
greedy(td_task *t, td_u64 k, td_out_u64 *out)
{
    for (int i = 0; i < 100000; i++) {
        td_add(t, seen, 1);
        td_max(t, highest, i);
    }
    if (k == 1)
        td_bad(t, "bad after many");
    td_emit(out, k);
}
TD_FLAT_MAP(greedy, u64, u64);

static int
greedy_job(td_job *j, int argc, char **argv)
{
    uint64_t n;

    if (td_count(td_flat_map(td_range(j, 0, 2), greedy, .on_bad = TD_SKIP), &n))
        return 1;
    EQ_U64(n, 1);
    EQ_U64(td_total(j, seen), 100000);
    EQ_U64(td_total(j, highest), 99999);
    return 0;
}

static void
many_updates(void)
{
    struct rig r = { .slots = 1 };

    EQ_U64(rig_run(&r, greedy_job, NULL), 0);
    rig_fini(&r);
}

/* ---- where: the record and its offset, from inside the function */

static bool
look(td_task *t, td_str s)
{
    if (td_has(s, td_lit("HERE")))
        rig_spot();
    return true;
}
TD_FILTER(look, str);

static int
look_batch(td_task *t, const td_batch *b, td_out_str *out)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (td_has(td_load_str(b, i), td_lit("HERE")))
            rig_spot();
        td_emit(out, td_load_str(b, i));
    }
    return 0;
}
TD_MAP_BATCH(look_batch, str, str);

static int
look_text(td_task *t, td_str text, td_out_str *out)
{
    if (td_has(text, td_lit("HERE")))
        rig_spot();
    return 0;
}
TD_MAP_TEXT(look_text, str);

static int
look_job(td_job *j, int argc, char **argv)
{
    td_ds *d = td_text_file(j, "f+g");

    switch (*(int *)rig_arg) {
    case 0: d = td_filter(d, look); break;
    case 1: d = td_filter(td_map(d, same_str), look); break;
    case 2: d = td_map_batch(d, look_batch); break;
    case 3: d = td_map_text(d, look_text); break;
    case 4: d = td_map_batch(td_map(td_filter(d, even_length), same_str), look_batch); break;
    }
    return collect_strings(j, d);
}

static void
where(void)
{
    for (int shape = 0; shape < 5; shape++)
        for (int one = 0; one < 2; one++) {
            struct rig r = { .one_record = one };

            rig_text(&r, "f", "nothing\nin this one\n");
            rig_text(&r, "g", "first\nsecond\nit is HERE..\nlast\n");
            EQ_U64(rig_run(&r, look_job, &shape), 0);
            CU_ASSERT(r.spot.known == (one || shape == 0));
            if (r.spot.known) {
                EQ_U64(r.spot.file, 1);
                EQ_U64(r.spot.offset, 13);
                CU_ASSERT_PTR_NOT_NULL(strstr(r.spot_text, "it is HERE.."));
            }
            EQ_U64(r.spot.op, shape == 1 ? 1 : shape == 4 ? 2 : 0);
            rig_fini(&r);
        }
    buf_fini(&got);
    buf_fini(&numbers);
}

const struct unit_test flow_chain_tests[] = {
    { "chain.all_shapes", shapes },
    { "chain.columns_written_by_the_author", own_columns },
    { "chain.views_into_the_source", views },
    { "chain.bad_records_skipped", bad_skipped },
    { "chain.bad_record_fails", bad_fails },
    { "chain.bad_record_over_full", bad_over_full },
    { "chain.td_fail_names_the_record", fails },
    { "chain.failure_below_ends_what_is_above", fails_below },
    { "chain.state_setup_teardown_arg_memory", task_state },
    { "chain.scratch_memory_of_a_record", task_scratch },
    { "chain.setup_and_teardown_fail", setup_fails },
    { "chain.batch_function_returns_nonzero", batch_returns },
    { "chain.many_updates_taken_back", many_updates },
    { "chain.where", where },
    UNIT_END,
};
