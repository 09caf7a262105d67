/* event -- see event.h */
#include "event/event.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"

enum field_type { FIELD_U64, FIELD_F64, FIELD_STR };
struct field {
    const char *name;
    enum field_type type;
};

/* Every field of every struct is 8 bytes, so the i-th one is at 8 * i. */
#define U64(name) { #name, FIELD_U64 },
#define F64(name) { #name, FIELD_F64 },
#define STR(name) { #name, FIELD_STR },
#define EVENT(id, level, message, fields) static const struct field fields_##id[] = { fields };
#include "event/event.def"
#undef EVENT
_Static_assert(sizeof(const char *) == 8, "fields are 8 bytes each");

static const struct row {
    const char *name, *message;
    enum event_level level;
    size_t n_fields;
    const struct field *fields;
} rows[EVENTS] = {
#define EVENT(id, level, message, fields) \
    [EVENT_##id] = { #id, message, EVENT_LEVEL_##level, sizeof fields_##id / sizeof *fields_##id, fields_##id },
#include "event/event.def"
#undef EVENT
};

const char *
event_name(enum event_id id)
{
    return rows[id].name;
}

enum event_level
event_level(enum event_id id)
{
    return rows[id].level;
}

const char *
event_level_name(enum event_level level)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };

    return names[level];
}

static const void *
at(const void *fields, size_t i)
{
    return (const char *)fields + 8 * i;
}

static const char *
str_at(const void *fields, size_t i)
{
    const char *s;

    memcpy(&s, at(fields, i), sizeof s);
    return s;
}

/* A number as JSON has it; what is none (nan, infinity) is null. */
static void
put_number(struct buf *out, enum field_type type, const void *p)
{
    uint64_t u;
    double d;

    if (type == FIELD_U64) {
        memcpy(&u, p, sizeof u);
        buf_printf(out, "%llu", (unsigned long long)u);
        return;
    }
    memcpy(&d, p, sizeof d);
    if (isfinite(d))
        buf_printf(out, "%.17g", d);
    else
        buf_printf(out, "null");
}

static void
put_field(struct buf *out, const struct row *r, const char *name, size_t n, const void *fields)
{
    for (size_t i = 0; i < r->n_fields; i++) {
        if (strlen(r->fields[i].name) != n || memcmp(r->fields[i].name, name, n))
            continue;
        if (r->fields[i].type != FIELD_STR) {
            put_number(out, r->fields[i].type, at(fields, i));
        } else {
            const char *s = str_at(fields, i);

            buf_printf(out, "%s", s ? s : "?");
        }
        return;
    }
    ASSERT(!"a message of event.def names a field that is not there");
}

void
event_message(struct buf *out, enum event_id id, const void *fields)
{
    const struct row *r = &rows[id];

    for (const char *p = r->message; *p;) {
        size_t n = strcspn(p, "{");

        buf_put(out, p, n);
        p += n;
        if (*p == '{') {
            n = strcspn(++p, "}");
            put_field(out, r, p, n, fields);
            p += n + 1;
        }
    }
}

static void
put_pair(struct buf *out, const char *name, const char *value)
{
    if (value) {
        buf_printf(out, ",\"%s\":", name);
        buf_json(out, value, strlen(value));
    }
}

void
event_json(struct buf *out, uint64_t wall_ns, const struct event_origin *origin, enum event_id id, const void *fields)
{
    const struct row *r = &rows[id];
    struct buf message = { 0 };
    char ts[25];

    clock_iso8601(wall_ns, ts);
    buf_printf(out, "{\"ts\":\"%s\",\"level\":\"%s\"", ts, event_level_name(r->level));
    put_pair(out, "role", origin->role);
    put_pair(out, "host", origin->host);
    put_pair(out, "app", origin->app);
    put_pair(out, "event", r->name);
    for (size_t i = 0; i < r->n_fields; i++) {
        if (!strcmp(r->fields[i].name, "message"))
            continue; /* stands at the end, as of every event */
        if (r->fields[i].type == FIELD_STR) {
            put_pair(out, r->fields[i].name, str_at(fields, i));
        } else {
            buf_printf(out, ",\"%s\":", r->fields[i].name);
            put_number(out, r->fields[i].type, at(fields, i));
        }
    }
    event_message(&message, id, fields);
    buf_printf(out, ",\"message\":");
    buf_json(out, message.p, message.n);
    buf_put(out, "}\n", 2);
    buf_fini(&message);
}

void
event_json_init(struct event_json_sink *j, int fd, struct event_origin origin, enum event_level least)
{
    *j = (struct event_json_sink){ .origin = origin, .least = least, .fd = fd, .now_ns = clock_wall_ns };
}

void
event_json_fini(struct event_json_sink *j)
{
    err_free(j->err);
    buf_fini(&j->line);
    *j = (struct event_json_sink){ .fd = -1 };
}

static void
put_json(void *arg, enum event_id id, const void *fields)
{
    struct event_json_sink *j = arg;

    if (rows[id].level < j->least)
        return;
    if (j->err) {
        j->lost++;
        return;
    }
    j->line.n = 0;
    event_json(&j->line, j->now_ns(), &j->origin, id, fields);
    j->err = file_write_full(j->fd, j->line.p, j->line.n, "the event log");
    if (j->err)
        j->lost++;
    else
        j->written++;
}

struct event_sink
event_json_sink(struct event_json_sink *j)
{
    return (struct event_sink){ put_json, j };
}
