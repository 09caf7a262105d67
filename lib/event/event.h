/*
 * event -- facts, from one table (event.def), and where they go.
 *
 * A room that has something to tell is handed a sink and says EMIT(sink, task_end, .stage = 3, ...); there
 * is no global one.  A sink is a function and its argument; it formats before it returns, so the fields'
 * strings need live only for the call.  Facts have no clock: the sink stamps the time, so that a room that
 * must be replayable can emit.
 *
 * Owner: the wiring owns sinks; rooms borrow them.  Threads: those of the sink's own function; the JSON
 * sink belongs to one.  Errors: emitting never fails; the JSON sink keeps the first error for its owner.
 */
#ifndef EVENT_EVENT_H
#define EVENT_EVENT_H
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum event_level { EVENT_LEVEL_DEBUG, EVENT_LEVEL_INFO, EVENT_LEVEL_WARN, EVENT_LEVEL_ERROR };

/* struct event_task_end { uint64_t stage, ...; } and the rest of the table. */
#define U64(name) uint64_t name;
#define F64(name) double name;
#define STR(name) const char *name;
#define EVENT(id, level, message, fields) struct event_##id { fields };
#include "event/event.def"
#undef EVENT
enum event_id {
#define EVENT(id, level, message, fields) EVENT_##id,
#include "event/event.def"
#undef EVENT
    EVENTS
};
#undef U64
#undef F64
#undef STR

struct event_sink {
    void (*put)(void *arg, enum event_id id, const void *fields); /* fields: the id's struct */
    void *arg;
};
/* A NULL sink, or one without a function, takes everything and does nothing. */
static inline void
event_put(const struct event_sink *s, enum event_id id, const void *fields)
{
    if (s && s->put)
        s->put(s->arg, id, fields);
}
#define EVENT(id, level, message, fields)                             \
    static inline void                                                \
    event_##id(const struct event_sink *s, struct event_##id f)       \
    {                                                                 \
        event_put(s, EVENT_##id, &f);                                 \
    }
#include "event/event.def"
#undef EVENT
/* EMIT(sink, task_start, .stage = 3, .partition = 7): fields that are not named are 0 or left out. */
#define EMIT(sink, id, ...) event_##id((sink), (struct event_##id){ __VA_ARGS__ })

const char *event_name(enum event_id id);
enum event_level event_level(enum event_id id);
const char *event_level_name(enum event_level level); /* "debug", "info", "warn", "error" */
/* Appends the fact as a sentence; no new-line. */
void event_message(struct buf *out, enum event_id id, const void *fields);

/* Who speaks: begins every JSON line; NULL ones are left out. */
struct event_origin {
    const char *role, *host, *app;
};
/* Appends one JSON object and a new-line: ts level role host app event, the fields, message. */
void event_json(struct buf *out, uint64_t wall_ns, const struct event_origin *origin, enum event_id id,
                const void *fields);

/* JSON lines into a descriptor, one write(2) a line, so that lines of several processes don't mix. */
struct event_json_sink {
    struct event_origin origin;
    enum event_level least;  /* what is below is dropped */
    int fd;                  /* borrowed */
    uint64_t (*now_ns)(void); /* clock_wall_ns, or a test's */
    struct err *err;         /* the first write that failed; nothing is written afterwards */
    uint64_t written, lost;  /* lines */
    struct buf line;
};
/* Strings of origin must outlive the sink. */
void event_json_init(struct event_json_sink *j, int fd, struct event_origin origin, enum event_level least);
void event_json_fini(struct event_json_sink *j);
struct event_sink event_json_sink(struct event_json_sink *j);
#endif
