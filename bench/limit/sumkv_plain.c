/* sumkv_plain INPUT OUTPUT -- sums by key over a file of binary u64 pairs: one loop, one open table. */
#include "limit.h"

struct entry {
    uint64_t key, sum;
    int used;
};

struct table {
    struct entry *e;
    size_t cap, used;
};

static struct entry *
find(const struct table *t, uint64_t key)
{
    size_t i = (key * 0x9e3779b97f4a7c15ull >> 20) & (t->cap - 1);

    while (t->e[i].used && t->e[i].key != key)
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
        if (t->e[i].used)
            *find(&to, t->e[i].key) = t->e[i];
    free(t->e);
    *t = to;
}

int
main(int argc, char **argv)
{
    struct table t = { new_entries(1024), 1024, 0 };
    uint64_t pair[2];

    if (argc != 3)
        return fputs("usage: sumkv_plain INPUT OUTPUT\n", stderr), 2;
    FILE *in = fopen(argv[1], "r");
    if (!in)
        limit_die(argv[1]);
    while (fread(pair, sizeof pair, 1, in) == 1) {
        struct entry *e = find(&t, pair[0]);

        e->sum += pair[1];
        if (e->used)
            continue;
        e->key = pair[0];
        e->used = 1;
        if (++t.used * 2 > t.cap)
            grow(&t);
    }
    if (ferror(in))
        limit_die(argv[1]);
    FILE *out = fopen(argv[2], "w");
    if (!out)
        limit_die(argv[2]);
    for (size_t i = 0; i < t.cap; i++)
        if (t.e[i].used)
            fprintf(out, "%llu\t%llu\n", (unsigned long long)t.e[i].key, (unsigned long long)t.e[i].sum);
    if (ferror(out) | fclose(out))
        limit_die(argv[2]);
    return 0;
}
