/* Tests of lib/block. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "block/budget.h"
#include "block/codec.h"
#include "block/order.h"
#include "unit.h"

enum { ROWS = 5000 };

static const struct block_schema schemas[] = {
    { BLOCK_U64, 0 }, { BLOCK_I64, 0 }, { BLOCK_F64, 0 }, { BLOCK_STR, 0 },
    { BLOCK_U64, BLOCK_U64 }, { BLOCK_STR, BLOCK_I64 }, { BLOCK_STR, BLOCK_STR }, { BLOCK_I64, BLOCK_STR },
    { BLOCK_F64, BLOCK_F64 },
};
enum { SCHEMAS = sizeof schemas / sizeof schemas[0] };

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

static struct block_cols
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

/* Rows [at, at + got->n) of want are those of got. */
static bool
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

/* Reads every byte behind the strings that may be read. */
static uint64_t
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

static int
temp_fd(void)
{
    int fd = memfd_create("block-test", MFD_CLOEXEC);

    CU_ASSERT_FATAL(fd >= 0);
    return fd;
}

/* cols in slices of odd sizes as a run. */
static struct block_run_info
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

static void
check_run(int fd, const struct block_codec *const *codecs, struct block_schema s,
          const struct block_cols *want)
{
    struct block_run *r = NULL;
    struct block_cursor *c = NULL;
    struct block_cols got;
    uint32_t at = 0, blocks = 0;

    NO_ERR(block_run_open(fd, "t", codecs, &r));
    EQ_U64(block_run_schema(r).key, s.key);
    EQ_U64(block_run_schema(r).val, s.val);
    NO_ERR(block_cursor_open(r, 0, block_run_count(r), &c));
    size_t need = block_cursor_need(c), most = 0;
    for (;;) {
        NO_ERR(block_cursor_next(c, &got));
        if (got.n == 0)
            break;
        most = block_cursor_held(c) > most ? block_cursor_held(c) : most;
        CU_ASSERT(same_rows(s, want, at, &got));
        touch_padding(s, &got);
        EQ_U64(got.n, block_run_entry(r, blocks)->rows);
        at += got.n;
        blocks++;
    }
    EQ_U64(at, want->n);
    EQ_U64(blocks, block_run_count(r));
    CU_ASSERT(block_cursor_held(c) < 256);
    CU_ASSERT(most <= need);
    block_cursor_close(c);
    block_run_close(r);
}

static void
run_keeps_rows(void)
{
    for (unsigned i = 0; i < SCHEMAS; i++)
        for (unsigned shape = 0; shape < 7; shape++) {
            struct arena a = { 0 };
            struct block_cols cols = make_cols(&a, schemas[i], shape == 3 ? 1 : ROWS, shape, shape + 7 * i);
            struct block_run_opts o = { .schema = schemas[i], .block_bytes = shape % 2 ? 0 : 3000,
                                        .first_keys = i % 2 };
            int fd = temp_fd();
            struct block_run_info info = write_run(fd, &o, &cols);

            EQ_U64(info.rows, cols.n);
            EQ_U64(info.file_bytes, lseek(fd, 0, SEEK_END));
            check_run(fd, NULL, schemas[i], &cols);
            close(fd);
            arena_fini(&a);
        }
}

static void
run_may_be_empty(void)
{
    struct block_run_opts o = { .schema = { BLOCK_STR, BLOCK_U64 } };
    struct block_cols none = { 0 };
    int fd = temp_fd();
    struct block_run_info info = write_run(fd, &o, &none);

    EQ_U64(info.blocks, 0);
    EQ_U64(info.file_bytes, 64);
    EQ_U64(info.digest, 0);
    check_run(fd, NULL, o.schema, &none);
    close(fd);
}

