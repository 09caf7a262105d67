/*
 * arena -- memory with one lifetime.
 *
 * Everything taken from an arena dies when the arena is reset or freed; nothing in it is freed alone.
 * The four lifetimes of taskd (process, job, attempt, call) are arenas that are passed explicitly.
 * A chunk size is bounded below by ARENA_CHUNK; a larger wish gets a chunk of its own.
 *
 * Owner: the one who made it.  Threads: one at a time.  Errors: out of memory aborts (control data only;
 * record data asks the budget first, see block/budget.h).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H
#include <stdarg.h>
#include <stddef.h>

#include "base/err.h"

enum { ARENA_CHUNK = 16384 };

struct arena_chunk;
struct arena_cleanup;
struct arena {
    char *p, *end;               /* free bytes of the newest chunk */
    struct arena_chunk *chunks;  /* newest first */
    struct arena_cleanup *cleanups;
    size_t held;                 /* bytes of all chunks */
};

/* An empty arena owns nothing; {0} is a valid one too. */
void arena_init(struct arena *a);
/* Runs the cleanups, newest first, and frees all chunks but one. */
void arena_reset(struct arena *a);
/* Runs the cleanups and frees everything. */
void arena_fini(struct arena *a);
/* n bytes aligned to 16, not zeroed; n may be 0. */
void *arena_alloc(struct arena *a, size_t n) __attribute__((alloc_size(2), returns_nonnull));
void *arena_zalloc(struct arena *a, size_t n) __attribute__((alloc_size(2), returns_nonnull));
/* Copies with a NUL behind. */
char *arena_strdup(struct arena *a, const char *s);
char *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* fn(arg) is called when the arena is reset or freed. */
void arena_on_reset(struct arena *a, void (*fn)(void *), void *arg);
#define ARENA_NEW(a, T) ((T *)arena_zalloc((a), sizeof(T)))
#define ARENA_ARRAY(a, T, n) ((T *)arena_zalloc((a), sizeof(T) * (n)))
#endif
