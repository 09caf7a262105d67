/* cluster -- see cluster.h: a server for executors, one for blobs, a back-end that has executors started. */
#include "submit/cluster.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/usage.h"
#include "common/identity.h"
#include "common/preflight.h"
#include "net/bulk.h"
#include "rpc/rpc.h"
#include "submit/blobs.h"
#include "submit/local_cluster.h"
#include "submit/spec.h"
#include "submit/submit_priv.h"

#define WAIT_NS UINT64_C(1000000000)
enum { SPEC_FD = 3, SPEC_MAX = 64 << 20 };

struct cluster_run {
    const struct cluster_ops *backend;
    struct identity identity;
    const char *submission; /* cluster mode; NULL */
    uint32_t try;           /* of it */
    const char *host;       /* ours, as executors know it */
    struct blobs blobs;
    char *dir;              /* the driver's own files for executors: broadcasts */
    struct rpc *rpc;
    struct rpc_server *server;
    const char *address; /* unix:PATH, where executors dial; NULL: TCP */
    struct bulk_server *bulk;
    struct bulk_client *results; /* fetches what actions gave from executors' hosts */
    struct cluster *cluster;
    struct preflight *preflight;
    struct local_cluster *local; /* NULL unless the master is local-cluster[...] */
    char *waiting;          /* said last */
    struct loop_timer wait; /* until it is worth saying */
};

/* ---- where we are */

/* The address of this host that packets to `address` ("host:port") leave from. */
static struct err *
address_towards(struct submit *s, const char *address, const char **ret)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM }, *ai = NULL;
    struct sockaddr_storage own;
    socklen_t n = sizeof own;
    char host[NI_MAXHOST], *copy = arena_strdup(&s->a, address), *port = strrchr(copy, ':');

    if (!port)
        return err_new(ERR_CONFIG, "\"%s\" is no HOST:PORT", address);
    *port++ = 0;
    if (copy[0] == '[' && port[-2] == ']') {
        copy++;
        port[-2] = 0;
    }
    int rc = getaddrinfo(copy, port, &hints, &ai);
    if (rc)
        return err_new(ERR_LOST, "looking up \"%s\": %s", copy, gai_strerror(rc));
    int fd = socket(ai->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) == 0 &&
              getsockname(fd, (struct sockaddr *)&own, &n) == 0 &&
              getnameinfo((struct sockaddr *)&own, n, host, sizeof host, NULL, 0, NI_NUMERICHOST) == 0;
    struct err *e = ok ? NULL : err_errno(errno, "finding this host's address towards \"%s\"", address);
    file_close(&fd);
    freeaddrinfo(ai);
    if (!e)
        *ret = arena_strdup(&s->a, host);
    return e;
}

