/* Tests of lib/shuffle: map outputs in memory files, every partition read, all rows seen once and in order. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/order.h"
#include "shuffle/shuffle.h"
#include "unit.h"

enum { MAPS_MAX = 40 };

/* What a stage left: outputs of its maps, and all rows for reference. */
struct row {
    uint64_t rank, bits, id;
    struct block_str str;
};

struct stage {
    struct block_schema schema;
    bool by_key, descending;
    uint32_t maps, partitions, rows;
    struct arena a;
    struct row *row;
    int fd[MAPS_MAX];
    int opened, spilled;
    /* as if the map outputs were on another host */
    bool remote;
    int flip_tail, flip, flip_again; /* so many of the next transfers of that kind get a wrong bit */
    uint64_t fetched, needs, mended;
    uint32_t lost;
};

static const struct stage *sorting;

static uint64_t
next_random(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15ull;
    return hash_u64(*s);
}

static int
row_order(const void *x, const void *y)
{
    const struct row *a = x, *b = y;

    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    int c = sorting->schema.key == BLOCK_STR ? block_str_cmp(a->str, b->str) : 0;
    c = sorting->descending ? -c : c;
    return c ? c : (a->id > b->id) - (a->id < b->id);
}

/* Strings share more than the footer keeps of them, now and then. */
static void
make_row(struct stage *s, struct row *r, uint64_t k)
{
    char text[160];
    int n = snprintf(text, sizeof text, "%.*s%llu", k % 3 ? 0 : 62,
                     "the same beginning, long enough that the footer cuts the key in it", (unsigned long long)k);
    char *p = arena_alloc(&s->a, (size_t)n + BLOCK_PAD);

    memcpy(p, text, (size_t)n);
    memset(p + n, 0x77, BLOCK_PAD);
    *r = (struct row){ .bits = k, .str = { p, (size_t)n } };
    const void *key = s->schema.key == BLOCK_STR ? (const void *)&r->str : &r->bits;
    if (s->by_key)
        block_key_ranks(s->schema.key, s->descending, key, 0, 1, &r->rank);
    else
        block_hash_ranks(s->schema.key, key, 0, 1, &r->rank);
}

static void
write_map(struct stage *s, uint32_t map, struct row *row, uint32_t n)
{
    struct block_run_opts o = { .schema = s->schema, .block_bytes = 400, .first_keys = s->by_key };
    struct block_writer *w = NULL;

    s->fd[map] = memfd_create("map", MFD_CLOEXEC);
    CU_ASSERT_FATAL(s->fd[map] >= 0);
    sorting = s;
    qsort(row, n, sizeof *row, row_order);
    NO_ERR(block_writer_open(s->fd[map], "t", &o, &w));
    for (uint32_t i = 0; i < n; i++) {
        row[i].id = (uint64_t)map << 32 | i;
        struct block_cols c = { .n = 1, .col = { &row[i].bits, &row[i].id } };

        if (s->schema.key == BLOCK_STR)
            c.col[0] = &row[i].str;
        if (!s->by_key)
            NO_ERR(block_partition(w, block_partition_of(row[i].rank, s->partitions)));
        NO_ERR(block_put(w, &c, 0, 1));
    }
    NO_ERR(block_writer_close(&w, NULL));
}

static void
stage_init(struct stage *s, uint32_t domain, uint64_t seed)
{
    uint32_t at = 0;

    s->row = ARENA_ARRAY(&s->a, struct row, s->rows + 1);
    for (uint32_t i = 0; i < s->rows; i++)
        make_row(s, &s->row[i], next_random(&seed) % domain);
    for (uint32_t map = 0; map < s->maps; map++) {
        uint32_t n = map + 1 == s->maps ? s->rows - at : map % 4 == 3 ? 0 : (s->rows - at) / (s->maps - map);

        write_map(s, map, s->row + at, n);
        at += n;
    }
    sorting = s;
    qsort(s->row, s->rows, sizeof *s->row, row_order);
}

static void
stage_fini(struct stage *s)
{
    for (uint32_t i = 0; i < s->maps; i++)
        close(s->fd[i]);
    arena_fini(&s->a);
}

/* Bytes [at, at + n) of a map's file go into fd; with a wrong bit in the middle as long as *flip is not 0. */
static void
transfer(struct stage *s, uint32_t map, int fd, uint64_t at, uint64_t n, int *flip)
{
    char *p = malloc(n);

    CU_ASSERT_FATAL(p != NULL);
    CU_ASSERT_FATAL(pread(s->fd[map], p, n, (off_t)at) == (ssize_t)n);
    if (*flip > 0)
        p[n / 2] ^= 16, --*flip;
    CU_ASSERT_FATAL(pwrite(fd, p, n, (off_t)at) == (ssize_t)n);
    free(p);
}

