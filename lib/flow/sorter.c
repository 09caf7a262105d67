/*
 * sorter -- the map side of group_by_key and of sorts: keeps rows until the budget says no, then writes them in
 * order as a run.
 *
 * What is sorted are pairs {rank, row number}, by a radix sort from the lowest byte up that skips bytes in which
 * all agree (stable, two arrays).  Strings of equal rank are then ordered by their next eight bytes as a new rank, and
 * so on.  (The idea of caching eight bytes at a time: Ng and
 * Kakehi, "Cache efficient radix sort for string sorting", 2007.)
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "block/order.h"
#include "flow/texts.h"
#include "flow_priv.h"

enum {
    SMALL = 24,
    MANY = 1024, /* so many are sorted by radix: below, its counting costs more */
#ifdef TASKD_HOSTILE
    FIRST_ROWS = 16,
    TEXT_CHUNK = 256,
#else
    FIRST_ROWS = 4096,
    TEXT_CHUNK = 1 << 20,
#endif
};

struct pair {
    uint64_t rank;
    uint64_t row;
};

/* A growing array in memory of its own: it moves by remapping, so nothing is copied or held twice. */
struct column {
    void *p;
    size_t bytes;
};

struct sorter {
    struct flow_sink sink; /* first */
    struct flow_run *r;
    const struct plan_node *node;
    struct block_schema schema;
    bool by_key, descending;
    uint64_t n, cap;
    struct column pair, tmp, key, val; /* struct pair twice; 8 bytes, or struct block_str */
    size_t row_bytes;
    struct texts texts; /* of keys and values that are strings */
    struct flow_spills spills;
    struct flow_output out;
    uint32_t runs; /* of a sort's output that are complete */
    uint64_t spilled; /* bytes of them */
};

static struct err *
column_resize(struct column *c, size_t bytes)
{
    bytes = (bytes + 4095) & ~(size_t)4095;
    void *p = c->p ? mremap(c->p, c->bytes, bytes, MREMAP_MAYMOVE)
                   : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_new(ERR_LIMIT, "no memory for %zu bytes of rows to sort", bytes);
    c->p = p;
    c->bytes = bytes;
    return NULL;
}

static struct err *
resize(struct sorter *s, uint64_t cap)
{
    TRY(column_resize(&s->pair, cap * sizeof(struct pair)));
    TRY(column_resize(&s->tmp, cap * sizeof(struct pair)));
    TRY(column_resize(&s->key, cap * block_cell(s->schema.key)));
    if (s->schema.val)
        TRY(column_resize(&s->val, cap * block_cell(s->schema.val)));
    s->cap = cap;
    return NULL;
}

/* ---- order */

static uint64_t
rank_at(const struct sorter *s, struct block_str k, size_t depth)
{
    uint64_t r = 0;

    if (k.n > depth)
        r = block_key_rank_str((struct block_str){ k.p + depth, k.n - depth });
    return s->descending ? ~r : r;
}

static int
cmp_rows(const struct sorter *s, uint64_t a, uint64_t b)
{
    int c;

    if (s->schema.key == BLOCK_STR) {
        const struct block_str *k = s->key.p;

        c = block_str_cmp(k[a], k[b]);
    } else {
        const uint64_t *k = s->key.p;
        uint64_t x = block_norm(s->schema.key, k[a]), y = block_norm(s->schema.key, k[b]);

        c = (x > y) - (x < y);
    }
    return s->descending ? -c : c;
}

/* p[0, n) by rank, stable, through t. */
static void
radix(struct pair *p, struct pair *t, size_t n)
{
    static _Thread_local uint32_t count[8][256];
    struct pair *from = p, *to = t;

    memset(count, 0, sizeof count);
    for (size_t i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            count[b][p[i].rank >> (8 * b) & 255]++;
    for (int b = 0; b < 8; b++) {
        uint32_t sum = 0;

        if (count[b][p[0].rank >> (8 * b) & 255] == n)
            continue;
        for (int d = 0; d < 256; d++) {
            uint32_t c = count[b][d];

            count[b][d] = sum;
            sum += c;
        }
        for (size_t i = 0; i < n; i++)
            to[count[b][from[i].rank >> (8 * b) & 255]++] = from[i];
        struct pair *x = from;
        from = to;
        to = x;
    }
    if (from != p)
        memcpy(p, from, n * sizeof *p);
}

/* p[0, n) by rank, stable, without looking at the rows. */
static void
sort_ranks(struct pair *p, struct pair *t, size_t n)
{
    if (n >= MANY) {
        radix(p, t, n);
        return;
    }
    if (n <= SMALL) {
        for (size_t i = 1; i < n; i++) {
            struct pair x = p[i];
            size_t k = i;

            for (; k > 0 && x.rank < p[k - 1].rank; k--)
                p[k] = p[k - 1];
            p[k] = x;
        }
        return;
    }
    size_t h = n / 2, i = 0, j = h, k = 0;
    sort_ranks(p, t, h);
    sort_ranks(p + h, t, n - h);
    memcpy(t, p, h * sizeof *p);
    while (i < h && j < n)
        p[k++] = p[j].rank < t[i].rank ? p[j++] : t[i++];
    while (i < h)
        p[k++] = t[i++];
}

/* Keys whose ranks are equal by chance (hashes): any order will do that is one. */
static void
order_by_key(const struct sorter *s, struct pair *p, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct pair x = p[i];
        size_t k = i;

        for (; k > 0 && cmp_rows(s, x.row, p[k - 1].row) < 0; k--)
            p[k] = p[k - 1];
        p[k] = x;
    }
}

