/* err -- see err.h */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    bool retry;
    int exit;
} codes[ERR_CODES] = {
    [ERR_NONE] = { "NONE", false, 0 },
#define ERR(name, retry, exit) [ERR_##name] = { #name, retry, exit },
#include "base/err.def"
#undef ERR
};

static char *
format(const char *fmt, va_list ap)
{
    char *s;

    if (vasprintf(&s, fmt, ap) < 0)
        abort();
    return s;
}

struct err *
err_newv(enum err_code code, const char *fmt, va_list ap)
{
    struct err *e = calloc(1, sizeof *e);

    if (!e)
        abort();
    e->code = code;
    e->msg = format(fmt, ap);
    return e;
}

struct err *
err_new(enum err_code code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    struct err *e = err_newv(code, fmt, ap);
    va_end(ap);
    return e;
}

struct err *
err_errno(int errnum, const char *fmt, ...)
{
    bool limit = errnum == ENOSPC || errnum == EDQUOT || errnum == EMFILE || errnum == ENFILE;
    va_list ap;

    va_start(ap, fmt);
    char *s = format(fmt, ap);
    va_end(ap);
    struct err *e = err_new(limit ? ERR_LIMIT : ERR_IO, "%s: %s", s, strerror(errnum));
    free(s);
    return e;
}

struct err *
err_wrap_take(struct err *cause, const char *fmt, ...)
{
    va_list ap;

    if (!cause)
        return NULL;
    va_start(ap, fmt);
    struct err *e = err_newv(cause->code, fmt, ap);
    va_end(ap);
    e->cause = cause;
    return e;
}

struct err *
err_hint(struct err *e, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    free(e->hint);
    e->hint = format(fmt, ap);
    va_end(ap);
    return e;
}

void
err_free(struct err *e)
{
    while (e) {
        struct err *below = e->cause;

        free(e->msg);
        free(e->hint);
        free(e);
        e = below;
    }
}

char *
err_text(const struct err *e)
{
    const char *hint = NULL;
    size_t n = 16;

    for (const struct err *i = e; i; i = i->cause) {
        n += strlen(i->msg) + 2;
        if (i->hint)
            hint = i->hint;
    }
    n += hint ? strlen(hint) : 0;
    char *s = malloc(n), *p = s;
    if (!s)
        abort();
    *p = 0;
    for (const struct err *i = e; i; i = i->cause)
        p += sprintf(p, "%s%s", i->msg, i->cause ? ": " : "");
    if (hint)
        sprintf(p, "\nhint: %s", hint);
    return s;
}

const char *
err_code_name(enum err_code code)
{
    return code < ERR_CODES ? codes[code].name : "?";
}

enum err_code
err_code_of(const char *name)
{
    for (int i = 1; i < ERR_CODES; i++)
        if (!strcmp(codes[i].name, name))
            return (enum err_code)i;
    return ERR_NONE;
}

bool
err_code_retry(enum err_code code)
{
    return code < ERR_CODES && codes[code].retry;
}

int
err_code_exit(enum err_code code)
{
    return code < ERR_CODES ? codes[code].exit : 1;
}

void
err_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "taskd: assertion failed at %s:%d: %s\n", file, line, cond);
    abort();
}
