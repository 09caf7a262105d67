/* template -- a codec to copy: runs of equal bytes as (count, byte).  Only tests use it. */
#ifndef CODEC_TEMPLATE_H
#define CODEC_TEMPLATE_H
#include "block/codec.h"

extern const struct block_codec codec_template;
/* The same pairs as a file, behind the magic "RUN1". */
extern const struct stream_codec codec_template_stream;
#endif