/* Bytes that a and b, which are longer than depth and equal up to there, have in common. */
static size_t
common(struct block_str a, struct block_str b, size_t depth)
{
    size_t n = a.n < b.n ? a.n : b.n, i = depth;

    for (; i + 8 <= n; i += 8) {
        uint64_t x = hash_load8(a.p + i) ^ hash_load8(b.p + i);

        if (x)
            return i + (size_t)__builtin_ctzll(x) / 8;
    }
    while (i < n && a.p[i] == b.p[i])
        i++;
    return i;
}

/* Strings that are equal in their first depth bytes if zeroes are put behind the short ones.  Those that are not longer
 * come first, by length; *p and *n become the others. */
static void
split_short(const struct sorter *s, struct pair **p, struct pair *t, size_t *n, size_t depth)
{
    const struct block_str *key = s->key.p;
    uint64_t flip = s->descending ? UINT64_MAX : 0;
    size_t from = 0, to = *n;

    for (size_t i = 0; i < *n; i++) {
        size_t len = key[(*p)[i].row].n;

        (*p)[i].rank = (len > depth ? UINT64_MAX : len) ^ flip;
    }
    sort_ranks(*p, t, *n);
    while (from < to && (*p)[from].rank != (UINT64_MAX ^ flip))
        from++;
    while (from < to && (*p)[to - 1].rank != (UINT64_MAX ^ flip))
        to--;
    *p += from;
    *n = to - from;
}

/* As above: by the next eight bytes in which they differ, and so on. */
static void
order_ties(const struct sorter *s, struct pair *p, struct pair *t, size_t n, size_t depth)
{
    const struct block_str *key = s->key.p;

    for (;;) {
        size_t least = SIZE_MAX, most = 0, same;

        for (size_t i = 0; i < n; i++) {
            size_t len = key[p[i].row].n;

            least = len < least ? len : least;
            most = len > most ? len : most;
        }
        if (n < 2 || (least == most && least <= depth))
            return;
        if (least <= depth) {
            split_short(s, &p, t, &n, depth);
            continue;
        }
        same = least;
        for (size_t i = 1; i < n && same > depth; i++) {
            size_t k = common(key[p[0].row], key[p[i].row], depth);

            same = k < same ? k : same;
        }
        depth = same;
        if (least > depth)
            break;
    }
    for (size_t i = 0; i < n; i++)
        p[i].rank = rank_at(s, key[p[i].row], depth);
    sort_ranks(p, t, n);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && p[j].rank == p[i].rank; j++)
            ;
        if (j - i > 1)
            order_ties(s, p + i, t, j - i, depth + 8);
    }
}

static void
sort_rows(struct sorter *s)
{
    struct pair *p = s->pair.p, *t = s->tmp.p;
    bool exact = s->by_key && s->schema.key != BLOCK_STR; /* the rank is the key */

    for (uint64_t i = 0; i < s->n; i += FLOW_ROWS) {
        uint32_t n = s->n - i < FLOW_ROWS ? (uint32_t)(s->n - i) : FLOW_ROWS;
        uint64_t rank[FLOW_ROWS];
        const void *col = (const char *)s->key.p + i * block_cell(s->schema.key);

        if (s->by_key)
            block_key_ranks(s->schema.key, s->descending, col, 0, n, rank);
        else
            block_hash_ranks(s->schema.key, col, 0, n, rank);
        for (uint32_t k = 0; k < n; k++)
            p[i + k] = (struct pair){ rank[k], i + k };
    }
    if (s->n > 1)
        radix(p, t, s->n);
    if (exact)
        return;
    for (uint64_t i = 0, j; i < s->n; i = j) {
        for (j = i + 1; j < s->n && p[j].rank == p[i].rank; j++)
            ;
        if (j - i > 1 && s->by_key)
            order_ties(s, p + i, t, j - i, 8);
        else if (j - i > 1)
            order_by_key(s, p + i, j - i);
    }
}

/* ---- out */