static uint32_t
encoded_size(struct block_schema s, const uint64_t *v, uint32_t n)
{
    struct block_run_opts o = { .schema = s };
    struct block_cols cols = { .n = n, .col = { v, v } };
    struct buf b = { 0 };

    NO_ERR(block_encode(&o, &cols, &b));
    uint32_t size = (uint32_t)b.n - 64;
    buf_fini(&b);
    return size;
}

static void
columns_are_narrow(void)
{
    struct block_schema u = { BLOCK_U64, 0 }, i = { BLOCK_I64, 0 };

    EQ_U64(encoded_size(u, (uint64_t[]){ 7, 7, 7, 7 }, 4), 0);
    EQ_U64(encoded_size(u, (uint64_t[]){ 0, 1, 2, 255 }, 4), 4);
    EQ_U64(encoded_size(u, (uint64_t[]){ 99840, 100095, 100001, 100002 }, 4), 4);
    EQ_U64(encoded_size(u, (uint64_t[]){ 99839, 100095, 100001, 100002 }, 4), 8);
    EQ_U64(encoded_size(u, (uint64_t[]){ 0x1000000, 0xffffff, 0xffff80, 0x1000001 }, 4), 4);
    EQ_U64(encoded_size(u, (uint64_t[]){ 0, 65536, 1, 2 }, 4), 16);
    EQ_U64(encoded_size(u, (uint64_t[]){ 0, UINT64_MAX, 1, 2 }, 4), 32);
    EQ_U64(encoded_size(u, (uint64_t[]){ UINT64_MAX, UINT64_MAX - 1 }, 2), 2);
    EQ_U64(encoded_size(i, (uint64_t[]){ (uint64_t)-1, 5, 127, (uint64_t)-128 }, 4), 4);
    EQ_U64(encoded_size(i, (uint64_t[]){ (uint64_t)INT64_MIN, (uint64_t)INT64_MAX }, 2), 16);
}

static void
pair_costs_what_the_readme_says(void)
{
    /* 3 letters and a count of 1: a length that is constant, 3 bytes, a count that is constant. */
    struct arena a = { 0 };
    struct block_str *s = ARENA_ARRAY(&a, struct block_str, 1000);
    uint64_t *one = ARENA_ARRAY(&a, uint64_t, 1000);
    struct block_cols cols = { .n = 1000, .col = { s, one } };
    struct buf b = { 0 };

    for (int i = 0; i < 1000; i++) {
        s[i] = (struct block_str){ "the                  ", 3 };
        one[i] = 1;
    }
    NO_ERR(block_encode(&(struct block_run_opts){ .schema = { BLOCK_STR, BLOCK_I64 } }, &cols, &b));
    EQ_U64(b.n, 64 + 3000);
    buf_fini(&b);
    arena_fini(&a);
}

static void
blocks_have_the_size_asked_for(void)
{
    struct arena a = { 0 };
    struct block_cols cols = make_cols(&a, (struct block_schema){ BLOCK_U64, 0 }, 1000, 4, 1);
    struct block_run_opts o = { .schema = { BLOCK_U64, 0 }, .block_bytes = 800 };
    int fd = temp_fd();
    struct block_run_info info = write_run(fd, &o, &cols);

    EQ_U64(info.blocks, 10);
    EQ_U64(info.raw_bytes, 8000);
    EQ_U64(info.file_bytes, 8000 + 10 * (64 + 16) + 64);
    close(fd);
    arena_fini(&a);
}

static void
giant_strings_fit(void)
{
    struct arena a = { 0 };
    enum { N = 5 << 20 };
    char *p = arena_alloc(&a, N + BLOCK_PAD);
    struct block_str v[4] = { { "x                                 ", 1 }, { p, N }, { p, 17 }, { p, N - 1 } };
    struct block_cols cols = { .n = 4, .col = { v } };
    struct block_run_opts o = { .schema = { BLOCK_STR, 0 }, .first_keys = true };
    int fd = temp_fd();
    struct block_run *r = NULL;

    memset(p, 'y', N + BLOCK_PAD);
    struct block_run_info info = write_run(fd, &o, &cols);
    EQ_U64(info.blocks, 4);
    check_run(fd, NULL, o.schema, &cols);
    NO_ERR(block_run_open(fd, "t", NULL, &r));
    EQ_U64(block_run_entry(r, 1)->first_n, BLOCK_FIRST_MAX);
    EQ_U64(block_run_entry(r, 0)->first_n, 1);
    block_run_close(r);
    close(fd);
    arena_fini(&a);
}

