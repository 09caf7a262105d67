/* Tests of flow/merge and flow/merge_set: against a sort of all rows. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/order.h"
#include "flow/merge_set.h"
#include "unit.h"

struct row {
    uint64_t rank;
    uint64_t bits;
    struct block_str str;
    uint64_t id; /* input << 32 | position in it */
};

/* One merge to be tried: rows made from a seed, dealt to inputs. */
struct trial {
    uint8_t key, val;
    bool by_key, descending, no_same;
    uint32_t inputs, rows, domain;
    uint32_t block_bytes;
    struct arena a;
    struct row *row; /* all of them, in the order of inputs */
    struct block_run **run;
    int *fd;
};

static const struct trial *sorting; /* qsort has no argument */

static uint64_t
next_random(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15ull;
    return hash_u64(*s);
}

static struct block_str
string(struct arena *a, const void *p, size_t n)
{
    char *q = arena_alloc(a, n + BLOCK_PAD);

    memcpy(q, p, n);
    memset(q + n, 0x55, BLOCK_PAD);
    return (struct block_str){ q, n };
}

/* Keys of a small domain, so that many are equal; strings share long prefixes. */
static void
make_key(struct trial *t, struct row *r, uint64_t k)
{
    char text[64];
    double d = ((double)k - t->domain / 2) / 3;
    int n = k % 5 ? snprintf(text, sizeof text, "%.*sprefix%llu", (int)(k % 3) * 9, "common common common",
                             (unsigned long long)k)
                  : snprintf(text, sizeof text, "%llu", (unsigned long long)k / 5);

    r->bits = t->key == BLOCK_I64 ? k - t->domain / 2 : k * 0x10000000001ull;
    if (t->key == BLOCK_F64) {
        d = k == 1 ? 0.0 : k == 2 ? -0.0 : k == 3 ? 0.0 / 0.0 : k == 4 ? 1.0 / 0.0 : d;
        memcpy(&r->bits, &d, 8);
    }
    r->str = string(&t->a, text, k == 7 ? 0 : (size_t)n);
    const void *col = t->key == BLOCK_STR ? (const void *)&r->str : &r->bits;
    if (t->by_key)
        block_key_ranks(t->key, t->descending, col, 0, 1, &r->rank);
    else
        block_hash_ranks(t->key, col, 0, 1, &r->rank);
}

static int
key_order(const struct trial *t, const struct row *a, const struct row *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    int c = t->key == BLOCK_STR ? block_str_cmp(a->str, b->str)
                                : block_key_cmp(t->key, &a->bits, 0, &b->bits, 0);
    return t->descending ? -c : c;
}

static int
row_order(const void *x, const void *y)
{
    const struct row *a = x, *b = y;
    int c = key_order(sorting, a, b);

    return c ? c : (a->id > b->id) - (a->id < b->id);
}

static void
sort_rows(const struct trial *t, struct row *r, uint32_t n)
{
    sorting = t;
    qsort(r, n, sizeof *r, row_order);
}

static void
put_rows(struct trial *t, struct block_writer *w, const struct row *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t id = r[i].id;
        struct block_str text = string(&t->a, &id, 8);
        struct block_cols c = { .n = 1 };

        c.col[0] = t->key == BLOCK_STR ? (const void *)&r[i].str : &r[i].bits;
        c.col[1] = t->val == BLOCK_STR ? (const void *)&text : &id;
        NO_ERR(block_put(w, &c, 0, 1));
    }
}

