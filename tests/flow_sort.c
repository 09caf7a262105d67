/* flow_sort -- td_sort, td_sort_by_key and td_group_by_key: order, stability, spills. */
#include "flow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "block/order.h"

struct row {
    uint64_t bits;
    struct block_str s;
    uint64_t id;
};
struct trial {
    uint8_t key;
    bool pairs, descending;
    int shape; /* of the keys */
    uint32_t rows, keys, maps, reduces;
    uint64_t seed;
    struct arena a;
    struct row *in, *got;
    uint32_t n_got;
};

static const struct trial *comparing;

static struct block_str
text(struct arena *a, const char *p, size_t n)
{
    char *q = arena_alloc(a, n + 1);

    memcpy(q, p, n);
    return (struct block_str){ q, n };
}

/* Strings that are alike for long, ones with zeroes at the end, short ones, random ones. */
static struct block_str
make_str(struct trial *t, uint64_t k)
{
    char b[600];
    size_t n = 0;

    switch (t->shape) {
    case 0: n = (size_t)snprintf(b, sizeof b, "%llx", (unsigned long long)(k * 0x9e3779b97f4a7c15ull)); break;
    case 1:
        memset(b, 'p', sizeof b);
        n = 100 + (size_t)snprintf(b + 100, 400, "%llu%.*s", (unsigned long long)(k / 3), (int)(k % 7), "\0\0\0\0\0\0\0");
        break;
    case 2:
        memset(b, 0, sizeof b);
        n = k % 70;
        if (k % 5 == 0 && n > 20)
            b[n - 1 - k % 11] = 1;
        break;
    case 3:
        n = k % 40;
        memset(b, 'a', n);
        break;
    default:
        n = k % 13 == 0 ? 0 : 1 + k % 12;
        for (size_t i = 0; i < n; i++)
            b[i] = (char)(k >> (i % 8));
    }
    return text(&t->a, b, n);
}

static void
make(struct trial *t)
{
    uint64_t seed = t->seed;

    t->in = ARENA_ARRAY(&t->a, struct row, t->rows + 1);
    for (uint32_t i = 0; i < t->rows; i++) {
        uint64_t k = rig_random(&seed) % t->keys;
        double d = k == 0 ? 0.0 : k == 1 ? -0.0 : k == 2 ? NAN : k == 3 ? INFINITY : k == 4 ? -INFINITY
                   : ((double)k - t->keys / 2) / 8;
        struct row *r = &t->in[i];

        r->id = i;
        r->bits = t->key == BLOCK_I64 ? k - t->keys / 2 : t->shape ? k : k * 0x9e3779b97f4a7c15ull;
        if (t->key == BLOCK_F64)
            memcpy(&r->bits, &d, 8);
        if (t->key == BLOCK_STR)
            r->s = make_str(t, k);
    }
}

