/* process -- see process.h.  The zygote first: nothing of gRPC, no thread and no socket may be in it. */
#include "executor/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/exe.h"
#include "base/file.h"
#include "event/event.h"
#include "executor/executor.h"
#include "flow/module.h"
#include "net/bulk.h"
#include "net/loop.h"
#include "proto/proto.h"
#include "rpc/rpc.h"

enum { SPEC_FD = 3, SPEC_MAX = 16 << 20 };

struct process {
    struct arena a;
    Taskd__ExecutorSpec *spec;
    struct tls_files tls;
    struct module module;
    struct zygote *zygote;
    struct loop *loop;
    struct rpc *rpc;
    struct bulk_client *bulk;
    struct executor *executor;
    struct event_json_sink json;
    struct event_sink log;
    struct err *why;
};

static struct err *
read_spec(struct process *p)
{
    struct buf b = { 0 };
    ssize_t n;

    do {
        if (b.n > SPEC_MAX)
            return err_new(ERR_LIMIT, "what descriptor 3 says is longer than %d bytes", SPEC_MAX);
        n = read(SPEC_FD, buf_room(&b, 65536), 65536);
        b.n += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0)
        return err_hint(err_errno(errno, "reading descriptor 3"), "taskd-executor is started by a worker.");
    close(SPEC_FD);
    struct err *e = proto_get_executor_spec(b.p, b.n, &p->a, &p->spec);
    if (b.p)
        explicit_bzero(b.p, b.n);
    buf_fini(&b);
    if (e)
        return e;
    const Taskd__StartExecutor *s = p->spec->start;
    if (!s || s->secret.len != EXECUTOR_SECRET || s->cores == 0 || s->cores > 4096 || !s->driver[0] ||
        p->spec->dir[0] != '/' || p->spec->scratch[0] != '/')
        return err_new(ERR_CORRUPT, "what descriptor 3 says is not what an executor needs");
    return NULL;
}

/* The worker has checked the blob; so do we, as these bytes are going to be run. */
static struct err *
read_module(struct process *p)
{
    const Taskd__StartExecutor *s = p->spec->start;
    const Taskd__Blob *b = NULL;
    char hex[2 * MODULE_SHA256 + 1];

    for (size_t i = 0; i < s->n_blob; i++)
        if (s->blob[i]->use == TASKD__BLOB_USE__MODULE)
            b = s->blob[i]->blob;
    if (!b || b->sha256.len != MODULE_SHA256)
        return err_new(ERR_CORRUPT, "the application has no module");
    for (size_t i = 0; i < MODULE_SHA256; i++)
        snprintf(hex + 2 * i, 3, "%02x", b->sha256.data[i]);
    TRY(module_read(arena_printf(&p->a, "%s/%s", p->spec->blobs, hex), &p->a, &p->module));
    if (strcmp(hex, p->module.sha256_hex))
        return err_new(ERR_CORRUPT, "the module \"%s\" is not the one that was submitted", b->name);
    p->module.info.name = b->name;
    return NULL;
}

static void
on_end(void *arg, struct err *why)
{
    struct process *p = arg;

    p->why = why;
    loop_stop(p->loop);
}

static void
raise_descriptors(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

/* Libraries that went along, in the order of loading. */
static const char *const *
libs_of(struct process *p, uint32_t *ret_n)
{
    const Taskd__StartExecutor *s = p->spec->start;
    const char **libs = ARENA_ARRAY(&p->a, const char *, s->n_blob);

    for (size_t i = 0; i < s->n_blob; i++)
        if (s->blob[i]->use == TASKD__BLOB_USE__LIBRARY)
            libs[(*ret_n)++] = s->blob[i]->blob->name;
    return libs;
}

/* Was the module not compared with this host, as it came later than the application, then it is now: an executor that
 * can't start is avoided, while a task that can't load its module ends the job. */
static struct err *
check_module(struct process *p, const char *files, const char *const *libs, uint32_t n_libs)
{
    struct module_info *info = ARENA_ARRAY(&p->a, struct module_info, n_libs);
    struct module_profile host;

    for (uint32_t i = 0; i < n_libs; i++)
        TRY(module_read_library(arena_printf(&p->a, "%s/%s", files, libs[i]), libs[i], &p->a, &info[i]));
    module_profile_host(&host);
    TRY_OR(module_check_all(&p->module.info, info, n_libs, &host), "host %s", p->spec->host);
    return NULL;
}

static struct err *
start(struct process *p)
{
    const char *runner, *symbolise = NULL;

    TRY(exe_libexec(&p->a, "taskd-runner", &runner));
    err_free(exe_libexec(&p->a, "taskd-symbolise", &symbolise)); /* without it: numbers for names */
    TRY(zygote_start(runner, &p->zygote));
    const Taskd__ExecutorSpec *s = p->spec;
    TRY(read_module(p));
    uint32_t n_libs = 0;
    const char *const *libs = libs_of(p, &n_libs);
    const char *files = arena_printf(&p->a, "%s/../files", s->dir);
    TRY(check_module(p, files, libs, n_libs));
    TRY(loop_new(&p->loop));
    TRY(rpc_new(p->loop, &p->rpc));
    if (s->tls_ca[0])
        p->tls = (struct tls_files){ s->tls_ca, s->tls_cert, s->tls_key };
    struct rpc_dial_opts dial = { .address = s->start->driver, .tls = s->tls_ca[0] ? &p->tls : NULL };
    struct executor_opts o = {
        .number = s->start->executor, .slots = s->start->cores,
        .host = s->host, .bulk = s->bulk, .dir = s->dir, .worker = s->worker, .scratch = s->scratch,
        .files = files, .libs = libs, .n_libs = n_libs,
        .module_fd = p->module.fd, .module_name = p->module.info.name, .symbolise = symbolise,
        .end = on_end, .arg = p,
    };
    struct link *link;
    struct bulk_client_opts bo = { .app = s->start->app_id, .tls = dial.tls };
    memcpy(o.secret, s->start->secret.data, sizeof o.secret);
    memcpy(bo.secret, s->start->secret.data, sizeof bo.secret);
    TRY(bulk_client_new(p->loop, &bo, &p->bulk));
    o.fetch = (struct executor_fetch){ p->bulk, bulk_get, bulk_forget, bulk_client_limit };
    TRY(rpc_dial(p->rpc, &dial, &link));
    return executor_attach(p->loop, p->zygote, &o, link, &p->executor);
}

/* Runners first: what they do now is for nobody. */
static void
stop(struct process *p)
{
    executor_free(p->executor);
    bulk_client_free(p->bulk);
    rpc_free(p->rpc);
    zygote_stop(p->zygote);
    loop_free(p->loop);
    module_fini(&p->module);
}

int
executor_process(void)
{
    struct process p = { .module = { .fd = -1 } };
    int status = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the worker's end is ours */
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    struct err *e = read_spec(&p);
    event_json_init(&p.json, STDERR_FILENO,
                    (struct event_origin){ .role = "executor", .host = e ? NULL : p.spec->host,
                                           .app = e ? NULL : p.spec->start->app_id }, EVENT_LEVEL_INFO);
    p.log = event_json_sink(&p.json);
    if (!e)
        e = start(&p);
    if (!e)
        e = loop_run(p.loop);
    if (!e)
        e = p.why;
    if (e) {
        char *text = err_text(e);

        EMIT(&p.log, log_error, .message = "the executor ends", .err = text);
        status = err_code_exit(e->code);
        free(text);
        err_free(e);
    }
    stop(&p);
    event_json_fini(&p.json);
    arena_fini(&p.a);
    return status;
}
