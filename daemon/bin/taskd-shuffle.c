/* taskd-shuffle -- `taskd shuffle`: the bulk server alone, for hosts whose executors are not started by a worker. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "common/args.h"
#include "common/identity.h"
#include "net/bulk.h"
#include "net/loop.h"

static const char usage[] =
    "usage: taskd shuffle [options] --dir DIR --app APP --secret-file FILE\n"
    "       taskd shuffle [options] --apps DIR\n\n"
    "Serves the files below a folder, such as map outputs, to those who know the application's secret: 64 hexadecimal\n"
    "digits, or 32 bytes, in a file that only its owner may read.  With --apps each folder DIR/APP is an application,\n"
    "its secret is DIR/APP/secret and its files are below DIR/APP/blocks, as in a worker's folder of applications; SIGHUP\n"
    "looks for new and removed ones.\n";

struct service {
    struct arena a;
    struct conf *conf;
    struct identity identity;
    struct bulk_server_opts o;
    const char *dir, *app, *secret_file, *apps;
    struct loop *loop;
    struct bulk_server *server;
    struct served {
        char *name;
        bool there;
        struct served *next;
    } *served;
};

static struct err *
parse(struct service *x, struct args *args, int argc, char **argv)
{
    uint64_t port = 7337, connections = 0;
    const struct args_option options[] = {
        { .name = "host", .value = "HOST", .text = &x->o.host, .help = "address to listen on (127.0.0.1; others need TLS files)" },
        { .name = "port", .value = "PORT", .letter = 'p', .number = &port, .most = 65535, .help = "0: any (7337)" },
        { .name = "dir", .value = "DIR", .text = &x->dir, .help = "folder to serve" },
        { .name = "app", .value = "APP", .text = &x->app, .help = "application it belongs to" },
        { .name = "secret-file", .value = "FILE", .text = &x->secret_file, .help = "its secret" },
        { .name = "apps", .value = "DIR", .text = &x->apps, .help = "folder of applications" },
        { .name = "max-connections", .value = "N", .number = &connections, .most = 1000000,
          .help = "of one address at most a quarter of them (1024)" },
        { 0 },
    };

    TRY(args_parse(args, options, x->conf, argc, argv));
    if (args->help)
        return NULL;
    x->o.port = (uint16_t)port;
    x->o.max_connections = (unsigned)connections;
    bool one = x->dir && x->app && x->secret_file, any = x->dir || x->app || x->secret_file;
    if (!*args->rest && (x->apps ? !any : one))
        return NULL;
    return args_hint(args, err_new(ERR_USAGE, "what to serve is --dir, --app and --secret-file together, or --apps alone"));
}

/* ---- what is served */

static int
digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

static struct err *
read_secret(const char *path, unsigned char ret[BULK_SECRET])
{
    struct buf b = { 0 };
    struct stat st;
    bool good = true;

    if (stat(path, &st) == 0 && (st.st_mode & 077))
        return err_hint(err_new(ERR_CONFIG, "the secret file \"%s\" may be read by others (mode %04o)", path,
                                (unsigned)(st.st_mode & 07777)),
                        "chmod 600 \"%s\", and make a new secret if somebody may have read it.", path);
    struct err *e = file_slurp(path, 256, &b);
    if (!e && b.n == BULK_SECRET) { /* as a worker leaves it */
        memcpy(ret, b.p, BULK_SECRET);
    } else if (!e) {
        while (b.n && (b.p[b.n - 1] == '\n' || b.p[b.n - 1] == '\r'))
            b.n--;
        good = b.n == 2 * BULK_SECRET;
        for (size_t i = 0; good && i < BULK_SECRET; i++) {
            int hi = digit(b.p[2 * i]), lo = digit(b.p[2 * i + 1]);

            good = hi >= 0 && lo >= 0;
            ret[i] = (unsigned char)(hi << 4 | lo);
        }
        if (!good)
            e = err_new(ERR_CONFIG, "the secret file \"%s\" does not hold %d hexadecimal digits", path, 2 * BULK_SECRET);
    }
    if (b.p)
        explicit_bzero(b.p, b.cap);
    buf_fini(&b);
    return e;
}

