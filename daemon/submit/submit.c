/* submit -- see submit.h: local mode, driver and executor in one loop. */
#include "submit/submit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/spread.h"
#include "executor/executor.h"
#include "submit/handover.h"
#include "submit/submit_priv.h"

/* The only one there is. */
static void
on_executor_lost(void *arg, uint32_t executor, struct err *why)
{
    driver_fail(((struct submit *)arg)->driver, why);
}

static void
on_executor_end(void *arg, struct err *why)
{
    err_free(why); /* the driver has heard of it, too */
}

static struct err *
start(struct submit *s)
{
    struct link *to_executor, *to_driver;
    struct driver_opts o = { .host = "localhost", .dir = s->scratch, .bulk = "", .scratch = s->scratch,
                             .lost = on_executor_lost, .arg = s };
    struct executor_opts x = {
        .slots = s->o.slots,
        .host = o.host, .bulk = "", .worker = "",
        .dir = s->scratch, .scratch = s->scratch,
        .module_fd = s->module.fd,
        .module_name = s->module.info.name,
        .files = s->files, .libs = s->libs, .n_libs = s->n_libs,
        .symbolise = s->symbolise,
        .end = on_executor_end, .arg = s,
    };

    memcpy(o.secret, s->secret, sizeof o.secret);
    memcpy(x.secret, s->secret, sizeof x.secret);
    s->app_id = arena_printf(&s->a, "local-%llu-%d", (unsigned long long)(clock_wall_ns() / 1000000u), (int)getpid());
    if (s->n_own > 1)
        TRY(spread_over(s->scratch, (const char *const *)s->own + 1, s->n_own - 1));
    TRY(submit__driver(s, &o));
    submit__events_begin(s, o.host, s->o.slots);
    TRY(driver_run(s->driver, s->app_id, s->o.slots));
    TRY(link_pair(s->loop, &to_executor, &to_driver));
    driver_accept(s->driver, to_executor);
    return executor_attach(s->loop, s->zygote, &x, to_driver, &s->executor);
}

static void
stop(struct submit *s)
{
    executor_free(s->executor);
    driver_free(s->driver);
}

static unsigned
pids(const struct submit *s, int *ret, unsigned n)
{
    return s->executor ? executor_pids(s->executor, ret, n) : 0;
}

static const struct submit_how local = { "taskd-submit", start, stop, pids };

int
submit_main(int argc, char **argv, char **envp)
{
    struct submit s = { .how = &local, .module = { .fd = -1 }, .summary_fd = -1 };
    struct err *e;
    int status = 0;

    submit__raise_descriptors();
    signal(SIGPIPE, SIG_IGN);
    e = submit_options_parse(argc, argv, envp, &s.a, &s.o);
    if (e)
        status = submit__fail(&s, e);
    else if (s.o.action == SUBMIT_HELP || s.o.action == SUBMIT_VERSION)
        status = submit__print(&s, s.o.action);
    else if (submit_handover_to(&s.o))
        status = submit__fail(&s, submit_handover(submit_handover_to(&s.o), argv));
    else
        status = submit__run(&s);
    buf_fini(&s.accumulators);
    arena_fini(&s.a);
    return status;
}
