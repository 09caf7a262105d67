/* show -- what a master says of itself, as tables for people and as JSON for machines. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client/client_priv.h"

enum { COLUMNS_MAX = 8, NS_PER_MS = 1000000 };

/* ---- words */

static const char *
size(struct arena *a, uint64_t n)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    int u = 0;

    while (u < 4 && n >= 1024 && (n % 1024 == 0 || n >= UINT64_C(10240)))
        n /= 1024, u++;
    return arena_printf(a, "%llu %s", (unsigned long long)n, units[u]);
}

/* "2026-11-23 05:06:07", UTC; "-" for never. */
static const char *
when(struct arena *a, uint64_t ms)
{
    char s[25];

    if (!ms)
        return "-";
    clock_iso8601(ms * NS_PER_MS, s);
    s[10] = ' ';
    return arena_printf(a, "%.19s", s);
}

static const char *
took(struct arena *a, uint64_t from_ms, uint64_t to_ms)
{
    uint64_t now = clock_wall_ns() / NS_PER_MS, end = to_ms ? to_ms : now;
    uint64_t s = end > from_ms ? (end - from_ms) / 1000 : 0;

    if (!from_ms)
        return "-";
    if (s < 60)
        return arena_printf(a, "%llu s", (unsigned long long)s);
    if (s < 3600)
        return arena_printf(a, "%llu min %llu s", (unsigned long long)s / 60, (unsigned long long)s % 60);
    return arena_printf(a, "%llu h %llu min", (unsigned long long)s / 3600, (unsigned long long)s / 60 % 60);
}

/* A name that somebody else chose: one line, no control characters. */
static const char *
plain(struct arena *a, const char *s)
{
    char *t = arena_strdup(a, s);

    for (unsigned char *p = (unsigned char *)t; *p; p++)
        if (*p < ' ' || *p == 127)
            *p = '?';
    return *t ? t : "-";
}

/* ---- tables */

struct table {
    const char *const *heads; /* NULL-terminated */
    const char *(*cells)[COLUMNS_MAX];
    size_t rows;
};

static void
put_table(struct buf *b, const struct table *t)
{
    size_t width[COLUMNS_MAX] = { 0 }, n = 0;

    for (; t->heads[n]; n++) {
        width[n] = strlen(t->heads[n]);
        for (size_t r = 0; r < t->rows; r++)
            width[n] = strlen(t->cells[r][n]) > width[n] ? strlen(t->cells[r][n]) : width[n];
    }
    for (size_t r = 0; r <= t->rows; r++)
        for (size_t c = 0; c < n; c++) {
            const char *s = r ? t->cells[r - 1][c] : t->heads[c];

            if (c + 1 == n)
                buf_printf(b, "%s\n", s);
            else
                buf_printf(b, "%-*s  ", (int)width[c], s);
        }
}

static void
put_workers(struct buf *b, struct arena *a, const Taskd__Status *s)
{
    static const char *const heads[] = { "WORKER", "HOST", "STATE", "CORES", "MEMORY", NULL };
    struct table t = { heads, arena_zalloc(a, sizeof *t.cells * (s->n_worker + 1)), s->n_worker };

    for (size_t i = 0; i < s->n_worker; i++) {
        const Taskd__WorkerStatus *w = s->worker[i];
        const char **c = t.cells[i];

        c[0] = plain(a, w->worker);
        c[1] = plain(a, w->host);
        c[2] = w->alive ? "ALIVE" : "SILENT";
        c[3] = arena_printf(a, "%u/%u", w->cores_used, w->cores);
        c[4] = arena_printf(a, "%s/%s", size(a, w->memory_used), size(a, w->memory));
    }
    put_table(b, &t);
}

static void
put_apps(struct buf *b, struct arena *a, const Taskd__Status *s)
{
    static const char *const heads[] = { "APPLICATION", "NAME", "STATE", "CORES", "EXECUTORS", "BEGAN", "TOOK", "WHY", NULL };
    struct table t = { heads, arena_zalloc(a, sizeof *t.cells * (s->n_app + 1)), s->n_app };

    for (size_t i = 0; i < s->n_app; i++) {
        const Taskd__AppStatus *p = s->app[i];
        const char **c = t.cells[i];

        c[0] = plain(a, p->app_id);
        c[1] = plain(a, p->name);
        c[2] = plain(a, p->state);
        c[3] = arena_printf(a, "%u", p->cores);
        c[4] = arena_printf(a, "%u", p->executors);
        c[5] = when(a, p->began_ms);
        c[6] = took(a, p->began_ms, p->ended_ms);
        c[7] = plain(a, p->why);
    }
    put_table(b, &t);
}

