/* Tests of lib/block: encodings, damage, blocks in memory, order, budget. */
#include <stdlib.h>
#include <unistd.h>

#include "block/budget.h"
#include "block/order.h"
#include "rows.h"
#include "unit.h"

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
damage_is_found(void)
{
    struct arena a = { 0 };
    struct block_cols cols = make_cols(&a, (struct block_schema){ BLOCK_STR, BLOCK_I64 }, 120, 1, 5);
    struct block_run_opts o = { .schema = { BLOCK_STR, BLOCK_I64 }, .block_bytes = 300, .first_keys = true };
    int fd = temp_fd();
    off_t size = (off_t)write_run(fd, &o, &cols).file_bytes;

    unsigned flips = 0, found = 0;

    NO_ERR(read_all(fd));
    for (off_t i = 0; i < size; i++) {
        char was, now;

        CU_ASSERT_FATAL(pread(fd, &was, 1, i) == 1);
        for (int bit = 0; bit < 8; bit++, flips++) {
            now = (char)(was ^ (1 << bit));
            CU_ASSERT_FATAL(pwrite(fd, &now, 1, i) == 1);
            struct err *e = read_all(fd);
            found += e && e->code == ERR_CORRUPT;
            IS_ERR(e, ERR_CORRUPT, "\"bad\"");
        }
        CU_ASSERT_FATAL(pwrite(fd, &was, 1, i) == 1);
    }
    printf("%u of %u flips found ... ", found, flips);
    EQ_U64(found, flips);
    CU_ASSERT(flips >= 10000);
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

    return unit_main(argc, argv, "block_parts", tests);
}
