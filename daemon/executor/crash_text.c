/* crash_text -- what happened, where, with which record: the sentence of crash_report.h. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/quote.h"
#include "executor/crash_priv.h"

#define GENERATED "td_run_"
#define HINT "\nhint: "
enum { SHOWN_MAX = 3, PLACES_MAX = 64, STACK_NEAR = 1 << 20, BUILD_ID_MAX = 64 };

/* ---- places */

int
crash__offsets(struct crash_facts *f)
{
    const struct recorder *r = &f->death.rec;
    uint64_t base = r->end.module_base, size = r->end.module_size;

    f->n = 0;
    if (r->end.kind == RECORDER_RUNNING || r->end.kind == RECORDER_GAVE_UP)
        return 0;
    for (uint32_t i = 0; i < r->end.npcs && f->n < CRASH_FRAMES; i++) {
        uint64_t at = r->end.pcs[i] - base;
        bool exact = i == 0 && r->end.kind != RECORDER_EXIT;

        if (r->end.pcs[i] < base || at >= size)
            continue;
        f->offset[f->n] = at;
        f->lookup[f->n++] = at - (exact || at == 0 ? 0 : 1);
    }
    return f->n;
}

struct place {
    int index;
    char *function, *file;
    int line;
};

/* The lines of names that are as they should be. */
static int
places_of(char *names, struct place *ret, int max)
{
    int n = 0;

    for (char *s = names, *line; n < max && (line = strsep(&s, "\n")) && s;) {
        struct place *p = &ret[n];
        char *index = strsep(&line, "\t");

        p->function = strsep(&line, "\t");
        p->file = strsep(&line, "\t");
        if (!p->function || !p->file || !line)
            continue;
        p->index = atoi(index);
        p->line = atoi(line);
        n += p->index >= 0 && p->index < CRASH_FRAMES;
    }
    return n;
}

/* The loop that a macro of taskd.h made in the author's module around his function. */
static bool
generated(const struct place *p)
{
    return !strncmp(p->function, GENERATED, strlen(GENERATED));
}

/* One of taskd.h's inline functions: the author wants to know who called it. */
static bool
helper(const struct place *p)
{
    return !strcmp(p->file, "taskd.h");
}

static void
put_place(struct buf *b, const struct place *p)
{
    buf_printf(b, "%s()", p->function);
    if (strcmp(p->file, "?"))
        buf_printf(b, " at %s:%d", p->file, p->line);
}

/* The first function that somebody wrote; behind it its callers up to the author's own code. */
static void
put_places(struct buf *b, const struct crash_facts *f, const struct place *p, int n)
{
    int i = 0;

    while (i < n && generated(&p[i]))
        i++;
    if (i == n)
        i = 0;
    buf_printf(b, " in ");
    put_place(b, &p[i]);
    buf_printf(b, " (%s+0x%llx)", f->module, (unsigned long long)f->offset[p[i].index < f->n ? p[i].index : 0]);
    for (int shown = 1; shown < SHOWN_MAX && i + 1 < n && helper(&p[i]) && !generated(&p[i + 1]); shown++) {
        buf_printf(b, ", called by ");
        put_place(b, &p[++i]);
    }
    if (i + 1 < n && helper(&p[i]) && generated(&p[i + 1])) /* his function has returned */
        buf_printf(b, ", with what %s() gave", p[i + 1].function + strlen(GENERATED));
}

/* " in keep() at crash.c:7 (crash.so+0x1140)"; true: there was debug information. */
static bool
put_where(struct buf *b, const struct crash_facts *f, const char *names)
{
    const struct recorder *r = &f->death.rec;
    struct place p[PLACES_MAX];
    char *copy = strdup(names);
    bool source = false;

    if (!copy)
        abort();
    int n = places_of(copy, p, PLACES_MAX);
    if (f->n == 0 && r->end.kind == RECORDER_SIGNAL)
        buf_printf(b, r->end.module_size ? " outside %s" : " before %s was loaded", f->module);
    else if (f->n > 0 && n > 0 && strcmp(p[0].function, "?"))
        put_places(b, f, p, n);
    else if (f->n > 0)
        buf_printf(b, " at %s+0x%llx", f->module, (unsigned long long)f->offset[0]);
    for (int i = 0; i < n; i++)
        source |= strcmp(p[i].file, "?") != 0;
    free(copy);
    return source;
}

