/* order -- ranks of whole columns. */
#include "block/order.h"

void
block_hash_ranks(uint8_t kind, const void *col, uint32_t from, uint32_t to, uint64_t *ret)
{
    const struct block_str *s = col;
    const uint64_t *v = col;

    if (kind == BLOCK_STR)
        for (uint32_t i = from; i < to; i++)
            *ret++ = block_hash_rank_str(s[i]);
    else if (kind == BLOCK_F64)
        for (uint32_t i = from; i < to; i++)
            *ret++ = block_hash_rank(BLOCK_F64, v[i]);
    else
        for (uint32_t i = from; i < to; i++)
            *ret++ = block_hash_rank(BLOCK_U64, v[i]);
}

void
block_key_ranks(uint8_t kind, bool descending, const void *col, uint32_t from, uint32_t to, uint64_t *ret)
{
    const struct block_str *s = col;
    const uint64_t *v = col;
    uint64_t flip = descending ? UINT64_MAX : 0;

    if (kind == BLOCK_STR)
        for (uint32_t i = from; i < to; i++)
            *ret++ = block_key_rank_str(s[i]) ^ flip;
    else
        for (uint32_t i = from; i < to; i++)
            *ret++ = block_key_rank(kind, v[i]) ^ flip;
}
