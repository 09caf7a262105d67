/* taskd-worker -- `taskd worker MASTER-URL`: options, TLS and token, then worker/worker.h on a loop. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/exe.h"
#include "base/file.h"
#include "base/spread.h"
#include "common/args.h"
#include "common/host.h"
#include "common/identity.h"
#include "event/event.h"
#include "net/loop.h"
#include "rpc/rpc.h"
#include "worker/worker.h"

#define DIAL_NS UINT64_C(2000000000) /* then another master has its turn */

struct app {
    struct arena a;
    struct conf *conf;
    struct identity identity;
    struct worker_opts o;
    const char *local_dirs;
    struct loop *loop;
    struct rpc *rpc;
    struct worker *worker;
    struct event_json_sink log;
    struct err *why;
};

static struct err *
parse(struct app *x, struct args *args, int argc, char **argv)
{
    uint64_t cores = 0, port = 0;
    const struct args_option options[] = {
        { .name = "host", .value = "HOST", .text = &x->o.host,
          .help = "how others reach this one (127.0.0.1, or with TLS this host's name)" },
        { .name = "cores", .value = "N", .letter = 'c', .number = &cores, .least = 1, .most = 1 << 16,
          .help = "cores to offer (all)" },
        { .name = "memory", .value = "SIZE", .letter = 'm', .bytes = &x->o.memory,
          .help = "memory to offer, as 8g (all but 1 GiB)" },
        { .name = "dir", .value = "DIR", .letter = 'd', .text = &x->o.dir,
          .help = "work folder, for this worker alone (/var/lib/taskd/worker, or\n~/.local/state/taskd/worker)" },
        { .name = "local-dirs", .value = "DIR,...", .text = &x->local_dirs,
          .help = "further folders for shuffle files and spills, on other disks:\na file goes where most room is" },
        { .name = "port", .value = "PORT", .letter = 'p', .number = &port, .most = 65535,
          .help = "of the shuffle service (any)" },
        { 0 },
    };

    TRY(args_parse(args, options, x->conf, argc, argv));
    if (args->help)
        return NULL;
    x->o.cores = (uint32_t)cores;
    x->o.port = (uint16_t)port;
    x->o.master = args->rest[0];
    if (!args->rest[0] || args->rest[1])
        return err_hint(err_new(ERR_USAGE, args->rest[0] ? "more than one master is given" : "no master is given"),
                        "taskd worker taskd://HOST:7077");
    return NULL;
}

/* ---- what is not said */

static const char *
default_host(struct app *x)
{
    char name[256];

    if (!x->identity.tls || gethostname(name, sizeof name) < 0)
        return "127.0.0.1";
    name[sizeof name - 1] = 0;
    return arena_strdup(&x->a, name);
}

static struct err *
local_dirs(struct app *x)
{
    const char *list = x->local_dirs ? x->local_dirs : "", *dir;
    const char **dirs = ARENA_ARRAY(&x->a, const char *, SPREAD_MAX);

    for (;;) {
        TRY(spread_next(&list, &x->a, &dir));
        if (!dir)
            break;
        if (x->o.n_local == SPREAD_MAX)
            return err_new(ERR_USAGE, "--local-dirs names more than %d folders", SPREAD_MAX);
        dirs[x->o.n_local++] = dir;
    }
    x->o.local = dirs;
    return NULL;
}

static struct err *
fill_in(struct app *x, const struct args *args, char **envp)
{
    struct sysinfo si;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    TRY(conf_load(x->conf, args->properties, envp));
    TRY(identity_load(x->conf, &x->a, &x->identity));
    x->o.tls = x->identity.tls;
    x->o.token = x->identity.token;
    x->o.token_n = x->identity.token_n;
    if (!x->o.cores)
        x->o.cores = cores > 0 ? (uint32_t)cores : 1;
    if (!x->o.memory && sysinfo(&si) == 0) {
        uint64_t all = (uint64_t)si.totalram * si.mem_unit, less = UINT64_C(1) << 30;

        x->o.memory = all > 2 * less ? all - less : all / 2;
    }
    if (!x->o.host)
        x->o.host = default_host(x);
    if (!x->o.dir)
        x->o.dir = args_state_dir(args, &x->a);
    TRY(file_absolute(x->o.dir, &x->a, &x->o.dir));
    TRY(local_dirs(x));
    TRY(exe_libexec(&x->a, "taskd-executor", &x->o.executor));
    TRY(exe_libexec(&x->a, "taskd-driver", &x->o.driver));
    return exe_libexec(&x->a, "taskd-unpack", &x->o.unpack);
}

/* ---- running */

static struct err *
dial(void *arg, const char *address, struct link **ret)
{
    struct app *x = arg;
    struct rpc_dial_opts o = { .address = address, .tls = x->identity.tls, .timeout_ns = DIAL_NS };

    return rpc_dial(x->rpc, &o, ret);
}

static void
refused(void *arg, struct err *why)
{
    struct app *x = arg;

    err_free(x->why);
    x->why = err_wrap_take(why, "the master refuses this worker");
    loop_stop(x->loop);
}

static void
on_stopped(void *arg)
{
    struct app *x = arg;

    loop_stop(x->loop);
}

static void
on_signal(void *arg, int signo)
{
    struct app *x = arg;

    worker_stop(x->worker, on_stopped, x);
}

/* For the connections and files of the shuffle service. */
static void
raise_descriptors(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static struct err *
serve(struct app *x)
{
    static const int ends[] = { SIGTERM, SIGINT };

    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    TRY(loop_new(&x->loop));
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        TRY(loop_signal(x->loop, ends[i], on_signal, x));
    TRY(rpc_new(x->loop, &x->rpc));
    event_json_init(&x->log, STDERR_FILENO, (struct event_origin){ .role = "worker", .host = x->o.host }, EVENT_LEVEL_INFO);
    x->o.log = &x->log;
    x->o.dial = dial;
    x->o.refused = refused;
    x->o.arg = x;
    TRY(worker_new(x->loop, &x->o, &x->worker));
    struct event_sink log = event_json_sink(&x->log);
    if (x->identity.tls) /* others are meant to come in */
        host_warn(&log, x->o.host);
    TRY(loop_run(x->loop));
    return x->why;
}

static struct err *
run(struct app *x, struct args *args, int argc, char **argv, char **envp)
{
    TRY(parse(x, args, argc, argv));
    if (args->help)
        return NULL;
    TRY(fill_in(x, args, envp));
    struct err *e = serve(x);
    worker_free(x->worker);
    rpc_free(x->rpc);
    if (x->worker) { /* what hands have posted */
        loop_post(x->loop, on_stopped, x);
        err_free(loop_run(x->loop));
    }
    if (x->o.log)
        event_json_fini(&x->log);
    loop_free(x->loop);
    return e;
}

int
main(int argc, char **argv, char **envp)
{
    struct app x = { .conf = conf_new() };
    struct args args = { .verb = "worker", .usage = "usage: taskd worker [options] MASTER-URL\n\n"
        "Offers this host's cores and memory to the master at taskd://HOST[:PORT][,HOST[:PORT]...].\n" };
    int status = args_end(&args, run(&x, &args, argc, argv, envp));

    conf_free(x.conf);
    arena_fini(&x.a);
    return status;
}
