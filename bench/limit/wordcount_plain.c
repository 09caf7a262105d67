/*
 * wordcount_plain INPUT OUTPUT -- word count as a careful programmer writes it: a byte loop, FNV-1a, an
 * open table of pointers to copied words.
 */
#include "limit.h"

struct entry {
    char *word;
    size_t n;
    uint64_t hash, count;
};

struct table {
    struct entry *e;
    size_t cap, used;
};

static struct entry *
find(const struct table *t, const char *p, size_t n, uint64_t hash)
{
    size_t i = hash & (t->cap - 1);

    while (t->e[i].word && (t->e[i].hash != hash || t->e[i].n != n || memcmp(t->e[i].word, p, n)))
        i = (i + 1) & (t->cap - 1);
    return &t->e[i];
}

static struct entry *
new_entries(size_t n)
{
    struct entry *e = calloc(n, sizeof *e);

    if (!e)
        limit_die("memory");
    return e;
}

static void
grow(struct table *t)
{
    struct table to = { new_entries(t->cap * 2), t->cap * 2, t->used };

    for (size_t i = 0; i < t->cap; i++)
        if (t->e[i].word)
            *find(&to, t->e[i].word, t->e[i].n, t->e[i].hash) = t->e[i];
    free(t->e);
    *t = to;
}

static void
count(struct table *t, const char *p, size_t n, uint64_t hash)
{
    struct entry *e = find(t, p, n, hash);

    if (e->word) {
        e->count++;
        return;
    }
    e->word = malloc(n);
    if (!e->word)
        limit_die("memory");
    memcpy(e->word, p, n);
    e->n = n;
    e->hash = hash;
    e->count = 1;
    if (++t->used * 2 > t->cap)
        grow(t);
}

static void
words(struct table *t, const char *p, size_t n)
{
    const char *end = p + n;

    while (p < end) {
        while (p < end && (unsigned char)*p <= 0x20)
            p++;
        if (p == end)
            return;
        const char *s = p;
        uint64_t h = 0xcbf29ce484222325ull;
        for (; p < end && (unsigned char)*p > 0x20; p++)
            h = (h ^ (unsigned char)*p) * 0x100000001b3ull;
        count(t, s, (size_t)(p - s), h ^ h >> 29);
    }
}

int
main(int argc, char **argv)
{
    struct table t = { new_entries(1024), 1024, 0 };
    struct feed f;
    const char *p;

    if (argc != 3)
        return fputs("usage: wordcount_plain INPUT OUTPUT\n", stderr), 2;
    feed_open(&f, argv[1]);
    for (size_t n; (n = feed_lines(&f, &p)) > 0;)
        words(&t, p, n);
    FILE *out = fopen(argv[2], "w");
    if (!out)
        limit_die(argv[2]);
    for (size_t i = 0; i < t.cap; i++)
        if (t.e[i].word)
            fprintf(out, "%.*s\t%llu\n", (int)t.e[i].n, t.e[i].word, (unsigned long long)t.e[i].count);
    if (ferror(out) | fclose(out))
        limit_die(argv[2]);
    return 0;
}
