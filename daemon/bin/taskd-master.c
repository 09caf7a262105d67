/* taskd-master -- `taskd master`: options, TLS and token, then master/master.h behind lib/rpc. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "common/args.h"
#include "common/host.h"
#include "common/identity.h"
#include "event/event.h"
#include "master/master.h"
#include "net/loop.h"
#include "rpc/rpc.h"

struct app {
    struct arena a;
    struct conf *conf;
    struct identity identity;
    const char *host, *bind, *dir, *url_file;
    uint64_t port;
    struct loop *loop;
    struct rpc *rpc;
    struct rpc_server *server;
    struct master *master;
    struct event_json_sink log;
    struct event_sink sink;
};

static struct err *
parse(struct app *x, struct args *args, int argc, char **argv)
{
    const struct args_option options[] = {
        { .name = "host", .value = "HOST", .text = &x->host,
          .help = "address to listen at, and how others reach it (127.0.0.1; with TLS\nall addresses of this host)" },
        { .name = "port", .value = "PORT", .letter = 'p', .number = &x->port, .most = 65535, .help = "7077; 0 takes any" },
        { .name = "dir", .value = "DIR", .letter = 'd', .text = &x->dir,
          .help = "its journal and blobs, for this master alone\n(/var/lib/taskd/master, or ~/.local/state/taskd/master)" },
        { .name = "scheduler", .value = "fair|fifo", .key = "taskd.deploy.scheduler",
          .help = "how cores are shared between applications (fair)" },
        { .name = "url-file", .value = "FILE", .text = &x->url_file,
          .help = "write the URL there as soon as it listens; a file or a FIFO" },
        { 0 },
    };

    TRY(args_parse(args, options, x->conf, argc, argv));
    if (!args->help && *args->rest)
        return args_hint(args, err_new(ERR_USAGE, "\"%s\" is too much", *args->rest));
    return NULL;
}

static struct err *
fill_in(struct app *x, const struct args *args, char **envp)
{
    char name[256];

    TRY(conf_load(x->conf, args->properties, envp));
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
        x->dir = args_state_dir(args, &x->a);
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
    const struct rpc_listen_opts o = { .host = x->bind, .port = (uint16_t)x->port, .tls = x->identity.tls };

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
    o.port = (uint16_t)conf_int(x->conf, CONF_MASTER_BULK_PORT);
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
    if (x->identity.tls) /* others are meant to come in */
        host_warn(&x->sink, x->bind);
    return loop_run(x->loop);
}

static struct err *
run(struct app *x, struct args *args, int argc, char **argv, char **envp)
{
    TRY(parse(x, args, argc, argv));
    if (args->help)
        return NULL;
    TRY(fill_in(x, args, envp));
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
    struct args args = { .verb = "master", .usage = "usage: taskd master [options]\n\n"
        "Runs the master of a cluster: workers offer it their cores, jobs ask it for executors.\n" };
    int status = args_end(&args, run(&x, &args, argc, argv, envp));

    conf_free(x.conf);
    arena_fini(&x.a);
    return status;
}
