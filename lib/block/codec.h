/*
 * codec -- the two contracts of compression; plugins/codec/NAME implements them, plugins/codec/template shows how.
 *
 * block_codec packs one block at a time; a run may hold packed and plain blocks (what does not get smaller
 * stays plain).  stream_codec unpacks a foreign file (text.gz) from front to back.
 *
 * A codec is one const struct: no state outside what open returns.  Threads: any, but one at a time for a
 * stream.
 */
#ifndef BLOCK_CODEC_H
#define BLOCK_CODEC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct block_codec {
    const char *name; /* as in taskd.io.compression.codec */
    uint8_t id;       /* in the header of a block, never changed: 1 lz4, 2 zlib, 3 zstd; from 200 on: not for files
                         that are kept */
    /* Bytes that pack may need for n bytes. */
    size_t (*bound)(size_t n);
    /* Packs n > 0 bytes into at most cap bytes; returns their number, 0 when it did not work out (then the
     * block is stored as it is). */
    size_t (*pack)(const void *src, size_t n, void *dst, size_t cap);
    /* Are the n bytes at src a packing of exactly want bytes?  Then they are at dst.  src is not trusted: never
     * writes outside dst[0, want), never reads outside src. */
    bool (*unpack)(const void *src, size_t n, void *dst, size_t want);
};

/* Where a stream gets its raw bytes. */
struct stream_source {
    /* Up to n bytes into p; *ret_n 0 is the end. */
    struct err *(*pull)(void *arg, void *p, size_t n, size_t *ret_n);
    void *arg;
    const char *name; /* of the file, for errors; lives as long as the stream */
};

struct stream_codec {
    const char *name;
    const char *suffix; /* of file names, with the dot */
    const char *magic;  /* the first bytes of every such file */
    size_t magic_n;
    /* Pulls nothing yet. */
    struct err *(*open)(const struct stream_source *src, void **ret);
    /* Unpacks up to n > 0 bytes; *ret_n 0 is the end of a whole and valid file.  An input that ends too early, is
     * damaged, or has something else behind its end is ERR_CORRUPT with the byte offset in the file.  After an
     * error the stream can only be closed. */
    struct err *(*read)(void *stream, void *buf, size_t n, size_t *ret_n);
    void (*close)(void *stream); /* NULL is allowed */
    /* Bytes of memory that an open stream holds, about. */
    size_t held;
};
#endif
