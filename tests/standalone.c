/* Tests of plugins/cluster/standalone: against a master of a few lines, over loopback links. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cluster/standalone/standalone_priv.h"
#include "net/loop.h"
#include "proto/proto.h"
#include "unit.h"

struct rig {
    struct loop *loop;
    struct link *link; /* the master's end */
    struct cluster *cluster;
    struct buf log;    /* what the master heard and what the driver was told, a line each */
    unsigned dials, dial_fails, cut_after, welcomes, stop_after;
    const char *refuse;
    bool cancel;
};

static void
say(struct rig *r, Taskd__Item *item)
{
    struct buf b = { 0 };

    proto_put(&b, item);
    if (r->link)
        link_send(r->link, b.p, b.n);
    buf_fini(&b);
}

#define SAY(r, KIND, field, value)                     \
    do {                                               \
        Taskd__Item item_ = TASKD__ITEM__INIT;         \
        item_.kind_case = TASKD__ITEM__KIND_##KIND;    \
        item_.field = (value);                         \
        say((r), &item_);                              \
    } while (0)

static void
hello(struct rig *r)
{
    Taskd__Refused no = TASKD__REFUSED__INIT;
    Taskd__Error e = TASKD__ERROR__INIT;
    Taskd__Hello h;
    char *words[] = { (char *)r->refuse };

    e.code = "DENIED", e.say = words, e.n_say = 1, no.error = &e;
    proto_hello(&h, "master", "m");
    if (r->refuse)
        SAY(r, REFUSED, refused, &no);
    else
        SAY(r, HELLO, hello, &h);
}

static void
app_hello(struct rig *r, const Taskd__AppHello *h)
{
    Taskd__AppWelcome w = TASKD__APP_WELCOME__INIT;

    buf_printf(&r->log, "app [%s] %s max %u at %s blobs %zu:%s executors", h->app_id, h->name, h->cores_max, h->driver,
               h->n_blob, h->n_blob ? h->blob[0]->blob->name : "");
    for (size_t i = 0; i < h->n_executor; i++)
        buf_printf(&r->log, " %u", h->executor[i]->executor);
    buf_printf(&r->log, "\n");
    r->welcomes++;
    w.app_id = "app-1";
    w.cores = 3;
    SAY(r, APP_WELCOME, app_welcome, &w);
}

static void
want(struct rig *r, const Taskd__Want *w)
{
    Taskd__Granted g = TASKD__GRANTED__INIT;
    Taskd__Gone gone = TASKD__GONE__INIT;
    Taskd__Waiting waiting = TASKD__WAITING__INIT;
    Taskd__Stop stop = TASKD__STOP__INIT;

    buf_printf(&r->log, "want %u\n", w->cores);
    g.host = "b", g.worker = "w1", g.cores = 1;
    for (g.executor = 1; g.executor <= w->cores; g.executor++)
        SAY(r, GRANTED, granted, &g);
    waiting.why = "asked 4 cores";
    SAY(r, WAITING, waiting, &waiting);
    gone.executor = 2, gone.text = "ended with 1", gone.worker = "w1";
    if (w->cores > 1)
        SAY(r, GONE, gone, &gone);
    stop.why = "killed by somebody";
    if (r->cancel)
        SAY(r, STOP, stop, &stop);
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct rig *r = arg;
    struct arena a = { 0 };
    Taskd__Envelope *env;

    NO_ERR(proto_get(p, n, &a, &env));
    for (size_t i = 0; i < env->n_item && r->link; i++) {
        const Taskd__Item *item = env->item[i];

        if (item->kind_case == TASKD__ITEM__KIND_HELLO)
            hello(r);
        else if (item->kind_case == TASKD__ITEM__KIND_APP_HELLO)
            app_hello(r, item->app_hello);
        else if (item->kind_case == TASKD__ITEM__KIND_WANT)
            want(r, item->want);
        else if (item->kind_case == TASKD__ITEM__KIND_RELEASE)
            buf_printf(&r->log, "release %u %s\n", item->release->executor, item->release->why);
        else if (item->kind_case == TASKD__ITEM__KIND_APP_END)
            buf_printf(&r->log, "end %u %s\n", item->app_end->exit_status, item->app_end->text);
        if (r->cut_after && --r->cut_after == 0) {
            link_close(r->link);
            r->link = NULL;
        }
    }
    arena_fini(&a);
}

static void
on_down(void *arg, struct err *why)
{
    struct rig *r = arg;

    err_free(why);
    link_close(r->link);
    r->link = NULL;
    loop_stop(r->loop);
}

static const struct link_handler handler = { on_envelope, on_down };

static struct err *
dial(void *arg, const char *address, struct link **ret)
{
    struct rig *r = arg;

    buf_printf(&r->log, "dial %s\n", address);
    r->dials++;
    if (r->dial_fails) {
        r->dial_fails--;
        return err_new(ERR_LOST, "nobody at %s", address);
    }
    TRY(link_pair(r->loop, ret, &r->link));
    link_handle(r->link, &handler, r);
    return NULL;
}