typedef struct err *rows_fn(void *arg, const struct block_cols *rows);

static void
gather(const struct column *c, uint8_t kind, const struct pair *p, uint32_t n, uint64_t *num, struct block_str *str)
{
    if (kind == BLOCK_STR) {
        const struct block_str *s = c->p;

        for (uint32_t i = 0; i < n; i++) {
            str[i] = s[p[i].row];
            __builtin_prefetch(str[i].p);
            __builtin_prefetch(str[i].p + 64);
        }
    } else if (kind) {
        for (uint32_t i = 0; i < n; i++)
            num[i] = ((const uint64_t *)c->p)[p[i].row];
    }
}

static struct err *
emit(struct sorter *s, rows_fn *fn, void *arg)
{
    uint64_t knum[FLOW_ROWS], vnum[FLOW_ROWS];
    struct block_str kstr[FLOW_ROWS], vstr[FLOW_ROWS];
    enum { STEP = FLOW_ROWS < 64 ? FLOW_ROWS : 64 }; /* few enough that what is prefetched stays */

    sort_rows(s);
    for (uint64_t i = 0; i < s->n; i += STEP) {
        uint32_t n = s->n - i < STEP ? (uint32_t)(s->n - i) : STEP;
        const struct pair *p = (const struct pair *)s->pair.p + i;

        gather(&s->key, s->schema.key, p, n, knum, kstr);
        gather(&s->val, s->schema.val, p, n, vnum, vstr);
        struct block_cols rows = { n, { s->schema.key == BLOCK_STR ? (void *)kstr : (void *)knum, NULL } };
        if (s->schema.val)
            rows.col[1] = s->schema.val == BLOCK_STR ? (void *)vstr : (void *)vnum;
        TRY(fn(arg, &rows));
    }
    s->n = 0;
    texts_free(&s->texts);
    return NULL;
}

static struct err *
to_spill(void *arg, const struct block_cols *rows)
{
    return block_put(arg, rows, 0, rows->n);
}

static struct err *
to_output(void *arg, const struct block_cols *rows)
{
    return flow__output_put(arg, rows, NULL);
}

static struct err *
merged_to_output(void *arg, const struct block_cols *rows, const uint8_t *same)
{
    return flow__output_put(arg, rows, NULL);
}

/* Another run follows, so this one was written for want of memory. */
static struct err *
end_run(struct sorter *s)
{
    TRY(block_partition(s->out.w, ++s->runs));
    uint64_t now = block_writer_bytes(s->out.w);

    s->r->res->spill_bytes += now - s->spilled;
    s->spilled = now;
    return NULL;
}

/* A sort's runs lie one after the other in the output, each as a "partition" of it: the reducers merge them together
 * with those of the other maps, so nothing is written twice. */
static struct err *
append_run(struct sorter *s)
{
    if (!s->out.w)
        TRY(flow__output_open(s->r, s->schema, 0, true, &s->out));
    else
        TRY(end_run(s));
    return emit(s, to_output, &s->out);
}

static void
drop_columns(struct sorter *s)
{
    struct column *c[] = { &s->pair, &s->tmp, &s->key, &s->val };

    for (int i = 0; i < 4; i++) {
        if (c[i]->p)
            munmap(c[i]->p, c[i]->bytes);
        c[i]->p = NULL;
    }
    budget_give(s->r->budget, s->cap * s->row_bytes);
    s->cap = 0;
}

/* The first ones: few rows, and fewer in a small budget. */
static struct err *
columns_new(struct sorter *s)
{
    struct budget *b = s->r->budget;
    uint64_t rows = FIRST_ROWS;

    while (rows > 16 && rows * s->row_bytes > b->limit / 8)
        rows /= 2;
    if (!budget_force(b, rows * s->row_bytes))
        return err_hint(err_new(ERR_LIMIT, "a task may hold %llu bytes, too few to sort", (unsigned long long)b->limit),
                        "Give tasks more memory with --executor-memory.");
    struct err *e = resize(s, rows);
    if (e)
        budget_give(b, rows * s->row_bytes);
    return e;
}

static struct err *
spill(struct sorter *s)
{
    struct block_writer *w;

    if (s->by_key)
        return append_run(s);
    TRY(flow__spill_begin(&s->spills, &w));
    struct err *e = emit(s, to_spill, w);
    if (e) {
        block_writer_abandon(&w);
        return e;
    }
    TRY(flow__spill_end(&s->spills, &w));
    if (!flow__spill_many(&s->spills))
        return NULL;
    drop_columns(s);
    TRY(flow__spill_collapse(&s->spills));
    return columns_new(s);
}

/* ---- in */

