/* table -- see table.h */
#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
#ifdef TASKD_HOSTILE
    FIRST_BITS = 6,
#else
    FIRST_BITS = 12,
#endif
    LEAST_BITS = 6,
    HUGE = 2 << 20, /* bytes of a huge page */
};

/* ---- memory */

static size_t
size_of(const struct table *t)
{
    return t->kind == BLOCK_STR ? sizeof(struct table_str) : sizeof(struct table_num);
}

static size_t
bytes_of(const struct table *t, unsigned bits)
{
    return (((size_t)1 << bits) + TABLE_TAIL) * size_of(t) + BLOCK_PAD;
}

/* Address space for the largest table that the budget can allow, at a huge page: a table grows into it and never
 * moves.  It costs nothing (not even of RLIMIT_DATA) before it is used. */
static bool
reserve(struct table *t)
{
    size_t n = (t->budget->limit + 2 * HUGE - 1) / HUGE * HUGE + HUGE;
    char *p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return false;
    t->mem = (struct table_keep){ .p = p, .n = n };
    return true;
}

/* The first n bytes can be used, and what was not in use before is zero. */
static bool
slots_map(struct table *t, size_t n)
{
    char *slot = (char *)(((uintptr_t)t->mem.p + HUGE - 1) / HUGE * HUGE);
    size_t want = n < HUGE ? n : (n + HUGE - 1) / HUGE * HUGE;

    if (slot + want > (char *)t->mem.p + t->mem.n)
        return false;
    if (want > t->mem.open) {
        if (mprotect(slot, want, PROT_READ | PROT_WRITE) < 0)
            return false;
        if (want >= HUGE)
            madvise(slot, want, MADV_HUGEPAGE);
        t->mem.open = want;
    }
    size_t dirty = t->mem.dirty < n ? t->mem.dirty : n; /* an earlier table's */
    if (dirty > t->used)
        memset(slot + t->used, 0, dirty - t->used);
    if (n > t->mem.dirty)
        t->mem.dirty = n;
    t->slot = slot;
    t->used = n;
    return true;
}

static void
set_bits(struct table *t, unsigned bits)
{
    t->bits = bits;
    t->shift = 64 - bits;
    t->most = table_share(t);
}

void
table_keep_free(struct table_keep *k)
{
    if (k->p)
        munmap(k->p, k->n);
    *k = (struct table_keep){ 0 };
}

void
table_free(struct table *t)
{
    if (!t->budget)
        return;
    texts_free(&t->texts);
    if (!t->slot)
        return;
    budget_give(t->budget, bytes_of(t, t->bits));
    if (t->keep && t->mem.dirty > t->keep->dirty) {
        table_keep_free(t->keep);
        *t->keep = t->mem;
    } else {
        table_keep_free(&t->mem);
    }
    t->slot = NULL;
}

void
table_clear(struct table *t)
{
    texts_free(&t->texts);
    t->n = 0;
    t->has_zero = false;
    memset(t->slot, 0, t->used);
}

struct err *
table_new(struct table *t)
{
    unsigned bits = FIRST_BITS;

    while (bits > LEAST_BITS && bytes_of(t, bits) > t->budget->limit / 8)
        bits--;
    if (!budget_force(t->budget, bytes_of(t, bits)))
        return err_hint(err_new(ERR_LIMIT, "a task may hold %llu bytes, too few to combine rows by key",
                                (unsigned long long)t->budget->limit),
                        "Give tasks more memory with --executor-memory.");
    t->used = 0;
    t->mem = t->keep ? *t->keep : (struct table_keep){ 0 };
    if (t->keep)
        *t->keep = (struct table_keep){ 0 };
    if ((!t->mem.p && !reserve(t)) || !slots_map(t, bytes_of(t, bits)))
        return err_new(ERR_LIMIT, "no address space for a table of %llu bytes", (unsigned long long)t->budget->limit);
    t->n = 0;
    t->has_zero = false;
    set_bits(t, bits);
    return NULL;
}

static uint64_t
str_rank(const struct table_str *s)
{
    size_t n = s->len1 - 1;

    return n <= 16 ? hash_short(s->lo, s->hi, n) : hash_long((const char *)s->hi, n);
}

/* Keys that could not be moved in place, for a moment. */
struct aside {
    union {
        struct table_str str;
        struct table_num num;
    } *v;
    size_t n, cap;
};

static void
put_aside(struct aside *a, const void *slot, size_t size)
{
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 64;
        a->v = realloc(a->v, a->cap * sizeof *a->v);
        if (!a->v)
            abort();
    }
    memcpy(&a->v[a->n++], slot, size);
}

/*
 * A table grows where it lies.  The new home of a key is twice the old one, or one more: from the last slot to the
 * first every key moves up into slots that are free or hold keys that have moved already.  Only near the start can a key
 * have been pushed so far from its old home that its new one is below it; such keys step aside and come back last.
 */