static int
sparse_copy(struct stage *s, uint32_t map)
{
    uint64_t size = (uint64_t)lseek(s->fd[map], 0, SEEK_END), n = 0, probe = size < 100 ? size : 100;
    int fd = memfd_create("copy", MFD_CLOEXEC);
    char tail[100];

    CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    CU_ASSERT_FATAL(pread(s->fd[map], tail, probe, (off_t)(size - probe)) == (ssize_t)probe);
    NO_ERR(block_run_tail(tail, probe, size, "t", &n));
    CU_ASSERT_FATAL(n <= size);
    transfer(s, map, fd, size - n, n, &s->flip_tail);
    return fd;
}

static struct err *
need(void *arg, uint32_t stage, const struct shuffle_range *v, uint32_t n)
{
    struct stage *s = arg;

    EQ_U64(stage, 7);
    s->needs++;
    for (uint32_t i = 0; i < n; i++) {
        transfer(s, v[i].map, v[i].fd, v[i].offset, v[i].length, &s->flip);
        s->fetched += v[i].length;
    }
    return NULL;
}

static bool
corrupt(void *arg, uint32_t stage, const struct shuffle_range *block, unsigned nth)
{
    struct stage *s = arg;

    if (nth > 0) {
        s->lost = block->map;
        return false;
    }
    transfer(s, block->map, block->fd, block->offset, block->length, &s->flip_again);
    s->mended++;
    return true;
}

static struct err *
open_map(void *arg, uint32_t map, int *ret_fd, struct arena *a, char **ret_name)
{
    struct stage *s = arg;

    if (s->fd[map] < 0)
        return err_new(ERR_LOST, "executor 3 is gone");
    s->opened++;
    if (s->remote) {
        *ret_fd = sparse_copy(s, map);
        *ret_name = arena_printf(a, "map-%u", map);
        return NULL;
    }
    *ret_fd = fcntl(s->fd[map], F_DUPFD_CLOEXEC, 3);
    *ret_name = arena_printf(a, "map-%u", map);
    return NULL;
}

static struct err *
open_spill(void *arg, int *ret_fd)
{
    struct stage *s = arg;

    s->spilled++;
    *ret_fd = memfd_create("spill", MFD_CLOEXEC);
    return NULL;
}

static struct shuffle_opts
opts_of(struct stage *s, uint32_t partition)
{
    return (struct shuffle_opts){ .stage = 7, .maps = s->maps, .partition = partition, .partitions = s->partitions,
                                  .merge = { s->schema, s->by_key, s->descending, false }, .open = open_map, .arg = s,
                                  .need = s->remote ? need : NULL, .corrupt = s->remote ? corrupt : NULL };
}

/* A partition being read. */
struct reading {
    struct arena a;
    struct merge_bound bound;
    struct merge_set *set;
    struct merge *m;
    uint64_t bytes;
};

static struct err *
open_reading(const struct shuffle_opts *o, struct budget *b, struct reading *r)
{
    struct merge_set_opts mo = { .merge = o->merge, .bound = o->merge.by_key ? &r->bound : NULL, .budget = b,
                                 .spill_open = open_spill, .arg = o->arg };

    *r = (struct reading){ 0 };
    NO_ERR(merge_set_new(&mo, &r->set));
    TRY(shuffle_fetch(o, &r->a, r->set, &r->bound, &r->bytes));
    return merge_set_open(r->set, &r->m);
}

static void
close_reading(struct reading *r)
{
    merge_set_free(r->set);
    arena_fini(&r->a);
}

/* Opens and closes. */
static struct err *
try_open(const struct shuffle_opts *o)
{
    struct reading r;
    struct err *e = open_reading(o, NULL, &r);

    close_reading(&r);
    return e;
}

static bool
same_row(const struct stage *s, const struct row *want, const struct merge_rows *got, uint32_t i)
{
    if (((const uint64_t *)got->cols.col[1])[i] != want->id || got->rank[i] != want->rank)
        return false;
    return s->schema.key == BLOCK_STR
               ? !block_str_cmp(((const struct block_str *)got->cols.col[0])[i], want->str)
               : ((const uint64_t *)got->cols.col[0])[i] == want->bits;
}

