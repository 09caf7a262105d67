/* zlib -- see zlib.h */
#include "codec/zlib/zlib.h"

#include <zlib.h>

static size_t
bound(size_t n)
{
    return compressBound(n);
}

static size_t
pack(const void *src, size_t n, void *dst, size_t cap)
{
    uLongf got = cap;

    return compress2(dst, &got, src, n, Z_BEST_SPEED) == Z_OK ? got : 0;
}

static bool
unpack(const void *src, size_t n, void *dst, size_t want)
{
    uLongf got = want;
    uLong used = n;

    return uncompress2(dst, &got, src, &used) == Z_OK && got == want && used == n;
}

const struct block_codec codec_zlib = { .name = "zlib", .id = 2, .bound = bound, .pack = pack, .unpack = unpack };