static int
temp_fd(void)
{
    int fd = memfd_create("merge-test", MFD_CLOEXEC);

    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

/* Input i gets a share of the rows, sorted; some inputs stay empty. */
static void
trial_init(struct trial *t, uint64_t seed)
{
    struct block_run_opts o = { .schema = { t->key, t->val }, .block_bytes = t->block_bytes };
    uint32_t at = 0;

    t->row = ARENA_ARRAY(&t->a, struct row, t->rows);
    t->run = ARENA_ARRAY(&t->a, struct block_run *, t->inputs);
    t->fd = ARENA_ARRAY(&t->a, int, t->inputs);
    for (uint32_t i = 0; i < t->inputs; i++) {
        struct block_writer *w = NULL;
        uint32_t from = at, n = i + 1 == t->inputs ? t->rows - at : (uint32_t)(next_random(&seed) % 4)
                                                                        * t->rows / t->inputs / 2;
        n = n > t->rows - at ? t->rows - at : n;
        for (; at < from + n; at++) {
            make_key(t, &t->row[at], next_random(&seed) % t->domain);
            t->row[at].id = at - from;
        }
        sort_rows(t, t->row + from, n);
        for (uint32_t k = 0; k < n; k++)
            t->row[from + k].id = (uint64_t)i << 32 | k;
        t->fd[i] = temp_fd();
        NO_ERR(block_writer_open(t->fd[i], "t", &o, &w));
        put_rows(t, w, t->row + from, n);
        NO_ERR(block_writer_close(&w, NULL));
        NO_ERR(block_run_open(t->fd[i], "t", NULL, &t->run[i]));
    }
    sort_rows(t, t->row, t->rows);
}

static void
trial_fini(struct trial *t)
{
    for (uint32_t i = 0; i < t->inputs; i++) {
        block_run_close(t->run[i]);
        if (t->fd[i] >= 0)
            close(t->fd[i]);
    }
    arena_fini(&t->a);
}

static bool
same_row(const struct trial *t, const struct row *want, const struct merge_rows *got, uint32_t i)
{
    uint64_t id;

    if (t->val == BLOCK_STR)
        memcpy(&id, ((const struct block_str *)got->cols.col[1])[i].p, 8);
    else
        id = ((const uint64_t *)got->cols.col[1])[i];
    if (id != want->id || got->rank[i] != want->rank)
        return false;
    if (t->key == BLOCK_STR)
        return !block_str_cmp(((const struct block_str *)got->cols.col[0])[i], want->str);
    return ((const uint64_t *)got->cols.col[0])[i] == want->bits;
}

/* The stream is the rows [from, to) of the sorted ones. */
static void
check_stream(const struct trial *t, struct merge *m, uint32_t from, uint32_t to)
{
    uint32_t at = from, bad = 0;
    struct merge_rows r;

    for (;;) {
        NO_ERR(merge_next(m, &r));
        if (r.cols.n == 0)
            break;
        CU_ASSERT_FATAL(r.cols.n <= MERGE_ROWS && r.cols.n <= to - at);
        for (uint32_t i = 0; i < r.cols.n; i++, at++) {
            bool same = at > from && !key_order(t, &t->row[at - 1], &t->row[at]);

            bad += !same_row(t, &t->row[at], &r, i) || (!t->no_same && r.same[i] != same);
        }
    }
    EQ_U64(at, to);
    EQ_U64(bad, 0);
    NO_ERR(merge_next(m, &r));
    EQ_U64(r.cols.n, 0);
}

static struct merge_opts
opts_of(const struct trial *t)
{
    return (struct merge_opts){ { t->key, t->val }, t->by_key, t->descending, t->no_same };
}

static void
check_plain(struct trial *t, const struct merge_bound *bound, uint32_t from, uint32_t to)
{
    struct merge_input *in = ARENA_ARRAY(&t->a, struct merge_input, t->inputs + 1);
    struct merge_opts o = opts_of(t);
    struct merge *m = NULL;
    size_t need = merge_need();

    for (uint32_t i = 0; i < t->inputs; i++) {
        NO_ERR(block_cursor_open(t->run[i], 0, block_run_count(t->run[i]), &in[i].cursor));
        in[i].bound = bound;
        need += merge_input_need(in[i].cursor);
    }
    NO_ERR(merge_open(in, t->inputs, &o, &m));
    CU_ASSERT(merge_held(m) <= need);
    check_stream(t, m, from, to);
    merge_close(m);
    for (uint32_t i = 0; i < t->inputs; i++)
        block_cursor_close(in[i].cursor);
}

static void
try(struct trial t, uint64_t seed)
{
    trial_init(&t, seed);
    check_plain(&t, NULL, 0, t.rows);
    trial_fini(&t);
}

static void
merges_are_sorts(void)
{
    static const uint32_t inputs[] = { 1, 2, 3, 4, 5, 8, 17 }, blocks[] = { 1, 200, 100000 };
    uint64_t seed = 0;

    for (uint8_t key = BLOCK_U64; key <= BLOCK_STR; key++)
        for (int order = 0; order < 3; order++)
            for (unsigned i = 0; i < 7; i++)
                for (unsigned b = 0; b < 3; b++)
                    try((struct trial){ .key = key, .val = i % 2 ? BLOCK_STR : BLOCK_U64, .by_key = order > 0,
                                        .descending = order > 1, .no_same = order && i == 5, .inputs = inputs[i],
                                        .rows = b ? 1500 : 150, .domain = i % 3 ? 100 : 3000,
                                        .block_bytes = blocks[b] },
                        ++seed);
}

/* Enough rows by hash to be spread; few keys make batches that overflow, one key lies in a single bucket. */
static void
many_rows_by_hash(void)
{
    static const uint32_t domain[] = { 1, 3, 50, 5000, 1000000 };

    for (unsigned i = 0; i < 5; i++)
        for (unsigned inputs = 2; inputs < 40; inputs *= 3)
            try((struct trial){ .key = i % 2 ? BLOCK_STR : BLOCK_U64, .val = BLOCK_U64, .inputs = inputs,
                                .rows = 12000, .domain = domain[i], .block_bytes = i == 4 ? 0 : 20000 },
                100 * i + inputs);
}

static void
nothing_to_merge(void)
{
    struct merge_opts o = { .schema = { BLOCK_STR, BLOCK_U64 } };
    struct merge *m = NULL;
    struct merge_rows r;

    NO_ERR(merge_open(NULL, 0, &o, &m));
    NO_ERR(merge_next(m, &r));
    EQ_U64(r.cols.n, 0);
    merge_close(m);
    try((struct trial){ .key = BLOCK_U64, .val = BLOCK_U64, .inputs = 5, .rows = 0, .domain = 1 }, 1);
}

/* Inputs that don't overlap: the tree is left alone. */
static void
long_streaks(void)
{
    struct trial t = { .key = BLOCK_U64, .val = BLOCK_U64, .by_key = true, .inputs = 3, .rows = 6000,
                       .domain = 1 };

    t.domain = 2; /* two keys only: every input has one long stretch of each */
    trial_init(&t, 9);
    check_plain(&t, NULL, 0, t.rows);
    trial_fini(&t);
}

/* Strings of 16 bytes whose first 8 cancel the constant of the hash: all have the hash 0. */
static void
collide(uint32_t per, uint32_t block_bytes, uint32_t others)
{
    struct trial t = { .key = BLOCK_STR, .val = BLOCK_U64, .inputs = 3, .rows = 3 * per, .block_bytes = block_bytes };
    struct block_run_opts o = { .schema = { t.key, t.val }, .block_bytes = t.block_bytes };
    uint64_t words[2] = { HASH_S0 ^ 16, 0 }, seed = 3;

    t.row = ARENA_ARRAY(&t.a, struct row, t.rows);
    t.run = ARENA_ARRAY(&t.a, struct block_run *, t.inputs);
    t.fd = ARENA_ARRAY(&t.a, int, t.inputs);
    for (uint32_t i = 0; i < t.rows; i++) {
        words[0] = HASH_S0 ^ 16 ^ (others ? next_random(&seed) % others : 0);
        words[1] = next_random(&seed) % 40;
        t.row[i].str = string(&t.a, words, 16);
        t.row[i].id = i;
        t.row[i].rank = block_hash_rank_str(t.row[i].str);
        CU_ASSERT(words[0] != (HASH_S0 ^ 16) || t.row[i].rank == 0);
    }
    for (uint32_t i = 0; i < t.inputs; i++) {
        struct block_writer *w = NULL;

        sort_rows(&t, t.row + per * i, per);
        for (uint32_t k = 0; k < per; k++)
            t.row[per * i + k].id = (uint64_t)i << 32 | k;
        t.fd[i] = temp_fd();
        NO_ERR(block_writer_open(t.fd[i], "t", &o, &w));
        put_rows(&t, w, t.row + per * i, per);
        NO_ERR(block_writer_close(&w, NULL));
        NO_ERR(block_run_open(t.fd[i], "t", NULL, &t.run[i]));
    }
    sort_rows(&t, t.row, t.rows);
    check_plain(&t, NULL, 0, t.rows);
    trial_fini(&t);
}

static void
ranks_may_collide(void)
{
    collide(100, 300, 0);
    collide(1000, 0, 0);
    collide(4000, 0, 20); /* one in 20 has the hash 0 */
    collide(4000, 3000, 2000);
}

static void
bounds_cut(void)
{
    static const uint32_t cuts[][2] = { { 0, 700 }, { 100, 100 }, { 99, 500 }, { 333, 1500 }, { 1499, 1500 } };

    for (uint8_t key = BLOCK_U64; key <= BLOCK_STR; key++)
        for (int down = 0; down < 2; down++)
            for (unsigned i = 0; i < 5; i++) {
                struct trial t = { .key = key, .val = BLOCK_U64, .by_key = true, .descending = down, .inputs = 4,
                                   .rows = 1500, .domain = 200, .block_bytes = i % 2 ? 150 : 5000 };
                trial_init(&t, key * 10 + i);
                uint32_t from = cuts[i][0], to = cuts[i][1];
                struct merge_bound b = { .has_lo = from > 0, .has_hi = to < t.rows, .lo = t.row[from].bits,
                                         .lo_s = t.row[from].str };

                if (b.has_hi) {
                    b.hi = t.row[to].bits;
                    b.hi_s = t.row[to].str;
                }
                while (from > 0 && !key_order(&t, &t.row[from - 1], &t.row[from]))
                    from--;
                while (to < t.rows && to > 0 && !key_order(&t, &t.row[to - 1], &t.row[to]))
                    to--;
                check_plain(&t, &b, from, to < from ? from : to);
                trial_fini(&t);
            }
}

static void
disorder_is_found(void)
{
    uint64_t v[4] = { 1, 3, 2, 4 };
    struct block_run_opts o = { .schema = { BLOCK_U64, 0 } };
    struct block_cols cols = { .n = 4, .col = { v } };

    for (uint32_t bytes = 16; bytes <= 64; bytes += 48) {
        int fd = temp_fd();
        struct block_writer *w = NULL;
        struct block_run *r = NULL;
        struct merge_input in = { 0 };
        struct merge *m = NULL;

        o.block_bytes = bytes;
        NO_ERR(block_writer_open(fd, "t", &o, &w));
        NO_ERR(block_put(w, &cols, 0, 4));
        NO_ERR(block_writer_close(&w, NULL));
        NO_ERR(block_run_open(fd, "t", NULL, &r));
        NO_ERR(block_cursor_open(r, 0, block_run_count(r), &in.cursor));
        struct merge_opts mo = { .schema = o.schema, .by_key = true };
        struct merge_rows rows;
        struct err *e = merge_open(&in, 1, &mo, &m);
        if (!e)
            e = merge_next(m, &rows);
        if (!e)
            e = merge_next(m, &rows);
        IS_ERR(e, ERR_CORRUPT, "input 0 of a merge is not in order");
        merge_close(m);
        block_cursor_close(in.cursor);
        block_run_close(r);
        close(fd);
    }
}

/* ---- sets */

struct spills {
    int opened, fail_at;
};

static struct err *
spill_open(void *arg, int *ret_fd)
{
    struct spills *s = arg;

    if (s->opened == s->fail_at)
        return err_new(ERR_LIMIT, "the disk is full");
    s->opened++;
    *ret_fd = temp_fd();
    return NULL;
}

static struct err *
add_all(struct trial *t, struct merge_set *s)
{
    struct err *e = NULL;

    for (uint32_t i = 0; i < t->inputs; i++) {
        if (!e)
            e = merge_set_add(s, t->run[i], t->fd[i], 0, block_run_count(t->run[i]));
        else
            block_run_close(t->run[i]), close(t->fd[i]);
        t->run[i] = NULL;
        t->fd[i] = -1;
    }
    return e;
}

static void
sets_give_the_same_under_any_budget(void)
{
    for (unsigned i = 0; i < 12; i++) {
        struct trial t = { .key = i % 2 ? BLOCK_STR : BLOCK_I64, .val = BLOCK_U64, .by_key = i % 3 > 0,
                           .descending = i % 3 > 1, .inputs = 40, .rows = 3000, .domain = 500,
                           .block_bytes = 300 };
        struct budget b = { .limit = i < 6 ? 1 << 30 : 900000 };
        struct spills spills = { .fail_at = -1 };
        struct merge_set_opts o = { .merge = opts_of(&t), .budget = i ? &b : NULL, .spill_open = spill_open,
                                    .arg = &spills };
        struct merge_set *s = NULL;
        struct merge *m = NULL;

        trial_init(&t, i);
        size_t need = merge_need() + block_writer_need(&(struct block_run_opts){ .schema = o.merge.schema });
        for (uint32_t k = 0; k < t.inputs; k++)
            need += block_run_totals(t.run[k])->file_bytes;
        if (i >= 6)
            b.limit = need / (i - 5) > 700000 ? need : 700000;
        NO_ERR(merge_set_new(&o, &s));
        NO_ERR(add_all(&t, s));
        NO_ERR(merge_set_open(s, &m));
        CU_ASSERT(!i || merge_held(m) <= b.held);
        check_stream(&t, m, 0, t.rows);
        EQ_U64(merge_set_spilled(s) > 0, spills.opened > 0);
#ifdef TASKD_HOSTILE
        CU_ASSERT(spills.opened > 10);
#endif
        merge_set_free(s);
        EQ_U64(b.held, 0);
        trial_fini(&t);
    }
}

static void
tight_budgets_make_passes(void)
{
    struct trial t = { .key = BLOCK_U64, .val = BLOCK_U64, .inputs = 60, .rows = 60000, .domain = 5000,
                       .block_bytes = 16000 };
    struct block_run_opts w = { .schema = { BLOCK_U64, BLOCK_U64 } };
    struct spills spills = { .fail_at = -1 };
    struct block_cursor *c = NULL;
    struct merge_set *s = NULL;
    struct merge *m = NULL;
    size_t merged = 4096 * (16 + 16 + 8) + 1000; /* the run of a pass has larger blocks */

    trial_init(&t, 4);
    NO_ERR(block_cursor_open(t.run[59], 0, block_run_count(t.run[59]), &c));
    struct budget b = { .limit = merge_need() + block_writer_need(&w) + merged + 3 * merge_input_need(c) };
    struct merge_set_opts o = { .merge = opts_of(&t), .budget = &b, .spill_open = spill_open, .arg = &spills };
    block_cursor_close(c);
    NO_ERR(merge_set_new(&o, &s));
    NO_ERR(add_all(&t, s));
    NO_ERR(merge_set_open(s, &m));
    CU_ASSERT(b.peak <= b.limit && spills.opened > 0 && merge_set_spilled(s) > 0);
    CU_ASSERT(merge_held(m) <= b.held);
    check_stream(&t, m, 0, t.rows);
    merge_set_free(s);
    EQ_U64(b.held, 0);
    trial_fini(&t);
}

/* A set takes no more than it may of a budget that others need as well. */
static void
part_of_a_budget(void)
{
    struct spills spills = { .fail_at = -1 };
    struct trial t = { .key = BLOCK_U64, .val = BLOCK_U64, .inputs = 60, .rows = 20000, .domain = 500 };
    struct budget b = { .limit = 64 << 20 };
    struct merge_set_opts o = { .merge = opts_of(&t), .budget = &b, .most = 512 << 10, .spill_open = spill_open,
                                .arg = &spills };
    struct merge_set *s = NULL;
    struct merge *m = NULL;

    trial_init(&t, 4);
    NO_ERR(merge_set_new(&o, &s));
    NO_ERR(add_all(&t, s));
    NO_ERR(merge_set_open(s, &m));
    CU_ASSERT(b.peak <= o.most && spills.opened > 0);
    check_stream(&t, m, 0, t.rows);
    merge_set_free(s);
    EQ_U64(b.held, 0);
    trial_fini(&t);
}

static void
too_little_for_anything(void)
{
    struct trial t = { .key = BLOCK_U64, .val = BLOCK_U64, .inputs = 3, .rows = 30, .domain = 500 };
    struct budget b = { .limit = 1000 };
    struct merge_set_opts o = { .merge = opts_of(&t), .budget = &b, .spill_open = spill_open };
    struct merge_set *s = NULL;

    trial_init(&t, 4);
    NO_ERR(merge_set_new(&o, &s));
    IS_ERR(add_all(&t, s), ERR_LIMIT, "of the budget of 1000 are left");
    merge_set_free(s);
    EQ_U64(b.held, 0);
    trial_fini(&t);
}

static void
spill_errors_come_through(void)
{
    for (int fail = 0; fail < 3; fail++) {
        struct trial t = { .key = BLOCK_U64, .val = BLOCK_U64, .inputs = 3 * MERGE_FAN, .rows = 3000, .domain = 500 };
        struct spills spills = { .fail_at = fail };
        struct merge_set_opts o = { .merge = opts_of(&t), .spill_open = spill_open, .arg = &spills };
        struct merge_set *s = NULL;
        struct merge *m = NULL;

        trial_init(&t, 4);
        NO_ERR(merge_set_new(&o, &s));
        struct err *e = add_all(&t, s);
        if (e) {
            IS_ERR(e, ERR_LIMIT, "the disk is full");
        } else { /* more files than were needed */
            NO_ERR(merge_set_open(s, &m));
            check_stream(&t, m, 0, t.rows);
        }
        merge_set_free(s);
        trial_fini(&t);
    }
}

static void
fan_in_is_at_least_two(void)
{
    struct budget b = { .limit = 0 };

    EQ_U64(merge_fan_in(&b, 1000), 2);
    b.limit = merge_need() + 5500;
    EQ_U64(merge_fan_in(&b, 1000), 5);
    b.held = 1000;
    EQ_U64(merge_fan_in(&b, 1000), 4);
    b.limit = 1ull << 50;
    EQ_U64(merge_fan_in(&b, 1), UINT16_MAX);
}

int
main(int argc, char **argv)
{
    static const struct unit_test tests[] = {
        { "merge.is_a_sort", merges_are_sorts },
        { "merge.many_rows_by_hash", many_rows_by_hash },
        { "merge.of_nothing", nothing_to_merge },
        { "merge.long_streaks", long_streaks },
        { "merge.ranks_may_collide", ranks_may_collide },
        { "merge.bounds_cut", bounds_cut },
        { "merge.disorder_is_found", disorder_is_found },
        { "merge.fan_in_is_at_least_two", fan_in_is_at_least_two },
        { "set.gives_the_same_under_any_budget", sets_give_the_same_under_any_budget },
        { "set.tight_budgets_make_passes", tight_budgets_make_passes },
        { "set.part_of_a_budget", part_of_a_budget },
        { "set.too_little_for_anything", too_little_for_anything },
        { "set.spill_errors_come_through", spill_errors_come_through },
        UNIT_END,
    };

    return unit_main(argc, argv, "merge", tests);
}
