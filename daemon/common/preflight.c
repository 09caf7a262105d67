/* preflight -- see preflight.h */
#include "common/preflight.h"

#include <stdlib.h>

#include "common/profile.h"

struct preflight {
    struct preflight_opts o;
    struct uplink *uplink;
    bool over;
};

static void
over(struct preflight *p, struct err *e)
{
    if (p->over) {
        err_free(e);
        return;
    }
    p->over = true;
    p->o.done(p->o.arg, e);
}

static void
on_up(void *arg)
{
    struct preflight *p = arg;
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__StatusRequest ask = TASKD__STATUS_REQUEST__INIT;
    struct arena a = { 0 };

    profile_need(&a, p->o.module, p->o.libs, p->o.n_libs, &ask.need_library, &ask.n_need_library);
    ask.workers = true;
    item.kind_case = TASKD__ITEM__KIND_STATUS_REQUEST;
    item.status_request = &ask;
    uplink_send(p->uplink, &item);
    arena_fini(&a);
}

static void
on_item(void *arg, const Taskd__Item *item)
{
    struct preflight *p = arg;

    if (item->kind_case == TASKD__ITEM__KIND_STATUS && !p->over)
        over(p, profile_check_workers(p->o.module, item->status, p->o.libs, p->o.n_libs));
}

static void
on_down(void *arg, const struct err *why)
{
    (void)why;
    over(arg, NULL);
}

/* Whoever runs the application says that better. */
static void
on_failed(void *arg, struct err *why)
{
    err_free(why);
    over(arg, NULL);
}

struct preflight *
preflight_new(struct loop *l, const struct preflight_opts *o)
{
    struct preflight *p = calloc(1, sizeof *p);

    if (!p)
        abort();
    p->o = *o;
    p->o.uplink.role = "client";
    p->o.uplink.host = "";
    p->o.uplink.up = on_up;
    p->o.uplink.item = on_item;
    p->o.uplink.down = on_down;
    p->o.uplink.failed = on_failed;
    p->o.uplink.arg = p;
    p->uplink = uplink_new(l, &p->o.uplink);
    return p;
}

void
preflight_free(struct preflight *p)
{
    if (!p)
        return;
    uplink_free(p->uplink);
    free(p);
}
