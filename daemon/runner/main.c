/* main -- runs the author's main(): each call it makes into the host is a request to the driver. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "runner/crash.h"
#include "runner/runner_priv.h"

static struct err *
act(void *arg, const struct plan_graph *graph, const struct plan_action *a, struct job_answer *ret)
{
    struct runner *r = arg;
    struct frame f;
    struct get g;

    fflush(stdout); /* what main printed comes before what the driver prints */
    r->out.n = 0;
    plan_lineage_encode(graph, a->node, &r->out);
    plan_action_encode(a, &r->out);
    TRY(runner__call(r, WIRE_ACT, &r->out, &f, &g));
    ret->partitions = get_u32(&g);
    ret->first = get_u32(&g);
    ret->n = get_u32(&g);
    ret->rows = get_u64(&g);
    return g.bad ? err_new(ERR_CORRUPT, "the driver's answer is malformed") : NULL;
}

static struct err *
open_result(void *arg, uint32_t index, int *ret_fd)
{
    struct runner *r = arg;
    struct wire_open o = { .kind = WIRE_OPEN_RESULT, .index = index };
    struct frame f;
    struct get g;

    r->out.n = 0;
    wire_put_open(&r->out, &o);
    TRY(runner__call(r, WIRE_OPEN, &r->out, &f, &g));
    *ret_fd = frame_take_fd(&f, 0);
    return *ret_fd < 0 ? err_new(ERR_CORRUPT, "the driver's answer has no file") : NULL;
}

static struct err *
conf(void *arg, const char *key, struct arena *a, const char **ret)
{
    struct runner *r = arg;
    struct frame f;
    struct get g;

    r->out.n = 0;
    put_str(&r->out, key);
    TRY(runner__call(r, WIRE_CONF, &r->out, &f, &g));
    bool known = get_u8(&g);
    const char *v = get_str(&g, a);
    *ret = known && !g.bad ? v : NULL;
    return NULL;
}

static struct err *
conf_set(void *arg, const char *key, const char *value, const char *origin)
{
    struct runner *r = arg;
    struct frame f;
    struct get g;

    r->out.n = 0;
    put_str(&r->out, key);
    put_str(&r->out, value);
    put_str(&r->out, origin);
    return runner__call(r, WIRE_CONF_SET, &r->out, &f, &g);
}

static struct err *
total(void *arg, uint32_t item, uint32_t op, td_slot_ *ret)
{
    struct runner *r = arg;
    struct frame f;
    struct get g;

    r->out.n = 0;
    put_u32(&r->out, item);
    put_u32(&r->out, op);
    TRY(runner__call(r, WIRE_TOTAL, &r->out, &f, &g));
    ret->i = (int64_t)get_u64(&g);
    return NULL;
}

static struct err *
add(void *arg, const struct flow_delta *d, uint32_t n)
{
    struct runner *r = arg;
    struct frame f;
    struct get g;

    r->out.n = 0;
    wire_put_deltas(&r->out, d, n);
    return n ? runner__call(r, WIRE_ADD, &r->out, &f, &g) : NULL;
}

/* There is no attempt that could end: main does. */
static void
die(void *arg, struct err *e)
{
    char *text = err_text(e);

    fflush(stdout);
    crash_give_up(text);
    (void)arg;
}

_Noreturn void
runner__main(struct runner *r)
{
    struct job_world w = { .arg = r, .act = act, .open_result = open_result, .conf = conf, .conf_set = conf_set,
                           .total = total, .add = add, .broadcast = runner__broadcast,
                           .unbroadcast = runner__unbroadcast, .say = r->world.log };
    struct flow_items items = { r->image.items, r->image.nitems };
    struct frame f;
    int status = 1;

    r->world.die = die;
    struct err *e = frame_recv(r->chan, &f);
    struct get g = GET_OF(e ? NULL : f.p, e ? 0 : f.n);
    uint32_t argc = get_count(&g, 4);
    char **argv = ARENA_ARRAY(&r->process, char *, argc + 1);
    for (uint32_t i = 0; i < argc; i++)
        argv[i] = get_str(&g, &r->process);
    if (e || f.type != WIRE_MAIN || g.bad)
        crash_quit(1);
    if (r->image.plugin->main)
        job_run(&w, &r->world, &items, r->image.plugin->main, (int)argc, argv, &status);
    else
        w.say(w.arg, TD_ERROR, "", 0, "the module has no job function: its TD_PLUGIN names none");
    fflush(stdout);
    r->out.n = 0;
    put_u32(&r->out, (uint32_t)status);
    err_free(frame_send(r->chan, WIRE_MAIN_DONE, 0, r->out.p, r->out.n, NULL, 0));
    for (;;) /* the driver ends us when it has heard */
        pause();
}
