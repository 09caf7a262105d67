/* arena -- see arena.h */
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* bytes behind this header */
};

struct arena_cleanup {
    struct arena_cleanup *next;
    void (*fn)(void *);
    void *arg;
};

void
arena_init(struct arena *a)
{
    memset(a, 0, sizeof *a);
}

static void
run_cleanups(struct arena *a)
{
    for (struct arena_cleanup *c = a->cleanups; c; c = c->next)
        c->fn(c->arg);
    a->cleanups = NULL;
}

static void
free_chunks(struct arena *a, struct arena_chunk *keep)
{
    for (struct arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        if (c != keep)
            free(c);
    }
}

void
arena_reset(struct arena *a)
{
    run_cleanups(a);
    struct arena_chunk *keep = a->chunks;
    if (!keep)
        return;
    free_chunks(a, keep);
    keep->next = NULL;
    a->chunks = keep;
    a->p = (char *)(keep + 1);
    a->end = a->p + keep->size;
    a->held = keep->size;
}

void
arena_fini(struct arena *a)
{
    run_cleanups(a);
    free_chunks(a, NULL);
    memset(a, 0, sizeof *a);
}

static void *
alloc_slow(struct arena *a, size_t n)
{
    size_t size = n > ARENA_CHUNK ? n : ARENA_CHUNK;
    struct arena_chunk *c = malloc(sizeof *c + size);

    if (!c)
        abort();
    _Static_assert(sizeof *c % 16 == 0, "chunks keep the alignment of malloc");
    c->size = size;
    c->next = a->chunks;
    a->chunks = c;
    a->held += size;
    a->p = (char *)(c + 1) + n;
    a->end = (char *)(c + 1) + size;
    return c + 1;
}

void *
arena_alloc(struct arena *a, size_t n)
{
    ASSERT(n < SIZE_MAX / 2);
    n = (n + 15) & ~(size_t)15;
    if ((size_t)(a->end - a->p) < n || !a->p)
        return alloc_slow(a, n);
    void *p = a->p;
    a->p += n;
    return p;
}

void *
arena_zalloc(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

char *
arena_memdup(struct arena *a, const void *p, size_t n)
{
    char *q = arena_alloc(a, n + 1);

    if (n)
        memcpy(q, p, n);
    q[n] = 0;
    return q;
}

char *
arena_strdup(struct arena *a, const char *s)
{
    return arena_memdup(a, s, strlen(s));
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    char *s = arena_alloc(a, (size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

void
arena_on_reset(struct arena *a, void (*fn)(void *), void *arg)
{
    struct arena_cleanup *c = arena_alloc(a, sizeof *c);

    *c = (struct arena_cleanup){ a->cleanups, fn, arg };
    a->cleanups = c;
}