static void
move_str(struct table *t, const struct table_str *x, size_t home)
{
    struct table_str *s = (struct table_str *)t->slot + home, *free_one = s;

    while (free_one->len1)
        free_one++;
    if (free_one != s) /* who came first is met most: it stays at home, the other one moves on */
        *free_one = *s;
    *s = *x;
}

static void
move_num(struct table *t, const struct table_num *x, size_t home)
{
    struct table_num *s = (struct table_num *)t->slot + home, *free_one = s;

    while (free_one->key)
        free_one++;
    if (free_one != s)
        *free_one = *s;
    *s = *x;
}

static void
move_strs(struct table *t, unsigned shift, struct aside *a)
{
    struct table_str *s = t->slot;

    for (size_t i = ((size_t)1 << t->bits) + TABLE_TAIL; i-- > 0;) {
        if (!s[i].len1)
            continue;
        struct table_str x = s[i];
        size_t home = str_rank(&x) >> shift;
        s[i].len1 = 0;
        s[i].lo = s[i].hi = 0;
        if (home < i)
            put_aside(a, &x, sizeof x);
        else
            move_str(t, &x, home);
    }
    for (size_t i = 0; i < a->n; i++)
        move_str(t, &a->v[i].str, str_rank(&a->v[i].str) >> shift);
}

static void
move_nums(struct table *t, unsigned shift, struct aside *a)
{
    struct table_num *s = t->slot;

    for (size_t i = ((size_t)1 << t->bits) + TABLE_TAIL; i-- > 0;) {
        if (!s[i].key)
            continue;
        struct table_num x = s[i];
        size_t home = hash_u64(x.key) >> shift;
        s[i].key = 0;
        if (home < i)
            put_aside(a, &x, sizeof x);
        else
            move_num(t, &x, home);
    }
    for (size_t i = 0; i < a->n; i++)
        move_num(t, &a->v[i].num, hash_u64(a->v[i].num.key) >> shift);
}

/* Would the keys whose home is in the last slots run over the end?  Only when hundreds share the top of their hash. */
static bool
end_is_full(const struct table *t)
{
    size_t end = ((size_t)1 << t->bits) + TABLE_TAIL, taken = 0;

    for (size_t i = end - TABLE_TAIL - TABLE_TAIL / 4; i < end; i++)
        taken += t->kind == BLOCK_STR ? ((struct table_str *)t->slot)[i].len1 != 0 : ((struct table_num *)t->slot)[i].key != 0;
    return taken >= TABLE_TAIL - 1;
}

bool
table_grow(struct table *t)
{
    size_t more = bytes_of(t, t->bits + 1) - bytes_of(t, t->bits);
    struct aside a = { 0 };

    if (t->bits >= 40 || end_is_full(t) || !budget_take(t->budget, more))
        return false;
    if (!slots_map(t, bytes_of(t, t->bits + 1))) {
        budget_give(t->budget, more);
        return false;
    }
    if (t->kind == BLOCK_STR)
        move_strs(t, 64 - (t->bits + 1), &a);
    else
        move_nums(t, 64 - (t->bits + 1), &a);
    free(a.v);
    set_bits(t, t->bits + 1);
    return true;
}

/* ---- strings in */

/* A key that is not where it should be: further up, a long string, or new. */
__attribute__((noinline)) uint64_t *
table_find_str(struct table *t, const struct table_key *k, const struct block_str *text, bool *ret_new)
{
    struct table_str *s = (struct table_str *)t->slot + (k->hash >> t->shift);
    uint32_t len1 = (uint32_t)text->n + 1;

    *ret_new = false;
    for (; s->len1; s++) {
        if (s->lo != k->lo || s->len1 != len1)
            continue;
        if (len1 <= 17) {
            if (s->hi == k->hi)
                return &s->v;
        } else if (s->tag == (uint32_t)k->hash && !memcmp((const char *)s->hi, text->p, text->n)) {
            return &s->v;
        }
    }
    if (s >= (struct table_str *)t->slot + ((size_t)1 << t->bits) + TABLE_TAIL - 1)
        return NULL; /* the last slot stays free: it ends the search */
    if (len1 > 17) {
        char *p = texts_copy(&t->texts, text->p, text->n, t->n == 0);

        if (!p)
            return NULL;
        s->hi = (uint64_t)p;
        s->tag = (uint32_t)k->hash;
    } else {
        s->hi = k->hi;
    }
    s->lo = k->lo;
    s->len1 = len1;
    t->n++;
    *ret_new = true;
    return &s->v;
}

/* ---- out, in the order of ranks */

struct walk {
    table_rows_fn *fn;
    void *arg;
    size_t n, cap;   /* rows that are ready, in order; */
    size_t base;     /* the last cluster's begin here */
    uint64_t *rank, *v;
    void *key;       /* uint64_t or struct block_str */
};

static void *
larger(void *p, size_t bytes)
{
    p = realloc(p, bytes);
    if (!p)
        abort();
    return p;
}