/* The first bytes of the record in hand, or the number that it is. */
static void
put_first(struct buf *b, const struct recorder *r)
{
    char s[RECORDER_FIRST * 4 + 8];
    uint64_t u;
    double f;

    memcpy(&u, r->rec.first, sizeof u);
    memcpy(&f, r->rec.first, sizeof f);
    switch ((enum recorder_value)r->rec.kind) {
    case RECORDER_STR:
        quote_text(r->rec.first, r->rec.first_n, (int)r->rec.cut, s, sizeof s);
        buf_printf(b, "%s", s);
        break;
    case RECORDER_U64: buf_printf(b, "%llu", (unsigned long long)u); break;
    case RECORDER_I64: buf_printf(b, "%lld", (long long)u); break;
    case RECORDER_F64: buf_printf(b, "%.17g", f);
    }
}

static void
put_record(struct buf *b, const struct crash_facts *f)
{
    const struct recorder *r = &f->death.rec;
    char s[RECORDER_TEXT * 4 + 8];

    if (r->end.kind != RECORDER_GAVE_UP && r->end.text_n) {
        quote_text(r->end.text, r->end.text_n, 0, s, sizeof s);
        buf_printf(b, ", in the build of broadcast %s", s);
    }
    if (f->what)
        buf_printf(b, ", %s", f->what);
    switch ((enum recorder_known)r->rec.known) {
    case RECORDER_UNKNOWN:
        return;
    case RECORDER_AT:
    case RECORDER_AT_UNPACKED:
        buf_printf(b, ", %s at byte offset %llu%s: ", f->input ? f->input : "input", (unsigned long long)r->rec.offset,
                   r->rec.known == RECORDER_AT_UNPACKED ? " (unpacked)" : "");
        break;
    case RECORDER_NUMBER:
        buf_printf(b, ", record %llu: ", (unsigned long long)r->rec.offset);
        break;
    case RECORDER_KEY:
        buf_printf(b, ", key ");
    }
    put_first(b, r);
}

#define BUILD_ID "build-id\t"

/* Which of the files of that name it was: `taskd inspect` prints the same. */
static void
put_build_id(struct buf *b, const char *names)
{
    const char *id = names + strlen(BUILD_ID);

    if (strncmp(names, BUILD_ID, strlen(BUILD_ID)))
        return;
    size_t n = strspn(id, "0123456789abcdef");
    if (n && n <= BUILD_ID_MAX && id[n] == '\n')
        buf_printf(b, "; build-id %.*s", (int)n, id);
}

/* ---- what happened */

static void
put_seconds(struct buf *b, uint64_t ns)
{
    buf_printf(b, "ran longer than %g s", (double)ns / 1e9);
}

/* A runner that gave up left the text of an error: where its hint begins, or its end. */
static uint32_t
hint_at(const struct recorder *r)
{
    const char *h = memmem(r->end.text, r->end.text_n, HINT, strlen(HINT));

    return h ? (uint32_t)(h - r->end.text) : r->end.text_n;
}

static void
put_gave_up(struct buf *b, const struct recorder *r)
{
    char s[RECORDER_TEXT * 4 + 8];

    quote_text(r->end.text, hint_at(r), hint_at(r) == RECORDER_TEXT, s, sizeof s);
    buf_printf(b, "the runner gave up: %s", s);
}

static void
hint_of_runner(struct err *e, const struct recorder *r)
{
    uint32_t from = hint_at(r) + (uint32_t)strlen(HINT);
    char s[RECORDER_TEXT * 4 + 8];

    if (from >= r->end.text_n)
        return;
    quote_text(r->end.text + from, r->end.text_n - from, 0, s, sizeof s);
    err_hint(e, "%.*s", (int)strlen(s) - 2, s + 1); /* without the quotes */
}