static struct err *
serve_one(struct service *x, const char *app, const char *dir, const char *secret_file)
{
    unsigned char secret[BULK_SECRET];
    struct err *e = read_secret(secret_file, secret);

    if (!e)
        e = bulk_server_add(x->server, app, dir, secret);
    explicit_bzero(secret, sizeof secret);
    return e;
}

static void
complain(struct err *e)
{
    char *text = err_text(e);

    fprintf(stderr, "taskd shuffle: %s\n", text);
    free(text);
    err_free(e);
}

static void
seen(struct service *x, const char *name)
{
    struct served *s = x->served;

    while (s && strcmp(s->name, name) != 0)
        s = s->next;
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s || !(s->name = strdup(name)))
            abort();
        s->next = x->served;
        x->served = s;
        fprintf(stderr, "taskd shuffle: serves application %s\n", name);
    }
    s->there = true;
}

/* One bad application does not keep the others from being served. */
static struct err *
scan(struct service *x)
{
    struct arena a = { 0 };
    DIR *d = opendir(x->apps);
    struct dirent *f;

    if (!d)
        return err_errno(errno, "reading the folder of applications \"%s\"", x->apps);
    for (struct served *s = x->served; s; s = s->next)
        s->there = false;
    while ((f = readdir(d))) {
        char *secret = arena_printf(&a, "%s/%s/secret", x->apps, f->d_name);

        if (f->d_name[0] == '.' || access(secret, F_OK) != 0)
            continue;
        struct err *e = serve_one(x, f->d_name, arena_printf(&a, "%s/%s/blocks", x->apps, f->d_name), secret);
        if (e)
            complain(e);
        else
            seen(x, f->d_name);
    }
    closedir(d);
    arena_fini(&a);
    for (struct served **link = &x->served, *s; (s = *link);) {
        if (s->there) {
            link = &s->next;
            continue;
        }
        bulk_server_remove(x->server, s->name);
        fprintf(stderr, "taskd shuffle: application %s is gone\n", s->name);
        *link = s->next;
        free(s->name);
        free(s);
    }
    return NULL;
}

/* ---- running */

static void
on_hangup(void *arg, int signo)
{
    struct service *x = arg;
    struct err *e = x->apps ? scan(x) : serve_one(x, x->app, x->dir, x->secret_file);

    if (e)
        complain(e);
}

static void
on_end(void *arg, int signo)
{
    struct service *x = arg;

    loop_stop(x->loop);
}

static struct err *
serve(struct service *x)
{
    TRY(loop_new(&x->loop));
    TRY(loop_signal(x->loop, SIGTERM, on_end, x));
    TRY(loop_signal(x->loop, SIGINT, on_end, x));
    TRY(loop_signal(x->loop, SIGHUP, on_hangup, x));
    TRY(bulk_server_new(x->loop, &x->o, &x->server));
    TRY(x->apps ? scan(x) : serve_one(x, x->app, x->dir, x->secret_file));
    printf("taskd shuffle: listens on %s port %u\n", x->o.host, bulk_server_port(x->server));
    if (fflush(stdout) == EOF)
        return err_errno(errno, "writing to standard output");
    return loop_run(x->loop);
}

static struct err *
run(struct service *x, struct args *args, int argc, char **argv, char **envp)
{
    TRY(parse(x, args, argc, argv));
    if (args->help)
        return NULL;
    TRY(conf_load(x->conf, args->properties, envp));
    TRY(identity_load(x->conf, &x->a, &x->identity));
    x->o.tls = x->identity.tls;
    struct err *e = serve(x);
    bulk_server_free(x->server);
    loop_free(x->loop);
    for (struct served *s; (s = x->served);) {
        x->served = s->next;
        free(s->name);
        free(s);
    }
    return e;
}

int
main(int argc, char **argv, char **envp)
{
    struct service x = { .conf = conf_new(), .o = { .host = "127.0.0.1" } };
    struct args args = { .verb = "shuffle", .usage = usage };
    int status = args_end(&args, run(&x, &args, argc, argv, envp));

    conf_free(x.conf);
    arena_fini(&x.a);
    return status;
}
