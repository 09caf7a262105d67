/*
 * wordcount_fused INPUT OUTPUT -- the best single-thread word count we can write by hand.
 *
 * One loop: 64 input bytes become a bitmap of "greater than 0x20"; its edges are the words; each word is
 * hashed by a wide multiplication over its first 16 bytes and its slot prefetched; the slot is looked at
 * RING words later, when it has arrived.  Words of up to 16 bytes live in the 32-byte slot itself.
 */
#include <immintrin.h>

#include "limit.h"

enum { RING = 32, FIRST_SLOTS = 1 << 16 };
#define S0 0xa0761d6478bd642full
#define S1 0xe7037ed1a0b428dbull
#define S2 0x8ebc6af09c88c6e3ull

struct slot {
    uint64_t lo, hi; /* the word, zero-padded; longer than 16: its first 8 bytes and where it is */
    uint32_t n, mark; /* mark: high half of the hash, to tell long words apart */
    uint64_t count;
};

struct table {
    struct slot *slots;
    uint64_t mask, used;
    char *room, *room_end; /* bytes of long words */
};

struct word {
    const char *p;
    size_t n;
    uint64_t lo, hi, hash;
};

static inline uint64_t
load8(const char *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
    return v;
}

static inline uint64_t
fold(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static __attribute__((noinline)) uint64_t
hash_long(const char *p, size_t n)
{
    const char *end = p + n - 16;
    uint64_t h = n * S2;

    for (; p < end; p += 16)
        h = fold(load8(p) ^ h ^ S0, load8(p + 8) ^ S1);
    return fold(load8(end) ^ h ^ S0, load8(end + 8) ^ S1);
}

static inline uint64_t
hash_word(const char *p, size_t n, uint64_t lo, uint64_t hi)
{
    return LIKELY(n <= 16) ? fold(lo ^ S0 ^ n, hi ^ S1) : hash_long(p, n);
}

static const char *
slot_word(const struct slot *s)
{
    return s->n <= 16 ? (const char *)s : (const char *)(uintptr_t)s->hi;
}

static char *
keep(struct table *t, const char *p, size_t n)
{
    if ((size_t)(t->room_end - t->room) < n) {
        size_t size = n > 1 << 20 ? n : 1 << 20;

        t->room = malloc(size);
        if (!t->room)
            limit_die("memory");
        t->room_end = t->room + size;
    }
    char *q = memcpy(t->room, p, n);
    t->room += n;
    return q;
}

static __attribute__((noinline)) void
grow(struct table *t)
{
    uint64_t mask = (t->mask + 1) * 4 - 1;
    struct slot *slots = limit_pages((mask + 1) * sizeof *slots);

    for (uint64_t i = 0; i <= t->mask; i++) {
        const struct slot *s = &t->slots[i];

        if (!s->n)
            continue;
        uint64_t j = hash_word(slot_word(s), s->n, s->lo, s->hi) & mask;
        while (slots[j].n)
            j = (j + 1) & mask;
        slots[j] = *s;
    }
    free(t->slots);
    t->slots = slots;
    t->mask = mask;
}

static __attribute__((noinline)) void
insert(struct table *t, struct slot *s, const struct word *w)
{
    s->lo = w->lo;
    s->hi = w->n <= 16 ? w->hi : (uint64_t)(uintptr_t)keep(t, w->p, w->n);
    s->n = (uint32_t)w->n;
    s->mark = (uint32_t)(w->hash >> 32);
    s->count = 1;
    if (++t->used * 2 > t->mask)
        grow(t);
}

static inline void
count(struct table *t, const struct word *w)
{
    for (uint64_t j = w->hash & t->mask;; j = (j + 1) & t->mask) {
        struct slot *s = &t->slots[j];

        if (LIKELY(s->lo == w->lo && s->n == w->n)) {
            if (LIKELY(w->n <= 16)) {
                if (LIKELY(s->hi == w->hi)) {
                    s->count++;
                    return;
                }
            } else if (s->mark == (uint32_t)(w->hash >> 32) && !memcmp(slot_word(s), w->p, w->n)) {
                s->count++;
                return;
            }
        }
        if (!s->n) {
            insert(t, s, w);
            return;
        }
    }
}

/* Bit i: p[i] > 0x20 */
static inline uint64_t
word_bytes64(const char *p)
{
    const __m256i sp = _mm256_set1_epi8(0x20);
    __m256i a = _mm256_loadu_si256((const __m256i *)p), b = _mm256_loadu_si256((const __m256i *)(p + 32));
    uint32_t x = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(a, sp), sp));
    uint32_t y = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(b, sp), sp));

    return x | (uint64_t)y << 32;
}

struct ring {
    struct word w[RING];
    unsigned in;
};

static inline __attribute__((always_inline)) void
pass(struct table *t, struct ring *q, const char *p, size_t n)
{
    struct word *w = &q->w[q->in++ & (RING - 1)];

    if (LIKELY(w->n))
        count(t, w);
    w->p = p;
    w->n = n;
    w->lo = _bzhi_u64(load8(p), n < 8 ? (uint32_t)n * 8 : 64);
    w->hi = _bzhi_u64(load8(p + 8), n <= 8 ? 0 : n < 16 ? (uint32_t)(n - 8) * 8 : 64);
    w->hash = hash_word(p, n, w->lo, w->hi);
    __builtin_prefetch(&t->slots[w->hash & t->mask], 1);
}

static void
drain(struct table *t, struct ring *q)
{
    for (unsigned i = 0; i < RING; i++) {
        struct word *w = &q->w[(q->in + i) & (RING - 1)];

        if (w->n)
            count(t, w);
        w->n = 0;
    }
}

static __attribute__((noinline)) void
words(struct table *t, struct ring *q, const char *p, size_t n)
{
    const char *open = NULL; /* the word that runs into these 64 bytes */
    uint64_t carry = 0;

    for (size_t o = 0; o < n; o += 64) {
        uint64_t m = word_bytes64(p + o);

        if (UNLIKELY(n - o < 64))
            m &= (1ull << (n - o)) - 1;
        uint64_t edges = m ^ (m << 1 | carry);
        carry = m >> 63;
        if (open && edges) {
            pass(t, q, open, (size_t)(p + o + __builtin_ctzll(edges) - open));
            edges &= edges - 1;
            open = NULL;
        }
        while (edges) {
            const char *s = p + o + __builtin_ctzll(edges);

            edges &= edges - 1;
            if (!edges) {
                open = s;
                break;
            }
            pass(t, q, s, (size_t)(p + o + __builtin_ctzll(edges) - s));
            edges &= edges - 1;
        }
    }
    if (open)
        pass(t, q, open, (size_t)(p + n - open));
}

int
main(int argc, char **argv)
{
    static struct ring q;
    struct table t = { .mask = FIRST_SLOTS - 1 };
    struct feed f;
    const char *p;

    if (argc != 3)
        return fputs("usage: wordcount_fused INPUT OUTPUT\n", stderr), 2;
    feed_open(&f, argv[1]);
    t.slots = limit_pages(FIRST_SLOTS * sizeof *t.slots);
    for (size_t n; (n = feed_lines(&f, &p)) > 0;) {
        words(&t, &q, p, n);
        drain(&t, &q);
    }
    struct sink *out = sink_open(argv[2]);
    for (uint64_t i = 0; i <= t.mask; i++)
        if (t.slots[i].n) {
            sink_put(out, slot_word(&t.slots[i]), t.slots[i].n);
            sink_put(out, "\t", 1);
            sink_u64(out, t.slots[i].count, '\n');
        }
    sink_close(out);
    return 0;
}
