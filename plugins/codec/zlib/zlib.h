/* zlib -- blocks in the zlib format (smaller and much slower than lz4), and gzip files as a stream. */
#ifndef CODEC_ZLIB_H
#define CODEC_ZLIB_H
#include "block/codec.h"

extern const struct block_codec codec_zlib;
/* Members one behind the other are one file, zeroes behind the last are padding, as gzip(1) has it. */
extern const struct stream_codec codec_gzip;
#endif
