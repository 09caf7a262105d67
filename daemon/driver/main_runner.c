/* main_runner -- the job's main: a runner of the driver's own, from its start to the sentence about its death. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "driver/driver_priv.h"
#include "executor/crash_report.h"
#include "executor/runners.h"
#include "flow/wire.h"

struct main_runner {
    struct driver *d;
    struct runners *runners;
    struct crash_report *report; /* being made */
};

/* ---- results of the finished action */

struct err *
driver__main_reply(struct driver *d, uint32_t id, const struct buf *b, int fd)
{
    return d->main ? runners_post(d->main->runners, 0, WIRE_REPLY, id, b->p, b->n, &fd, fd >= 0) : NULL;
}

void
driver__main_file(struct driver *d, uint32_t id, const char *name, uint64_t size, int fd, struct err *e)
{
    struct buf b = { 0 };

    wire_put_err(&b, e);
    if (!e) {
        put_str(&b, name);
        put_u64(&b, size);
        put_u64(&b, 0);
        put_u64(&b, 0);
        put_u8(&b, false);
    }
    err_free(e);
    e = driver__main_reply(d, id, &b, fd);
    err_free(e); /* a main that is gone is told of by its death */
    file_close(&fd);
    buf_fini(&b);
}

static void
on_open(struct driver *d, struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct wire_open o;
    struct err *e = wire_get_open(&g, &o);

    if (!e && o.kind == WIRE_OPEN_BROADCAST) { /* td_reduce runs functions here */
        uint64_t size = 0;
        int fd = -1;

        e = bcast_store_open(d->bcasts, o.index, &fd, &size);
        driver__main_file(d, f->id, "a broadcast", size, fd, e);
        return;
    }
    if (!e && o.kind != WIRE_OPEN_RESULT)
        e = err_new(ERR_DENIED, "main has no task whose files it could open");
    if (e)
        driver__main_file(d, f->id, "", 0, -1, e);
    else
        driver__open_result(d, f->id, o.index);
}

/* ---- what it says */

static void
on_log(struct driver *d, const struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct arena a = { 0 };
    uint8_t level = get_u8(&g);
    const char *file = get_str(&g, &a);
    uint32_t line = get_u32(&g);
    const char *text = get_str(&g, &a);

    if (!g.bad)
        d->o.say(d->o.arg, level, file, line, text);
    arena_fini(&a);
}

static void
on_loaded(struct driver *d, const struct frame *f)
{
    struct get g = GET_OF(f->p, f->n);
    struct err *e = wire_get_err(&g);

    if (e)
        driver__end(d, err_code_exit(e->code), e);
}

static void
on_frame(void *arg, unsigned slot, struct frame *f)
{
    struct main_runner *m = arg;

    switch (f->type) {
    case WIRE_OPEN: on_open(m->d, f); break;
    case WIRE_LOG: on_log(m->d, f); break;
    case WIRE_LOADED: on_loaded(m->d, f); break;
    default: driver__main_frame(m->d, f);
    }
}

static void
on_answer(void *arg, unsigned slot, const struct ring_frame *f)
{
    struct main_runner *m = arg;

    runners_kill(m->runners, slot, RUNNER_GARBLED); /* main answers nothing by its ring */
}

/* ---- its end */

static void
on_report(void *arg, struct err *e)
{
    struct main_runner *m = arg;

    m->report = NULL;
    if (m->d->ended)
        err_free(e);
    else
        driver__end(m->d, 1, err_wrap_take(e, "the job's main died"));
}

static void
on_death(void *arg, unsigned slot, const struct runner_death *rd)
{
    struct main_runner *m = arg;
    const struct driver_main *o = &m->d->o.main;
    struct crash_report_opts ro = { .symbolise = o->symbolise, .module_fd = o->module_fd, .module_name = o->module_name,
                                    .data_limit = o->data_limit, .done = on_report, .arg = m };

    m->report = crash_report_start(m->d->loop, rd, &ro);
}

static void
on_lost(void *arg, struct err *e)
{
    struct main_runner *m = arg;

    driver__end(m->d, err_code_exit(e->code), e);
}

/* ---- life */

pid_t
driver__main_pid(const struct driver *d)
{
    return d->main ? runners_pid(d->main->runners, 0) : 0;
}

static struct err *
start(struct main_runner *m, const struct driver_main *o)
{
    struct buf b = { 0 };

    TRY_OR(runners_spawn(m->runners, 0, o->data_limit), "starting the job's main");
    struct wire_module mod = { o->module_name, o->budget, "", o->files, o->libs, o->n_libs };
    wire_put_module(&b, &mod);
    struct err *e = runners_post(m->runners, 0, WIRE_MODULE, 0, b.p, b.n, &o->module_fd, 1);
    b.n = 0;
    put_u32(&b, (uint32_t)o->argc);
    for (int i = 0; i < o->argc; i++)
        put_str(&b, o->argv[i]);
    if (!e)
        e = runners_post(m->runners, 0, WIRE_MAIN, 0, b.p, b.n, NULL, 0);
    buf_fini(&b);
    if (!e && !runners_launch(m->runners, 0, WIRE_MAIN, NULL, 0))
        e = err_new(ERR_LOST, "the runner of the job's main does not take orders");
    return e;
}

struct err *
driver__main_start(struct driver *d)
{
    static const struct runners_ops ops = { on_frame, on_answer, on_death, NULL, on_lost };
    struct runners_opts ro = { .slots = 1, .main = true, .frame_limit = 1u << 30 };
    struct main_runner *m = calloc(1, sizeof *m);

    if (!m)
        abort();
    m->d = d;
    d->main = m;
    TRY(runners_new(d->loop, d->zygote, &ro, &ops, m, &m->runners));
    return start(m, &d->o.main);
}

void
driver__main_free(struct driver *d)
{
    if (!d->main)
        return;
    runners_free(d->main->runners);
    if (d->main->report)
        crash_report_cancel(d->main->report);
    free(d->main);
    d->main = NULL;
}
