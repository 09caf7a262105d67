/* taskd-worker -- `taskd worker MASTER-URL`: options, TLS and token, then worker/worker.h on a loop. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/exe.h"
#include "common/identity.h"
#include "event/event.h"
#include "net/loop.h"
#include "rpc/rpc.h"
#include "worker/worker.h"

static const char usage[] =
    "usage: taskd worker [options] MASTER-URL\n\n"
    "Offers this host's cores and memory to the master at taskd://HOST[:PORT][,HOST[:PORT]...].\n\n"
    "      --host HOST               how others reach this one (127.0.0.1, or with TLS this host's name)\n"
    "  -c, --cores N                 cores to offer (all)\n"
    "  -m, --memory SIZE             memory to offer, as 8g (all but 1 GiB)\n"
    "  -d, --dir DIR                 work folder, for this worker alone (/var/lib/taskd/worker, or\n"
    "                                ~/.local/state/taskd/worker)\n"
    "  -p, --port PORT               of the shuffle service (any)\n"
    "      --tls-ca, --tls-cert, --tls-key FILE\n"
    "                                PEM files, as the keys taskd.ssl.ca, .cert, .key\n"
    "      --conf KEY=VALUE          set a key\n"
    "      --properties-file FILE    read keys from a file\n"
    "  -h, --help                    print this text\n";

#define DIAL_NS UINT64_C(2000000000) /* then another master has its turn */

struct app {
    struct arena a;
    struct conf *conf;
    struct identity identity;
    struct worker_opts o;
    bool help;
    const char *properties;
    struct loop *loop;
    struct rpc *rpc;
    struct worker *worker;
    struct event_json_sink log;
    struct err *why;
};

/* ---- the command line */

static struct err *
number(const char *name, const char *s, uint64_t least, uint64_t most, uint64_t *ret)
{
    char *end;

    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || end == s || *end || *s == '-' || v < least || v > most)
        return err_new(ERR_USAGE, "%s: \"%s\" is no number from %llu to %llu", name, s, (unsigned long long)least,
                       (unsigned long long)most);
    *ret = v;
    return NULL;
}

/* "8g", "512m"; a plain number is MiB, as Spark has it. */
static struct err *
size(const char *name, const char *s, uint64_t *ret)
{
    static const char units[] = "kmgt";
    char *end;

    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    const char *unit = *end ? strchr(units, *end | 0x20) : units + 1;
    unsigned shift = unit ? 10u * (unsigned)(unit - units + 1) : 0;
    if (*end)
        end++;
    if (*end == 'b' || *end == 'B')
        end++;
    if (errno || !unit || *end || *s == '-' || !v || v > UINT64_MAX >> shift)
        return err_new(ERR_USAGE, "%s: \"%s\" is no size, as 512m or 8g", name, s);
    *ret = (uint64_t)v << shift;
    return NULL;
}

enum { OPT_HOST = 256, OPT_CA, OPT_CERT, OPT_KEY, OPT_CONF, OPT_PROPERTIES };

static struct err *
option(struct app *x, int c, const char *value)
{
    uint64_t n;

    switch (c) {
    case 'h':
        x->help = true;
        return NULL;
    case 'c':
        TRY(number("--cores", value, 1, 1 << 16, &n));
        x->o.cores = (uint32_t)n;
        return NULL;
    case 'm':
        return size("--memory", value, &x->o.memory);
    case 'd':
        x->o.dir = value;
        return NULL;
    case 'p':
        TRY(number("--port", value, 0, 65535, &n));
        x->o.port = (uint16_t)n;
        return NULL;
    case OPT_HOST:
        x->o.host = value;
        return NULL;
    case OPT_CA:
        return conf_set(x->conf, CONF_FLAG, "taskd.ssl.ca", value, "--tls-ca");
    case OPT_CERT:
        return conf_set(x->conf, CONF_FLAG, "taskd.ssl.cert", value, "--tls-cert");
    case OPT_KEY:
        return conf_set(x->conf, CONF_FLAG, "taskd.ssl.key", value, "--tls-key");
    case OPT_CONF:
        return conf_set_pair(x->conf, CONF_FLAG, value, "--conf");
    default:
        x->properties = value;
        return NULL;
    }
}

static struct err *
parse(struct app *x, int argc, char **argv)
{
    static const struct option options[] = {
        { "host", required_argument, NULL, OPT_HOST },   { "cores", required_argument, NULL, 'c' },
        { "memory", required_argument, NULL, 'm' },      { "dir", required_argument, NULL, 'd' },
        { "port", required_argument, NULL, 'p' },        { "tls-ca", required_argument, NULL, OPT_CA },
        { "tls-cert", required_argument, NULL, OPT_CERT }, { "tls-key", required_argument, NULL, OPT_KEY },
        { "conf", required_argument, NULL, OPT_CONF },   { "properties-file", required_argument, NULL, OPT_PROPERTIES },
        { "help", no_argument, NULL, 'h' },              { 0 },
    };
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, ":c:m:d:p:h", options, NULL)) != -1) {
        if (c == '?' || c == ':')
            return err_hint(err_new(ERR_USAGE, c == ':' ? "\"%s\" needs a value" : "\"%s\" is not an option",
                                    argv[optind - 1]),
                            "`taskd worker --help` lists the options.");
        TRY(option(x, c, optarg));
    }
    if (x->help)
        return NULL;
    if (optind != argc - 1)
        return err_hint(err_new(ERR_USAGE, optind == argc ? "no master is given" : "more than one master is given"),
                        "taskd worker taskd://HOST:7077");
    x->o.master = argv[optind];
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

static const char *
default_dir(struct app *x)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (state && *state)
        return arena_printf(&x->a, "%s/taskd/worker", state);
    if (geteuid() == 0 || !home || !*home)
        return "/var/lib/taskd/worker";
    return arena_printf(&x->a, "%s/.local/state/taskd/worker", home);
}

static struct err *
fill_in(struct app *x, char **envp)
{
    struct sysinfo si;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    TRY(conf_load(x->conf, x->properties, envp));
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
        x->o.dir = default_dir(x);
    if (*x->o.dir != '/') {
        char *here = realpath(".", NULL);

        if (!here)
            return err_errno(errno, "finding the working folder");
        x->o.dir = arena_printf(&x->a, "%s/%s", here, x->o.dir);
        free(here);
    }
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
    TRY(loop_run(x->loop));
    return x->why;
}

static struct err *
run(struct app *x, int argc, char **argv, char **envp)
{
    TRY(parse(x, argc, argv));
    if (x->help) {
        fputs(usage, stdout);
        return fflush(stdout) == EOF ? err_errno(errno, "writing to standard output") : NULL;
    }
    TRY(fill_in(x, envp));
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
    struct err *e = run(&x, argc, argv, envp);
    int status = 0;

    if (e) {
        char *text = err_text(e);

        fprintf(stderr, "taskd worker: %s\n", text);
        status = err_code_exit(e->code);
        free(text);
        err_free(e);
    }
    conf_free(x.conf);
    arena_fini(&x.a);
    return status;
}
