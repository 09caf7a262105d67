/* Tests of taskd_test.h, and by it of the loops that taskd.h makes around an author's functions. */
#include "unit.h"

#include <taskd_test.h>

TD_COUNTER(lines);
TD_MAXIMUM(longest);
TD_MINIMUM(shortest);
TD_FSUM(half);

static void
words(td_task *t, td_str line, td_out_str_i64 *out)
{
    td_str w;

    td_add(t, lines, 1);
    td_max(t, longest, (int64_t)line.n);
    td_min(t, shortest, (int64_t)line.n);
    td_fadd(t, half, 0.5);
    TD_EACH_WORD(w, line) {
        td_emit(out, w, 1);
        if (td_eq(w, td_lit("BAD"))) {
            td_bad(t, "\"%.*s\" has a bad word", TD_S(line));
            return;
        }
        if (td_eq(w, td_lit("FAIL"))) {
            td_fail(t, "line of %d bytes", (int)line.n);
            return;
        }
    }
}
TD_FLAT_MAP(words, str, str_i64);

/* Each byte of a line many times, from a buffer on the stack: emit acts as if it copied. */
static void
spell(td_task *t, td_str line, td_out_str *out)
{
    for (size_t i = 0; i < line.n; i++) {
        char b[2] = { line.p[i], line.p[i] };
        td_str s = { b, 2 };

        td_emit(out, s);
    }
}
TD_FLAT_MAP(spell, str, str);

static td_str
shout(td_task *t, td_str s)
{
    char *p = td_tmp(t, s.n);

    CU_ASSERT(p != NULL && td_alloc(t, s.n) != NULL);
    td_str r = { p, s.n };

    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)(s.p[i] >= 'a' && s.p[i] <= 'z' ? s.p[i] - 32 : s.p[i]);
    if (td_starts(s, td_lit("!")))
        td_bad(t, "no shouting");
    return r;
}
TD_MAP(shout, str, str);

static td_i64_f64
swap(td_task *t, td_u64_i64 v)
{
    td_i64_f64 r = { v.val, (double)v.key / 2 };

    return r;
}
TD_MAP(swap, u64_i64, i64_f64);

static bool
multiple(td_task *t, td_u64 v)
{
    const td_u64 *of = td_arg(t, td_u64);

    td_add(t, lines, 1);
    if (v == 13)
        td_bad(t, "13 is bad");
    return v % *of == 0;
}
TD_FILTER(multiple, u64);

static td_i64 larger(td_task *t, td_i64 a, td_i64 b) { return a > b ? a : b; }
TD_REDUCE(larger, i64);
static td_i64 minus(td_task *t, td_i64 a, td_i64 b) { return a - b; }
TD_REDUCE(minus, i64);
static td_f64 plus(td_task *t, td_f64 a, td_f64 b) { return a + b; }
TD_REDUCE(plus, f64);
static td_str longer(td_task *t, td_str a, td_str b) { return a.n > b.n || (a.n == b.n && a.p[0] < b.p[0]) ? a : b; }
TD_REDUCE(longer, str);

static void
mean(td_task *t, td_str key, td_iter_f64 *it, td_out_str_f64 *out)
{
    double v, sum = 0;
    int n = 0;

    while (td_next(it, &v)) {
        sum += v;
        n++;
    }
    if (n == 0)
        td_bad(t, "nothing");
    td_emit(out, key, n ? sum / n : 0);
}
TD_GROUP(mean, str, f64, str_f64);

static int
lengths(td_task *t, const td_batch *b, td_out_u64 *out)
{
    const td_str *s = b->col[0];

    for (uint32_t i = 0; i < b->n; i++) {
        t->row = i;
        if (s[i].n == 13) {
            td_bad(t, "13 bytes");
            continue;
        }
        ((td_u64 *)out->o.col[0])[out->o.n++] = s[i].n + b->first * 0;
        if (out->o.n == out->o.cap)
            td_flush(&out->o);
    }
    return 0;
}
TD_MAP_BATCH(lengths, str, u64);

static int
batches(td_task *t, const td_batch *b, td_out_u64 *out)
{
    td_emit(out, b->n);
    return 0;
}
TD_MAP_BATCH(batches, str, u64);

static int
newlines(td_task *t, td_str text, td_out_str *out)
{
    td_str line;

    if (td_has(text, td_lit("STOP")))
        return 7;
    while (text.n && td_cut(&text, '\n', &line))
        if (line.n)
            td_emit(out, line);
    return 0;
}
TD_MAP_TEXT(newlines, str);