static void
put_drivers(struct buf *b, struct arena *a, const Taskd__Status *s)
{
    static const char *const heads[] = { "SUBMISSION", "NAME", "STATE", "WORKER", "APPLICATION", "BEGAN", "TOOK", "WHY", NULL };
    struct table t = { heads, arena_zalloc(a, sizeof *t.cells * (s->n_driver + 1)), s->n_driver };

    for (size_t i = 0; i < s->n_driver; i++) {
        const Taskd__DriverStatus *d = s->driver[i];
        const char **c = t.cells[i];

        c[0] = plain(a, d->driver);
        c[1] = plain(a, d->name);
        c[2] = plain(a, d->state);
        c[3] = plain(a, d->worker);
        c[4] = plain(a, d->app_id);
        c[5] = when(a, d->began_ms);
        c[6] = took(a, d->began_ms, d->ended_ms);
        c[7] = plain(a, d->why);
    }
    put_table(b, &t);
}

/* ---- JSON */

static void
put_str_field(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, "%s\"%s\":", b->p[b->n - 1] == '{' ? "" : ",", name);
    buf_json(b, value, strlen(value));
}

static void
put_num_field(struct buf *b, const char *name, uint64_t value)
{
    buf_printf(b, "%s\"%s\":%llu", b->p[b->n - 1] == '{' ? "" : ",", name, (unsigned long long)value);
}

static void
put_bool_field(struct buf *b, const char *name, bool value)
{
    buf_printf(b, "%s\"%s\":%s", b->p[b->n - 1] == '{' ? "" : ",", name, value ? "true" : "false");
}

static void
json_worker(struct buf *b, const Taskd__WorkerStatus *w)
{
    buf_printf(b, "{");
    put_str_field(b, "worker", w->worker);
    put_str_field(b, "host", w->host);
    put_bool_field(b, "alive", w->alive);
    put_num_field(b, "cores", w->cores);
    put_num_field(b, "cores_used", w->cores_used);
    put_num_field(b, "memory", w->memory);
    put_num_field(b, "memory_used", w->memory_used);
    buf_printf(b, "}");
}

static void
json_app(struct buf *b, const Taskd__AppStatus *p)
{
    buf_printf(b, "{");
    put_str_field(b, "app_id", p->app_id);
    put_str_field(b, "name", p->name);
    put_str_field(b, "state", p->state);
    put_str_field(b, "why", p->why);
    put_num_field(b, "cores", p->cores);
    put_num_field(b, "executors", p->executors);
    put_num_field(b, "began_ms", p->began_ms);
    put_num_field(b, "ended_ms", p->ended_ms);
    put_num_field(b, "exit_status", p->exit_status);
    put_str_field(b, "driver", p->driver);
    buf_printf(b, "}");
}

static void
json_driver(struct buf *b, const Taskd__DriverStatus *d)
{
    buf_printf(b, "{");
    put_str_field(b, "driver", d->driver);
    put_str_field(b, "name", d->name);
    put_str_field(b, "state", d->state);
    put_str_field(b, "why", d->why);
    put_str_field(b, "worker", d->worker);
    put_str_field(b, "app_id", d->app_id);
    put_bool_field(b, "supervise", d->supervise);
    put_num_field(b, "tries", d->tries);
    put_num_field(b, "exit_status", d->exit_status);
    put_num_field(b, "began_ms", d->began_ms);
    put_num_field(b, "ended_ms", d->ended_ms);
    buf_printf(b, "}");
}

static void
json_list(struct buf *b, const Taskd__Status *s)
{
    buf_printf(b, "{\"workers\":[");
    for (size_t i = 0; i < s->n_worker; i++) {
        buf_printf(b, "%s", i ? "," : "");
        json_worker(b, s->worker[i]);
    }
    buf_printf(b, "],\"applications\":[");
    for (size_t i = 0; i < s->n_app; i++) {
        buf_printf(b, "%s", i ? "," : "");
        json_app(b, s->app[i]);
    }
    buf_printf(b, "],\"drivers\":[");
    for (size_t i = 0; i < s->n_driver; i++) {
        buf_printf(b, "%s", i ? "," : "");
        json_driver(b, s->driver[i]);
    }
    buf_printf(b, "]}\n");
}

