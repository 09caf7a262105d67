/*
 * buf -- bytes that grow, and numbers in them.
 *
 * put_* append little-endian values to a buf; struct get reads them back from bytes that nobody trusts:
 * reading past the end sets bad and gives zeroes, so a decoder checks once, at its end.
 *
 * Owner: the holder of the struct; buf_fini() frees.  {0} is an empty buf.  Threads: one at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"

struct buf {
    char *p;
    size_t n, cap;
};

void buf_fini(struct buf *b);
/* Room for n more bytes behind b->n; returns where they go. */
char *buf_room(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* s as a JSON string with quotes; bytes that are not UTF-8 become U+FFFD. */
void buf_json(struct buf *b, const char *s, size_t n);

void put_u8(struct buf *b, uint8_t v);
void put_u32(struct buf *b, uint32_t v);
void put_u64(struct buf *b, uint64_t v);
void put_f64(struct buf *b, double v);
/* A u32 length and the bytes. */
void put_bytes(struct buf *b, const void *p, size_t n);
void put_str(struct buf *b, const char *s); /* NULL is written as "" */

struct get {
    const char *p, *end;
    bool bad; /* something was read that is not there */
};
#define GET_OF(ptr, n) ((struct get){ (const char *)(ptr), (const char *)(ptr) + (n), false })

uint8_t get_u8(struct get *g);
uint32_t get_u32(struct get *g);
uint64_t get_u64(struct get *g);
double get_f64(struct get *g);
/* A view into the input; NULL with *ret_n 0 when bad. */
const char *get_bytes(struct get *g, size_t *ret_n);
/* A NUL-terminated copy in a; "" when bad.  A NUL inside makes it bad. */
char *get_str(struct get *g, struct arena *a);
/* A u32 count, bad if count * each bytes are more than what is left. */
uint32_t get_count(struct get *g, size_t each);
#endif