struct numbered {
    uint64_t next, *table;
};
static int
numbers_setup(td_task *t)
{
    struct numbered *s = td_state(t, struct numbered);

    s->next = t->arg ? *td_arg(t, td_u64) : 1;
    s->table = td_alloc(t, 8 * 100);
    if (s->next == 666)
        td_fail(t, "not that one");
    td_log(t, TD_INFO, "from %d", (int)s->next);
    return s->next == 777;
}
static void
numbers_teardown(td_task *t)
{
    td_log(t, TD_INFO, "to %d", (int)td_state(t, struct numbered)->next);
}
static td_u64_str
number(td_task *t, td_str line)
{
    struct numbered *s = td_state(t, struct numbered);
    td_u64_str r = { s->next, line };

    s->table[s->next % 100] = s->next;
    s->next++;
    return r;
}
TD_MAP(number, str, u64_str, .state_size = sizeof(struct numbered), .setup = numbers_setup,
       .teardown = numbers_teardown);

static void
lines_become_rows(void)
{
    CU_ASSERT_TD(TD_TRY_MAP(words, ""), "");
    CU_ASSERT_TD(TD_TRY_MAP(words, "the cat\n\nthe\tmat\n"), "the:1 cat:1 the:1 mat:1");
    CU_ASSERT_TD(TD_TRY_MAP(words, "a b c d e f g h i\nj"), "a:1 b:1 c:1 d:1 e:1 f:1 g:1 h:1 i:1 j:1");
    CU_ASSERT_TD(TD_TRY_MAP(spell, "abc\nd"), "aa bb cc dd");
    CU_ASSERT_TD(TD_TRY_MAP(shout, "two words\n\n\"x\\\n\tTab\x01"), "\"TWO WORDS\" \"\" \"\\\"X\\\\\" \"\\tTAB\\x01\"");
    CU_ASSERT_TD(TD_TRY_MAP(newlines, "a\n\nb c\nd"), "a \"b c\" d");
    CU_ASSERT_TD(TD_TRY_FILTER_ROWS(multiple, u64, ((td_u64[]){ 1, 2, 3, 4, 13, 5, 6 }), 7, TD_ARG((td_u64){ 2 })),
                 "2 4 6");
}

static void
rows_are_read_back(void)
{
    td_u64_i64 in[] = { { 1, -5 }, { 3, 7 } };
    td_try r = TD_TRY_MAP_ROWS(swap, u64_i64, in, 2);

    CU_ASSERT(td_try_is(&r, "-5:0.5 7:1.5"));
    EQ_U64(r.n, 2);
    CU_ASSERT(td_row_key(&r, i64, 1) == 7 && td_row_val(&r, f64, 0) == 0.5);
    td_try_free(&r);
    r = TD_TRY_MAP(words, "one two");
    CU_ASSERT(td_eq(td_row_key(&r, str, 1), td_lit("two")) && td_row_val(&r, i64, 1) == 1);
    td_try_free(&r);
}

static void
accumulators_start_at_their_identities(void)
{
    td_try r = TD_TRY_MAP(words, "");

    CU_ASSERT(td_total(&r.job, lines) == 0 && td_total(&r.job, longest) == INT64_MIN);
    CU_ASSERT(td_total(&r.job, shortest) == INT64_MAX && td_total(&r.job, half) == 0.0);
    td_try_free(&r);
    r = TD_TRY_MAP(words, "a\nb c\n\nxyz");
    CU_ASSERT(td_total(&r.job, lines) == 4 && td_total(&r.job, longest) == 3);
    CU_ASSERT(td_total(&r.job, shortest) == 0 && td_total(&r.job, half) == 2.0);
    td_try_free(&r);
}

static void
bad_records_leave_nothing_behind(void)
{
    td_try r = TD_TRY_MAP(words, "a b\nc d e f BAD g\nh\nBAD");

    CU_ASSERT(td_try_is(&r, "a:1 b:1 h:1"));
    EQ_U64(r.bad, 2);
    EQ_STR(r.bad_text, "\"BAD\" has a bad word");
    CU_ASSERT(td_total(&r.job, lines) == 2 && td_total(&r.job, longest) == 3 && td_total(&r.job, half) == 1.0);
    td_try_free(&r);
    r = TD_TRY_MAP(shout, "a\n!b\nc");
    CU_ASSERT(td_try_is(&r, "A C"));
    EQ_U64(r.bad, 1);
    td_try_free(&r);
    r = TD_TRY_FILTER_ROWS(multiple, u64, ((td_u64[]){ 26, 13, 39 }), 3, TD_ARG((td_u64){ 13 }));
    CU_ASSERT(td_try_is(&r, "26 39"));
    CU_ASSERT(td_total(&r.job, lines) == 2);
    td_try_free(&r);
    r = TD_TRY_MAP(lengths, "1\nthirteen byte\n333");
    CU_ASSERT(td_try_is(&r, "1 3"));
    EQ_U64(r.bad, 1);
    td_try_free(&r);
}