static void
record_beyond_the_format_is_refused(void)
{
    struct block_str v = { "nothing is read                    ", (size_t)BLOCK_RAW_MAX + 1 };
    struct block_cols cols = { .n = 1, .col = { &v } };
    struct block_run_opts o = { .schema = { BLOCK_STR, 0 } };
    struct block_writer *w = NULL;
    int fd = temp_fd();

    NO_ERR(block_writer_open(fd, "big", &o, &w));
    IS_ERR(block_put(w, &cols, 0, 1), ERR_LIMIT, "writing \"big\": a record of");
    block_writer_abandon(&w);
    close(fd);
}

static void
partitions_are_found(void)
{
    struct block_run_opts o = { .schema = { BLOCK_U64, BLOCK_U64 }, .block_bytes = 160 };
    struct block_writer *w = NULL;
    uint64_t v[100];
    struct block_cols cols = { .n = 100, .col = { v, v } };
    int fd = temp_fd();

    for (uint64_t i = 0; i < 100; i++)
        v[i] = i * 0x100000001;
    NO_ERR(block_writer_open(fd, "t", &o, &w));
    for (uint32_t p = 0; p < 10; p++) { /* partition p has the rows [10 p, 10 p + p); 0 has none */
        NO_ERR(block_partition(w, p));
        NO_ERR(block_put(w, &cols, 10 * p, 10 * p + p));
    }
    NO_ERR(block_partition(w, UINT32_MAX));
    NO_ERR(block_put(w, &cols, 0, 100));
    NO_ERR(block_writer_close(&w, NULL));
    struct block_run *r = NULL;
    NO_ERR(block_run_open(fd, "t", NULL, &r));
    EQ_U64(block_run_count(r), 9 + 10);
    for (uint32_t p = 0; p < 12; p++) {
        uint32_t from, to;
        struct block_cursor *c = NULL;
        struct block_cols got;

        block_run_partition(r, p, &from, &to);
        EQ_U64(to - from, p >= 1 && p < 10);
        NO_ERR(block_cursor_open(r, from, to, &c));
        NO_ERR(block_cursor_next(c, &got));
        EQ_U64(got.n, p < 10 ? p : 0);
        CU_ASSERT(same_rows(o.schema, &cols, 10 * (p % 10), &got));
        block_cursor_close(c);
    }
    uint32_t from, to;
    block_run_partition(r, UINT32_MAX, &from, &to);
    EQ_U64(to - from, 10);
    block_run_close(r);
    close(fd);
}

static void
first_keys_are_kept(void)
{
    uint64_t v[10];
    struct block_cols cols = { .n = 10, .col = { v } };
    struct block_run_opts o = { .schema = { BLOCK_U64, 0 }, .block_bytes = 16, .first_keys = true };
    struct block_run *r = NULL;
    int fd = temp_fd();

    for (uint64_t i = 0; i < 10; i++)
        v[i] = i * i;
    write_run(fd, &o, &cols);
    NO_ERR(block_run_open(fd, "t", NULL, &r));
    CU_ASSERT(block_run_has_first_keys(r));
    EQ_U64(block_run_count(r), 5);
    for (uint32_t i = 0; i < 5; i++) {
        EQ_U64(block_run_entry(r, i)->first_n, 8);
        EQ_U64(hash_load8(block_run_entry(r, i)->first), v[2 * i]);
    }
    block_run_close(r);
    close(fd);
}

