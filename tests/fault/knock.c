/*
 * tests/fault/knock ADDRESS DIR ROLE TOKEN -- says Hello as ROLE at a gRPC listener, with the certificate in DIR ("-":
 * none) and a token in hex, and then what somebody in that role wants: a client submits a driver, a driver registers,
 * a worker and an executor offer themselves.  Prints how that ended: "refused WHY", "lost WHY" or "let in".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "net/loop.h"
#include "proto/proto.h"
#include "rpc/rpc.h"

static struct {
    struct loop *loop;
    struct arena a, names;
    char said[600];
} k;

static void
check(struct err *e)
{
    if (!e)
        return;
    fprintf(stderr, "knock: %s\n", err_text(e));
    exit(1);
}

static void
end(const char *how, const char *why)
{
    if (!k.said[0])
        snprintf(k.said, sizeof k.said, "%s%s%s", how, *why ? " " : "", why);
    loop_stop(k.loop);
}

static bool
on_item(void *arg, const Taskd__Item *it)
{
    (void)arg;
    if (it->kind_case == TASKD__ITEM__KIND_REFUSED || it->kind_case == TASKD__ITEM__KIND_ANSWER) {
        const Taskd__Error *why = it->kind_case == TASKD__ITEM__KIND_REFUSED ? it->refused->error : it->answer->error;

        end("refused", why && why->n_say ? why->say[0] : "");
        return false;
    }
    if (it->kind_case != TASKD__ITEM__KIND_HELLO) /* who is let in is greeted, but so may be who is not */
        end("let in", "");
    return true;
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    check(proto_each(p, n, &k.a, on_item, arg));
}

static void
on_down(void *arg, struct err *why)
{
    (void)arg;
    end("lost", err_text(why));
    err_free(why);
}

static void
say_hello(struct buf *b, const char *role, const char *hex)
{
    static unsigned char token[64];
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__Hello h;
    size_t n = 0;

    for (; n < sizeof token && sscanf(hex + 2 * n, "%2hhx", &token[n]) == 1; n++)
        ;
    proto_hello(&h, role, "stranger");
    h.token = PROTO_BYTES(token, n);
    it.kind_case = TASKD__ITEM__KIND_HELLO;
    it.hello = &h;
    proto_put(b, &it);
}

static void
say_wish(struct buf *b, const char *role)
{
    Taskd__Item it = TASKD__ITEM__INIT;
    Taskd__SubmitDriver submit = TASKD__SUBMIT_DRIVER__INIT;
    Taskd__AppHello app = TASKD__APP_HELLO__INIT;
    Taskd__WorkerHello worker = TASKD__WORKER_HELLO__INIT;
    Taskd__ExecutorHello executor = TASKD__EXECUTOR_HELLO__INIT;

    submit.name = "stranger";
    submit.cores = 1;
    app.name = "stranger";
    worker.worker = worker.host = "stranger";
    worker.cores = 1;
    executor.executor = 77;
    executor.slots = 1;
    executor.host = "stranger";
    it.kind_case = !strcmp(role, "client")   ? TASKD__ITEM__KIND_SUBMIT_DRIVER
                   : !strcmp(role, "driver") ? TASKD__ITEM__KIND_APP_HELLO
                   : !strcmp(role, "worker") ? TASKD__ITEM__KIND_WORKER_HELLO
                                             : TASKD__ITEM__KIND_EXECUTOR_HELLO;
    if (it.kind_case == TASKD__ITEM__KIND_SUBMIT_DRIVER)
        it.submit_driver = &submit;
    else if (it.kind_case == TASKD__ITEM__KIND_APP_HELLO)
        it.app_hello = &app;
    else if (it.kind_case == TASKD__ITEM__KIND_WORKER_HELLO)
        it.worker_hello = &worker;
    else
        it.executor_hello = &executor;
    proto_put(b, &it);
}

int
main(int argc, char **argv)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct tls_files tls;
    struct rpc *rpc;
    struct link *l;
    struct buf b = { 0 };

    if (argc != 5)
        return 2;
    struct rpc_dial_opts o = { .address = argv[1], .timeout_ns = 3000000000, .tls = strcmp(argv[2], "-") ? &tls : NULL };
    tls.ca = arena_printf(&k.names, "%s/ca.pem", argv[2]);
    tls.cert = arena_printf(&k.names, "%s/node.pem", argv[2]);
    tls.key = arena_printf(&k.names, "%s/node.key", argv[2]);
    check(loop_new(&k.loop));
    check(rpc_new(k.loop, &rpc));
    check(rpc_dial(rpc, &o, &l));
    link_handle(l, &handler, NULL);
    say_hello(&b, argv[3], argv[4]);
    say_wish(&b, argv[3]);
    link_send(l, b.p, b.n);
    check(loop_run(k.loop));
    puts(k.said);
    fflush(stdout);
    _Exit(0); /* the rest is for tests of lib/rpc */
}
