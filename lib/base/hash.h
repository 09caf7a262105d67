/*
 * hash -- the one hash of keys.  Wide multiply-and-fold (the construction of Wang Yi's wyhash): a 64x64
 * multiplication, high half xor low half.  Its top bits are as good as its low bits, and the engine
 * counts on that: a table's home slot and a shuffle's partition are both cut from the top, so a table
 * walked from front to back comes out in partition order (flow/README.md).
 *
 * Not for secrets: there is no seed, because the same key must land in the same partition everywhere.
 * hash_str reads up to 16 bytes from p whatever n is: strings in batches have 64 readable bytes behind.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_S0 0xa0761d6478bd642full
#define HASH_S1 0xe7037ed1a0b428dbull
#define HASH_S2 0x8ebc6af09c88c6e3ull

static inline uint64_t
hash_fold(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t
hash_u64(uint64_t v)
{
    return hash_fold(v ^ HASH_S0, HASH_S1);
}

static inline uint64_t
hash_load8(const char *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
    return v;
}

/* The low n bytes of v, the rest zero; all of v for n > 8.  Without a branch: lengths of words can't be predicted. */
static inline uint64_t
hash_low(uint64_t v, size_t n)
{
#ifdef __BMI2__
    return __builtin_ia32_bzhi_di(v, n < 8 ? n * 8 : 64);
#else
    return n >= 8 ? v : v & ((1ull << (n * 8)) - 1);
#endif
}

/* A string of at most 16 bytes as two zero-padded words. */
static inline void
hash_key16(const char *p, size_t n, uint64_t *ret_lo, uint64_t *ret_hi)
{
    *ret_lo = hash_low(hash_load8(p), n);
    *ret_hi = hash_low(hash_load8(p + 8), n > 8 ? n - 8 : 0);
}

static inline uint64_t
hash_short(uint64_t lo, uint64_t hi, size_t n)
{
    return hash_fold(lo ^ HASH_S0 ^ n, hi ^ HASH_S1);
}

/* n > 16 */
static inline uint64_t
hash_long(const char *p, size_t n)
{
    const char *end = p + n - 16;
    uint64_t h = n * HASH_S2;

    for (; p < end; p += 16)
        h = hash_fold(hash_load8(p) ^ h ^ HASH_S0, hash_load8(p + 8) ^ HASH_S1);
    return hash_fold(hash_load8(end) ^ h ^ HASH_S0, hash_load8(end + 8) ^ HASH_S1);
}

static inline uint64_t
hash_str(const char *p, size_t n)
{
    uint64_t lo, hi;

    if (n > 16)
        return hash_long(p, n);
    hash_key16(p, n, &lo, &hi);
    return hash_short(lo, hi, n);
}

/* -0 and 0 are one key, and so are all NaNs. */
static inline uint64_t
hash_f64_bits(double d)
{
    uint64_t v;

    if (d == 0)
        d = 0;
    if (d != d)
        return 0x7ff8000000000000ull;
    memcpy(&v, &d, 8);
    return v;
}
#endif
