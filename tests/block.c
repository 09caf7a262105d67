/* Tests of lib/block: runs. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "block/codec.h"
#include "rows.h"
#include "unit.h"

enum { ROWS = 5000 };

static void
check_run_by(int fd, const struct block_codec *const *codecs, struct block_schema s,
             const struct block_cols *want, bool ahead)
{
    struct block_run *r = NULL;
    struct block_cursor *c = NULL;
    struct block_cols got;
    uint32_t at = 0, blocks = 0;

    NO_ERR(block_run_open(fd, "t", codecs, &r));
    EQ_U64(block_run_schema(r).key, s.key);
    EQ_U64(block_run_schema(r).val, s.val);
    NO_ERR(block_cursor_open(r, 0, block_run_count(r), &c));
    block_cursor_ahead(c, ahead);
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
check_run(int fd, const struct block_codec *const *codecs, struct block_schema s, const struct block_cols *want)
{
    check_run_by(fd, codecs, s, want, false);
    check_run_by(fd, codecs, s, want, true);
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
    EQ_U64(info.file_bytes, 8000 + 10 * (64 + 20) + 64);
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

enum { BLOCKS = 40, IN_BLOCK = 20 };

struct healer {
    int fd;
    uint64_t offset, good;
    unsigned asked;
    bool heals;
};

static bool
heal(void *arg, uint64_t offset, uint32_t bytes, unsigned nth)
{
    struct healer *h = arg;

    EQ_U64(offset, h->offset);
    EQ_U64(nth, h->asked);
    h->asked++;
    if (h->heals)
        CU_ASSERT(pwrite(h->fd, &h->good, sizeof h->good, (off_t)offset + (off_t)bytes - 8) == 8);
    return h->heals && nth < 2;
}

/* Several blocks are read at a time; a damaged one among them costs neither those before it nor, once it was written
 * again, those behind it. */
static void
one_of_those_read_together_is_bad(void)
{
    uint64_t v[BLOCKS * IN_BLOCK];
    struct block_run_opts o = { .schema = { BLOCK_U64, 0 }, .block_bytes = IN_BLOCK * 8 };

    for (uint64_t i = 0; i < BLOCKS * IN_BLOCK; i++)
        v[i] = i << 40;
    for (uint32_t bad = 0; bad < 2 * BLOCKS; bad++) {
        struct healer h = { .fd = temp_fd(), .heals = bad % 2 };
        struct block_run *r = NULL;
        struct block_cursor *c = NULL;
        struct block_cols got;
        uint64_t other = 42;

        EQ_U64(write_run(h.fd, &o, &(struct block_cols){ .n = BLOCKS * IN_BLOCK, .col = { v } }).blocks, BLOCKS);
        NO_ERR(block_run_open(h.fd, "t", NULL, &r));
        const struct block_entry *e = block_run_entry(r, bad / 2);
        off_t last = (off_t)(e->offset + e->bytes - 8);
        h.offset = e->offset;
        CU_ASSERT(pread(h.fd, &h.good, 8, last) == 8 && pwrite(h.fd, &other, 8, last) == 8);
        block_run_on_corrupt(r, heal, &h);
        NO_ERR(block_cursor_open(r, 0, BLOCKS, &c));
        block_cursor_ahead(c, true);
        for (uint32_t i = 0; i < (h.heals ? BLOCKS : bad / 2); i++) {
            NO_ERR(block_cursor_next(c, &got));
            CU_ASSERT_FATAL(got.n == IN_BLOCK);
            CU_ASSERT(memcmp(got.col[0], &v[i * IN_BLOCK], IN_BLOCK * 8) == 0);
        }
        if (!h.heals)
            IS_ERR(block_cursor_next(c, &got), ERR_CORRUPT, "its checksum is");
        EQ_U64(h.asked, 1);
        block_cursor_close(c);
        block_run_close(r);
        close(h.fd);
    }
}

static void
file_without_its_end(void)
{
    uint64_t v[BLOCKS * IN_BLOCK];
    struct block_run_opts o = { .schema = { BLOCK_U64, 0 }, .block_bytes = IN_BLOCK * 8 };
    struct block_run *r = NULL;
    struct block_cursor *c = NULL;
    struct block_cols got;
    int fd = temp_fd();

    for (uint64_t i = 0; i < BLOCKS * IN_BLOCK; i++)
        v[i] = i << 40;
    write_run(fd, &o, &(struct block_cols){ .n = BLOCKS * IN_BLOCK, .col = { v } });
    NO_ERR(block_run_open(fd, "t", NULL, &r));
    CU_ASSERT(ftruncate(fd, (off_t)block_run_entry(r, 2)->offset + 10) == 0);
    NO_ERR(block_cursor_open(r, 0, BLOCKS, &c));
    block_cursor_ahead(c, true);
    for (int i = 0; i < 2; i++) {
        NO_ERR(block_cursor_next(c, &got));
        EQ_U64(got.n, IN_BLOCK);
    }
    IS_ERR(block_cursor_next(c, &got), ERR_CORRUPT, "were expected");
    block_cursor_close(c);
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
digest_is_left_out(void)
{
    uint64_t v[2] = { 1, 2 };
    struct block_run_opts o = { .schema = { BLOCK_U64, 0 }, .no_digest = true };
    int fd = temp_fd();

    EQ_U64(write_run(fd, &o, &(struct block_cols){ .n = 2, .col = { v } }).digest, 0);
    close(fd);
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
    char *giant = arena_alloc(&a, (20 << 20) + BLOCK_PAD);
    memset(giant, 1, (20 << 20) + BLOCK_PAD);
    struct block_str g = { giant, 20 << 20 };
    uint64_t one = 1;
    NO_ERR(block_put(w, &(struct block_cols){ .n = 1, .col = { &g, &one } }, 0, 1));
    NO_ERR(block_put(w, &cols, 0, cols.n));
    CU_ASSERT(block_writer_held(w) < 4 << 20);
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
        { "run.one_of_those_read_together_is_bad", one_of_those_read_together_is_bad },
        { "run.file_without_its_end", file_without_its_end },
        { "run.packed_blocks", packed_blocks },
        { "run.writer_says_what_it_holds", writer_says_what_it_holds },
        { "run.full_disk_is_an_error", full_disk_is_an_error },
        { "digest.ignores_order_and_borders", digest_ignores_order_and_borders },
        { "digest.is_left_out", digest_is_left_out },
        { "digest.sees_what_belongs_together", digest_sees_what_belongs_together },
        UNIT_END,
    };

    return unit_main(argc, argv, "block", tests);
}
