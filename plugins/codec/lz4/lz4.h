/* lz4 -- blocks in the LZ4 block format: fast both ways; for what crosses a network. */
#ifndef CODEC_LZ4_H
#define CODEC_LZ4_H
#include "block/codec.h"

extern const struct block_codec codec_lz4;
#endif