/* Reads a partition: its rows are those from `at` on.  Returns how many. */
static uint32_t
read_partition(struct stage *s, struct budget *b, uint32_t partition, uint32_t at)
{
    struct shuffle_opts o = opts_of(s, partition);
    struct reading in;
    struct merge_rows r;
    uint32_t n = 0, bad = 0;

    NO_ERR(open_reading(&o, b, &in));
    CU_ASSERT_FATAL(in.m != NULL);
    for (;;) {
        NO_ERR(merge_next(in.m, &r));
        if (r.cols.n == 0)
            break;
        CU_ASSERT_FATAL(at + n + r.cols.n <= s->rows);
        for (uint32_t i = 0; i < r.cols.n; i++)
            bad += !same_row(s, &s->row[at + n + i], &r, i);
        n += r.cols.n;
    }
    EQ_U64(bad, 0);
    EQ_U64(n > 0 && !in.bytes, 0);
    close_reading(&in);
    return n;
}

static void
check_stage(struct stage *s, struct budget *b, uint32_t most)
{
    uint32_t at = 0;

    for (uint32_t p = 0; p < s->partitions; p++) {
        uint32_t n = read_partition(s, b, p, at);

        CU_ASSERT(n <= most);
        for (uint32_t i = at; i < at + n && !s->by_key; i++)
            EQ_U64(block_partition_of(s->row[i].rank, s->partitions), p);
        at += n;
    }
    EQ_U64(at, s->rows);
    if (b)
        EQ_U64(b->held, 0);
}

static void
by_hash(void)
{
    static const uint32_t shape[][3] = { { 1, 1, 500 }, { 4, 3, 2000 }, { 7, 16, 2000 }, { 3, 5, 0 }, { 5, 100, 50 } };

    for (unsigned i = 0; i < 10; i++) {
        struct stage s = { .schema = { i % 2 ? BLOCK_STR : BLOCK_U64, BLOCK_U64 }, .maps = shape[i / 2][0],
                           .partitions = shape[i / 2][1], .rows = shape[i / 2][2] };
        stage_init(&s, 300, i);
        check_stage(&s, NULL, s.rows);
        stage_fini(&s);
    }
}

static void
by_key(void)
{
    static const uint32_t shape[][3] = { { 1, 1, 500 }, { 4, 3, 4000 }, { 7, 8, 4000 }, { 3, 5, 0 }, { 5, 100, 50 } };

    for (unsigned i = 0; i < 20; i++) {
        struct stage s = { .schema = { i % 2 ? BLOCK_STR : BLOCK_I64, BLOCK_U64 }, .by_key = true,
                           .descending = i / 2 % 2, .maps = shape[i / 4][0], .partitions = shape[i / 4][1],
                           .rows = shape[i / 4][2] };
        stage_init(&s, 100000, i);
        /* Many small blocks: no partition is much larger than its share. */
        check_stage(&s, NULL, s.rows < 4000 ? s.rows : s.rows / s.partitions * 3 / 2);
        stage_fini(&s);
    }
}

static void
by_key_with_few_keys(void)
{
    for (uint32_t domain = 1; domain < 5; domain++) {
        struct stage s = { .schema = { BLOCK_U64, BLOCK_U64 }, .by_key = true, .maps = 4, .partitions = 6,
                           .rows = 2000 };
        stage_init(&s, domain, domain);
        check_stage(&s, NULL, s.rows);
        stage_fini(&s);
    }
}

static void
under_any_budget(void)
{
    for (unsigned i = 0; i < 4; i++) {
        struct stage s = { .schema = { BLOCK_STR, BLOCK_U64 }, .by_key = i % 2, .maps = MAPS_MAX, .partitions = 3,
                           .rows = 40000 };
        struct budget b = { .limit = i < 2 ? 1 << 30 : 440000 };
        stage_init(&s, 20000, i);
        check_stage(&s, &b, s.rows);
        stage_fini(&s);
    }
}

/* Flips a byte of map 2 and gives the error of reading partition p. */
static struct err *
read_damaged(struct stage *s, off_t at, uint32_t p)
{
    struct shuffle_opts o = opts_of(s, p);
    struct reading in;
    struct merge_rows r = { .cols.n = 1 };
    unsigned char c;

    CU_ASSERT_FATAL(pread(s->fd[2], &c, 1, at) == 1);
    c ^= 4;
    CU_ASSERT_FATAL(pwrite(s->fd[2], &c, 1, at) == 1);
    struct err *e = open_reading(&o, NULL, &in);
    while (!e && r.cols.n)
        e = merge_next(in.m, &r);
    close_reading(&in);
    return e;
}

