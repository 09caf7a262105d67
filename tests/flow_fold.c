/* flow_fold -- operators that make one row of each key: every kind of key and of fold against a plain reference. */
#include "flow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "block/order.h"

enum fold { SUM, MIN, MAX, COUNT, DISTINCT, FN_I64, FN_F64, FN_STR_MAX, FN_STR_SET, FOLDS };

static int64_t
add_i64(td_task *t, int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
TD_REDUCE(add_i64, i64);

static double
larger_f64(td_task *t, double a, double b)
{
    return a > b ? a : b;
}
TD_REDUCE(larger_f64, f64);

static td_str
larger_str(td_task *t, td_str a, td_str b)
{
    return block_str_cmp((struct block_str){ a.p, a.n }, (struct block_str){ b.p, b.n }) >= 0 ? a : b;
}
TD_REDUCE(larger_str, str);

/* The letters of both, sorted, each once: a new string. */
static td_str
letters_of(td_task *t, td_str a, td_str b)
{
    bool has[256] = { false };
    char *p = td_tmp(t, a.n + b.n);
    size_t n = 0;

    for (size_t i = 0; i < a.n; i++)
        has[(unsigned char)a.p[i]] = true;
    for (size_t i = 0; i < b.n; i++)
        has[(unsigned char)b.p[i]] = true;
    for (int c = 0; c < 256; c++)
        if (has[c])
            p[n++] = (char)c;
    return (td_str){ p, n };
}
TD_REDUCE(letters_of, str);

struct cell {
    uint64_t bits;
    struct block_str s;
};
struct row {
    struct cell key, val;
    uint32_t id;
};
struct trial {
    uint8_t key, val;
    enum fold fold;
    uint32_t rows, keys;
    uint32_t maps, reduces;
    uint64_t seed;
    bool long_keys;
    struct arena a;
    struct row *in, *want, *got;
    uint32_t n_want, n_got;
};

static uint64_t
bits_of(double d)
{
    uint64_t b;

    memcpy(&b, &d, 8);
    return b;
}

static struct block_str
text(struct arena *a, const char *p, size_t n)
{
    char *q = arena_alloc(a, n + 1); /* no room behind it: what the author gives has none */

    if (n)
        memcpy(q, p, n);
    return (struct block_str){ q, n };
}

/* Number k of the domain. */
static struct cell
make_key(struct trial *t, uint64_t k)
{
    static const size_t lens[] = { 0, 1, 7, 8, 9, 15, 16, 17, 40, 300 };
    char b[400];
    struct cell c = { k * 0x9e3779b97f4a7c15ull, { NULL, 0 } };

    switch (t->key) {
    case BLOCK_U64: c.bits = k % 3 ? c.bits : k; break;
    case BLOCK_I64: c.bits = k % 3 ? c.bits : 0 - k; break;
    case BLOCK_F64:
        c.bits = bits_of(k == 0 ? 0.0 : k == 1 ? -0.0 : k == 2 ? NAN : k == 3 ? -NAN : k == 4 ? INFINITY
                         : k == 5 ? -INFINITY : ((double)k - 50) / 8);
        break;
    default: {
        size_t n = lens[k % (t->long_keys ? 10 : 7)];

        memset(b, 'k', sizeof b);
        int w = snprintf(b + 200, 100, "%llu", (unsigned long long)k);
        if (n < (size_t)w + 1) /* short ones: few different */
            memcpy(b, b + 200 + w - (n < (size_t)w ? n : (size_t)w), n);
        else if (k % 2)
            memcpy(b + n - (size_t)w, b + 200, (size_t)w);
        else
            memcpy(b, b + 200, (size_t)w), memset(b + w, 0, n - (size_t)w);
        c.s = text(&t->a, b, n);
        if (!n && k % 20)
            c.s.p = NULL;
    }
    }
    return c;
}

static struct cell
make_val(struct trial *t, uint64_t *seed)
{
    uint64_t v = rig_random(seed);
    struct cell c = { v, { NULL, 0 } };
    char b[64];

    if (t->val == BLOCK_F64) {
        double d = ((double)(v % 2001) - 1000) / 4; /* sums are exact in any order */

        if (t->fold == MIN || t->fold == MAX)
            d = v % 17 == 0 ? NAN : v % 17 == 1 ? -0.0 : v % 17 == 2 ? 0.0 : d;
        c.bits = bits_of(d);
    } else if (t->val == BLOCK_STR) {
        size_t n = v % 23;

        for (size_t i = 0; i < n; i++)
            b[i] = (char)('a' + (v >> i) % 5 + i % 21);
        c.s = text(&t->a, b, n);
    } else if (t->val == BLOCK_I64 && v % 2) {
        c.bits = v % 1000 - 500;
    }
    return c;
}

static uint64_t
reference_num(const struct trial *t, uint64_t a, uint64_t b)
{
    double x, y;

    memcpy(&x, &a, 8);
    memcpy(&y, &b, 8);
    switch (t->fold) {
    case COUNT:
    case FN_I64: return a + b;
    case FN_F64: return x > y ? a : b;
    case SUM: return t->val == BLOCK_F64 ? bits_of(x + y) : a + b;
    default: break;
    }
    bool less = t->val == BLOCK_F64 ? y < x || (isnan(x) && !isnan(y))
                : t->val == BLOCK_U64 ? b < a : (int64_t)b < (int64_t)a;
    bool more = t->val == BLOCK_F64 ? y > x || (isnan(x) && !isnan(y))
                : t->val == BLOCK_U64 ? b > a : (int64_t)b > (int64_t)a;
    return (t->fold == MIN ? less : more) ? b : a;
}

static struct block_str
reference_str(struct trial *t, struct block_str a, struct block_str b)
{
    bool has[256] = { false };
    char s[256];
    size_t n = 0;

    if (t->fold == FN_STR_MAX)
        return block_str_cmp(a, b) >= 0 ? a : b;
    for (size_t i = 0; i < a.n + b.n; i++)
        has[(unsigned char)(i < a.n ? a.p[i] : b.p[i - a.n])] = true;
    for (int c = 0; c < 256; c++)
        if (has[c])
            s[n++] = (char)c;
    return text(&t->a, s, n);
}

static const struct trial *comparing;

static int
cmp_keys(const struct row *a, const struct row *b)
{
    if (comparing->key == BLOCK_STR)
        return block_str_cmp(a->key.s, b->key.s);
    uint64_t x = block_norm(comparing->key, a->key.bits), y = block_norm(comparing->key, b->key.bits);
    return (x > y) - (x < y);
}

static int
by_key(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = cmp_keys(x, y);

    return c ? c : (x->id > y->id) - (x->id < y->id);
}

static void
make(struct trial *t)
{
    uint64_t seed = t->seed;

    t->in = ARENA_ARRAY(&t->a, struct row, t->rows + 1);
    for (uint32_t i = 0; i < t->rows; i++) {
        t->in[i].key = make_key(t, rig_random(&seed) % t->keys);
        t->in[i].val = make_val(t, &seed);
        t->in[i].id = i;
    }
    t->want = ARENA_ARRAY(&t->a, struct row, t->rows + 1);
    memcpy(t->want, t->in, t->rows * sizeof *t->in);
    comparing = t;
    qsort(t->want, t->rows, sizeof *t->want, by_key);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->rows; i++) {
        struct row r = t->want[i];

        if (t->fold == COUNT)
            r.val.bits = 1;
        if (t->key != BLOCK_STR)
            r.key.bits = block_norm(t->key, r.key.bits);
        if (n && !cmp_keys(&t->want[n - 1], &r)) {
            struct row *w = &t->want[n - 1];

            if (t->fold >= FN_STR_MAX)
                w->val.s = reference_str(t, w->val.s, r.val.s);
            else if (t->fold != DISTINCT)
                w->val.bits = reference_num(t, w->val.bits, r.val.bits);
        } else {
            t->want[n++] = r;
        }
    }
    t->n_want = n;
}

