/*
 * gen KIND BYTES OUT -- seeded data for the benchmarks; the same call makes the same bytes everywhere.
 *
 *   zipf   lines of 6-23 words, 500 k vocabulary, Zipf-Mandelbrot; 1 % of the rare words are long
 *   wide   lines of 12 words, 4 M distinct ones: each at least once, the rest with a bent distribution
 *   log    "time service-id status latency-us path"; the path of 1 line in 256 ends in /ERROR
 *   pairs  binary u64 pairs over 2^20 keys to OUT, and the same as "key value" lines to OUT.txt
 */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOCABULARY = 500000, SET = 1 << 21, WIDE = 4 << 20, KEYS = 1 << 20 };

static uint64_t seed[2] = { 0x9e3779b97f4a7c15ull, 0xd1b54a32d192ed03ull };

static inline uint64_t
rnd(void)
{
    uint64_t a = seed[0], b = seed[1];

    seed[0] = b;
    a ^= a << 23;
    seed[1] = a ^ b ^ a >> 18 ^ b >> 5;
    return seed[1] + b;
}

/* 0 <= result < n; the bias is of no matter here */
static inline uint32_t
below(uint32_t n)
{
    return (uint32_t)((rnd() >> 32) * n >> 32);
}

static inline double
unit(void)
{
    return (double)(rnd() >> 11) * 0x1p-53;
}

static _Noreturn void
die(const char *what)
{
    fprintf(stderr, "gen: %s: %s\n", what, strerror(errno));
    exit(1);
}

static FILE *
create(const char *name)
{
    FILE *f = fopen(name, "wb");

    if (!f)
        die(name);
    setvbuf(f, NULL, _IOFBF, 1 << 20);
    return f;
}

static void
finish(FILE *f, const char *name)
{
    if (ferror(f) | fclose(f))
        die(name);
}

/* ---- zipf */

struct word {
    uint8_t n;
    char s[47];
};

static struct word vocabulary[VOCABULARY];
static uint32_t set[SET];              /* index + 1 of the word in that slot */
static double chance[VOCABULARY];      /* Walker's alias method */
static uint32_t alias[VOCABULARY];

static int
is_new(uint32_t id)
{
    const struct word *w = &vocabulary[id];
    uint32_t h = 2166136261u;

    for (int i = 0; i < w->n; i++)
        h = (h ^ (uint8_t)w->s[i]) * 16777619u;
    for (h &= SET - 1; set[h]; h = (h + 1) & (SET - 1)) {
        const struct word *o = &vocabulary[set[h] - 1];

        if (o->n == w->n && !memcmp(o->s, w->s, w->n))
            return 0;
    }
    set[h] = id + 1;
    return 1;
}

/* Frequent words are short; one rare word in a hundred is as long as a path or an id. */
static void
make_vocabulary(void)
{
    static const char letters[] = "etaoinshrdlcumwfgypbvkjxqzetaoinshrdleetaonir";

    for (uint32_t id = 0; id < VOCABULARY; id++) {
        struct word *w = &vocabulary[id];
        double bell = unit() + unit() + unit() - 1.5;
        int n = (int)(1.6 + 0.46 * log2(id + 2.0) + 1.3 * bell + 0.5);

        n = n < 1 ? 1 : n > 15 ? 15 : n;
        if (id > 2000 && below(100) == 0)
            n = 17 + (int)below(24);
        for (int tries = 0;; tries++) {
            w->n = (uint8_t)(n + (tries > 8 ? tries - 8 : 0));
            for (int i = 0; i < w->n; i++)
                w->s[i] = letters[below(sizeof letters - 1)];
            if (is_new(id))
                break;
        }
    }
}

static void
make_alias(void)
{
    static uint32_t small[VOCABULARY], large[VOCABULARY];
    static double p[VOCABULARY];
    uint32_t smalls = 0, larges = 0;
    double total = 0;

    for (uint32_t i = 0; i < VOCABULARY; i++)
        total += p[i] = 1 / pow(i + 2.7, 1.02);
    for (uint32_t i = 0; i < VOCABULARY; i++) {
        p[i] *= VOCABULARY / total;
        if (p[i] < 1)
            small[smalls++] = i;
        else
            large[larges++] = i;
    }
    while (smalls && larges) {
        uint32_t a = small[--smalls], b = large[larges - 1];

        chance[a] = p[a];
        alias[a] = b;
        p[b] -= 1 - p[a];
        if (p[b] < 1)
            small[smalls++] = large[--larges];
    }
    while (smalls)
        chance[small[--smalls]] = 1;
    while (larges)
        chance[large[--larges]] = 1;
}

