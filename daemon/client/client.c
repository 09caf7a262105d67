/* client -- see client.h: which question, and what to do with the answers. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "client/client_priv.h"

#define LOOK_NS UINT64_C(500000000)

/* ---- words */

void
client__over(struct client *c, int status)
{
    if (c->over)
        return;
    c->over = true;
    c->status = status;
    loop_timer_stop(c->loop, &c->look);
    loop_stop(c->loop);
}

void
client__write(struct client *c, int fd, const void *p, size_t n)
{
    struct err *e = c->over ? NULL : file_write_full(fd, p, n, fd == c->o.err ? "standard error" : "standard output");

    if (e && fd != c->o.err)
        client__fail(c, e);
    else if (e) /* nobody can be told */
        client__over(c, err_code_exit(e->code));
    if (e && fd == c->o.err)
        err_free(e);
}

static enum submit_progress
progress(const struct client *c)
{
    return c->o.verb == CLIENT_SUBMIT ? c->o.submit->progress : SUBMIT_PROGRESS_PLAIN;
}

static void
put_json(struct buf *b, enum event_level level, const char *text, const char *err)
{
    static const struct event_origin origin = { .role = "client" };
    struct event_log_info info = { .message = text };
    struct event_log_warn warn = { .message = text, .err = err };
    struct event_log_error error = { .message = text, .err = err };

    if (level == EVENT_LEVEL_ERROR)
        event_json(b, clock_wall_ns(), &origin, EVENT_log_error, &error);
    else if (level == EVENT_LEVEL_WARN)
        event_json(b, clock_wall_ns(), &origin, EVENT_log_warn, &warn);
    else
        event_json(b, clock_wall_ns(), &origin, EVENT_log_info, &info);
}

void
client__say(struct client *c, enum event_level level, const char *fmt, ...)
{
    enum submit_progress how = progress(c);
    struct buf b = { 0 };
    char text[1024];
    va_list ap;

    if (how == SUBMIT_PROGRESS_NONE && level < EVENT_LEVEL_WARN)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (c->following && how == SUBMIT_PROGRESS_LIVE)
        buf_printf(&b, "\r\033[K"); /* over the driver's line */
    if (how == SUBMIT_PROGRESS_JSON)
        put_json(&b, level, text, NULL);
    else
        buf_printf(&b, "taskd: %s\n", text);
    client__write(c, c->o.err, b.p, b.n);
    buf_fini(&b);
}

void
client__fail(struct client *c, struct err *e)
{
    int status = err_code_exit(e->code);
    struct buf b = { 0 };
    char *text = err_text(e);

    if (progress(c) == SUBMIT_PROGRESS_JSON)
        put_json(&b, EVENT_LEVEL_ERROR, "the submission failed", text);
    else
        buf_printf(&b, "taskd: %s\n", text);
    if (!c->over)
        err_free(file_write_full(c->o.err, b.p, b.n, "standard error"));
    client__over(c, status);
    buf_fini(&b);
    free(text);
    err_free(e);
}

/* ---- questions */

void
client__send(struct client *c, const Taskd__Item *item)
{
    uplink_send(c->conn, item);
}

void
client__ask_status(struct client *c, const char *id)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__StatusRequest ask = TASKD__STATUS_REQUEST__INIT;

    ask.id = (char *)id;
    item.kind_case = TASKD__ITEM__KIND_STATUS_REQUEST;
    item.status_request = &ask;
    client__send(c, &item);
}

static void
on_up(void *arg)
{
    struct client *c = arg;

    if (c->away)
        client__say(c, EVENT_LEVEL_INFO, "the master is back");
    c->away = false;
    if (c->o.verb == CLIENT_SUBMIT && c->phase != PUT_DONE) {
        client__put_up(c);
    } else if (c->following) {
        client__resume(c);
    } else if (c->o.verb == CLIENT_KILL) {
        client__ask_kill(c);
    } else {
        client__ask_status(c, c->o.verb == CLIENT_LIST ? "" : c->id);
    }
}

static void
on_down(void *arg, const struct err *why)
{
    struct client *c = arg;

    (void)why; /* on_failed() says it, if it lasts */
    loop_timer_stop(c->loop, &c->look);
    if (c->ended) {
        client__over(c, c->end_status);
        return;
    }
    if ((c->following || c->o.verb == CLIENT_SUBMIT) && !c->away) {
        c->away = true;
        client__say(c, EVENT_LEVEL_INFO, "the master is away%s%s, trying again", c->id ? "; " : "",
                    c->id ? c->id : "");
    }
}

static void
on_failed(void *arg, struct err *why)
{
    client__fail(arg, why);
}

/* ---- answers */