static int
job(td_job *j, int argc, char **argv)
{
    static const int ops[] = { TD_OP_SUM_KEY, TD_OP_MIN_KEY, TD_OP_MAX_KEY, TD_OP_COUNT_KEY, TD_OP_DISTINCT,
                               TD_OP_REDUCE_KEY, TD_OP_REDUCE_KEY, TD_OP_REDUCE_KEY, TD_OP_REDUCE_KEY };
    static const td_fn *const fns[FOLDS] = { [FN_I64] = &td_fold_fn_add_i64, [FN_F64] = &td_fold_fn_larger_f64,
                                             [FN_STR_MAX] = &td_fold_fn_larger_str,
                                             [FN_STR_SET] = &td_fold_fn_letters_of };
    struct trial *t = rig_arg;
    bool pairs = t->fold != DISTINCT;
    td_type ty = { 0, t->key, pairs ? t->val : TD_K_NONE, "?" };
    struct buf data = { 0 };

    for (uint32_t i = 0; i < t->rows; i++) {
        const struct row *r = &t->in[i];

        if (t->key == BLOCK_STR)
            buf_put(&data, &r->key.s, sizeof r->key.s);
        else
            put_u64(&data, r->key.bits);
        if (pairs && t->val == BLOCK_STR)
            buf_put(&data, &r->val.s, sizeof r->val.s);
        else if (pairs)
            put_u64(&data, r->val.bits);
    }
    td_ds *d = td_src_(TD_OP_FROM, j, 0, data.p, 0, t->rows, &ty, TD_OPTS_(.partitions = t->maps), TD_AT_);
    buf_fini(&data);
    d = td_op_(ops[t->fold], d, 0, fns[t->fold], TD_OPTS_(.partitions = t->reduces), TD_AT_);
    td_rows rows;
    if (td_collect(d, &rows))
        return 1;
    t->n_got = (uint32_t)rows.n;
    t->got = ARENA_ARRAY(&t->a, struct row, rows.n + 1);
    for (uint32_t i = 0; i < rows.n; i++) {
        struct row *r = &t->got[i];

        r->id = i;
        if (t->key == BLOCK_STR) {
            td_str s = td_row_key(&rows, str, i);

            r->key.s = text(&t->a, s.p, s.n);
        } else {
            r->key.bits = td_row_key(&rows, u64, i);
        }
        if (pairs && t->fold >= FN_STR_MAX) {
            td_str s = td_row_val(&rows, str, i);

            r->val.s = text(&t->a, s.p, s.n);
        } else if (pairs) {
            r->val.bits = td_row_val(&rows, u64, i);
        }
    }
    td_rows_free(j, &rows);
    return 0;
}