static int
cmp_keys(const struct trial *t, const struct row *a, const struct row *b)
{
    if (t->key == BLOCK_STR)
        return block_str_cmp(a->s, b->s);
    if (t->key == BLOCK_U64)
        return (a->bits > b->bits) - (a->bits < b->bits);
    if (t->key == BLOCK_I64)
        return ((int64_t)a->bits > (int64_t)b->bits) - ((int64_t)a->bits < (int64_t)b->bits);
    double x, y;
    memcpy(&x, &a->bits, 8);
    memcpy(&y, &b->bits, 8);
    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

static int
by_key(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = cmp_keys(comparing, x, y);

    if (comparing->descending)
        c = -c;
    return c ? c : (x->id > y->id) - (x->id < y->id);
}

static td_ds *
source(td_job *j, const struct trial *t)
{
    td_type ty = { 0, t->key, t->pairs ? TD_K_U64 : TD_K_NONE, "?" };
    struct buf data = { 0 };

    for (uint32_t i = 0; i < t->rows; i++) {
        if (t->key == BLOCK_STR)
            buf_put(&data, &t->in[i].s, sizeof t->in[i].s);
        else
            put_u64(&data, t->in[i].bits);
        if (t->pairs)
            put_u64(&data, t->in[i].id);
    }
    td_ds *d = td_src_(TD_OP_FROM, j, 0, data.p, 0, t->rows, &ty, TD_OPTS_(.partitions = t->maps), TD_AT_);
    buf_fini(&data);
    return d;
}

static int
sort_job(td_job *j, int argc, char **argv)
{
    struct trial *t = rig_arg;
    td_ds *d = source(j, t);
    td_rows rows;

    d = t->pairs ? td_sort_by_key(d, .partitions = t->reduces, .descending = t->descending)
                 : td_sort(d, .partitions = t->reduces, .descending = t->descending);
    if (td_collect(d, &rows))
        return 1;
    t->n_got = (uint32_t)rows.n;
    t->got = ARENA_ARRAY(&t->a, struct row, rows.n + 1);
    for (uint32_t i = 0; i < rows.n; i++) {
        struct row *r = &t->got[i];

        if (t->key == BLOCK_STR) {
            td_str s = td_row_key(&rows, str, i);

            r->s = text(&t->a, s.p, s.n);
        } else {
            r->bits = td_row_key(&rows, u64, i);
        }
        r->id = t->pairs ? td_row_val(&rows, u64, i) : 0;
    }
    td_rows_free(j, &rows);
    return 0;
}

static uint64_t
sort_with(struct trial *t, uint64_t budget, bool one)
{
    struct rig r = { .budget = budget, .one_record = one };
    uint32_t bad = 0;

    EQ_U64(rig_run(&r, sort_job, t), 0);
    if (r.status)
        fprintf(stderr, "  %s\n", r.said.p);
    CU_ASSERT(!budget || r.peak <= budget);
    uint64_t spilled = r.spill_bytes;
    rig_fini(&r);
    struct row *want = malloc((t->rows + 1) * sizeof *want);
    memcpy(want, t->in, t->rows * sizeof *want);
    comparing = t;
    qsort(want, t->rows, sizeof *want, by_key);
    EQ_U64(t->n_got, t->rows);
    for (uint32_t i = 0; i < t->n_got && i < t->rows; i++)
        bad += (t->pairs && t->got[i].id != want[i].id)
               || (t->key == BLOCK_STR ? block_str_cmp(t->got[i].s, want[i].s) != 0
                   : t->pairs          ? t->got[i].bits != want[i].bits
                                       : cmp_keys(t, &t->got[i], &want[i]) != 0);
    if (bad)
        fprintf(stderr, "\n  key kind %u, shape %d, pairs %d, descending %d, %u maps, %u reduces\n", t->key, t->shape,
                t->pairs, t->descending, t->maps, t->reduces);
    EQ_U64(bad, 0);
    free(want);
    return spilled;
}

static void
sorts(uint32_t rows, uint64_t budget)
{
    uint64_t seed = 9, spilled = 0;

    for (uint8_t key = BLOCK_U64; key <= BLOCK_STR; key++)
        for (int shape = 0; shape < (key == BLOCK_STR ? 5 : 2); shape++)
            for (int how = 0; how < 4; how++) {
                struct trial t = { .key = key, .shape = shape, .pairs = how & 1, .descending = how >> 1, .rows = rows,
                                   .keys = shape % 2 ? rows / 20 + 1 : rows + 1, .maps = 1 + (uint32_t)(seed % 3),
                                   .reduces = 1 + (uint32_t)(seed % 4), .seed = seed };

                seed++;
                make(&t);
                spilled += sort_with(&t, budget, seed % 8 == 0);
                arena_fini(&t.a);
            }
    if (budget)
        CU_ASSERT(spilled > 0);
}

enum {
#ifdef TASKD_HOSTILE
    ROWS = 600,
#else
    ROWS = 8000,
#endif
};

static void
sort_kinds(void)
{
    sorts(0, 0);
    sorts(1, 0);
    sorts(ROWS, 0);
}

static void
sort_spills(void)
{
    sorts(ROWS, 307 << 10);
}

/* Lines that are equal in their first megabyte: by bytes that differ, not level by level. */
static void
giant_prefixes(void)
{
    enum { N = ROWS / 3, LONG = 1 << 20 };
    struct trial t = { .key = BLOCK_STR, .rows = 8, .maps = 1, .reduces = 2 };
    char *p = malloc(LONG);

    t.in = ARENA_ARRAY(&t.a, struct row, t.rows);
    for (uint32_t i = 0; i < t.rows; i++) {
        memset(p, i < 4 ? 0 : 'x', LONG);
        p[LONG - 1 - i / 2 % 2] = (char)(i * 37 % 11);
        t.in[i] = (struct row){ 0, text(&t.a, p, i == 2 ? 3 : i == 6 ? LONG / 2 : LONG), i };
    }
    sort_with(&t, 0, false);
    t.descending = true;
    sort_with(&t, 0, false);
    free(p);
    arena_fini(&t.a);
    /* a prefix chain: each line is the one before and a byte more */
    t = (struct trial){ .key = BLOCK_STR, .rows = N, .maps = 2, .reduces = 2, .pairs = true };
    t.in = ARENA_ARRAY(&t.a, struct row, t.rows);
    char *q = arena_alloc(&t.a, N);
    memset(q, 'a', N);
    for (uint32_t i = 0; i < t.rows; i++)
        t.in[i] = (struct row){ 0, { q, i * 7919 % N }, i };
    sort_with(&t, 0, false);
    arena_fini(&t.a);
}

/* ---- group_by_key */

static void
whole(td_task *t, td_u64 k, td_iter_u64 *it, td_out_u64_str *out)
{
    struct buf b = { 0 };
    uint64_t v;

    while (td_next(it, &v))
        buf_printf(&b, "%llu ", (unsigned long long)v);
    CU_ASSERT(!td_next(it, &v));
    td_emit(out, k, ((td_str){ b.p, b.n }));
    buf_fini(&b);
}
TD_GROUP(whole, u64, u64, u64_str);

static void
whole_str(td_task *t, td_str k, td_iter_u64 *it, td_out_str_str *out)
{
    struct buf b = { 0 };
    uint64_t v;

    while (td_next(it, &v))
        buf_printf(&b, "%llu ", (unsigned long long)v);
    td_emit(out, k, ((td_str){ b.p, b.n }));
    buf_fini(&b);
}
TD_GROUP(whole_str, str, u64, str_str);

/* As many of the values as the key's last digit says. */
static void
some(td_task *t, td_u64 k, td_iter_u64 *it, td_out_u64_str *out)
{
    struct buf b = { 0 };
    uint64_t v;

    for (uint64_t i = 0; i < k % 10 && td_next(it, &v); i++)
        buf_printf(&b, "%llu ", (unsigned long long)v);
    td_emit(out, k, ((td_str){ b.p, b.n }));
    buf_fini(&b);
}
TD_GROUP(some, u64, u64, u64_str);

static int
group_job(td_job *j, int argc, char **argv)
{
    struct trial *t = rig_arg;
    td_ds *d = source(j, t);
    td_rows rows;

    d = t->key == BLOCK_STR ? td_group_by_key(d, whole_str, .partitions = t->reduces)
        : t->shape          ? td_group_by_key(d, some, .partitions = t->reduces)
                            : td_group_by_key(d, whole, .partitions = t->reduces);
    if (td_collect(d, &rows))
        return 1;
    t->n_got = (uint32_t)rows.n;
    t->got = ARENA_ARRAY(&t->a, struct row, rows.n + 1);
    for (uint32_t i = 0; i < rows.n; i++) {
        td_str v = td_row_val(&rows, str, i);
        struct buf b = { 0 };

        if (t->key == BLOCK_STR) {
            td_str k = td_row_key(&rows, str, i);

            buf_put(&b, k.p, k.n);
        } else {
            buf_printf(&b, "%llu", (unsigned long long)td_row_key(&rows, u64, i));
        }
        buf_put(&b, "=", 1);
        buf_put(&b, v.p, v.n);
        t->got[i].s = text(&t->a, b.p, b.n);
        buf_fini(&b);
    }
    td_rows_free(j, &rows);
    return 0;
}

static int
by_text(const void *a, const void *b)
{
    return block_str_cmp(((const struct row *)a)->s, ((const struct row *)b)->s);
}

static uint64_t
group_with(struct trial *t, uint64_t budget, bool one)
{
    struct rig r = { .budget = budget, .one_record = one };
    struct row *sorted = malloc((t->rows + 1) * sizeof *sorted), *want = malloc((t->rows + 1) * sizeof *want);
    uint32_t n = 0, bad = 0;

    make(t);
    EQ_U64(rig_run(&r, group_job, t), 0);
    if (r.status)
        fprintf(stderr, "  %s\n", r.said.p);
    uint64_t spilled = r.spill_bytes;
    CU_ASSERT(!budget || r.peak <= budget);
    rig_fini(&r);
    memcpy(sorted, t->in, t->rows * sizeof *sorted);
    comparing = t;
    qsort(sorted, t->rows, sizeof *sorted, by_key);
    for (uint32_t i = 0, k; i < t->rows; i = k) {
        struct buf b = { 0 };
        uint64_t most = t->shape && t->key != BLOCK_STR ? sorted[i].bits % 10 : UINT64_MAX;

        if (t->key == BLOCK_STR)
            buf_put(&b, sorted[i].s.p, sorted[i].s.n);
        else
            buf_printf(&b, "%llu", (unsigned long long)sorted[i].bits);
        buf_put(&b, "=", 1);
        for (k = i; k < t->rows && !cmp_keys(t, &sorted[i], &sorted[k]); k++)
            if (most && most--)
                buf_printf(&b, "%llu ", (unsigned long long)sorted[k].id);
        want[n++].s = text(&t->a, b.p, b.n);
        buf_fini(&b);
    }
    qsort(want, n, sizeof *want, by_text);
    qsort(t->got, t->n_got, sizeof *t->got, by_text);
    EQ_U64(t->n_got, n);
    for (uint32_t i = 0; i < n && i < t->n_got; i++)
        bad += block_str_cmp(want[i].s, t->got[i].s) != 0;
    EQ_U64(bad, 0);
    free(sorted);
    free(want);
    arena_fini(&t->a);
    return spilled;
}

static void
groups(void)
{
    uint64_t spilled = 0;

    for (int key = 0; key < 2; key++)
        for (int shape = 0; shape < 2; shape++)
            for (uint32_t keys = 1; keys <= ROWS; keys = keys < 3 ? keys + 1 : keys * 11) /* huge groups to single rows */
                for (int b = 0; b < 2; b++) {
                    struct trial t = { .key = key ? BLOCK_STR : BLOCK_U64, .pairs = true, .shape = shape, .rows = ROWS,
                                       .keys = keys, .maps = 1 + keys % 3, .reduces = 1 + keys % 4, .seed = keys };

                    spilled += group_with(&t, b ? 307 << 10 : 0, b && shape);
                }
    CU_ASSERT(spilled > 0);
}

static void
no_groups(void)
{
    struct trial t = { .key = BLOCK_U64, .pairs = true, .rows = 0, .keys = 1, .maps = 2, .reduces = 2 };

    group_with(&t, 0, false);
}

/* One group is larger than any budget: its values stream. */
static void
huge_group(void)
{
    struct trial t = { .key = BLOCK_STR, .pairs = true, .shape = 1, .rows = 5 * ROWS, .keys = 1, .maps = 2, .reduces = 2 };

    CU_ASSERT(group_with(&t, 307 << 10, false) > 0);
}

/* A bad group is dropped whole, others stay. */
TD_COUNTER(groups_seen);

static void
picky(td_task *t, td_u64 k, td_iter_u64 *it, td_out_u64 *out)
{
    uint64_t v;

    td_add(t, groups_seen, 1);
    while (td_next(it, &v)) {
        td_emit(out, v);
        if (v == 10) {
            td_bad(t, "ten is enough");
            return;
        }
    }
}
TD_GROUP(picky, u64, u64, u64);

static td_u64_u64
by_ten(td_task *t, td_u64 k)
{
    return (td_u64_u64){ k % 10, k };
}
TD_MAP(by_ten, u64, u64_u64);

static int
picky_job(td_job *j, int argc, char **argv)
{
    td_rows rows;
    td_ds *d = td_group_by_key(td_map(td_range(j, 0, 200), by_ten), picky, .on_bad = TD_SKIP, .partitions = 3);

    if (td_collect(d, &rows))
        return 1;
    EQ_U64(rows.n, 180);
    for (uint64_t i = 0; i < rows.n; i++)
        CU_ASSERT(td_row(&rows, u64, i) % 10 != 0);
    EQ_U64(td_total(j, groups_seen), 9);
    return 0;
}

static void
bad_group(void)
{
    for (int one = 0; one < 2; one++) {
        struct rig r = { .one_record = one };

        EQ_U64(rig_run(&r, picky_job, NULL), 0);
        EQ_U64(r.bad_rows, 1);
        rig_fini(&r);
    }
}

const struct unit_test flow_sort_tests[] = {
    { "sort.kinds_and_shapes", sort_kinds },
    { "sort.spills", sort_spills },
    { "sort.giant_prefixes", giant_prefixes },
    { "group.values_in_input_order", groups },
    { "group.no_rows", no_groups },
    { "group.huge", huge_group },
    { "group.bad", bad_group },
    UNIT_END,
};