static void
digest_ignores_order_and_borders(void)
{
    for (unsigned i = 0; i < SCHEMAS; i++) {
        struct arena a = { 0 };
        struct block_cols cols = make_cols(&a, schemas[i], 1000, 2, i);
        struct block_run_opts o = { .schema = schemas[i] }, small = { .schema = schemas[i], .block_bytes = 1 };
        int fd = temp_fd(), fd2 = temp_fd();
        uint64_t digest = write_run(fd, &o, &cols).digest;
        struct block_writer *w = NULL;
        struct block_run_info info;

        NO_ERR(block_writer_open(fd2, "t", &small, &w));
        for (uint32_t k = cols.n; k-- > 0;)
            NO_ERR(block_put(w, &cols, k, k + 1));
        NO_ERR(block_writer_close(&w, &info));
        EQ_U64(info.digest, digest);
        CU_ASSERT(digest != 0);
        struct block_run *r = NULL;
        NO_ERR(block_run_open(fd, "t", NULL, &r));
        EQ_U64(block_run_totals(r)->digest, digest);
        block_run_close(r);
        close(fd);
        close(fd2);
        arena_fini(&a);
    }
}

static void
digest_sees_what_belongs_together(void)
{
    uint64_t k[2] = { 1, 2 }, v[2] = { 3, 4 }, swapped[2] = { 4, 3 };
    struct block_run_opts o = { .schema = { BLOCK_U64, BLOCK_U64 } };
    int fd = temp_fd(), fd2 = temp_fd();
    uint64_t one = write_run(fd, &o, &(struct block_cols){ .n = 2, .col = { k, v } }).digest;
    uint64_t two = write_run(fd2, &o, &(struct block_cols){ .n = 2, .col = { k, swapped } }).digest;

    CU_ASSERT(one != two);
    close(fd);
    close(fd2);
}

/* Everything a damaged file can do is to give an error: reads all of it, returns the error. */
static struct err *
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

static void
damage_is_found(void)
{
    struct arena a = { 0 };
    struct block_cols cols = make_cols(&a, (struct block_schema){ BLOCK_STR, BLOCK_I64 }, 40, 1, 5);
    struct block_run_opts o = { .schema = { BLOCK_STR, BLOCK_I64 }, .block_bytes = 300, .first_keys = true };
    int fd = temp_fd();
    off_t size = (off_t)write_run(fd, &o, &cols).file_bytes;

    NO_ERR(read_all(fd));
    for (off_t i = 0; i < size; i++) {
        char was, now;

        CU_ASSERT_FATAL(pread(fd, &was, 1, i) == 1);
        now = (char)(was ^ (1 << (i % 8)));
        CU_ASSERT_FATAL(pwrite(fd, &now, 1, i) == 1);
        IS_ERR(read_all(fd), ERR_CORRUPT, "\"bad\"");
        CU_ASSERT_FATAL(pwrite(fd, &was, 1, i) == 1);
    }
    NO_ERR(read_all(fd));
    while (size-- > 0) {
        CU_ASSERT_FATAL(ftruncate(fd, size) == 0);
        IS_ERR(read_all(fd), ERR_CORRUPT, "\"bad\" is not a whole file of blocks");
    }
    close(fd);
    arena_fini(&a);
}

static void
foreign_files_are_named(void)
{
    char zero[4096] = { 0 };
    int fd = temp_fd();

    CU_ASSERT_FATAL(write(fd, zero, sizeof zero) == sizeof zero);
    IS_ERR(read_all(fd), ERR_CORRUPT, "its last 64 bytes are not a trailer");
    close(fd);
}