static enum err_code
put_what(struct buf *b, const struct crash_facts *f)
{
    const struct runner_death *d = &f->death;

    switch (d->why) {
    case RUNNER_TIMEOUT:
        put_seconds(b, f->timeout_ns);
        return ERR_TIMEOUT;
    case RUNNER_CANCELLED:
        buf_printf(b, "was cancelled");
        return ERR_CANCELLED;
    case RUNNER_CLOSED:
        buf_printf(b, "closed its file descriptors");
        return ERR_USER;
    case RUNNER_GARBLED:
        buf_printf(b, "wrote over the memory it shares with the executor");
        return ERR_USER;
    case RUNNER_NO_START:
        buf_printf(b, "a runner could not be started: %s", strerror(d->status));
        return ERR_LIMIT;
    case RUNNER_DIED:
        break;
    }
    if (d->rec.end.kind == RECORDER_SIGNAL)
        buf_printf(b, "signal %d", WIFSIGNALED(d->status) ? WTERMSIG(d->status) : d->rec.end.signo);
    else if (d->rec.end.kind == RECORDER_EXIT)
        buf_printf(b, "called exit(%d)", d->rec.end.status);
    else if (d->rec.end.kind == RECORDER_GAVE_UP)
        put_gave_up(b, &d->rec);
    else if (WIFSIGNALED(d->status))
        buf_printf(b, "was killed by signal %d", WTERMSIG(d->status));
    else
        buf_printf(b, "ended by _exit(%d)", WEXITSTATUS(d->status));
    return ERR_USER;
}

static bool
stack_full(const struct recorder *r)
{
    return r->end.signo == SIGSEGV && r->end.sp && r->end.addr > r->end.sp - STACK_NEAR &&
           r->end.addr < r->end.sp + 4096 && r->end.addr >= 1 << 16;
}

static void
hint(struct err *e, const struct crash_facts *f, bool source)
{
    const struct runner_death *d = &f->death;
    const struct recorder *r = &d->rec;

    if (d->why != RUNNER_DIED)
        return;
    if (r->end.kind == RECORDER_GAVE_UP)
        hint_of_runner(e, r);
    else if (r->end.kind == RECORDER_SIGNAL && f->data_limit && r->end.data_bytes > f->data_limit / 10 * 9)
        err_hint(e, "The process held %llu of the %llu MiB it may have, so malloc() may have returned NULL; give"
                 " more with --executor-memory.", (unsigned long long)(r->end.data_bytes >> 20),
                 (unsigned long long)(f->data_limit >> 20));
    else if (r->end.kind == RECORDER_SIGNAL && stack_full(r))
        err_hint(e, "The stack is full: a recursion without end, or a large array on the stack.");
    else if (r->end.kind == RECORDER_EXIT && f->what)
        err_hint(e, "Use td_fail() to end the attempt with a message.");
    else if (r->end.kind == RECORDER_RUNNING && WIFSIGNALED(d->status) && WTERMSIG(d->status) == SIGKILL)
        err_hint(e, "Nobody here sent it: the kernel does that when memory runs out.  Less --executor-memory makes tasks spill earlier.");
    else if (f->n && !source)
        err_hint(e, "Compile with -g (taskd-cc does) to see the line.");
}

struct err *
crash__text(const struct crash_facts *f, const char *names)
{
    struct buf b = { 0 };
    bool source = false;
    enum err_code code = put_what(&b, f);

    if (f->death.why != RUNNER_CANCELLED && f->death.why != RUNNER_NO_START && f->death.why != RUNNER_GARBLED &&
        f->death.rec.end.kind != RECORDER_RUNNING &&
        f->death.rec.end.kind != RECORDER_GAVE_UP)
        source = put_where(&b, f, names);
    put_record(&b, f);
    put_build_id(&b, names);
    struct err *e = err_new(code, "%.*s", (int)b.n, b.p);
    hint(e, f, source);
    buf_fini(&b);
    return e;
}