static struct err *
flush(struct walk *w, size_t size)
{
    for (size_t i = 0; i < w->n; i += TABLE_ROWS) {
        uint32_t n = w->n - i < TABLE_ROWS ? (uint32_t)(w->n - i) : TABLE_ROWS;

        TRY(w->fn(w->arg, (char *)w->key + i * size, w->v + i, w->rank + i, n));
    }
    w->n = w->base = 0;
    return NULL;
}

static struct block_str
str_of(const struct table_str *s)
{
    size_t n = s->len1 - 1;

    return (struct block_str){ n <= 16 ? (const char *)&s->lo : (const char *)s->hi, n };
}

static void
rows_room(struct walk *w, size_t more, size_t size)
{
    if (w->n + more <= w->cap)
        return;
    w->cap = w->cap * 2 > w->n + more ? w->cap * 2 : w->n + more + TABLE_ROWS;
    w->rank = larger(w->rank, w->cap * sizeof *w->rank);
    w->v = larger(w->v, w->cap * sizeof *w->v);
    w->key = larger(w->key, w->cap * size);
}

/* A cluster of taken slots holds whole home ranges: sorted by itself it fits between its neighbours.  A row is pushed
 * up by at most a few places, so it goes back as few. */
static void
insert_str(struct walk *w, uint64_t rank, struct block_str text, uint64_t v)
{
    rows_room(w, 1, sizeof text);
    struct block_str *strs = w->key;
    size_t k = w->n++;

    for (; k > w->base; k--) {
        if (w->rank[k - 1] < rank || (w->rank[k - 1] == rank && block_str_cmp(strs[k - 1], text) < 0))
            break;
        w->rank[k] = w->rank[k - 1];
        w->v[k] = w->v[k - 1];
        strs[k] = strs[k - 1];
    }
    w->rank[k] = rank;
    w->v[k] = v;
    strs[k] = text;
}

static struct err *
walk_strs(struct table *t, struct walk *w)
{
    const struct table_str *s = t->slot;
    size_t end = ((size_t)1 << t->bits) + TABLE_TAIL;

    for (size_t i = 0; i < end; i++) {
        if (s[i].len1) {
            insert_str(w, str_rank(&s[i]), str_of(&s[i]), s[i].v);
            continue;
        }
        w->base = w->n;
        if (w->n >= TABLE_ROWS)
            TRY(flush(w, sizeof(struct block_str)));
    }
    return flush(w, sizeof(struct block_str));
}

/* The same for numbers, all clusters from base on at once. */
static void
sort_nums(struct walk *w)
{
    uint64_t *nums = w->key;

    for (size_t i = w->base + 1; i < w->n; i++) {
        if (__builtin_expect(w->rank[i] > w->rank[i - 1], 1))
            continue;
        uint64_t rank = w->rank[i], num = nums[i], v = w->v[i];
        size_t k = i;
        for (; k > w->base; k--) {
            if (w->rank[k - 1] < rank || (w->rank[k - 1] == rank && nums[k - 1] < num))
                break;
            w->rank[k] = w->rank[k - 1];
            w->v[k] = w->v[k - 1];
            nums[k] = nums[k - 1];
        }
        w->rank[k] = rank;
        w->v[k] = v;
        nums[k] = num;
    }
    w->base = w->n;
}

/* Which slots are taken is nothing that can be foretold, so all of them are copied, and the taken ones stay. */
static size_t
copy_nums(struct walk *w, const struct table_num *s, size_t n)
{
    uint64_t *nums = (uint64_t *)w->key + w->n, *v = w->v + w->n, *rank = w->rank + w->n;
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        nums[k] = s[i].key;
        v[k] = s[i].v;
        rank[k] = hash_u64(s[i].key);
        k += s[i].key != 0;
    }
    return k;
}

static struct err *
walk_nums(struct table *t, struct walk *w)
{
    const struct table_num *s = t->slot;
    size_t end = ((size_t)1 << t->bits) + TABLE_TAIL, zero = t->has_zero ? hash_u64(0) >> t->shift : SIZE_MAX;

    for (size_t i = 0, to; i < end; i = to) {
        to = end - i < TABLE_ROWS ? end : i + TABLE_ROWS;
        if (i < zero && zero < to)
            to = zero;
        rows_room(w, TABLE_ROWS + 1, 8);
        if (i == zero) {
            ((uint64_t *)w->key)[w->n] = 0;
            w->v[w->n] = t->zero;
            w->rank[w->n++] = hash_u64(0);
        }
        w->n += copy_nums(w, s + i, to - i);
        if (!s[to - 1].key) { /* between two clusters */
            sort_nums(w);
            if (w->n >= TABLE_ROWS)
                TRY(flush(w, 8));
        }
    }
    sort_nums(w);
    return flush(w, 8);
}

struct err *
table_walk(struct table *t, table_rows_fn *fn, void *arg)
{
    struct walk w = { .fn = fn, .arg = arg };
    struct err *e = t->kind == BLOCK_STR ? walk_strs(t, &w) : walk_nums(t, &w);

    free(w.rank);
    free(w.v);
    free(w.key);
    return e;
}
