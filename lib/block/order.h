/*
 * order -- the two orders of a run, as 8-byte ranks.
 *
 *   by hash  rank = hash of the key; partition p of R holds the ranks [p * 2^64 / R, (p + 1) * 2^64 / R)
 *   by key   rank = a number that keeps the order of the keys: u64 as it is, i64 with its sign flipped, f64 in
 *            total order (-0 is 0, NaN is one value and the last), the first 8 bytes of a string
 *
 * Rows of equal rank are ordered by block_key_cmp; rows of equal keys keep the order they came in.  A
 * descending order is the complement of the rank, and the comparison the other way round.
 *
 * Strings have BLOCK_PAD readable bytes behind them, empty ones too (but p NULL with n 0 is allowed).
 */
#ifndef BLOCK_ORDER_H
#define BLOCK_ORDER_H
#include "base/hash.h"
#include "block/block.h"

/* f64 bits that are equal exactly when the keys are; other kinds as they are. */
static inline uint64_t
block_norm(uint8_t kind, uint64_t bits)
{
    double d;

    if (kind != BLOCK_F64)
        return bits;
    memcpy(&d, &bits, 8);
    return hash_f64_bits(d);
}

static inline uint64_t
block_hash_rank(uint8_t kind, uint64_t bits)
{
    return hash_u64(block_norm(kind, bits));
}

/* The bytes of a string of n <= 16 as two words, like hash_key16, but without a branch: lengths are what a
 * branch predictor can't learn. */
static inline void
block_words(const char *p, size_t n, uint64_t *ret_lo, uint64_t *ret_hi)
{
    static const uint64_t mask[25] = {
        0, 0, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff, UINT64_MAX,
        UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
    };

    *ret_lo = hash_load8(p) & mask[n + 8];
    *ret_hi = hash_load8(p + 8) & mask[n];
}

/* hash_str of s */
static inline uint64_t
block_hash_rank_str(struct block_str s)
{
    static const char none[16];
    uint64_t lo, hi;

    if (__builtin_expect(s.n > 16, 0))
        return hash_long(s.p, s.n);
    block_words(s.n ? s.p : none, s.n, &lo, &hi);
    return hash_short(lo, hi, s.n);
}

static inline uint64_t
block_key_rank(uint8_t kind, uint64_t bits)
{
    const uint64_t top = 1ull << 63;

    if (kind == BLOCK_U64)
        return bits;
    if (kind == BLOCK_I64)
        return bits ^ top;
    bits = block_norm(kind, bits);
    return bits & top ? ~bits : bits | top;
}

static inline uint64_t
block_key_rank_str(struct block_str s)
{
    return s.n ? __builtin_bswap64(hash_low(hash_load8(s.p), s.n)) : 0;
}

/* The partition of R that a rank by hash belongs to. */
static inline uint32_t
block_partition_of(uint64_t rank, uint32_t partitions)
{
    return (uint32_t)((__uint128_t)rank * partitions >> 64);
}

static inline int
block_str_cmp(struct block_str a, struct block_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Equal?  Short ones without a branch on their length. */
static inline bool
block_str_same(struct block_str a, struct block_str b)
{
    uint64_t la, ha, lb, hb;

    if (a.n != b.n || a.n == 0)
        return a.n == b.n;
    if (a.n > 16)
        return !memcmp(a.p, b.p, a.n);
    block_words(a.p, a.n, &la, &ha);
    block_words(b.p, b.n, &lb, &hb);
    return !((la ^ lb) | (ha ^ hb));
}

/* Order of the keys col_a[i] and col_b[j] if their ranks are equal; 0 exactly for equal keys. */
static inline int
block_key_cmp(uint8_t kind, const void *col_a, uint32_t i, const void *col_b, uint32_t j)
{
    if (kind == BLOCK_STR)
        return block_str_cmp(((const struct block_str *)col_a)[i], ((const struct block_str *)col_b)[j]);
    uint64_t a = block_norm(kind, ((const uint64_t *)col_a)[i]);
    uint64_t b = block_norm(kind, ((const uint64_t *)col_b)[j]);
    return (a > b) - (a < b);
}

/* Ranks of the keys [from, to) of a column, into ret[0, to - from). */
void block_hash_ranks(uint8_t kind, const void *col, uint32_t from, uint32_t to, uint64_t *ret);
void block_key_ranks(uint8_t kind, bool descending, const void *col, uint32_t from, uint32_t to,
                     uint64_t *ret);
#endif
