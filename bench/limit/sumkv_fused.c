/*
 * sumkv_fused INPUT OUTPUT -- sums of u64 values by u64 key over a file of binary pairs; the table is
 * prefetched AHEAD pairs before it is looked at.
 */
#include "limit.h"

enum { AHEAD = 24, FIRST_SLOTS = 1 << 16, PAIRS = LIMIT_CHUNK / 16 };

struct slot {
    uint64_t key, sum; /* key 0: empty */
};

struct table {
    struct slot *slots;
    uint64_t mask, used;
    uint64_t zero; /* the sum of key 0 */
    int has_zero;
};

static inline uint64_t
hash(uint64_t k)
{
    __uint128_t m = (__uint128_t)(k ^ 0xa0761d6478bd642full) * 0xe7037ed1a0b428dbull;

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static __attribute__((noinline)) void
grow(struct table *t)
{
    uint64_t mask = (t->mask + 1) * 4 - 1;
    struct slot *slots = limit_pages((mask + 1) * sizeof *slots);

    for (uint64_t i = 0; i <= t->mask; i++) {
        if (!t->slots[i].key)
            continue;
        uint64_t j = hash(t->slots[i].key) & mask;
        while (slots[j].key)
            j = (j + 1) & mask;
        slots[j] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots;
    t->mask = mask;
}

static inline void
add(struct table *t, uint64_t key, uint64_t v)
{
    if (UNLIKELY(!key)) {
        t->zero += v;
        t->has_zero = 1;
        return;
    }
    for (uint64_t j = hash(key) & t->mask;; j = (j + 1) & t->mask) {
        struct slot *s = &t->slots[j];

        if (LIKELY(s->key == key)) {
            s->sum += v;
            return;
        }
        if (!s->key) {
            *s = (struct slot){ key, v };
            if (++t->used * 2 > t->mask)
                grow(t);
            return;
        }
    }
}

static void
sums(struct table *t, const uint64_t *p, size_t n)
{
    size_t i = 0;

    for (; i + AHEAD < n; i++) {
        __builtin_prefetch(&t->slots[hash(p[2 * (i + AHEAD)]) & t->mask], 1);
        add(t, p[2 * i], p[2 * i + 1]);
    }
    for (; i < n; i++)
        add(t, p[2 * i], p[2 * i + 1]);
}

int
main(int argc, char **argv)
{
    static uint64_t pairs[2 * PAIRS];
    struct table t = { .mask = FIRST_SLOTS - 1 };

    if (argc != 3)
        return fputs("usage: sumkv_fused INPUT OUTPUT\n", stderr), 2;
    int fd = open(argv[1], O_RDONLY);
    if (fd < 0)
        limit_die(argv[1]);
    t.slots = limit_pages(FIRST_SLOTS * sizeof *t.slots);
    /* a regular file: only its last read is short */
    for (ssize_t n; (n = read(fd, pairs, sizeof pairs)) != 0;) {
        if (n < 0)
            limit_die(argv[1]);
        sums(&t, pairs, (size_t)n / 16);
    }
    struct sink *out = sink_open(argv[2]);
    if (t.has_zero) {
        sink_u64(out, 0, '\t');
        sink_u64(out, t.zero, '\n');
    }
    for (uint64_t i = 0; i <= t.mask; i++)
        if (t.slots[i].key) {
            sink_u64(out, t.slots[i].key, '\t');
            sink_u64(out, t.slots[i].sum, '\n');
        }
    sink_close(out);
    return 0;
}