static bool
same_row(const struct trial *t, const struct row *a, const struct row *b)
{
    if (t->key == BLOCK_STR ? block_str_cmp(a->key.s, b->key.s) : a->key.bits != b->key.bits)
        return false;
    if (t->fold == DISTINCT)
        return true;
    return t->fold >= FN_STR_MAX ? !block_str_cmp(a->val.s, b->val.s) : a->val.bits == b->val.bits;
}

/* Runs it with a budget; the rows in *t->got.  Returns what was spilled. */
static uint64_t
run(struct trial *t, uint64_t budget, bool one)
{
    struct rig r = { .budget = budget, .one_record = one };

    EQ_U64(rig_run(&r, job, t), 0);
    if (r.status)
        fprintf(stderr, "  fold %d of %s: %s\n", (int)t->fold, plan_schema_name((struct plan_schema){ t->key, t->val }),
                r.said.p);
    uint64_t spilled = r.spill_bytes;
    CU_ASSERT(!budget || r.peak <= budget);
    rig_fini(&r);
    return spilled;
}

static void
check(struct trial *t)
{
    struct row *sorted = malloc((t->n_got + 1) * sizeof *sorted);
    uint32_t bad = 0;

    memcpy(sorted, t->got, t->n_got * sizeof *sorted);
    comparing = t;
    qsort(sorted, t->n_got, sizeof *sorted, by_key);
    EQ_U64(t->n_got, t->n_want);
    for (uint32_t i = 0; i < t->n_got && i < t->n_want; i++)
        bad += !same_row(t, &sorted[i], &t->want[i]);
    if (bad)
        fprintf(stderr, "\n  key kind %u, value kind %u, fold %d\n", t->key, t->val, (int)t->fold);
    EQ_U64(bad, 0);
    free(sorted);
}

