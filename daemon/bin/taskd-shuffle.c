/* taskd-shuffle -- `taskd shuffle`: the bulk server alone, for hosts whose executors are not started by a worker. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "common/identity.h"
#include "net/bulk.h"
#include "net/loop.h"

static const char usage[] =
    "usage: taskd shuffle [options] --dir DIR --app APP --secret-file FILE\n"
    "       taskd shuffle [options] --apps DIR\n\n"
    "Serves the files below a folder, such as map outputs, to those who know the application's secret: 64 hexadecimal\n"
    "digits, or 32 bytes, in a file that only its owner may read.  With --apps each folder DIR/APP is an application,\n"
    "its secret is DIR/APP/secret and its files are below DIR/APP/blocks, as in a worker's folder of applications; SIGHUP\n"
    "looks for new and removed ones.\n\n"
    "      --host HOST               address to listen on (127.0.0.1; others need TLS files)\n"
    "  -p, --port PORT               0: any (7337)\n"
    "      --dir DIR                 folder to serve\n"
    "      --app APP                 application it belongs to\n"
    "      --secret-file FILE        its secret\n"
    "      --apps DIR                folder of applications\n"
    "      --max-connections N       of one address at most a quarter of them (1024)\n"
    "      --conf KEY=VALUE          set a key, such as taskd.ssl.ca, .cert and .key\n"
    "      --properties-file FILE    read keys from a file\n"
    "  -h, --help                    print this text\n";

struct service {
    struct arena a;
    struct conf *conf;
    struct identity identity;
    struct bulk_server_opts o;
    const char *dir, *app, *secret_file, *apps, *properties;
    bool help;
    struct loop *loop;
    struct bulk_server *server;
    struct served {
        char *name;
        bool there;
        struct served *next;
    } *served;
};

/* ---- the command line */

enum { OPT_HOST = 256, OPT_DIR, OPT_APP, OPT_SECRET, OPT_APPS, OPT_MAX, OPT_CONF, OPT_PROPERTIES };

static struct err *
number(const char *name, const char *s, unsigned long most, unsigned long *ret)
{
    char *end;

    errno = 0;
    unsigned long v = strtoul(s, &end, 10);
    if (errno || end == s || *end || *s == '-' || v > most)
        return err_new(ERR_USAGE, "%s: \"%s\" is no number from 0 to %lu", name, s, most);
    *ret = v;
    return NULL;
}

static struct err *
option(struct service *x, int c, const char *value)
{
    unsigned long n;

    switch (c) {
    case 'h': x->help = true; break;
    case 'p':
        TRY(number("--port", value, 65535, &n));
        x->o.port = (uint16_t)n;
        break;
    case OPT_HOST: x->o.host = value; break;
    case OPT_DIR: x->dir = value; break;
    case OPT_APP: x->app = value; break;
    case OPT_SECRET: x->secret_file = value; break;
    case OPT_APPS: x->apps = value; break;
    case OPT_MAX:
        TRY(number("--max-connections", value, 1000000, &n));
        x->o.max_connections = (unsigned)n;
        break;
    case OPT_CONF: return conf_set_pair(x->conf, CONF_FLAG, value, "--conf");
    default: x->properties = value; break;
    }
    return NULL;
}

static struct err *
parse(struct service *x, int argc, char **argv)
{
    static const struct option options[] = {
        { "host", required_argument, NULL, OPT_HOST },   { "port", required_argument, NULL, 'p' },
        { "dir", required_argument, NULL, OPT_DIR },     { "app", required_argument, NULL, OPT_APP },
        { "secret-file", required_argument, NULL, OPT_SECRET }, { "apps", required_argument, NULL, OPT_APPS },
        { "max-connections", required_argument, NULL, OPT_MAX },
        { "conf", required_argument, NULL, OPT_CONF },   { "properties-file", required_argument, NULL, OPT_PROPERTIES },
        { "help", no_argument, NULL, 'h' },              { 0 },
    };
    int c;

    opterr = 0;
    while ((c = getopt_long(argc, argv, ":p:h", options, NULL)) != -1) {
        if (c == '?' || c == ':')
            return err_hint(err_new(ERR_USAGE, c == ':' ? "\"%s\" needs a value" : "\"%s\" is not an option",
                                    argv[optind - 1]),
                            "`taskd shuffle --help` lists the options.");
        TRY(option(x, c, optarg));
    }
    bool one = x->dir && x->app && x->secret_file, any = x->dir || x->app || x->secret_file;
    if (x->help || (optind == argc && (x->apps ? !any : one)))
        return NULL;
    return err_hint(err_new(ERR_USAGE, "what to serve is --dir, --app and --secret-file together, or --apps alone"),
                    "`taskd shuffle --help` lists the options.");
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
run(struct service *x, int argc, char **argv, char **envp)
{
    TRY(parse(x, argc, argv));
    if (x->help) {
        fputs(usage, stdout);
        return fflush(stdout) == EOF ? err_errno(errno, "writing to standard output") : NULL;
    }
    TRY(conf_load(x->conf, x->properties, envp));
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
    struct service x = { .conf = conf_new(), .o = { .host = "127.0.0.1", .port = 7337 } };
    struct err *e = run(&x, argc, argv, envp);
    int status = e ? err_code_exit(e->code) : 0;

    if (e)
        complain(e);
    conf_free(x.conf);
    arena_fini(&x.a);
    return status;
}
