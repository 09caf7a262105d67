/* flow_text -- the text source: every line once and in order, however the file is cut. */
#include "flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* All lines, each with its end, as one text. */
static struct buf got;

static int
collect_lines(td_job *j, int argc, char **argv)
{
    td_rows rows;

    if (td_collect(td_text_file(j, rig_arg ? rig_arg : "f"), &rows))
        return 1;
    for (uint64_t i = 0; i < rows.n; i++) {
        td_str s = td_row(&rows, str, i);

        buf_put(&got, s.p, s.n);
        buf_put(&got, "\n", 1);
    }
    td_rows_free(j, &rows);
    return 0;
}

static uint64_t raw_first, raw_bytes;
static struct buf raw;

static int
take_text(td_task *t, td_str text, td_out_u64 *out)
{
    buf_put(&raw, text.p, text.n);
    td_emit(out, text.n);
    return 0;
}
TD_MAP_TEXT(take_text, u64);

static int
take_batch(td_task *t, const td_batch *b, td_out_u64 *out)
{
    CU_ASSERT(b->first == raw_first);
    CU_ASSERT(b->flags & TD_B_TEXT);
    raw_first += b->n;
    buf_put(&raw, b->text.p, b->text.n);
    for (uint32_t i = 0; i < b->n; i++) {
        td_str s = td_load_str(b, i);

        CU_ASSERT(s.p >= b->text.p && s.p + s.n <= b->text.p + b->text.n);
        td_emit(out, s.n);
    }
    return 0;
}
TD_MAP_BATCH(take_batch, str, u64);

static int
read_raw(td_job *j, int argc, char **argv)
{
    td_rows rows;
    td_ds *f = td_text_file(j, "f");

    if (td_collect(rig_arg ? td_map_batch(f, take_batch) : td_map_text(f, take_text), &rows))
        return 1;
    raw_bytes = 0;
    for (uint64_t i = 0; i < rows.n; i++)
        raw_bytes += td_row(&rows, u64, i);
    td_rows_free(j, &rows);
    return 0;
}

/* The text with an end behind its last line. */
static void
expect(const char *p, size_t n)
{
    struct buf want = { 0 };

    buf_put(&want, p, n);
    if (n && p[n - 1] != '\n')
        buf_put(&want, "\n", 1);
    CU_ASSERT(got.n == want.n && (!want.n || !memcmp(got.p, want.p, want.n)));
    if (got.n != want.n)
        fprintf(stderr, "\n  lines are %zu bytes, not %zu\n", got.n, want.n);
    buf_fini(&want);
}

static void
read_cut(const char *p, size_t n, const uint64_t *cut, uint32_t n_cuts, bool one)
{
    struct rig r = { .n_cuts = n_cuts, .one_record = one };

    memcpy(r.cut, cut, n_cuts * sizeof *cut);
    rig_file(&r, "f", p, n);
    got.n = 0;
    EQ_U64(rig_run(&r, collect_lines, NULL), 0);
    expect(p, n);
    raw.n = 0;
    raw_first = 0;
    EQ_U64(rig_run(&r, read_raw, NULL), 0);
    CU_ASSERT(raw.n == n && (!n || !memcmp(raw.p, p, n)));
    EQ_U64(raw_bytes, n);
    rig_fini(&r);
}

/* Every text of up to SHORT bytes over {a, \n}, cut in every way. */
static void
every_cut(void)
{
    enum { SHORT = 6 };

    for (unsigned n = 1; n <= SHORT; n++)
        for (unsigned bits = 0; bits < 1u << n; bits++)
            for (unsigned cuts = 0; cuts < 1u << (n - 1); cuts++) {
                char text[SHORT];
                uint64_t cut[SHORT];
                uint32_t k = 0;

                for (unsigned i = 0; i < n; i++)
                    text[i] = bits >> i & 1 ? '\n' : (char)('a' + i);
                for (unsigned i = 0; i + 1 < n; i++)
                    if (cuts >> i & 1)
                        cut[k++] = i + 1;
                cut[k++] = n;
                read_cut(text, n, cut, k, (bits ^ cuts) & 1);
            }
}

static void
empty_file(void)
{
    struct rig r = { .budget = 0 };

    rig_text(&r, "f", "");
    got.n = 0;
    EQ_U64(rig_run(&r, collect_lines, NULL), 0);
    EQ_U64(got.n, 0);
    EQ_U64(r.in_bytes, 0);
    rig_fini(&r);
}

/* Lines of all lengths around the size of the buffer; pieces that end at, before and behind a line's end. */
static void
large_records(void)
{
    static const int around[] = { -2, -1, 0, 1, 2 };
    const size_t lens[] = { 1, FLOW_READ - 1, FLOW_READ, FLOW_READ + 1, 3 * FLOW_READ + 5, 0, 10, 2 * FLOW_READ };
    struct buf b = { 0 };
    uint64_t ends[8];

    for (size_t i = 0; i < 8; i++) {
        char *p = buf_room(&b, lens[i] + 1);

        memset(p, (int)('a' + i), lens[i]);
        p[lens[i]] = '\n';
        b.n += lens[i] + 1;
        ends[i] = b.n;
    }
    for (size_t i = 0; i < 5; i++) {
        uint64_t cut[9];
        uint32_t k = 0;

        for (size_t e = 0; e < 8; e++) {
            uint64_t at = ends[e] + (uint64_t)around[i];
            if (at < b.n && at && (!k || at > cut[k - 1]))
                cut[k++] = at;
        }
        cut[k++] = b.n;
        read_cut(b.p, b.n, cut, k, false);
        read_cut(b.p, b.n - 1, &(uint64_t){ b.n - 1 }, 1, i == 0);
    }
    for (uint64_t at = FLOW_READ - 1; at < 2 * FLOW_READ + 2; at += FLOW_READ / 2) /* in the middle of a giant */
        read_cut(b.p, b.n, (uint64_t[]){ at, at + 1, at + FLOW_READ + 3, b.n }, 4, false);
    buf_fini(&b);
}

