/* bulk_server -- listening, who may come in, and how long they may stay. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spread.h"
#include "net/bulk_server_priv.h"

enum { BACKLOG = 512, ACCEPTS = 32 };
#define PAUSE_NS 100000000u

/* ---- connections */

static struct in6_addr
peer_of(const struct sockaddr_storage *a)
{
    struct in6_addr ret = { 0 };

    if (a->ss_family == AF_INET6)
        return ((const struct sockaddr_in6 *)a)->sin6_addr;
    ret.s6_addr[10] = ret.s6_addr[11] = 0xff;
    if (a->ss_family == AF_INET)
        memcpy(&ret.s6_addr[12], &((const struct sockaddr_in *)a)->sin_addr, 4);
    return ret;
}

static bool
is_loopback(const struct in6_addr *a)
{
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

static bool
has_room(const struct bulk_server *s, const struct in6_addr *from)
{
    unsigned same = 0, most = s->max / 4 ? s->max / 4 : 1;

    if (s->stats.connections >= s->max)
        return false;
    for (const struct bulk_conn *c = s->conns; c; c = c->next)
        same += memcmp(&c->from, from, sizeof *from) == 0;
    return same < most;
}

static void
on_deadline(void *arg)
{
    struct bulk_conn *c = arg;

    if (loop_now(c->s->l) < c->deadline) { /* it was moved while the timer ran */
        loop_timer_start(c->s->l, &c->timer, c->deadline, on_deadline, c);
        return;
    }
    if (!c->app)
        c->s->stats.refused++;
    bulk__conn_close(c);
}

void
bulk__conn_alive(struct bulk_conn *c)
{
    c->deadline = loop_now(c->s->l) + (c->app ? c->s->idle_ns : c->s->auth_ns);
    c->moved = 0;
}

void
bulk__conn_close(struct bulk_conn *c)
{
    struct bulk_server *s = c->s;

    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    s->stats.connections--;
    loop_timer_stop(s->l, &c->timer);
    loop_io_free(c->watch);
    bulk__stream_close(&c->io);
    for (; c->asks; c->asks--, c->head = (c->head + 1) % BULK_QUEUE)
        free(c->ask[c->head].name);
    buf_fini(&c->out);
    file_close(&c->file);
    free(c->file_name);
    free(c);
}

static struct err *
take_in(struct bulk_server *s, int fd, const struct in6_addr *from)
{
    struct bulk_conn *c = calloc(1, sizeof *c);
    struct bulk_hello hello = { .version = BULK_VERSION };
    int one = 1;

    if (!c)
        abort();
    *c = (struct bulk_conn){ .s = s, .file = -1, .from = *from, .next = s->conns, .link = &s->conns, .events = LOOP_IN };
    if (s->conns)
        s->conns->link = &c->next;
    s->conns = c;
    s->stats.connections++;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (is_loopback(from)) /* a pacing algorithm (bbr) halves it there */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    struct err *e = bulk__stream_open(&c->io, fd, s->tls, true);
    if (!e)
        e = bulk__nonce(c->nonce);
    if (!e)
        e = loop_io_new(s->l, fd, LOOP_IN, bulk__conn_ready, c, &c->watch);
    if (e) {
        bulk__conn_close(c);
        return e;
    }
    memcpy(hello.nonce, c->nonce, sizeof hello.nonce);
    bulk__put_hello(&c->out, &hello);
    bulk__conn_alive(c);
    loop_timer_start(s->l, &c->timer, c->deadline, on_deadline, c);
    bulk__conn_pump(c);
    return NULL;
}

static void
on_pause_end(void *arg)
{
    struct bulk_server *s = arg;

    loop_io_events(s->watch, LOOP_IN);
}

static void
on_connection(void *arg, unsigned events)
{
    struct bulk_server *s = arg;

    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage a = { 0 };
        socklen_t n = sizeof a;
        int fd = accept4(s->fd, (struct sockaddr *)&a, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EAGAIN)
                return;
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                loop_io_events(s->watch, 0); /* it would be called again and again */
                loop_timer_start(s->l, &s->pause, loop_now(s->l) + PAUSE_NS, on_pause_end, s);
                return;
            }
            continue; /* the peer was gone before we looked */
        }
        struct in6_addr from = peer_of(&a);
        if (!has_room(s, &from)) {
            s->stats.refused++;
            close(fd);
            continue;
        }
        err_free(take_in(s, fd, &from)); /* the peer sees it closed, and tries again later */
    }
}

/* ---- the server */

