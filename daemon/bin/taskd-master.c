/* taskd-master -- `taskd master`: options, TLS and token, then master/master.h behind lib/rpc. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "common/identity.h"
#include "event/event.h"
#include "master/master.h"
#include "net/loop.h"
#include "rpc/rpc.h"

static const char usage[] =
    "usage: taskd master [options]\n\n"
    "Runs the master of a cluster: workers offer it their cores, jobs ask it for executors.\n\n"
    "      --host HOST               address to listen at, and how others reach it (127.0.0.1; with TLS all\n"
    "                                addresses of this host)\n"
    "  -p, --port PORT               7077; 0 takes any\n"
    "  -d, --dir DIR                 its journal and blobs, for this master alone (/var/lib/taskd/master, or\n"
    "                                ~/.local/state/taskd/master)\n"
    "      --scheduler fair|fifo     how cores are shared between applications (fair)\n"
    "      --url-file FILE           write the URL there as soon as it listens; a file or a FIFO\n"
    "      --tls-ca, --tls-cert, --tls-key FILE\n"
    "                                PEM files, as the keys taskd.ssl.ca, .cert, .key\n"
    "      --conf KEY=VALUE          set a key\n"
    "      --properties-file FILE    read keys from a file\n"
    "  -h, --help                    print this text\n";

struct app {
    struct arena a;
    struct conf *conf;
    struct identity identity;
    const char *host, *bind, *dir, *url_file, *properties;
    uint16_t port;
    bool help;
    struct loop *loop;
    struct rpc *rpc;
    struct rpc_server *server;
    struct master *master;
    struct event_json_sink log;
    struct event_sink sink;
};

/* ---- the command line */

enum { OPT_HOST = 256, OPT_SCHEDULER, OPT_URL, OPT_CA, OPT_CERT, OPT_KEY, OPT_CONF, OPT_PROPERTIES };

static struct err *
port(const char *s, uint16_t *ret)
{
    char *end;

    errno = 0;
    unsigned long v = strtoul(s, &end, 10);
    if (errno || end == s || *end || *s == '-' || v > 65535)
        return err_new(ERR_USAGE, "--port: \"%s\" is no number from 0 to 65535", s);
    *ret = (uint16_t)v;
    return NULL;
}

static struct err *
option(struct app *x, int c, const char *value)
{
    switch (c) {
    case 'h':
        x->help = true;
        return NULL;
    case 'p':
        return port(value, &x->port);
    case 'd':
        x->dir = value;
        return NULL;
    case OPT_HOST:
        x->host = value;
        return NULL;
    case OPT_URL:
        x->url_file = value;
        return NULL;
    case OPT_SCHEDULER:
        return conf_set(x->conf, CONF_FLAG, "taskd.deploy.scheduler", value, "--scheduler");
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
        { "host", required_argument, NULL, OPT_HOST },     { "port", required_argument, NULL, 'p' },
        { "dir", required_argument, NULL, 'd' },           { "scheduler", required_argument, NULL, OPT_SCHEDULER },
        { "url-file", required_argument, NULL, OPT_URL },  { "tls-ca", required_argument, NULL, OPT_CA },
        { "tls-cert", required_argument, NULL, OPT_CERT }, { "tls-key", required_argument, NULL, OPT_KEY },
        { "conf", required_argument, NULL, OPT_CONF },     { "properties-file", required_argument, NULL, OPT_PROPERTIES },
        { "help", no_argument, NULL, 'h' },                { 0 },
    };
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, ":p:d:h", options, NULL)) != -1) {
        if (c == '?' || c == ':')
            return err_hint(err_new(ERR_USAGE, c == ':' ? "\"%s\" needs a value" : "\"%s\" is not an option",
                                    argv[optind - 1]),
                            "`taskd master --help` lists the options.");
        TRY(option(x, c, optarg));
    }
    if (!x->help && optind < argc)
        return err_new(ERR_USAGE, "\"%s\" is too much", argv[optind]);
    return NULL;
}

static const char *
default_dir(struct app *x)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (state && *state)
        return arena_printf(&x->a, "%s/taskd/master", state);
    if (geteuid() == 0 || !home || !*home)
        return "/var/lib/taskd/master";
    return arena_printf(&x->a, "%s/.local/state/taskd/master", home);
}