/* Many lines of random lengths, the planner's own splits. */
static void
random_splits(void)
{
    uint64_t seed = 3;
    struct buf b = { 0 };

    while (b.n < 300000) {
        size_t n = rig_random(&seed) % 200;

        for (size_t i = 0; i < n; i++)
            buf_put(&b, (char[]){ (char)(32 + rig_random(&seed) % 200) }, 1);
        buf_put(&b, "\n", 1);
    }
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i] == '\n' && rig_random(&seed) % 7 == 0)
            b.p[i] = 0;
    uint64_t sizes[] = { 1000, 4096, 65536, 100000, b.n };
    for (int i = 0; i < 5; i++) {
        struct rig r = { .split_bytes = sizes[i], .slots = 2 };

        rig_file(&r, "f", b.p, b.n);
        got.n = 0;
        EQ_U64(rig_run(&r, collect_lines, NULL), 0);
        expect(b.p, b.n);
        CU_ASSERT(r.tasks > 1 || sizes[i] == b.n);
        EQ_U64(r.in_bytes, b.n);
        raw.n = 0;
        raw_first = 0;
        if (i == 4) {
            EQ_U64(rig_run(&r, read_raw, ""), 0);
            CU_ASSERT(raw.n == b.n && !memcmp(raw.p, b.p, b.n));
        }
        rig_fini(&r);
    }
    buf_fini(&b);
}

static void
several_files(void)
{
    struct rig r = { .slots = 1 };

    rig_text(&r, "f", "one\ntwo");
    rig_text(&r, "g", "");
    rig_text(&r, "h", "three\n\n");
    got.n = 0;
    EQ_U64(rig_run(&r, collect_lines, "f+g+h"), 0);
    expect("one\ntwo\nthree\n\n", 15);
    EQ_U64(r.in_rows, 4);
    rig_fini(&r);
}

static void
nul_and_invalid(void)
{
    static const char text[] = "a\0b\n\xff\xfe\n\0\n\x80";

    read_cut(text, sizeof text - 1, &(uint64_t){ sizeof text - 1 }, 1, false);
}

static void
truncated(void)
{
    struct rig r = { .slots = 1 };

    rig_text(&r, "f", "one\ntwo\n");
    r.file[0].size = 20;
    CU_ASSERT(rig_run(&r, collect_lines, NULL) != 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "\"f\" was truncated while it was read: it had 20 bytes, now it ends after 8"));
    rig_fini(&r);
}

static void
record_too_large(void)
{
    struct rig r = { .budget = 1 << 20 };
    struct buf b = { 0 };

    memset(buf_room(&b, 3 << 20), 'x', 3 << 20);
    b.n = 3 << 20;
    rig_file(&r, "f", b.p, b.n);
    CU_ASSERT(rig_run(&r, collect_lines, NULL) != 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "a record of \"f\" at byte offset 0 is larger than"));
    CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "--executor-memory"));
    rig_fini(&r);
    buf_fini(&b);
}

static void
packed(void)
{
    struct rig r = { .slots = 1 };
    struct buf b = { 0 }, plain = { 0 };

    for (int i = 0; i < 20000; i++)
        buf_printf(&plain, "line %d\n", i);
    plain.n--; /* no end behind the last */
    for (size_t i = 0; i < plain.n; i++)
        buf_put(&b, (char[]){ plain.p[i] ^ 0x55 }, 1);
    rig_file(&r, "f.x", b.p, b.n);
    got.n = 0;
    EQ_U64(rig_run(&r, collect_lines, "f.x"), 0);
    expect(plain.p, plain.n);
    EQ_U64(r.in_bytes, b.n);
    EQ_U64(r.in_rows, 20000);
    rig_fini(&r);
    b.p[b.n / 2] = 0x7f ^ 0x55;
    r = (struct rig){ 0 };
    rig_file(&r, "f.x", b.p, b.n);
    CU_ASSERT(rig_run(&r, collect_lines, "f.x") != 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.said.p, "\"f.x\" is damaged"));
    rig_fini(&r);
    buf_fini(&b);
    buf_fini(&plain);
    buf_fini(&got);
    buf_fini(&raw);
}

const struct unit_test flow_text_tests[] = {
    { "text.every_cut_of_every_short_text", every_cut },
    { "text.empty_file", empty_file },
    { "text.records_larger_than_the_buffer", large_records },
    { "text.random_lines_planned_splits", random_splits },
    { "text.several_files", several_files },
    { "text.nul_and_invalid_bytes", nul_and_invalid },
    { "text.truncated_file", truncated },
    { "text.record_too_large", record_too_large },
    { "text.packed_file", packed },
    UNIT_END,
};