static const char *
host_port(struct submit *s, const char *host, uint16_t port)
{
    return arena_printf(&s->a, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

/* ---- the back-end's calls */

static struct err *
fetch_results(struct submit *s)
{
    struct cluster_run *c = s->cluster;
    struct bulk_client_opts o = { .app = s->app_id, .tls = c->identity.tls };

    memcpy(o.secret, s->secret, sizeof o.secret);
    struct err *e = bulk_client_new(s->loop, &o, &c->results);
    explicit_bzero(o.secret, sizeof o.secret);
    if (!e)
        driver_fetch(s->driver, &(struct executor_fetch){ c->results, bulk_get, bulk_forget, bulk_client_limit });
    return e;
}

static void
on_ready(void *arg, const char *app_id, uint32_t cores)
{
    struct submit *s = arg;
    struct cluster_run *c = s->cluster;
    uint32_t most = (uint32_t)conf_int(s->o.conf, CONF_CORES_MAX), slots;

    if (c->local) /* its workers are on their way */
        cores = s->o.master.workers * s->o.master.cores;
    slots = most ? most : cores;

    if (s->app_id) /* a master that was away knows us again */
        return;
    s->app_id = arena_strdup(&s->a, app_id);
    struct err *e = bulk_server_add(c->bulk, arena_printf(&s->a, "blobs-%s", app_id), c->blobs.dir, s->secret);
    if (!e)
        e = bulk_server_add(c->bulk, app_id, c->dir, s->secret);
    if (!e)
        e = fetch_results(s);
    slots = slots ? slots : 1;
    submit__events_begin(s, c->host, slots);
    if (!e)
        e = driver_run(s->driver, app_id, slots);
    if (e)
        driver_fail(s->driver, e);
    else
        c->backend->want(c->cluster, most ? most : UINT32_MAX);
}

static void
on_granted(void *arg, uint32_t executor, const char *host, uint32_t cores)
{
    (void)arg; /* it dials; the event comes when it is there */
}

static void
on_gone(void *arg, uint32_t executor, const char *why, const char *node, bool node_lost)
{
    struct submit *s = arg;

    driver_executor_lost(s->driver, executor, err_new(ERR_LOST, "%s", why));
    if (node_lost)
        driver_node_lost(s->driver, node);
}

/* It has waited for a while: that is worth a line. */
static void
on_wait(void *arg)
{
    struct submit *s = arg;

    if (s->o.progress == SUBMIT_PROGRESS_NONE)
        return;
    char *text = arena_printf(&s->a, "waiting for executors: %s", s->cluster->waiting);
    if (s->o.progress == SUBMIT_PROGRESS_JSON) {
        submit__said(s, TD_INFO, text);
        return;
    }
    submit__progress_clear(s);
    submit__say(s, "%s\n", text);
}

static void
on_waiting(void *arg, const char *why)
{
    struct submit *s = arg;
    struct cluster_run *c = s->cluster;

    if (c->waiting && !strcmp(c->waiting, why))
        return;
    c->waiting = arena_strdup(&s->a, why);
    if (!why[0])
        loop_timer_stop(s->loop, &c->wait);
    else
        loop_timer_start(s->loop, &c->wait, clock_mono_ns() + WAIT_NS, on_wait, s);
}

static void
on_cancel(void *arg, uint32_t job, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    driver_cancel_part(((struct submit *)arg)->driver, job, stage, partition, attempt);
}

static void
on_failed(void *arg, struct err *why)
{
    struct submit *s = arg;

    if (why->code == ERR_CANCELLED) /* by somebody elsewhere: nothing was said here yet */
        submit__failed(s, why);
    driver_fail(s->driver, why);
}

static const struct cluster_up up = { on_ready, on_granted, on_gone, on_waiting, on_cancel, on_failed };

/* ---- the driver's calls */

static void
on_lost(void *arg, uint32_t executor, struct err *why)
{
    struct submit *s = arg;
    char *text = err_text(why);

    if (s->o.progress != SUBMIT_PROGRESS_JSON && s->o.progress != SUBMIT_PROGRESS_NONE) {
        submit__progress_clear(s);
        submit__say(s, "warning: executor %u is lost: %s\n", executor, text);
    }
    s->cluster->backend->release(s->cluster->cluster, executor, text);
    free(text);
    err_free(why);
}

static void
on_link(void *arg, struct link *l)
{
    driver_accept(((struct submit *)arg)->driver, l);
}

/* ---- start and stop */

/* Executors of a cluster that is ours are on this host: a unix socket is twice as quick to answer as TCP. */
enum { SOCKET_PATH_MAX = 100 };

static struct err *
listen_at(struct submit *s, const char *host)
{
    struct cluster_run *c = s->cluster;
    const char *bind = conf_str(s->o.conf, CONF_DRIVER_BIND);
    struct rpc_listen_opts lo = { .host = bind[0] ? bind : host, .tls = c->identity.tls,
                                  .port = (uint16_t)conf_int(s->o.conf, CONF_DRIVER_PORT) };
    struct bulk_server_opts bo = { .host = lo.host, .tls = c->identity.tls };

    if (!c->local) /* else all of it is on this host, and jobs may be at it side by side */
        bo.port = (uint16_t)conf_int(s->o.conf, CONF_DRIVER_BULK_PORT);
    if (c->local && !lo.tls && strlen(s->scratch) < SOCKET_PATH_MAX - sizeof "/driver.sock")
        lo.path = arena_printf(&s->a, "%s/driver.sock", s->scratch);
    c->address = lo.path ? arena_printf(&s->a, "unix:%s", lo.path) : NULL;
    TRY_OR(rpc_listen(c->rpc, &lo, on_link, s, &c->server), "listening to executors");
    TRY_OR(bulk_server_new(s->loop, &bo, &c->bulk), "serving module and broadcasts (taskd.driver.blockManager.port)");
    return NULL;
}

static struct err *
start_backend(struct submit *s, const char *host, const char *bulk)
{
    struct cluster_run *c = s->cluster;
    struct conf *conf = s->o.conf;
    struct cluster_opts o = {
        .loop = s->loop, .rpc = c->rpc, .master = s->o.master.url, .tls = c->identity.tls,
        .token = (const char *)c->identity.token, .token_n = c->identity.token_n,
        .app = {
            .name = s->o.app_name, .submission = c->submission,
            .cores_max = (uint32_t)conf_int(conf, CONF_CORES_MAX),
            .cores_per_executor = (uint32_t)conf_int(conf, CONF_EXECUTOR_CORES),
            .memory_per_executor = conf_bytes(conf, CONF_EXECUTOR_MEMORY),
            .executors_max = (uint32_t)conf_int(conf, CONF_EXECUTOR_INSTANCES),
            .address = c->address ? c->address : host_port(s, host, rpc_server_port(c->server)),
            .bulk = bulk,
            .blobs = c->blobs.v, .n_blobs = c->blobs.n,
        },
    };

    memcpy(o.app.secret, s->secret, sizeof o.app.secret);
    return c->backend->start(&o, &up, s, &c->cluster);
}

/* ---- can the workers run it? */

static void
on_checked(void *arg, struct err *e)
{
    if (e)
        driver_fail(((struct submit *)arg)->driver, e);
}

static struct err *
dial(void *arg, const char *address, struct link **ret)
{
    struct cluster_run *c = arg;
    struct rpc_dial_opts o = { .address = address, .tls = c->identity.tls };

    return rpc_dial(c->rpc, &o, ret);
}

/* Meanwhile the application is started; in cluster mode it was asked before. */
static void
check_workers(struct submit *s)
{
    struct cluster_run *c = s->cluster;
    struct preflight_opts o = {
        .uplink = { .url = s->o.master.url, .addresses = s->o.master.addresses, .n_addresses = s->o.master.n_addresses,
                    .token = c->identity.token, .token_n = c->identity.token_n, .dial = dial, .dial_arg = c },
        .module = &s->module.info, .libs = s->along, .n_libs = s->n_along, .done = on_checked, .arg = s,
    };

    c->preflight = preflight_new(s->loop, &o);
}

/* A cluster that lives as long as we do, with a token of its own. */
static struct err *
start_local(struct submit *s)
{
    struct cluster_run *c = s->cluster;
    const char *dir = arena_printf(&s->a, "%s/cluster", s->scratch);

    TRY(file_mkdirs(dir, 0700));
    TRY(conf_set(s->o.conf, CONF_FLAG, "taskd.authenticate.secretFile", arena_printf(&s->a, "%s/token", dir), "--master"));
    TRY(identity_make(s->o.conf, &s->a, &c->identity));
    const char *local_dirs = "";
    for (unsigned i = 1; i < s->n_own; i++)
        local_dirs = arena_printf(&s->a, "%s%s%s", local_dirs, i > 1 ? "," : "", s->own[i]);
    return local_cluster_start(&s->a, dir, local_dirs, c->identity.token_file, c->identity.tls, &s->o.master, &c->local);
}

static struct err *
start(struct submit *s)
{
    struct cluster_run *c = s->cluster;
    const char *host = conf_str(s->o.conf, CONF_DRIVER_HOST);

    if (s->o.master.kind == SUBMIT_LOCAL_CLUSTER)
        TRY(start_local(s));
    if (!host[0])
        TRY(address_towards(s, s->o.master.addresses[0], &host));
    c->host = host;
    TRY(blobs_make(s, arena_printf(&s->a, "%s/blobs", s->scratch), &c->blobs));
    c->dir = arena_printf(&s->a, "%s/blocks", s->scratch);
    TRY(file_mkdirs(c->dir, 0700));
    TRY(rpc_new(s->loop, &c->rpc));
    TRY(listen_at(s, host));
    struct driver_opts o = { .host = host, .dir = c->dir, .bulk = host_port(s, host, bulk_server_port(c->bulk)),
                             .submission = c->submission, .try = c->try, .scratch = "", .asked = true, .lost = on_lost,
                             .arg = s, .usage = s->o.summary ? DRIVER_USAGE_MEMORY : DRIVER_USAGE_CPU };
    memcpy(o.secret, s->secret, sizeof o.secret);
    TRY(submit__driver(s, &o));
    TRY(start_backend(s, host, o.bulk));
    if (!c->submission && s->o.master.kind == SUBMIT_STANDALONE)
        check_workers(s);
    return NULL;
}

static void
stop(struct submit *s)
{
    struct cluster_run *c = s->cluster;

    if (s->loop)
        loop_timer_stop(s->loop, &c->wait);
    preflight_free(c->preflight);
    driver_free(s->driver); /* says Stop to the executors */
    if (c->cluster)
        c->backend->stop(c->cluster, s->status, s->state ? s->state : "FAILED");
    rpc_server_free(c->server);
    bulk_server_free(c->bulk);
    bulk_client_free(c->results);
    rpc_free(c->rpc);
    uint64_t ended = usage_ended_cpu_ns();

    local_cluster_stop(c->local);
    s->others_cpu_ns = usage_ended_cpu_ns() - ended; /* what executors below have used they have said themselves */
}

static unsigned
pids(const struct submit *s, int *ret, unsigned n)
{
    return 0; /* on other hosts */
}

/* ---- started by a worker */

static struct err *
read_spec(struct submit *s, struct cluster_run *c)
{
    Taskd__DriverSpec *spec;
    struct buf b = { 0 };
    ssize_t n;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    do {
        if (b.n > SPEC_MAX)
            return err_new(ERR_LIMIT, "what descriptor 3 says is longer than %d bytes", SPEC_MAX);
        n = read(SPEC_FD, buf_room(&b, 65536), 65536);
        b.n += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0)
        return err_hint(err_new(ERR_USAGE, "no module is given"), "taskd submit --help lists the options.");
    close(SPEC_FD);
    struct err *e = proto_get_driver_spec(b.p, b.n, &s->a, &spec);
    if (b.p)
        explicit_bzero(b.p, b.n);
    buf_fini(&b);
    if (e)
        return e;
    TRY(submit_spec_options(spec, &s->a, &s->o));
    c->submission = spec->start->driver;
    c->try = spec->start->try_;
    c->identity.token = spec->token.data;
    c->identity.token_n = spec->token.len;
    if (spec->tls_ca[0]) {
        struct tls_files *tls = ARENA_NEW(&s->a, struct tls_files);

        *tls = (struct tls_files){ spec->tls_ca, spec->tls_cert, spec->tls_key };
        c->identity.tls = tls;
    }
    s->scratch = spec->dir;
    return NULL;
}

int
submit_cluster_main(int argc, char **argv, char **envp, const struct cluster_ops *backend)
{
    static const struct submit_how how = { "taskd-submit", start, stop, pids };
    struct cluster_run c = { .backend = backend };
    struct submit s = { .how = &how, .cluster = &c, .module = { .fd = -1 }, .summary_fd = -1 };
    struct err *e;
    int status = 0;

    submit__raise_descriptors();
    signal(SIGPIPE, SIG_IGN);
    if (argc <= 1) {
        e = read_spec(&s, &c);
    } else {
        e = submit_options_parse(argc, argv, envp, &s.a, &s.o);
        if (!e && s.o.action == SUBMIT_RUN && s.o.master.kind == SUBMIT_STANDALONE)
            e = identity_load(s.o.conf, &s.a, &c.identity);
    }
    if (e)
        status = submit__fail(&s, e);
    else if (s.o.action != SUBMIT_RUN)
        status = submit__print(&s, s.o.action);
    else
        status = submit__run(&s);
    explicit_bzero(s.secret, sizeof s.secret);
    buf_fini(&s.accumulators);
    arena_fini(&s.a);
    return status;
}
