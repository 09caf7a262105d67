/* Tests of plugins/format: what the contract asks of every format, then what each one prints. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/template/template.h"
#include "format/text/text.h"
#include "unit.h"

/* A format of records that end with one byte. */
static const struct {
    const struct flow_format *f;
    char end, between;
} formats[] = { { &format_text, '\n', '\t' }, { &format_template, '\0', '=' } };
enum { FORMATS = sizeof formats / sizeof formats[0], PAD = 64 };

/* n bytes of records of length 0 .. most, the last one with or without its end mark, on the heap: a read
 * behind the 64 bytes that a format may look at is seen by AddressSanitizer. */
static char *
make(size_t n, unsigned most, char end, bool ended)
{
    char *p = malloc(n + PAD);
    size_t left = 0;
    uint32_t r = 12345 + most;

    memset(p, end, n + PAD); /* what lies behind looks like records: nobody may believe it */
    for (size_t i = 0; i < n; i++) {
        if (left == 0 || (i + 1 == n && ended)) {
            r = r * 1664525u + 1013904223u;
            left = 1 + (r >> 8) % (most + 1);
        }
        left--;
        p[i] = left == 0 || (i + 1 == n && ended) ? end : (char)('a' + i % 26);
    }
    if (!ended && n)
        p[n - 1] = 'z';
    return p;
}

static void
test_ends(void)
{
    for (int k = 0; k < FORMATS; k++) {
        const struct flow_format *f = formats[k].f;
        char *p = make(300, 40, formats[k].end, false);

        for (size_t n = 0; n <= 300; n++) {
            size_t last = 0;

            for (size_t i = 0; i < n; i++)
                if (p[i] == formats[k].end)
                    last = i + 1;
            EQ_U64(f->whole(p, n), last);
            for (size_t from = 0; from <= n; from += 7) {
                size_t first = 0;

                for (size_t i = from; i < n && !first; i++)
                    if (p[i] == formats[k].end)
                        first = i + 1;
                EQ_U64(f->first(p, n, from), first);
            }
        }
        free(p);
    }
}

/* Where a piece that begins at `at` begins to read: one byte early, behind the first record end. */
static void
test_pieces(void)
{
    for (int k = 0; k < FORMATS; k++) {
        const struct flow_format *f = formats[k].f;
        char *p = make(200, 9, formats[k].end, true);

        for (size_t at = 1; at < 200; at++) {
            size_t begins = at - 1 + f->first(p + at - 1, 200 - (at - 1), 0), want = at;

            while (p[want - 1] != formats[k].end)
                want++;
            EQ_U64(begins, want);
        }
        free(p);
    }
}

static void
cut_all(const struct flow_format *f, const char *p, size_t n, char end, uint32_t max)
{
    struct block_str rows[100];
    size_t at = 0;

    while (at < n) {
        size_t used = 0, next = at;
        uint32_t k = f->cut(p + at, n - at, max, rows, &used);

        CU_ASSERT_FATAL(k > 0 && k <= max && used > 0 && used <= n - at);
        for (uint32_t i = 0; i < k; i++) {
            const char *q = memchr(p + next, end, n - next);
            size_t len = (size_t)((q ? q : p + n) - (p + next));

            CU_ASSERT(rows[i].p == p + next);
            EQ_U64(rows[i].n, len);
            next += len + (q != NULL);
        }
        EQ_U64(at + used, next);
        at += used;
    }
}

static void
test_cut(void)
{
    static const uint32_t most[] = { 0, 3, 62, 63, 64, 65, 200 }, max[] = { 1, 2, 63, 64, 100 };

    for (int k = 0; k < FORMATS; k++)
        for (int i = 0; i < 7; i++)
            for (int m = 0; m < 5; m++)
                for (size_t n = 1; n < 400; n += n < 140 ? 1 : 37)
                    for (int ended = 0; ended < 2; ended++) {
                        char *p = make(n, most[i], formats[k].end, ended);

                        cut_all(formats[k].f, p, n, formats[k].end, max[m]);
                        free(p);
                    }
}

/* What rows [from, to) print; for free(). */
static char *
printed(const struct flow_format *f, struct block_schema s, const void *key, const void *val, uint32_t from, uint32_t to)
{
    struct block_cols c = { to, { key, val } };
    struct buf b = { 0 };

    f->put(&b, s, &c, from, to);
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i] == 0)
            b.p[i] = '|';
    buf_put(&b, "", 1);
    return b.p;
}

