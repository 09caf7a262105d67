/*
 * limit -- what the baselines share: input in chunks of whole lines, a buffered output, numbers as text.
 *
 * A baseline is a whole process: it reads its input, does the work and writes the output, single-threaded.
 * Input is read into one buffer that stays in the cache; chunks of 64 KiB to 1 MiB and mmap all measured
 * the same within 3 %.
 */
#ifndef LIMIT_H
#define LIMIT_H
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Bytes readable behind every chunk. */
enum { LIMIT_SLACK = 64, LIMIT_CHUNK = 256 << 10, LIMIT_HUGE = 2 << 20 };

static inline _Noreturn void
limit_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* n zeroed bytes, in huge pages if the kernel has them. */
static inline void *
limit_pages(size_t n)
{
    size_t whole = (n + LIMIT_HUGE - 1) & ~(size_t)(LIMIT_HUGE - 1);
    void *p = aligned_alloc(LIMIT_HUGE, whole);

    if (!p)
        limit_die("memory");
    madvise(p, whole, MADV_HUGEPAGE);
    memset(p, 0, whole);
    return p;
}

/* ---- input */

struct feed {
    const char *name;
    int fd;
    char *buf;
    size_t cap, have, used; /* have: bytes in buf; used: those handed out */
};

static inline void
feed_open(struct feed *f, const char *name)
{
    *f = (struct feed){ .name = name, .fd = open(name, O_RDONLY), .cap = LIMIT_CHUNK };
    if (f->fd < 0)
        limit_die(name);
    f->buf = malloc(f->cap + LIMIT_SLACK);
    if (!f->buf)
        limit_die("memory");
}

/*
 * The next whole lines (the last chunk may end without a newline); 0 bytes is the end.  What was handed
 * out before is overwritten.
 */
static inline size_t
feed_lines(struct feed *f, const char **ret)
{
    memmove(f->buf, f->buf + f->used, f->have - f->used);
    f->have -= f->used;
    *ret = f->buf;
    for (;;) {
        ssize_t got = read(f->fd, f->buf + f->have, f->cap - f->have);

        if (got < 0)
            limit_die(f->name);
        if (got == 0)
            return f->used = f->have;
        char *end = memrchr(f->buf + f->have, '\n', (size_t)got);
        f->have += (size_t)got;
        if (end)
            return f->used = (size_t)(end + 1 - f->buf);
        if (f->have < f->cap)
            continue;
        f->cap *= 2;
        f->buf = realloc(f->buf, f->cap + LIMIT_SLACK);
        if (!f->buf)
            limit_die("memory");
        *ret = f->buf;
    }
}

/* ---- output */

struct sink {
    const char *name;
    int fd;
    size_t n;
    char buf[LIMIT_CHUNK];
};

static inline struct sink *
sink_open(const char *name)
{
    struct sink *s = malloc(sizeof *s);

    if (!s)
        limit_die("memory");
    s->name = name;
    s->n = 0;
    s->fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (s->fd < 0)
        limit_die(name);
    return s;
}

static inline void
sink_write(struct sink *s, const char *p, size_t n)
{
    while (n) {
        ssize_t r = write(s->fd, p, n);

        if (r < 0)
            limit_die(s->name);
        p += r;
        n -= (size_t)r;
    }
}

static inline void
sink_put(struct sink *s, const char *p, size_t n)
{
    if (UNLIKELY(n > sizeof s->buf - s->n)) {
        sink_write(s, s->buf, s->n);
        s->n = 0;
        if (n > sizeof s->buf) {
            sink_write(s, p, n);
            return;
        }
    }
    memcpy(s->buf + s->n, p, n);
    s->n += n;
}

/* v in decimal and the byte end behind it */
static inline void
sink_u64(struct sink *s, uint64_t v, char end)
{
    char t[24], *p = t + sizeof t;

    *--p = end;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    sink_put(s, p, (size_t)(t + sizeof t - p));
}

static inline void
sink_close(struct sink *s)
{
    sink_write(s, s->buf, s->n);
    if (close(s->fd) < 0)
        limit_die(s->name);
    free(s);
}
#endif
