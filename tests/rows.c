/* rows -- see rows.h */
#include "rows.h"

#include <CUnit/CUnit.h>
#include <sys/mman.h>

#include "base/hash.h"
#include "unit.h"

const struct block_schema schemas[] = {
    { BLOCK_U64, 0 }, { BLOCK_I64, 0 }, { BLOCK_F64, 0 }, { BLOCK_STR, 0 },
    { BLOCK_U64, BLOCK_U64 }, { BLOCK_STR, BLOCK_I64 }, { BLOCK_STR, BLOCK_STR }, { BLOCK_I64, BLOCK_STR },
    { BLOCK_F64, BLOCK_F64 },
};
_Static_assert(sizeof schemas / sizeof schemas[0] == SCHEMAS, "see rows.h");

static uint64_t
next_random(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15ull;
    return hash_u64(*s);
}

/* Shapes of values that need each of the encodings. */
static uint64_t
value(uint64_t r, unsigned shape)
{
    static const uint64_t mask[] = { 0, 0xff, 0xffff, 0xffffffff, UINT64_MAX };

    return shape == 5 ? (uint64_t)(int64_t)(int8_t)r : shape == 6 ? 1000000 + (r & 0x7f) : r & mask[shape % 5];
}

static void *
column(struct arena *a, uint8_t kind, uint32_t n, unsigned shape, uint64_t *rng)
{
    if (kind == BLOCK_NONE)
        return NULL;
    if (kind == BLOCK_STR) {
        struct block_str *s = ARENA_ARRAY(a, struct block_str, n);

        for (uint32_t i = 0; i < n; i++) {
            uint64_t r = next_random(rng);
            size_t k = shape == 0 ? 3 : shape % 2 ? r % 9 : r % 64 ? r % 40 : r % 3000;
            char *p = arena_alloc(a, k + BLOCK_PAD);

            memset(p, (int)r | 1, k + BLOCK_PAD);
            memcpy(p, &r, k < 8 ? k : 8);
            s[i] = (struct block_str){ k == 0 && r & 64 ? NULL : p, k };
        }
        return s;
    }
    uint64_t *v = ARENA_ARRAY(a, uint64_t, n);
    for (uint32_t i = 0; i < n; i++)
        v[i] = value(next_random(rng), shape);
    return v;
}

struct block_cols
make_cols(struct arena *a, struct block_schema s, uint32_t n, unsigned shape, uint64_t seed)
{
    struct block_cols c = { .n = n };

    c.col[0] = column(a, s.key, n, shape, &seed);
    c.col[1] = column(a, s.val, n, shape / 2, &seed);
    return c;
}

static bool
same_cell(uint8_t kind, const void *a, uint32_t i, const void *b, uint32_t j)
{
    const struct block_str *x = a, *y = b;

    if (kind == BLOCK_STR)
        return x[i].n == y[j].n && (!x[i].n || !memcmp(x[i].p, y[j].p, x[i].n));
    return kind == BLOCK_NONE || ((const uint64_t *)a)[i] == ((const uint64_t *)b)[j];
}

bool
same_rows(struct block_schema s, const struct block_cols *want, uint32_t at, const struct block_cols *got)
{
    if (got->n > want->n - at)
        return false;
    for (uint32_t i = 0; i < got->n; i++)
        if (!same_cell(s.key, want->col[0], at + i, got->col[0], i)
            || !same_cell(s.val, want->col[1], at + i, got->col[1], i))
            return false;
    return true;
}

uint64_t
touch_padding(struct block_schema s, const struct block_cols *c)
{
    uint64_t sum = 0;

    for (int k = 0; k < 2; k++)
        if ((k ? s.val : s.key) == BLOCK_STR)
            for (uint32_t i = 0; i < c->n; i++) {
                const struct block_str *v = (const struct block_str *)c->col[k] + i;
                for (int b = 0; b < BLOCK_PAD; b++)
                    sum += (uint8_t)v->p[v->n + (size_t)b];
            }
    return sum;
}

int
temp_fd(void)
{
    int fd = memfd_create("block-test", MFD_CLOEXEC);

    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

struct block_run_info
write_run(int fd, const struct block_run_opts *o, const struct block_cols *cols)
{
    struct block_writer *w = NULL;
    struct block_run_info info = { 0 };

    NO_ERR(block_writer_open(fd, "t", o, &w));
    for (uint32_t i = 0, n = 1; i < cols->n; n = n * 3 % 1021 + 1) {
        uint32_t to = i + n < cols->n ? i + n : cols->n;
        NO_ERR(block_put(w, cols, i, to));
        i = to;
    }
    NO_ERR(block_writer_close(&w, &info));
    CU_ASSERT_PTR_NULL(w);
    return info;
}

struct err *
read_all(int fd)
{
    struct block_run *r = NULL;
    struct block_cursor *c = NULL;
    struct block_cols got = { .n = 1 };
    struct err *e = block_run_open(fd, "bad", NULL, &r);

    if (e)
        return e;
    e = block_cursor_open(r, 0, block_run_count(r), &c);
    while (!e && got.n)
        e = block_cursor_next(c, &got);
    block_cursor_close(c);
    block_run_close(r);
    return e;
}