static void
damage_is_named(void)
{
    struct stage s = { .schema = { BLOCK_U64, BLOCK_U64 }, .maps = 4, .partitions = 2, .rows = 1000 };
    uint32_t bad = 0;

    stage_init(&s, 300, 1);
    struct shuffle_opts o = opts_of(&s, 0);
    NO_ERR(shuffle_find_bad(&o, &bad));
    EQ_U64(bad, UINT32_MAX);
    IS_ERR(read_damaged(&s, 100, 0), ERR_CORRUPT, "\"map-2 (map 2 of stage 7)\": its checksum is");
    NO_ERR(shuffle_find_bad(&o, &bad));
    EQ_U64(bad, 2);
    off_t end = lseek(s.fd[2], 0, SEEK_END);
    IS_ERR(read_damaged(&s, end - 3, 1), ERR_CORRUPT,
           "opening partition 1 of stage 7: reading the output of map 2 of stage 7 for partition 1");
    NO_ERR(shuffle_find_bad(&o, &bad));
    EQ_U64(bad, 2);
    stage_fini(&s);
}

/* A whole block that lies where another one belongs is right in itself; the footer knows better. */
static void
swapped_blocks(void)
{
    struct stage s = { .schema = { BLOCK_U64, BLOCK_U64 }, .maps = 4, .partitions = 1, .rows = 4000 };
    struct shuffle_opts o;
    struct block_run *r = NULL;
    uint32_t swaps = 0;

    stage_init(&s, 1u << 30, 1);
    o = opts_of(&s, 0);
    NO_ERR(block_run_open(s.fd[2], "t", NULL, &r));
    for (uint32_t i = 0; i + 1 < block_run_count(r); i++) {
        const struct block_entry *x = block_run_entry(r, i), *y = block_run_entry(r, i + 1);
        char a[2000], b[2000];
        uint32_t n = x->bytes;

        if (n != y->bytes || x->rows != y->rows || n > sizeof a)
            continue;
        CU_ASSERT_FATAL(pread(s.fd[2], a, n, (off_t)x->offset) == n && pread(s.fd[2], b, n, (off_t)y->offset) == n);
        CU_ASSERT_FATAL(pwrite(s.fd[2], b, n, (off_t)x->offset) == n && pwrite(s.fd[2], a, n, (off_t)y->offset) == n);
        struct reading in;
        struct merge_rows rows = { .cols.n = 1 };
        struct err *e = open_reading(&o, NULL, &in);
        while (!e && rows.cols.n)
            e = merge_next(in.m, &rows);
        close_reading(&in);
        IS_ERR(e, ERR_CORRUPT, "it is not the block that the footer describes");
        CU_ASSERT_FATAL(pwrite(s.fd[2], a, n, (off_t)x->offset) == n && pwrite(s.fd[2], b, n, (off_t)y->offset) == n);
        swaps++;
    }
    CU_ASSERT(swaps >= 10);
    block_run_close(r);
    stage_fini(&s);
}

/* ---- map outputs of other hosts */

static uint64_t
block_bytes(const struct stage *s)
{
    uint64_t sum = 0;

    for (uint32_t map = 0; map < s->maps; map++) {
        struct block_run *r = NULL;

        NO_ERR(block_run_open(s->fd[map], "t", NULL, &r));
        for (uint32_t i = 0; i < block_run_count(r); i++)
            sum += block_run_entry(r, i)->bytes;
        block_run_close(r);
    }
    return sum;
}

static void
from_elsewhere(void)
{
    for (unsigned i = 0; i < 8; i++) {
        struct stage s = { .schema = { i % 2 ? BLOCK_STR : BLOCK_U64, BLOCK_U64 }, .by_key = i & 2, .maps = i & 4 ? MAPS_MAX : 5,
                           .partitions = 6, .rows = 4000, .remote = true };
        stage_init(&s, 3000, i);
        check_stage(&s, NULL, s.rows);
        uint64_t all = block_bytes(&s);
        CU_ASSERT(s.fetched >= all);
        CU_ASSERT(s.fetched <= (s.by_key ? 4 * all : all)); /* a sort reads the blocks at the borders twice */
        CU_ASSERT(s.needs <= s.partitions * (MAPS_MAX / 2)); /* many maps in one question */
        EQ_U64(s.mended, 0);
        stage_fini(&s);
    }
}