static void
failures_have_their_text(void)
{
    CU_ASSERT_TD_FAILS(TD_TRY_MAP(words, "a\nb FAIL c"), "line of 8 bytes");
    CU_ASSERT_TD_FAILS(TD_TRY_MAP(newlines, "a\nSTOP"), "returned a value that is not 0");
    CU_ASSERT_TD_FAILS(TD_TRY_MAP(number, "a", TD_ARG((td_u64){ 666 })), "not that one");
    CU_ASSERT_TD_FAILS(TD_TRY_MAP(number, "a", TD_ARG((td_u64){ 777 })), "setup returned a value that is not 0");
    CU_ASSERT_TD_FAILS(TD_TRY_MAP(batches, "a\nb\nc"), "rows depend on the batch size: with 1024 records \"3\", with 2");
    CU_ASSERT_TD_FAILS(TD_TRY_MAP(swap, "a"), "swap() takes u64_i64, the test gives str");
}

static void
state_lives_as_long_as_the_attempt(void)
{
    td_try r = TD_TRY_MAP(number, "a\nb\nc", TD_ARG((td_u64){ 40 }));

    CU_ASSERT(td_try_is(&r, "40:a 41:b 42:c"));
    EQ_STR(r.log, "from 40\nto 43\n");
    td_try_free(&r);
    CU_ASSERT_TD(TD_TRY_MAP(number, "a"), "1:a");
}

static void
reducers_are_folded_in_every_order(void)
{
    CU_ASSERT_TD(TD_TRY_REDUCE(larger, i64, ((td_i64[]){ 3, 9, -1, 4 }), 4), "9");
    CU_ASSERT_TD(TD_TRY_REDUCE(larger, i64, ((td_i64[]){ -3 }), 1), "-3");
    CU_ASSERT_TD(TD_TRY_REDUCE(larger, i64, (td_i64 *)NULL, 0), "");
    CU_ASSERT_TD_FAILS(TD_TRY_REDUCE(minus, i64, ((td_i64[]){ 3, 9, -1, 4 }), 4),
                       "the order matters: folded from the left \"-9\", from the right \"-7\"");
    td_str s[] = { td_lit("ab"), td_lit("xyz"), td_lit("") };

    CU_ASSERT_TD(TD_TRY_REDUCE(longer, str, s, 3), "xyz");
    td_try r = TD_TRY_REDUCE(plus, f64, ((td_f64[]){ 0.1, 0.2, 0.3, 1e8 }), 4);

    EQ_STR(r.fail_text, "");
    EQ_U64(r.n, 1);
    td_try_free(&r);
}

static void
groups_see_all_values(void)
{
    CU_ASSERT_TD(TD_TRY_GROUP(mean, str, f64, td_lit("k"), ((td_f64[]){ 1, 2, 6 }), 3), "k:3");
    td_try r = TD_TRY_GROUP(mean, str, f64, td_lit("k"), (td_f64 *)NULL, 0);

    CU_ASSERT(td_try_is(&r, ""));
    EQ_STR(r.bad_text, "nothing");
    td_try_free(&r);
}

static int dropped;
struct prices { td_i64 of[3]; };
static struct prices *
prices_build(td_task *t, td_str bytes)
{
    struct prices *p = (struct prices *)malloc(sizeof *p);
    td_str field;

    for (int i = 0; p && i < 3; i++)
        CU_ASSERT_FATAL(td_cut(&bytes, ' ', &field) && td_to_i64(field, &p->of[i]));
    return p;
}
static void
prices_drop(struct prices *p)
{
    free(p);
    dropped++;
}
TD_BROADCAST(prices, struct prices, prices_build, prices_drop);
TD_BROADCAST(plain_bytes);

static td_i64
price(td_task *t, td_str s)
{
    return td_get(t, prices)->of[s.n % 3] + (td_i64)td_get(t, plain_bytes)->n * 1000;
}
TD_MAP(price, str, i64);

static void
broadcasts_are_built_for_a_try(void)
{
    TD_TRY_BROADCAST(prices, "7 8 9", 5);
    TD_TRY_BROADCAST(plain_bytes, "xy", 2);
    dropped = 0;
    CU_ASSERT_TD(TD_TRY_MAP(price, "a\nbb\n\nd"), "2008 2009 2007 2008");
    CU_ASSERT(dropped > 0);
    TD_TRY_BROADCAST(prices, "1 2 3", 5);
    TD_TRY_BROADCAST(plain_bytes, NULL, 0);
    CU_ASSERT_TD(TD_TRY_MAP(price, "a"), "2");
}

static const struct unit_test tests[] = {
    { "try.lines_become_rows", lines_become_rows },
    { "try.rows_are_read_back", rows_are_read_back },
    { "try.accumulators_start_at_their_identities", accumulators_start_at_their_identities },
    { "try.bad_records_leave_nothing_behind", bad_records_leave_nothing_behind },
    { "try.failures_have_their_text", failures_have_their_text },
    { "try.state_lives_as_long_as_the_attempt", state_lives_as_long_as_the_attempt },
    { "try.reducers_are_folded_in_every_order", reducers_are_folded_in_every_order },
    { "try.groups_see_all_values", groups_see_all_values },
    { "try.broadcasts_are_built_for_a_try", broadcasts_are_built_for_a_try },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "try", tests);
}