/* Room for n more rows; *ret_n is how many there are room for, at least one. */
static struct err *
make_room(struct sorter *s, uint32_t n, uint32_t *ret_n)
{
    if (s->n == s->cap) {
        uint64_t more = s->cap < 1 << 20 ? s->cap : 1 << 20;

        if (budget_take(s->r->budget, more * s->row_bytes)) {
            struct err *e = resize(s, s->cap + more);

            if (e)
                budget_give(s->r->budget, more * s->row_bytes);
            TRY(e);
        } else {
            TRY(spill(s));
        }
    }
    *ret_n = s->cap - s->n < n ? (uint32_t)(s->cap - s->n) : n;
    return NULL;
}

/* Copies strings of rows [from, to) of a column behind row s->n; *ret_to is where the memory ended. */
static struct err *
take_strings(struct sorter *s, struct column *c, const void *col, uint32_t from, uint32_t to, bool must, uint32_t *ret_to)
{
    struct block_str *d = (struct block_str *)c->p + s->n;
    const struct block_str *v = col;
    uint32_t i;

    for (i = from; i < to; i++) {
        char *p = texts_copy(&s->texts, v[i].p, v[i].n, must);

        if (!p)
            break;
        d[i - from] = (struct block_str){ p, v[i].n };
    }
    *ret_to = i;
    return NULL;
}

static struct err *
take_rows(struct sorter *s, const td_batch *b, uint32_t from, uint32_t to, uint32_t *ret_to)
{
    if (s->schema.key == BLOCK_STR)
        TRY(take_strings(s, &s->key, b->col[0], from, to, s->n == 0, &to));
    else
        memcpy((uint64_t *)s->key.p + s->n, (const uint64_t *)b->col[0] + from, (to - from) * sizeof(uint64_t));
    if (s->schema.val == BLOCK_STR)
        TRY(take_strings(s, &s->val, b->col[1], from, to, s->n == 0, &to));
    else if (s->schema.val)
        memcpy((uint64_t *)s->val.p + s->n, (const uint64_t *)b->col[1] + from, (to - from) * sizeof(uint64_t));
    *ret_to = to;
    return NULL;
}

static struct err *
sorter_push(struct flow_sink *k, const td_batch *b)
{
    struct sorter *s = (struct sorter *)k;

    for (uint32_t i = 0; i < b->n;) {
        uint32_t n, to;

        TRY(make_room(s, b->n - i, &n));
        TRY(take_rows(s, b, i, i + n, &to));
        if (to == i && s->n == 0) { /* the keys may have left no room for the first value */
            texts_free(&s->texts);
            TRY(take_rows(s, b, i, i + 1, &to));
        }
        if (to == i) {
            if (s->n == 0)
                return err_hint(err_new(ERR_LIMIT, "a row to be sorted does not fit into the %llu bytes of a task",
                                        (unsigned long long)s->r->budget->limit),
                                "Give tasks more memory with --executor-memory.");
            TRY(spill(s));
        }
        s->n += to - i;
        i = to;
    }
    return NULL;
}

static struct err *
sorter_finish(struct flow_sink *k)
{
    struct sorter *s = (struct sorter *)k;

    if (s->by_key) {
        if (s->n || !s->out.w)
            TRY(append_run(s));
        return flow__output_close(&s->out);
    }
    TRY(flow__output_open(s->r, s->schema, s->r->task->stage->partitions, false, &s->out));
    if (s->spills.n == 0) {
        TRY(emit(s, to_output, &s->out));
    } else {
        if (s->n)
            TRY(spill(s));
        drop_columns(s);
        TRY(flow__spill_merge(&s->spills, merged_to_output, &s->out));
    }
    return flow__output_close(&s->out);
}

static void
sorter_free(struct flow_sink *k)
{
    struct sorter *s = (struct sorter *)k;

    drop_columns(s);
    texts_free(&s->texts);
    flow__spill_free(&s->spills);
    block_writer_abandon(&s->out.w);
    file_close(&s->out.fd);
}

struct err *
flow__sorter_new(struct flow_run *r, const struct plan_node *n, struct flow_sink **ret)
{
    struct sorter *s = ARENA_NEW(r->a, struct sorter);

    s->sink = (struct flow_sink){ sorter_push, sorter_finish, sorter_free };
    s->r = r;
    s->node = n;
    s->schema = flow__schema(n->in);
    s->by_key = n->op == PLAN_SORT;
    s->descending = n->descending;
    s->out.fd = -1;
    s->spills = (struct flow_spills){ .r = r, .schema = s->schema, .by_key = s->by_key, .descending = s->descending };
    s->row_bytes = 2 * sizeof(struct pair) + block_cell(s->schema.key) + block_cell(s->schema.val);
    *ret = &s->sink;
    s->texts = (struct texts){ .budget = r->budget, .chunk = flow__share(r->budget, TEXT_CHUNK, 16, 1024) };
    return columns_new(s);
}