/* ---- */

void
client__show_list(struct client *c, const Taskd__Status *s)
{
    struct arena a = { 0 };
    struct buf b = { 0 };

    if (c->o.json) {
        json_list(&b, s);
    } else {
        put_workers(&b, &a, s);
        if (s->n_app) {
            buf_printf(&b, "\n");
            put_apps(&b, &a, s);
        }
        if (s->n_driver) {
            buf_printf(&b, "\n");
            put_drivers(&b, &a, s);
        }
    }
    client__write(c, c->o.out, b.p, b.n);
    buf_fini(&b);
    arena_fini(&a);
}

static void
line(struct buf *b, const char *name, const char *value)
{
    if (strcmp(value, "-"))
        buf_printf(b, "%-12s %s\n", name, value);
}

static void
put_app_lines(struct buf *b, struct arena *a, const Taskd__AppStatus *p)
{
    line(b, "application", plain(a, p->app_id));
    line(b, "name", plain(a, p->name));
    line(b, "state", plain(a, p->state));
    line(b, "why", plain(a, p->why));
    line(b, "cores", arena_printf(a, "%u on %u executor%s", p->cores, p->executors, p->executors == 1 ? "" : "s"));
    line(b, "began", when(a, p->began_ms));
    line(b, "ended", when(a, p->ended_ms));
    line(b, "took", took(a, p->began_ms, p->ended_ms));
    if (p->ended_ms)
        line(b, "exit status", arena_printf(a, "%u", p->exit_status));
    line(b, strchr(p->driver, ':') ? "driver" : "submission", plain(a, p->driver));
}

static void
put_worker_lines(struct buf *b, struct arena *a, const Taskd__WorkerStatus *w)
{
    line(b, "worker", plain(a, w->worker));
    line(b, "host", plain(a, w->host));
    line(b, "state", w->alive ? "ALIVE" : "SILENT");
    line(b, "cores", arena_printf(a, "%u of %u in use", w->cores_used, w->cores));
    line(b, "memory", arena_printf(a, "%s of %s in use", size(a, w->memory_used), size(a, w->memory)));
    if (w->profile)
        line(b, "can run", arena_printf(a, "%s %s, glibc %s", plain(a, w->profile->machine), plain(a, w->profile->isa),
                                        plain(a, w->profile->glibc)));
}

static void
put_driver_lines(struct buf *b, struct arena *a, const Taskd__DriverStatus *d)
{
    line(b, "submission", plain(a, d->driver));
    line(b, "name", plain(a, d->name));
    line(b, "state", plain(a, d->state));
    line(b, "why", plain(a, d->why));
    line(b, "worker", plain(a, d->worker));
    line(b, "application", plain(a, d->app_id));
    if (d->supervise)
        line(b, "supervised", arena_printf(a, "started %u time%s", d->tries, d->tries == 1 ? "" : "s"));
    line(b, "began", when(a, d->began_ms));
    line(b, "ended", when(a, d->ended_ms));
    line(b, "took", took(a, d->began_ms, d->ended_ms));
    if (d->ended_ms)
        line(b, "exit status", arena_printf(a, "%u", d->exit_status));
}

void
client__show_status(struct client *c, const Taskd__Status *s)
{
    struct arena a = { 0 };
    struct buf b = { 0 };

    for (size_t i = 0; i < s->n_worker; i++) {
        if (strcmp(s->worker[i]->worker, c->id))
            continue;
        if (c->o.json) {
            json_worker(&b, s->worker[i]);
            buf_printf(&b, "\n");
        } else {
            put_worker_lines(&b, &a, s->worker[i]);
        }
    }
    for (size_t i = 0; i < s->n_driver; i++) {
        if (strcmp(s->driver[i]->driver, c->id))
            continue;
        if (c->o.json) {
            json_driver(&b, s->driver[i]);
            buf_printf(&b, "\n");
        } else {
            put_driver_lines(&b, &a, s->driver[i]);
        }
    }
    for (size_t i = 0; i < s->n_app; i++) {
        if (strcmp(s->app[i]->app_id, c->id))
            continue;
        if (c->o.json) {
            json_app(&b, s->app[i]);
            buf_printf(&b, "\n");
        } else {
            put_app_lines(&b, &a, s->app[i]);
        }
    }
    client__write(c, c->o.out, b.p, b.n);
    buf_fini(&b);
    arena_fini(&a);
}