/* Whatever gets a wrong bit on the way is fetched again, and the rows are right. */
static void
flipped_in_flight(void)
{
    for (unsigned i = 0; i < 4; i++) {
        struct stage s = { .schema = { BLOCK_U64, BLOCK_U64 }, .by_key = i & 1, .maps = 5, .partitions = 3, .rows = 4000,
                           .remote = true, .flip = i & 2 ? 4 : 0, .flip_tail = i & 2 ? 0 : 1 };
        stage_init(&s, 3000, i);
        check_stage(&s, NULL, s.rows);
        EQ_U64(s.flip + s.flip_tail, 0);
        EQ_U64(s.mended, i & 2 ? 4 : 0);
        stage_fini(&s);
    }
}

/* Damaged twice: it is not the network. */
static void
damaged_elsewhere(void)
{
    struct stage s = { .schema = { BLOCK_U64, BLOCK_U64 }, .maps = 4, .partitions = 2, .rows = 1000, .remote = true,
                       .lost = UINT32_MAX };
    uint32_t bad = 0;

    stage_init(&s, 300, 1);
    struct shuffle_opts o = opts_of(&s, 0);
    NO_ERR(shuffle_find_bad(&o, &bad));
    EQ_U64(bad, UINT32_MAX);
    IS_ERR(read_damaged(&s, 100, 0), ERR_CORRUPT, "\"map-2 (map 2 of stage 7)\": its checksum is");
    EQ_U64(s.mended, 1);
    EQ_U64(s.lost, 2);
    off_t end = lseek(s.fd[2], 0, SEEK_END);
    IS_ERR(read_damaged(&s, end - 80, 0), ERR_CORRUPT, "map 2 of stage 7");
    NO_ERR(shuffle_find_bad(&o, &bad));
    EQ_U64(bad, 2);
    stage_fini(&s);
}

static void
what_does_not_fit_is_refused(void)
{
    struct stage s = { .schema = { BLOCK_U64, BLOCK_U64 }, .maps = 3, .partitions = 4, .rows = 1000 };

    stage_init(&s, 300, 1);
    struct shuffle_opts o = opts_of(&s, 0);
    o.merge.schema.val = BLOCK_F64;
    IS_ERR(try_open(&o), ERR_CORRUPT, "has columns of kinds 1 and 1, not 1 and 3");
    o = opts_of(&s, 0);
    o.merge.by_key = true;
    IS_ERR(try_open(&o), ERR_CORRUPT, "has no first keys");
    o = opts_of(&s, 0);
    o.partitions = 2;
    IS_ERR(try_open(&o), ERR_CORRUPT, "has rows for partition 3, but there are only 2");
    close(s.fd[1]);
    s.fd[1] = -1;
    o = opts_of(&s, 0);
    IS_ERR(try_open(&o), ERR_LOST, "map 1 of stage 7 for partition 0: executor 3 is gone");
    stage_fini(&s);
}

static void
no_files_stay_open(void)
{
    struct stage s = { .schema = { BLOCK_U64, BLOCK_U64 }, .maps = 4, .partitions = 2, .rows = 100 };
    struct shuffle_opts o;

    stage_init(&s, 300, 1);
    int before = dup(0);
    close(before);
    o = opts_of(&s, 1);
    NO_ERR(try_open(&o));
    o.merge.schema.val = BLOCK_STR;
    IS_ERR(try_open(&o), ERR_CORRUPT, "has columns");
    int after = dup(0);
    close(after);
    EQ_U64(after, before);
    stage_fini(&s);
}

int
main(int argc, char **argv)
{
    static const struct unit_test tests[] = {
        { "shuffle.by_hash", by_hash },
        { "shuffle.by_key", by_key },
        { "shuffle.by_key_with_few_keys", by_key_with_few_keys },
        { "shuffle.under_any_budget", under_any_budget },
        { "shuffle.damage_is_named", damage_is_named },
        { "shuffle.swapped_blocks", swapped_blocks },
        { "shuffle.from_elsewhere", from_elsewhere },
        { "shuffle.flipped_in_flight", flipped_in_flight },
        { "shuffle.damaged_elsewhere", damaged_elsewhere },
        { "shuffle.what_does_not_fit_is_refused", what_does_not_fit_is_refused },
        { "shuffle.no_files_stay_open", no_files_stay_open },
        UNIT_END,
    };

    return unit_main(argc, argv, "shuffle", tests);
}
