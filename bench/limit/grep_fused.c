/*
 * grep_fused INPUT OUTPUT -- the lines that hold ERROR, by a search over the whole chunk that does not
 * look for line ends until there is a hit: first and last byte of the needle, 64 places at a time.
 */
#include <immintrin.h>

#include "limit.h"

static const char NEEDLE[] = "ERROR";
enum { N = sizeof NEEDLE - 1 };

static inline uint64_t
candidates64(const char *p)
{
    const __m256i a = _mm256_set1_epi8(NEEDLE[0]), z = _mm256_set1_epi8(NEEDLE[N - 1]);
    const __m256i *f = (const __m256i *)p, *l = (const __m256i *)(p + N - 1);
    __m256i lo = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_loadu_si256(f), a),
                                  _mm256_cmpeq_epi8(_mm256_loadu_si256(l), z));
    __m256i hi = _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_loadu_si256(f + 1), a),
                                  _mm256_cmpeq_epi8(_mm256_loadu_si256(l + 1), z));

    return (uint32_t)_mm256_movemask_epi8(lo) | (uint64_t)(uint32_t)_mm256_movemask_epi8(hi) << 32;
}

/* The first place of the needle in p[from..n), or n. */
static inline size_t
find(const char *p, size_t from, size_t n)
{
    for (size_t o = from; o + N <= n; o += 64)
        for (uint64_t m = candidates64(p + o); m; m &= m - 1) {
            size_t at = o + (size_t)__builtin_ctzll(m);

            if (at + N > n)
                return n;
            if (!memcmp(p + at, NEEDLE, N))
                return at;
        }
    return n;
}

static void
lines(struct sink *out, const char *p, size_t n)
{
    for (size_t from = 0, at; (at = find(p, from, n)) < n;) {
        const char *s = memrchr(p + from, '\n', at - from), *e = memchr(p + at, '\n', n - at);

        s = s ? s + 1 : p + from;
        if (!e) {
            sink_put(out, s, (size_t)(p + n - s));
            sink_put(out, "\n", 1);
            return;
        }
        sink_put(out, s, (size_t)(e + 1 - s));
        from = (size_t)(e + 1 - p);
    }
}

int
main(int argc, char **argv)
{
    struct feed f;
    const char *p;

    if (argc != 3)
        return fputs("usage: grep_fused INPUT OUTPUT\n", stderr), 2;
    feed_open(&f, argv[1]);
    struct sink *out = sink_open(argv[2]);
    for (size_t n; (n = feed_lines(&f, &p)) > 0;)
        lines(out, p, n);
    sink_close(out);
    return 0;
}
