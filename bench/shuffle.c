/*
 * bench/shuffle [--bytes N] [--rounds N] [--dir DIR] [--piece N] -- map outputs of the same host, read by lib/shuffle, beside a
 * program that preads the same files and checks them with XXH3.
 *
 * N bytes of map outputs (16 maps, 8 partitions; 8-byte keys and values) are in the page cache.  In turn:
 *   pread   each file from front to back in pieces (1 MiB; blocks have 64 KiB), an XXH3-64 of each
 *   blocks  each partition: footers, ranges, then each block read, checked and turned into columns
 *   merge   the same, and merged into one stream in rank order: what a reduce sees
 * Prints medians of GB/s and the ratios to pread, medians of rounds.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "block/order.h"
#include "shuffle/shuffle.h"

enum { MAPS = 16, PARTITIONS = 8, ROUNDS_MAX = 99 };
enum way { PREAD, BLOCKS, MERGE, WAYS };
static const char *const way_name[WAYS] = { "pread", "blocks", "merge" };

static struct {
    uint64_t bytes;
    unsigned rounds;
    size_t piece;
    char dir[200];
    int fd[MAPS];
    uint64_t size[MAPS], all;
} o = { 2000000000u, 7, 1 << 20, "/tmp", { 0 }, { 0 }, 0 };

static uint64_t sink;

static void
check(struct err *e)
{
    if (!e)
        return;
    fprintf(stderr, "bench/shuffle: %s\n", err_text(e));
    exit(1);
}

struct row {
    uint64_t rank, key;
};

static int
by_rank(const void *a, const void *b)
{
    const struct row *x = a, *y = b;

    return x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank) : (x->key > y->key) - (x->key < y->key);
}

static struct row *
make_rows(unsigned map, uint64_t n)
{
    struct row *r = malloc(n * sizeof *r);
    uint64_t x = 88172645463325252u + map;

    check(r ? NULL : err_new(ERR_LIMIT, "no memory"));
    for (uint64_t i = 0; i < n; i++) {
        r[i].key = x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        block_hash_ranks(BLOCK_U64, &r[i].key, 0, 1, &r[i].rank);
    }
    qsort(r, n, sizeof *r, by_rank);
    return r;
}

static void
make_map(unsigned map)
{
    struct block_run_opts ro = { .schema = { BLOCK_U64, BLOCK_U64 }, .no_digest = true };
    uint64_t rows = o.bytes / MAPS / 16;
    struct row *row = make_rows(map, rows);
    struct block_writer *w;
    struct block_run_info info;

    o.fd[map] = open(o.dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    check(o.fd[map] < 0 ? err_new(ERR_IO, "cannot make a file in %s", o.dir) : NULL);
    check(block_writer_open(o.fd[map], "map", &ro, &w));
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t val = row[i].key * 0x9e3779b97f4a7c15u;

        check(block_partition(w, block_partition_of(row[i].rank, PARTITIONS)));
        check(block_put(w, &(struct block_cols){ 1, { &row[i].key, &val } }, 0, 1));
    }
    check(block_writer_close(&w, &info));
    check(fsync(o.fd[map]) ? err_new(ERR_IO, "cannot sync") : NULL);
    o.size[map] = info.file_bytes;
    o.all += info.file_bytes;
    free(row);
}

static void
by_pread(void)
{
    char *p = aligned_alloc(4096, o.piece);

    for (unsigned map = 0; map < MAPS; map++)
        for (uint64_t at = 0; at < o.size[map]; at += o.piece) {
            size_t n = o.size[map] - at < o.piece ? o.size[map] - at : o.piece;

            check(file_pread_full(o.fd[map], p, n, at, "map"));
            sink += XXH3_64bits(p, n);
        }
    free(p);
}

static void
by_blocks(void)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        for (unsigned map = 0; map < MAPS; map++) {
            struct block_run *r;
            struct block_cursor *c;
            struct block_cols cols = { .n = 1 };
            uint32_t from, to;

            check(block_run_open(o.fd[map], "map", NULL, &r));
            block_run_partition(r, p, &from, &to);
            check(block_cursor_open(r, from, to, &c));
            block_cursor_ahead(c, true);
            while (cols.n) {
                check(block_cursor_next(c, &cols));
                sink += cols.n;
            }
            block_cursor_close(c);
            block_run_close(r);
        }
}

static struct err *
open_map(void *arg, uint32_t map, int *ret_fd, struct arena *a, char **ret_name)
{
    *ret_fd = fcntl(o.fd[map], F_DUPFD_CLOEXEC, 3);
    *ret_name = arena_strdup(a, "map");
    return NULL;
}

static struct err *
no_spill(void *arg, int *ret_fd)
{
    return err_new(ERR_LIMIT, "no spills here");
}

static void
by_merge(void)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct shuffle_opts so = { .maps = MAPS, .partition = p, .partitions = PARTITIONS,
                                   .merge = { { BLOCK_U64, BLOCK_U64 }, false, false, false }, .open = open_map };
        struct merge_set_opts mo = { .merge = so.merge, .spill_open = no_spill };
        struct arena a = { 0 };
        struct merge_set *s;
        struct merge *m;
        struct merge_rows rows = { .cols.n = 1 };
        struct merge_bound bound = { 0 };
        uint64_t bytes;

        check(merge_set_new(&mo, &s));
        check(shuffle_fetch(&so, &a, s, &bound, &bytes));
        check(merge_set_open(s, &m));
        while (rows.cols.n) {
            check(merge_next(m, &rows));
            sink += rows.cols.n;
        }
        merge_set_free(s);
        arena_fini(&a);
    }
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double
median(double *v)
{
    qsort(v, o.rounds, sizeof *v, by_value);
    return o.rounds % 2 ? v[o.rounds / 2] : (v[o.rounds / 2 - 1] + v[o.rounds / 2]) / 2;
}

int
main(int argc, char **argv)
{
    static void (*const run[WAYS])(void) = { by_pread, by_blocks, by_merge };
    static double wall[WAYS][ROUNDS_MAX], cpu[WAYS][ROUNDS_MAX], ratio[WAYS][ROUNDS_MAX];
    bool merge = false;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--bytes") == 0)
            o.bytes = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            o.rounds = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--dir") == 0)
            snprintf(o.dir, sizeof o.dir, "%s", argv[i + 1]);
        else if (strcmp(argv[i], "--piece") == 0)
            o.piece = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--merge") == 0)
            merge = atoi(argv[i + 1]);
    }
    if (o.rounds < 1 || o.rounds > ROUNDS_MAX || o.piece < 4096 || o.piece % 4096)
        return 2;
    for (unsigned map = 0; map < MAPS; map++)
        make_map(map);
    for (unsigned round = 0; round <= o.rounds; round++)
        for (int way = 0; way < (merge ? WAYS : MERGE); way++) {
            uint64_t t = clock_mono_ns(), c = clock_cpu_ns();

            run[way]();
            if (!round) /* warms up */
                continue;
            wall[way][round - 1] = (double)(clock_mono_ns() - t) / 1e9;
            cpu[way][round - 1] = (double)(clock_cpu_ns() - c) / 1e9;
            ratio[way][round - 1] = cpu[PREAD][round - 1] / cpu[way][round - 1];
        }
    for (int way = 0; way < (merge ? WAYS : MERGE); way++)
        printf("%-6s %5.2f GB/s  %5.3f CPU-s/GB  %.2f of pread (CPU time, median of %u rounds)\n", way_name[way],
               (double)o.all / 1e9 / median(wall[way]), median(cpu[way]) / ((double)o.all / 1e9), median(ratio[way]), o.rounds);
    return sink == 42;
}