static const Taskd__AppStatus *
app_of(const Taskd__Status *s, const char *id)
{
    for (size_t i = 0; i < s->n_app; i++)
        if (!strcmp(s->app[i]->app_id, id))
            return s->app[i];
    return NULL;
}

static bool
is_driver(const Taskd__Status *s, const char *id)
{
    for (size_t i = 0; i < s->n_driver; i++)
        if (!strcmp(s->driver[i]->driver, id))
            return true;
    return false;
}

static bool
is_worker(const Taskd__Status *s, const char *id)
{
    for (size_t i = 0; i < s->n_worker; i++)
        if (!strcmp(s->worker[i]->worker, id))
            return true;
    return false;
}

/* Of an application in client mode "driver" is an address. */
static bool
is_submission(const char *driver)
{
    return *driver && !strchr(driver, ':');
}

static void
on_look(void *arg)
{
    struct client *c = arg;

    client__ask_status(c, c->id);
}

/* wait and logs: which of the two it is.  An application that has a submission means that. */
static void
resolve(struct client *c, const Taskd__Status *s)
{
    const Taskd__AppStatus *app = app_of(s, c->id);

    if (app && is_submission(app->driver)) {
        c->id = arena_strdup(&c->a, app->driver);
    } else if (app && c->o.verb == CLIENT_LOGS) {
        client__fail(c, err_hint(err_new(ERR_INPUT, "%s was submitted in client mode, its output is not here", c->id),
                                 "It came out where it was submitted."));
        return;
    } else if (app) {
        if (app->ended_ms)
            client__over(c, strcmp(app->state, "FINISHED") && !app->exit_status ? 1 : (int)app->exit_status);
        else
            loop_timer_start(c->loop, &c->look, clock_mono_ns() + (c->o.look_ns ? c->o.look_ns : LOOK_NS), on_look, c);
        return;
    } else if (!is_driver(s, c->id)) {
        client__fail(c, err_hint(err_new(ERR_INPUT, "there is no application or submission \"%s\"", c->id),
                                 "`taskd list` shows them."));
        return;
    }
    c->quiet = c->o.verb == CLIENT_WAIT;
    client__follow(c, c->o.verb == CLIENT_WAIT || c->o.follow);
}

static void
on_status(struct client *c, const Taskd__Status *s)
{
    switch (c->o.verb) {
    case CLIENT_LIST:
        client__show_list(c, s);
        client__over(c, c->status);
        break;
    case CLIENT_STATUS:
        if (!app_of(s, c->id) && !is_driver(s, c->id) && !is_worker(s, c->id)) {
            client__fail(c, err_hint(err_new(ERR_INPUT, "there is no application, submission or worker \"%s\"", c->id),
                                     "`taskd list` shows them."));
            break;
        }
        client__show_status(c, s);
        client__over(c, c->status);
        break;
    default:
        resolve(c, s);
    }
}

static void
on_answer(struct client *c, const Taskd__Answer *a)
{
    struct err *e = proto_err(a->error);

    if (e) {
        client__fail(c, e);
        return;
    }
    if (c->o.verb == CLIENT_KILL) {
        struct buf b = { 0 };

        buf_printf(&b, "%s\n", *a->text ? a->text : "killed");
        client__write(c, c->o.out, b.p, b.n);
        buf_fini(&b);
        client__over(c, c->status);
    }
}

static void
on_item(void *arg, const Taskd__Item *item)
{
    struct client *c = arg;

    if (c->over)
        return;
    if (c->following)
        client__follow_item(c, item);
    else if (c->o.verb == CLIENT_SUBMIT)
        client__put_item(c, item);
    else if (item->kind_case == TASKD__ITEM__KIND_STATUS)
        on_status(c, item->status);
    else if (item->kind_case == TASKD__ITEM__KIND_ANSWER)
        on_answer(c, item->answer);
}

/* ---- life */

struct client *
client_new(struct loop *l, const struct client_opts *o)
{
    struct client *c = calloc(1, sizeof *c);
    struct uplink_opts conn = o->conn;

    if (!c)
        abort();
    c->o = *o;
    c->loop = l;
    c->id = o->id;
    conn.role = "client";
    conn.host = "";
    conn.up = on_up;
    conn.item = on_item;
    conn.down = on_down;
    conn.failed = on_failed;
    conn.arg = c;
    c->conn = uplink_new(l, &conn);
    return c;
}

int
client_status(const struct client *c)
{
    return c->status;
}

void
client_free(struct client *c)
{
    if (!c)
        return;
    loop_timer_stop(c->loop, &c->look);
    uplink_free(c->conn);
    free(c->put);
    free(c->waiting);
    arena_fini(&c->a);
    free(c);
}