/* ---- the driver */

static void
ready(void *arg, const char *app_id, uint32_t cores)
{
    struct rig *r = arg;

    buf_printf(&r->log, "ready %s %u\n", app_id, cores);
    r->cluster->ops->want(r->cluster, 3);
    r->cluster->ops->want(r->cluster, 3); /* the same wish is said once */
}

static void
granted(void *arg, uint32_t executor, const char *host, uint32_t cores)
{
    buf_printf(&((struct rig *)arg)->log, "granted %u %s %u\n", executor, host, cores);
}

static void
gone(void *arg, uint32_t executor, const char *why, const char *node, bool node_lost)
{
    struct rig *r = arg;

    buf_printf(&r->log, "gone %u %s %s %d\n", executor, why, node, node_lost);
    if (r->welcomes >= r->stop_after)
        loop_stop(r->loop);
}

static void
waiting(void *arg, const char *why)
{
    buf_printf(&((struct rig *)arg)->log, "waiting %s\n", why);
}

static void
failed(void *arg, struct err *why)
{
    struct rig *r = arg;
    char *text = err_text(why);

    buf_printf(&r->log, "failed %s %s\n", err_code_name(why->code), text);
    free(text);
    err_free(why);
    loop_stop(r->loop);
}

static void
cancel(void *arg, uint32_t job, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    CU_FAIL("nobody asked to cancel anything");
}

static const struct cluster_up up = { ready, granted, gone, waiting, cancel, failed };

static void
begin(struct rig *r, const char *master)
{
    struct cluster_blob blob = { .name = "job.so", .size = 3 };
    struct cluster_opts o = { .master = master, .token = "0123456789abcdef", .token_n = 16,
                              .app = { .name = "n", .cores_max = 8, .address = "h:1", .blobs = &blob, .n_blobs = 1 } };

    NO_ERR(loop_new(&r->loop));
    o.loop = r->loop;
    NO_ERR(standalone__start(&o, &up, r, dial, r, &r->cluster));
    NO_ERR(loop_run(r->loop));
}

static void
end(struct rig *r)
{
    r->cluster->ops->stop(r->cluster, 7, "text");
    if (r->link)
        NO_ERR(loop_run(r->loop)); /* until the master's end is down */
    loop_free(r->loop);
    buf_put(&r->log, "", 1);
}

#define HAS(words) CU_ASSERT_PTR_NOT_NULL(strstr(r.log.p, words))

static void
an_application_lives(void)
{
    struct rig r = { 0 };

    begin(&r, "taskd://a,b:9");
    r.cluster->ops->release(r.cluster, 3, "lost");
    end(&r);
    EQ_STR(r.log.p, "dial a:7077\napp [] n max 8 at h:1 blobs 1:job.so executors\nready app-1 3\nwant 3\ngranted 1 b 1\n"
                    "granted 2 b 1\ngranted 3 b 1\nwaiting asked 4 cores\ngone 2 ended with 1 w1 0\nrelease 3 lost\n"
                    "end 7 text\n");
    buf_fini(&r.log);
}

/* The master goes away and comes back: the same application, what it has and wants; nothing is granted twice. */
static void
it_registers_again(void)
{
    struct rig r = { .cut_after = 3, .stop_after = 2 };

    begin(&r, "taskd://a");
    end(&r);
    EQ_U64(r.dials, 2);
    HAS("app [app-1] n max 8 at h:1 blobs 1:job.so executors 1 3\nwant 3\n");
    char *second = strstr(strstr(r.log.p, "granted 1"), "want 3");
    CU_ASSERT(second && !strstr(second, "granted 1") && !strstr(second, "granted 3") && !strstr(second, "ready"));
    buf_fini(&r.log);
}

static void
masters_that_are_none(void)
{
    struct rig r = { .dial_fails = 2 };
    struct cluster_opts o = { .master = "taskd://" };

    begin(&r, "taskd://a,[::1]");
    end(&r);
    HAS("dial [::1]:7077\nfailed LOST the master taskd://a,[::1] can't be reached: nobody at [::1]:7077");
    buf_fini(&r.log);
    r = (struct rig){ .refuse = "no" };
    begin(&r, "taskd://a:1");
    end(&r);
    HAS("failed DENIED the master taskd://a:1 refused: no\n");
    buf_fini(&r.log);
    r = (struct rig){ .cancel = true };
    begin(&r, "taskd://a:1");
    end(&r);
    HAS("failed CANCELLED killed by somebody\n");
    buf_fini(&r.log);
    IS_ERR(standalone__start(&o, &up, &r, dial, &r, &r.cluster), ERR_CONFIG, "has no address");
}

static const struct unit_test tests[] = {
    { "standalone.an_application_lives", an_application_lives },
    { "standalone.it_registers_again", it_registers_again },
    { "standalone.masters_that_are_none", masters_that_are_none },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "standalone", tests);
}