static struct err *
listen_on(struct bulk_server *s, const char *host, uint16_t port)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    int one = 1;
    char address[300];

    snprintf(address, sizeof address, strchr(host, ':') && host[0] != '[' ? "[%s]:%u" : "%s:%u", host, port);
    TRY(bulk__resolve(address, &a, &n));
    s->fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        return err_errno(errno, "making a socket");
    (void)setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(s->fd, (struct sockaddr *)&a, n) < 0 || listen(s->fd, BACKLOG) < 0)
        return err_errno(errno, "listening on %s", address);
    n = sizeof a;
    if (getsockname(s->fd, (struct sockaddr *)&a, &n) < 0)
        return err_errno(errno, "asking for the port of %s", address);
    s->port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
    return loop_io_new(s->l, s->fd, LOOP_IN, on_connection, s, &s->watch);
}

/* A closed peer must not end the process: sendfile() has no MSG_NOSIGNAL. */
static void
ignore_sigpipe(void)
{
    struct sigaction sa;

    if (sigaction(SIGPIPE, NULL, &sa) == 0 && !(sa.sa_flags & SA_SIGINFO) && sa.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

struct err *
bulk_server_new(struct loop *l, const struct bulk_server_opts *o, struct bulk_server **ret)
{
    TRY(tls_check_listen(o->host, o->tls));
    struct bulk_server *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    *s = (struct bulk_server){ .l = l, .fd = -1, .max = o->max_connections ? o->max_connections : 1024,
                               .idle_ns = o->idle_ns ? o->idle_ns : 60000000000u,
                               .auth_ns = o->idle_ns && o->idle_ns < 5000000000u ? o->idle_ns : 5000000000u };
    ignore_sigpipe();
    struct err *e = bulk__tls_new(o->tls, true, &s->tls);
    if (!e)
        e = listen_on(s, o->host, o->port);
    if (e)
        bulk_server_free(s);
    else
        *ret = s;
    return err_wrap_take(e, "starting the bulk server");
}

void
bulk_server_free(struct bulk_server *s)
{
    if (!s)
        return;
    loop_timer_stop(s->l, &s->pause);
    while (s->conns)
        bulk__conn_close(s->conns);
    while (s->apps)
        bulk_server_remove(s, s->apps->name);
    loop_io_free(s->watch);
    file_close(&s->fd);
    bulk__tls_free(s->tls);
    free(s);
}

uint16_t
bulk_server_port(const struct bulk_server *s)
{
    return s->port;
}

void
bulk_server_stats(const struct bulk_server *s, struct bulk_server_stats *ret)
{
    *ret = s->stats;
}

/* ---- apps */

struct bulk_app *
bulk__app_of(struct bulk_server *s, const char *name)
{
    struct bulk_app *a = s->apps;

    while (a && strcmp(a->name, name) != 0)
        a = a->next;
    return a;
}

static void
close_connections(struct bulk_server *s, const struct bulk_app *a)
{
    for (struct bulk_conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        if (c->app == a)
            bulk__conn_close(c);
    }
}

static void
close_folders(struct bulk_app *a)
{
    while (a->n_dir)
        file_close(&a->dir[--a->n_dir]);
    free(a->dir);
    a->dir = NULL;
}

static struct err *
open_folders(struct bulk_app *a, const char *dir)
{
    unsigned n = 1 + spread_count(dir);
    struct buf path = { 0 };
    struct err *e = NULL;

    a->dir = calloc(n, sizeof *a->dir);
    if (!a->dir)
        abort();
    for (unsigned i = 0; !e && i < n; i++) {
        path.n = 0;
        spread_path(dir, i, &path);
        int fd = open(path.p, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            a->dir[a->n_dir++] = fd;
        else if (!i) /* one of the others: what lies there is lost, the rest is not */
            e = err_errno(errno, "opening \"%s\" to serve its files", path.p);
    }
    buf_fini(&path);
    if (e)
        close_folders(a);
    return e;
}

struct err *
bulk_server_add(struct bulk_server *s, const char *app, const char *dir, const unsigned char secret[BULK_SECRET])
{
    struct bulk_app *a = bulk__app_of(s, app);

    if (!*app || strlen(app) > BULK_APP_MAX)
        return err_new(ERR_LIMIT, "the name of an application has 1 to %d bytes", BULK_APP_MAX);
    struct bulk_app now = { 0 };
    TRY(open_folders(&now, dir));
    if (!a) {
        a = calloc(1, sizeof *a);
        if (!a || !(a->name = strdup(app)))
            abort();
        a->next = s->apps;
        s->apps = a;
    } else if (!bulk__same(a->secret, secret)) {
        close_connections(s, a);
    }
    close_folders(a);
    a->dir = now.dir;
    a->n_dir = now.n_dir;
    memcpy(a->secret, secret, BULK_SECRET);
    return NULL;
}

void
bulk_server_remove(struct bulk_server *s, const char *app)
{
    struct bulk_app **link = &s->apps, *a;

    while ((a = *link) && strcmp(a->name, app) != 0)
        link = &a->next;
    if (!a)
        return;
    *link = a->next;
    close_connections(s, a);
    close_folders(a);
    bulk__wipe(a->secret, sizeof a->secret);
    free(a->name);
    free(a);
}