static uint8_t
val_kind(enum fold f, int i)
{
    static const uint8_t of[FOLDS] = { 0, 0, 0, 0, 0, BLOCK_I64, BLOCK_F64, BLOCK_STR, BLOCK_STR };

    return of[f] ? of[f] : (uint8_t)(BLOCK_U64 + i);
}

static int
val_kinds(enum fold f)
{
    return f == COUNT ? 4 : f == DISTINCT || f >= FN_I64 ? 1 : 3;
}

/* Every kind of key x fold x kind of value: against the reference; the same rows in the same order with any budget. */
static void
all_kinds(uint32_t rows, uint32_t keys, bool long_keys, uint64_t tiny)
{
    uint64_t seed = 1, spilled = 0;
    int trials = 0;

    for (uint8_t key = BLOCK_U64; key <= BLOCK_STR; key++)
        for (int f = 0; f < FOLDS; f++)
            for (int v = 0; v < val_kinds((enum fold)f); v++) {
                struct trial t = { .key = key, .val = val_kind((enum fold)f, v), .fold = (enum fold)f, .rows = rows,
                                   .keys = keys, .maps = 1 + (uint32_t)(seed % 3), .reduces = 1 + (uint32_t)(seed % 5),
                                   .seed = seed, .long_keys = long_keys };
                seed++;
                make(&t);
                uint64_t none = run(&t, 0, false);
#ifndef TASKD_HOSTILE
                EQ_U64(none, 0);
#endif
                check(&t);
                struct row *first = t.got;
                uint32_t n = t.n_got, bad = 0;

                spilled += run(&t, tiny, seed % 4 == 0);
                trials++;
                check(&t);
                EQ_U64(t.n_got, n);
                for (uint32_t i = 0; i < n && i < t.n_got; i++)
                    bad += !same_row(&t, &first[i], &t.got[i]);
                EQ_U64(bad, 0);
                (void)none;
                arena_fini(&t.a);
            }
    CU_ASSERT(tiny == 0 || spilled > 0);
}

static void
few_keys(void)
{
    all_kinds(3000, 10, true, 0);
}

static void
no_rows(void)
{
    all_kinds(0, 1, true, 0);
    all_kinds(1, 1, true, 0);
}

enum {
#ifdef TASKD_HOSTILE
    ROWS = 600,
    MANY = 1500,
#else
    ROWS = 10000,
    MANY = 100000,
#endif
};

static void
many_keys(void)
{
    all_kinds(ROWS, ROWS, false, 400 << 10);
}

static void
long_keys(void)
{
    all_kinds(ROWS, ROWS / 2, true, 400 << 10);
}

/* The smallest --executor-memory, shared by two: 1 MiB * 0.6 / 2. */
static void
least_budget(void)
{
    all_kinds(ROWS, ROWS, true, 307 << 10);
}

/* Enough spills that they are merged while the task still runs. */
static void
many_spills(void)
{
    uint64_t spilled;

    for (int f = 0; f < 2; f++) {
        struct trial t = { .key = BLOCK_STR, .val = f ? BLOCK_STR : BLOCK_I64, .fold = f ? FN_STR_SET : SUM,
                           .rows = MANY, .keys = MANY, .maps = 1, .reduces = 3, .seed = 5, .long_keys = true };

        make(&t);
        spilled = run(&t, 400 << 10, false);
        check(&t);
        CU_ASSERT(spilled > 0);
        arena_fini(&t.a);
    }
}

const struct unit_test flow_fold_tests[] = {
    { "fold.few_keys", few_keys },
    { "fold.no_rows", no_rows },
    { "fold.many_keys", many_keys },
    { "fold.long_keys", long_keys },
    { "fold.least_budget", least_budget },
    { "fold.many_spills", many_spills },
    UNIT_END,
};
