/* lz4 -- see lz4.h */
#include "codec/lz4/lz4.h"

#include <limits.h>
#include <lz4.h>

static size_t
bound(size_t n)
{
    return n <= LZ4_MAX_INPUT_SIZE ? (size_t)LZ4_compressBound((int)n) : 0;
}

static size_t
pack(const void *src, size_t n, void *dst, size_t cap)
{
    if (n > LZ4_MAX_INPUT_SIZE)
        return 0;
    int got = LZ4_compress_default(src, dst, (int)n, cap < INT_MAX ? (int)cap : INT_MAX);
    return got > 0 ? (size_t)got : 0;
}

static bool
unpack(const void *src, size_t n, void *dst, size_t want)
{
    return n <= INT_MAX && want <= INT_MAX && LZ4_decompress_safe(src, dst, (int)n, (int)want) == (int)want;
}

const struct block_codec codec_lz4 = { .name = "lz4", .id = 1, .bound = bound, .pack = pack, .unpack = unpack };