static struct err *
fill_in(struct app *x, char **envp)
{
    char name[256];

    TRY(conf_load(x->conf, x->properties, envp));
    TRY(identity_make(x->conf, &x->a, &x->identity));
    x->bind = x->host;
    if (!x->host && !x->identity.tls)
        x->bind = "127.0.0.1";
    else if (!x->host)
        x->bind = "0.0.0.0";
    x->host = x->bind;
    if ((!strcmp(x->bind, "0.0.0.0") || !strcmp(x->bind, "::")) && gethostname(name, sizeof name) == 0) {
        name[sizeof name - 1] = 0;
        x->host = arena_strdup(&x->a, name);
    }
    if (!x->dir)
        x->dir = default_dir(x);
    return tls_check_listen(x->bind, x->identity.tls);
}

/* ---- running */

static void
on_link(void *arg, struct link *l)
{
    struct app *x = arg;

    master_accept(x->master, l);
}

static void
on_signal(void *arg, int signo)
{
    loop_stop(arg);
}

/* A file whole or not at all: who waits for it reads no half of a line.  A FIFO as it is. */
static struct err *
write_url(const struct app *x, const char *line)
{
    struct arena a = { 0 };
    struct stat st;
    bool file = stat(x->url_file, &st) < 0 || S_ISREG(st.st_mode);
    const char *part = file ? arena_printf(&a, "%s.part", x->url_file) : x->url_file;
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    struct err *e = fd < 0 ? err_errno(errno, "opening \"%s\"", part) : file_write_full(fd, line, strlen(line), part);

    if (fd >= 0)
        close(fd);
    if (!e && file && rename(part, x->url_file) < 0)
        e = err_errno(errno, "renaming \"%s\"", part);
    arena_fini(&a);
    return e;
}

static struct err *
listen_now(struct app *x)
{
    const struct rpc_listen_opts o = { .host = x->bind, .port = x->port, .tls = x->identity.tls };

    TRY(rpc_listen(x->rpc, &o, on_link, x, &x->server));
    const char *url = arena_printf(&x->a, strchr(x->host, ':') ? "taskd://[%s]:%u" : "taskd://%s:%u", x->host,
                                   rpc_server_port(x->server));
    const char *line = arena_printf(&x->a, "%s\n", url);
    EMIT(&x->sink, master_up, .url = url, .epoch = master_epoch(x->master));
    if (fputs(line, stdout) == EOF || fflush(stdout) == EOF)
        return err_errno(errno, "writing to standard output");
    return x->url_file ? write_url(x, line) : NULL;
}

static struct err *
serve(struct app *x)
{
    static const int ends[] = { SIGTERM, SIGINT };
    struct master_opts o = { .dir = x->dir, .bind = x->bind, .host = x->host, .identity = &x->identity,
                             .log = &x->sink };

    signal(SIGPIPE, SIG_IGN);
    umask(077);
    o.fifo = !strcmp(conf_str(x->conf, CONF_DEPLOY_SCHEDULER), "fifo");
    TRY(loop_new(&x->loop));
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        TRY(loop_signal(x->loop, ends[i], on_signal, x->loop));
    TRY(rpc_new(x->loop, &x->rpc));
    event_json_init(&x->log, STDERR_FILENO, (struct event_origin){ .role = "master", .host = x->host },
                    EVENT_LEVEL_INFO);
    x->sink = event_json_sink(&x->log);
    TRY(master_new(x->loop, &o, &x->master));
    TRY(listen_now(x));
    return loop_run(x->loop);
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
    rpc_server_free(x->server);
    master_free(x->master);
    rpc_free(x->rpc);
    if (x->sink.put)
        event_json_fini(&x->log);
    if (x->loop)
        loop_free(x->loop);
    return e;
}

int
main(int argc, char **argv, char **envp)
{
    struct app x = { .conf = conf_new(), .port = 7077 };
    struct err *e = run(&x, argc, argv, envp);
    int status = 0;

    if (e) {
        char *text = err_text(e);

        fprintf(stderr, "taskd master: %s\n", text);
        status = err_code_exit(e->code);
        free(text);
        err_free(e);
    }
    conf_free(x.conf);
    arena_fini(&x.a);
    return status;
}
