/* What a driver may say to an executor.  The input is an envelope; its items get the application's number and the
 * executor's epoch, unless theirs is odd.  No runner is ever started: there is nothing to make them from. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executor/executor_priv.h"
#include "executor/runners_priv.h"
#include "net/frame.h"

enum { ROUNDS = 3, EPOCH = 6 };

static struct loop *loop;
static struct loop_timer stop;

static void
must(struct err *e)
{
    if (e)
        abort();
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
}

static void
on_down(void *arg, struct err *why)
{
    err_free(why);
}

static void
on_end(void *arg, struct err *why)
{
    err_free(why);
}

static void
on_stop(void *arg)
{
    loop_stop(loop);
}

static void
rounds(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        loop_timer_start(loop, &stop, 0, on_stop, NULL);
        must(loop_run(loop));
    }
}

static void
say(struct link *l, struct buf *out, Taskd__Item *it)
{
    out->n = 0;
    proto_put(out, it);
    link_send(l, out->p, out->n);
}

static void
welcome(struct link *l, struct buf *out)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Welcome w = TASKD__WELCOME__INIT;

    w.app_id = "app";
    it.epoch = EPOCH;
    it.kind_case = TASKD__ITEM__KIND_WELCOME;
    it.welcome = &w;
    say(l, out, &it);
}

/* A zygote that is a process which does nothing and, as far as we know, has died. */
static struct zygote *
no_zygote(void)
{
    static struct zygote z;
    int fds[2];

    if (z.chan)
        return &z;
    z.pid = fork();
    if (z.pid == 0) {
        for (;;)
            pause();
    }
    must(frame_pair(fds));
    must(frame_open(fds[0], 64, &z.chan));
    return &z;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct executor_opts o = { .slots = 2, .host = "here", .bulk = "", .dir = "/nowhere", .worker = "",
                               .scratch = "/nowhere", .module_fd = -1, .module_name = "none", .end = on_end };
    struct arena a = { 0 };
    struct buf out = { 0 };
    struct link *here, *there;
    struct executor *x;
    Taskd__Envelope *env;
    struct err *e = proto_get(data, size, &a, &env);
    struct zygote *z = no_zygote();
    pid_t pid = z->pid;

    if (e) {
        err_free(e);
        arena_fini(&a);
        return 0;
    }
    must(loop_new(&loop));
    must(link_pair(loop, &here, &there));
    link_handle(here, &handler, NULL);
    must(executor_attach(loop, z, &o, there, &x));
    z->pid = 0;
    welcome(here, &out);
    for (size_t i = 0; i < env->n_item; i++) {
        if (!(env->item[i]->epoch & 1)) {
            env->item[i]->app = proto_app("app");
            env->item[i]->epoch = EPOCH;
        }
        say(here, &out, env->item[i]);
        rounds();
    }
    executor_free(x);
    z->pid = pid;
    link_close(here);
    loop_free(loop);
    buf_fini(&out);
    arena_fini(&a);
    return 0;
}