static void
file_cut_while_it_is_read(void)
{
    struct arena a = { 0 };
    struct block_cols cols = make_cols(&a, (struct block_schema){ BLOCK_U64, 0 }, 100, 4, 5), got;
    struct block_run_opts o = { .schema = { BLOCK_U64, 0 }, .block_bytes = 80 };
    struct block_run *r = NULL;
    struct block_cursor *c = NULL;
    int fd = temp_fd();

    write_run(fd, &o, &cols);
    NO_ERR(block_run_open(fd, "cut", NULL, &r));
    NO_ERR(block_cursor_open(r, 0, block_run_count(r), &c));
    CU_ASSERT_FATAL(ftruncate(fd, 200) == 0);
    NO_ERR(block_cursor_next(c, &got));
    IS_ERR(block_cursor_next(c, &got), ERR_CORRUPT, "\"cut\" ends after 200 bytes");
    block_cursor_close(c);
    block_run_close(r);
    close(fd);
    arena_fini(&a);
}

static void
full_disk_is_an_error(void)
{
    uint64_t v = 1;
    struct block_run_opts o = { .schema = { BLOCK_U64, 0 } };
    struct block_writer *w = NULL;
    int fd = memfd_create("full", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    CU_ASSERT_FATAL(fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0);
    NO_ERR(block_writer_open(fd, "full", &o, &w));
    NO_ERR(block_put(w, &(struct block_cols){ .n = 1, .col = { &v } }, 0, 1));
    IS_ERR(block_writer_close(&w, NULL), ERR_IO, "writing \"full\"");
    CU_ASSERT_PTR_NULL(w);
    close(fd);
}

static void
writer_says_what_it_holds(void)
{
    struct arena a = { 0 };
    struct block_schema s = { BLOCK_STR, BLOCK_I64 };
    struct block_cols cols = make_cols(&a, s, ROWS, 1, 5);
    struct block_run_opts o = { .schema = s };
    struct block_writer *w = NULL;
    struct block_run_info info;
    int fd = temp_fd();
    size_t most = 0;

    NO_ERR(block_writer_open(fd, "t", &o, &w));
    CU_ASSERT(block_writer_held(w) < 1024);
    for (int i = 0; i < 40; i++) {
        NO_ERR(block_put(w, &cols, 0, cols.n));
        most = block_writer_held(w) > most ? block_writer_held(w) : most;
    }
    NO_ERR(block_writer_close(&w, &info));
    CU_ASSERT(most <= block_writer_need(&o) + 2 * 16 * info.blocks + 64);
    close(fd);
    arena_fini(&a);
}

/* A codec for tests: zero bytes at the end are not stored. */
static size_t
trim_bound(size_t n)
{
    return n + 1;
}

static size_t
trim_pack(const void *src, size_t n, void *dst, size_t cap)
{
    const char *p = src;

    while (n && !p[n - 1])
        n--;
    memcpy(dst, src, n);
    return n;
}

static bool
trim_unpack(const void *src, size_t n, void *dst, size_t want)
{
    if (n > want || (n && !((const char *)src)[n - 1]))
        return false;
    memcpy(dst, src, n);
    memset((char *)dst + n, 0, want - n);
    return true;
}

static const struct block_codec trim = { "trim", 200, trim_bound, trim_pack, trim_unpack };
static const struct block_codec *const trims[] = { &trim, NULL };

static void
packed_blocks(void)
{
    for (unsigned i = 0; i < SCHEMAS; i++) {
        struct arena a = { 0 };
        uint32_t n = 2000;
        struct block_cols cols = make_cols(&a, schemas[i], n, 4, i);
        struct block_run_opts o = { .schema = schemas[i], .block_bytes = 8000, .codec = &trim };
        int fd = temp_fd();

        if (i == 0)
            memset((char *)(uintptr_t)cols.col[0] + 8, 0, 8 * (n - 1));
        struct block_run_info info = write_run(fd, &o, &cols);
        check_run(fd, trims, schemas[i], &cols);
        if (i == 0) {
            CU_ASSERT(info.file_bytes < 1000);
            IS_ERR(read_all(fd), ERR_CORRUPT, "codec 200, which this program does not have");
        }
        close(fd);
        arena_fini(&a);
    }
}

static void
memory_keeps_rows(void)
{
    for (unsigned i = 0; i < SCHEMAS; i++)
        for (uint32_t n = 0; n < 300; n = n * 3 + 1) {
            struct arena a = { 0 };
            struct block_cols cols = make_cols(&a, schemas[i], n, i, n), got;
            struct block_schema s;
            struct buf b = { 0 };
            size_t used;

            buf_put(&b, "xyz", 3); /* blocks need not be aligned */
            NO_ERR(block_encode(&(struct block_run_opts){ .schema = schemas[i] }, &cols, &b));
            size_t one = b.n - 3;
            NO_ERR(block_encode(&(struct block_run_opts){ .schema = schemas[i] }, &cols, &b));
            EQ_U64(b.n, 3 + 2 * one);
            NO_ERR(block_decode(b.p + 3, b.n - 3, "m", NULL, &a, &got, &s, &used));
            EQ_U64(used, one);
            EQ_U64(got.n, n);
            EQ_U64(s.key, schemas[i].key);
            EQ_U64(s.val, schemas[i].val);
            CU_ASSERT(same_rows(s, &cols, 0, &got));
            touch_padding(s, &got);
            for (size_t cut = 0; cut < one; cut += cut < 70 ? 1 : 97)
                IS_ERR(block_decode(b.p + 3, cut, "m", NULL, &a, &got, &s, &used), ERR_CORRUPT, "\"m\"");
            buf_fini(&b);
            arena_fini(&a);
        }
}

static void
memory_splits_what_is_too_long(void)
{
    uint32_t n = BLOCK_ROWS_MAX + 5, blocks = 0;
    uint64_t *v = calloc(n, 8);
    struct block_cols cols = { .n = n, .col = { v } }, got;
    struct block_schema s;
    struct arena a = { 0 };
    struct buf b = { 0 };
    size_t used = 0;

    NO_ERR(block_encode(&(struct block_run_opts){ .schema = { BLOCK_U64, 0 } }, &cols, &b));
    for (size_t at = 0; at < b.n; at += used, blocks++)
        NO_ERR(block_decode(b.p + at, b.n - at, "m", NULL, &a, &got, &s, &used));
    EQ_U64(blocks, 2);
    EQ_U64(got.n, 5);
    buf_fini(&b);
    arena_fini(&a);
    free(v);
}

static void
order_of_numbers(void)
{
    double d[] = { -1.0 / 0.0, -1e300, -1, -1e-300, -0.0, 0.0, 1e-300, 1, 1e300, 1.0 / 0.0, 0.0 / 0.0 };
    uint64_t r[11], down[11];
    int64_t i[] = { INT64_MIN, -1, 0, 1, INT64_MAX };

    block_key_ranks(BLOCK_F64, false, d, 0, 11, r);
    block_key_ranks(BLOCK_F64, true, d, 0, 11, down);
    for (int k = 0; k + 1 < 11; k++) {
        CU_ASSERT(k == 4 ? r[k] == r[k + 1] : r[k] < r[k + 1]);
        CU_ASSERT(k == 4 ? down[k] == down[k + 1] : down[k] > down[k + 1]);
    }
    EQ_U64(block_key_cmp(BLOCK_F64, d, 4, d, 5), 0);
    block_hash_ranks(BLOCK_F64, d, 0, 11, r);
    EQ_U64(r[4], r[5]);
    block_key_ranks(BLOCK_I64, false, i, 0, 5, r);
    for (int k = 0; k + 1 < 5; k++)
        CU_ASSERT(r[k] < r[k + 1]);
    block_hash_ranks(BLOCK_I64, i, 1, 3, r);
    EQ_U64(r[0], hash_u64((uint64_t)-1));
    EQ_U64(r[1], hash_u64(0));
}

static void
order_of_strings(void)
{
    static const char text[] = "aaaaaaaab\0                                                                 ";
    struct block_str s[] = { { NULL, 0 }, { text + 9, 1 }, { text, 1 }, { text, 7 }, { text, 8 }, { text, 9 },
                             { "b                       ", 1 }, { "\xff                       ", 1 } };
    uint64_t r[8];

    block_key_ranks(BLOCK_STR, false, s, 0, 8, r);
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t j = 0; j < 8; j++) {
            int c = r[i] < r[j] ? -1 : r[i] > r[j] ? 1 : block_key_cmp(BLOCK_STR, s, i, s, j);
            CU_ASSERT(i < j ? c < 0 : i > j ? c > 0 : c == 0);
        }
    block_hash_ranks(BLOCK_STR, s, 5, 6, r);
    EQ_U64(r[0], hash_str(text, 9));
}