static void
zipf(FILE *f, uint64_t bytes)
{
    make_vocabulary();
    make_alias();
    for (uint64_t n = 0; n < bytes;) {
        char line[24 * 48], *p = line;

        for (uint32_t i = 0, words = 6 + below(18); i < words; i++) {
            uint32_t id = below(VOCABULARY);

            if (unit() >= chance[id])
                id = alias[id];
            if (i)
                *p++ = ' ';
            memcpy(p, vocabulary[id].s, sizeof vocabulary[id].s);
            p += vocabulary[id].n;
        }
        *p++ = '\n';
        n += fwrite(line, 1, (size_t)(p - line), f);
        if (ferror(f))
            return;
    }
}

/* ---- wide */

/* The word of an id: letters of a scrambled id, 5-8 of them; no two ids share one. */
static char *
wide_word(char *p, uint32_t id)
{
    for (uint32_t v = (id * 0x9e3779b1u) % (1u << 30) + 26u * 26 * 26 * 26; v; v /= 26)
        *p++ = (char)('a' + v % 26);
    return p;
}

static void
wide(FILE *f, uint64_t bytes)
{
    char line[256];
    uint32_t next = 0;

    for (uint64_t n = 0; n < bytes || next < WIDE;) {
        char *p = line;

        for (int i = 0; i < 12; i++) {
            double u = unit();

            if (i)
                *p++ = ' ';
            p = wide_word(p, i < 6 && next < WIDE ? next++ : (uint32_t)(u * u * u * WIDE));
        }
        *p++ = '\n';
        n += fwrite(line, 1, (size_t)(p - line), f);
        if (ferror(f))
            return;
    }
}

/* ---- log */

static void
logs(FILE *f, uint64_t bytes)
{
    static const char *const verb[] = { "orders", "users", "carts", "search", "images", "login", "stock", "tax" };
    uint64_t ms = 1760000000000ull;

    for (uint64_t n = 0; n < bytes;) {
        int bad = below(256) == 0;
        double u = unit();
        int status = bad ? 500 + (int)below(4) : u < 0.9 ? 200 : u < 0.95 ? 304 : 404;
        int w = fprintf(f, "%llu %u %d %u /v1/%s/%08x/%06u%s\n", (unsigned long long)(ms += below(5)), below(4096),
                        status, 100 + (uint32_t)(20000 * u * u * u), verb[below(8)], (uint32_t)rnd(),
                        below(1000000), bad ? "/ERROR" : "");

        if (w < 0)
            return;
        n += (uint64_t)w;
    }
}

/* ---- pairs */

static void
pairs(FILE *f, FILE *text, uint64_t bytes)
{
    for (uint64_t n = 0; n < bytes; n += 16) {
        uint64_t pair[2] = { below(KEYS) * 0x9e3779b97f4a7c15ull, below(1024) };

        if (fwrite(pair, sizeof pair, 1, f) != 1)
            return;
        fprintf(text, "%llu %llu\n", (unsigned long long)pair[0], (unsigned long long)pair[1]);
    }
}

int
main(int argc, char **argv)
{
    if (argc != 4)
        return fputs("usage: gen zipf|wide|log|pairs BYTES OUT\n", stderr), 2;
    FILE *f = create(argv[3]);
    uint64_t bytes = strtoull(argv[2], NULL, 10);

    if (!strcmp(argv[1], "zipf"))
        zipf(f, bytes);
    else if (!strcmp(argv[1], "wide"))
        wide(f, bytes);
    else if (!strcmp(argv[1], "log"))
        logs(f, bytes);
    else if (!strcmp(argv[1], "pairs")) {
        char name[4096];

        snprintf(name, sizeof name, "%s.txt", argv[3]);
        FILE *text = create(name);
        pairs(f, text, bytes);
        finish(text, name);
    } else {
        return fprintf(stderr, "gen: unknown kind \"%s\"\n", argv[1]), 2;
    }
    finish(f, argv[3]);
    return 0;
}