static void
prints(const struct flow_format *f, struct block_schema s, const void *key, const void *val, uint32_t from, uint32_t to,
       const char *want)
{
    char *got = printed(f, s, key, val, from, to);

    EQ_STR(got, want);
    free(got);
}

static const struct block_str strs[] = { { "one", 3 }, { NULL, 0 }, { "three", 5 } };
static const uint64_t u64s[] = { 0, 10, UINT64_MAX };
static const int64_t i64s[] = { INT64_MIN, -1, INT64_MAX };
static const double f64s[] = { 0.1, -2, 1e300 };

static void
test_text_put(void)
{
    const struct flow_format *f = &format_text;

    prints(f, (struct block_schema){ BLOCK_STR, 0 }, strs, NULL, 0, 3, "one\n\nthree\n");
    prints(f, (struct block_schema){ BLOCK_STR, 0 }, strs, NULL, 2, 3, "three\n");
    prints(f, (struct block_schema){ BLOCK_U64, 0 }, u64s, NULL, 0, 3, "0\n10\n18446744073709551615\n");
    prints(f, (struct block_schema){ BLOCK_I64, 0 }, i64s, NULL, 0, 3, "-9223372036854775808\n-1\n9223372036854775807\n");
    prints(f, (struct block_schema){ BLOCK_F64, 0 }, f64s, NULL, 0, 3, "0.1\n-2\n1e+300\n");
    prints(f, (struct block_schema){ BLOCK_STR, BLOCK_I64 }, strs, i64s, 1, 3, "\t-1\nthree\t9223372036854775807\n");
    prints(f, (struct block_schema){ BLOCK_U64, BLOCK_STR }, u64s, strs, 0, 2, "0\tone\n10\t\n");
    prints(f, (struct block_schema){ BLOCK_U64, 0 }, u64s, NULL, 1, 1, "");
}

/* Every double is printed so that it reads back as the same one. */
static void
test_text_reals(void)
{
    uint64_t bits = 1;

    for (int i = 0; i < 3000; i++) {
        double d;

        bits = bits * 6364136223846793005ull + 1442695040888963407ull;
        memcpy(&d, &bits, 8);
        char *s = printed(&format_text, (struct block_schema){ BLOCK_F64, 0 }, &d, NULL, 0, 1);
        CU_ASSERT(isnan(d) || strtod(s, NULL) == d);
        free(s);
    }
    static const double odd[] = { INFINITY, -INFINITY, 0.0 };
    prints(&format_text, (struct block_schema){ BLOCK_F64, 0 }, odd, NULL, 0, 3, "inf\n-inf\n0\n");
}

static void
test_template_put(void)
{
    const struct flow_format *f = &format_template;

    prints(f, (struct block_schema){ BLOCK_STR, 0 }, strs, NULL, 0, 3, "one||three|");
    prints(f, (struct block_schema){ BLOCK_STR, BLOCK_U64 }, strs, u64s, 0, 3, "one=0|=10|three=18446744073709551615|");
    prints(f, (struct block_schema){ BLOCK_I64, BLOCK_F64 }, i64s, f64s, 1, 2, "-1=-2|");
}

/* What a format writes is what it reads. */
static void
test_round_trip(void)
{
    static const struct block_str in[] = { { "a", 1 }, { "", 0 }, { "ccc", 3 } };

    for (int k = 0; k < FORMATS; k++) {
        struct block_cols c = { 3, { in, NULL } };
        struct block_str rows[4];
        struct buf b = { 0 };
        size_t used;

        formats[k].f->put(&b, (struct block_schema){ BLOCK_STR, 0 }, &c, 0, 3);
        memset(buf_room(&b, PAD), 0, PAD);
        EQ_U64(formats[k].f->whole(b.p, b.n), b.n);
        EQ_U64(formats[k].f->cut(b.p, b.n, 4, rows, &used), 3);
        for (int i = 0; i < 3; i++)
            CU_ASSERT(rows[i].n == in[i].n && !memcmp(rows[i].p, in[i].p, in[i].n));
        buf_fini(&b);
    }
}

static const struct unit_test tests[] = {
    { "contract.ends", test_ends },
    { "contract.pieces_begin_behind_an_end", test_pieces },
    { "contract.cut", test_cut },
    { "contract.round_trip", test_round_trip },
    { "text.put", test_text_put },
    { "text.reals_read_back", test_text_reals },
    { "template.put", test_template_put },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "format", tests);
}