static void
partitions_are_ranges_of_ranks(void)
{
    EQ_U64(block_partition_of(0, 7), 0);
    EQ_U64(block_partition_of(UINT64_MAX, 7), 6);
    EQ_U64(block_partition_of(UINT64_MAX, 1), 0);
    EQ_U64(block_partition_of(1ull << 63, 2), 1);
    EQ_U64(block_partition_of((1ull << 63) - 1, 2), 0);
}

static void
budget_says_no(void)
{
    _Atomic uint64_t cell = 0;
    struct budget b = { .limit = 100, .used = &cell };

    CU_ASSERT(budget_take(&b, 60));
    CU_ASSERT(!budget_take(&b, 60));
    EQ_U64(cell, 60);
    EQ_U64(budget_left(&b), 40);
    CU_ASSERT(budget_force(&b, 40));
    CU_ASSERT(!budget_force(&b, 1));
    budget_give(&b, 100);
    EQ_U64(cell, 0);
    EQ_U64(b.peak, 100);
    EQ_U64(b.asks, 2);
#ifdef TASKD_HOSTILE
    CU_ASSERT(budget_take(&b, 1));
    CU_ASSERT(!budget_take(&b, 1));
#endif
}

int
main(int argc, char **argv)
{
    static const struct unit_test tests[] = {
        { "run.keeps_rows", run_keeps_rows },
        { "run.may_be_empty", run_may_be_empty },
        { "run.blocks_have_the_size_asked_for", blocks_have_the_size_asked_for },
        { "run.giant_strings_fit", giant_strings_fit },
        { "run.record_beyond_the_format_is_refused", record_beyond_the_format_is_refused },
        { "run.partitions_are_found", partitions_are_found },
        { "run.first_keys_are_kept", first_keys_are_kept },
        { "run.packed_blocks", packed_blocks },
        { "run.writer_says_what_it_holds", writer_says_what_it_holds },
        { "run.full_disk_is_an_error", full_disk_is_an_error },
        { "digest.ignores_order_and_borders", digest_ignores_order_and_borders },
        { "digest.sees_what_belongs_together", digest_sees_what_belongs_together },
        { "column.is_narrow", columns_are_narrow },
        { "column.pair_costs_what_the_readme_says", pair_costs_what_the_readme_says },
        { "damage.is_found", damage_is_found },
        { "damage.foreign_files_are_named", foreign_files_are_named },
        { "damage.file_cut_while_it_is_read", file_cut_while_it_is_read },
        { "memory.keeps_rows", memory_keeps_rows },
        { "memory.splits_what_is_too_long", memory_splits_what_is_too_long },
        { "order.of_numbers", order_of_numbers },
        { "order.of_strings", order_of_strings },
        { "order.partitions_are_ranges_of_ranks", partitions_are_ranges_of_ranks },
        { "budget.says_no", budget_says_no },
        UNIT_END,
    };

    return unit_main(argc, argv, "block", tests);
}
