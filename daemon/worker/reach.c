/* reach -- see reach.h.  Names are looked up by a hand; then the addresses are tried one after the other. */
#include "worker/reach.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/loop.h"
#include "worker/hand.h"

struct reach {
    struct loop *loop;
    char *address, *host, *port;
    struct addrinfo *found, *at;
    struct sockaddr_un path;
    int gai;
    struct hand *hand;
    int fd;
    struct loop_io *io;
    struct loop_timer timer;
    int last; /* errno of the address before */
    void (*done)(void *, struct err *);
    void *arg;
};

void
reach_drop(struct reach *r)
{
    if (!r)
        return;
    hand_drop(r->hand);
    loop_timer_stop(r->loop, &r->timer);
    loop_io_free(r->io);
    if (r->fd >= 0)
        close(r->fd);
    if (r->found)
        freeaddrinfo(r->found);
    free(r->address);
    free(r->host);
    free(r);
}

static void
finish(struct reach *r, const char *why)
{
    struct err *e = why ? err_new(ERR_LOST, "can't reach %s: %s", r->address, why) : NULL;
    void (*done)(void *, struct err *) = r->done;
    void *arg = r->arg;

    reach_drop(r);
    done(arg, e);
}

/* "connection refused", as a sentence goes on. */
static const char *
reason(int no)
{
    return no == ECONNREFUSED ? "connection refused" : no == ETIMEDOUT ? "connection timed out"
         : no == EHOSTUNREACH ? "no route to host" : no == ENETUNREACH ? "network is unreachable" : strerror(no);
}

static void try_next(struct reach *r);

static void
on_socket(void *arg, unsigned events)
{
    struct reach *r = arg;
    int no = 0;
    socklen_t n = sizeof no;

    if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &no, &n) < 0)
        no = errno;
    if (!no) {
        finish(r, NULL);
        return;
    }
    r->last = no;
    try_next(r);
}

/* 0: done, in a moment or now; else errno. */
static int
call(struct reach *r, int family, const struct sockaddr *to, socklen_t n)
{
    struct err *e;

    r->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0)
        return errno;
    if (connect(r->fd, to, n) < 0 && errno != EINPROGRESS)
        return errno;
    if ((e = loop_io_new(r->loop, r->fd, LOOP_OUT, on_socket, r, &r->io))) {
        err_free(e);
        return ENOMEM;
    }
    return 0;
}

static void
try_next(struct reach *r)
{
    for (;;) {
        loop_io_free(r->io);
        r->io = NULL;
        if (r->fd >= 0)
            close(r->fd);
        r->fd = -1;
        if (!r->at) {
            finish(r, reason(r->last));
            return;
        }
        struct addrinfo *a = r->at;
        r->at = a->ai_next;
        if (!(r->last = call(r, a->ai_family, a->ai_addr, a->ai_addrlen)))
            return;
    }
}

static void
look_up(void *arg)
{
    struct reach *r = arg;
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    struct addrinfo numeric = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };

    r->gai = getaddrinfo(r->host, r->port, &numeric, &r->found);
    if (r->gai)
        r->gai = getaddrinfo(r->host, r->port, &hints, &r->found);
}

static void
looked_up(void *arg)
{
    struct reach *r = arg;

    r->hand = NULL;
    if (!r->done) { /* nobody waits any more */
        reach_drop(r);
        return;
    }
    if (r->gai) {
        finish(r, gai_strerror(r->gai));
        return;
    }
    r->at = r->found;
    r->last = EADDRNOTAVAIL;
    try_next(r);
}

/* A name server may take longer than we do: then the hand frees r when it comes back. */
static void
on_timeout(void *arg)
{
    struct reach *r = arg;

    if (!r->hand) {
        finish(r, "connection timed out");
        return;
    }
    void (*done)(void *, struct err *) = r->done;
    r->done = NULL;
    done(r->arg, err_new(ERR_LOST, "can't reach %s: its name could not be looked up in time", r->address));
}

static void
on_bad(void *arg)
{
    struct reach *r = arg;

    finish(r, r->last ? reason(r->last) : "that is no \"host:port\"");
}

/* Into r->host and r->port. */
static bool
split(struct reach *r)
{
    char *colon;

    r->host = strdup(r->address);
    if (!r->host)
        abort();
    colon = strrchr(r->host, ':');
    if (!colon || colon == r->host || !colon[1])
        return false;
    *colon = 0;
    r->port = colon + 1;
    if (r->host[0] == '[' && colon[-1] == ']') {
        colon[-1] = 0;
        memmove(r->host, r->host + 1, strlen(r->host));
    }
    return true;
}

struct reach *
reach_start(struct loop *l, const char *address, uint64_t timeout_ns, void (*done)(void *arg, struct err *e),
            void *arg)
{
    struct reach *r = calloc(1, sizeof *r);

    if (!r || !(r->address = strdup(address)))
        abort();
    r->loop = l;
    r->fd = -1;
    r->done = done;
    r->arg = arg;
    if (!strncmp(address, "unix:", 5)) {
        r->path.sun_family = AF_UNIX;
        if (strlen(address + 5) < sizeof r->path.sun_path) {
            strcpy(r->path.sun_path, address + 5);
            r->last = call(r, AF_UNIX, (const struct sockaddr *)&r->path, sizeof r->path);
        } else {
            r->last = ENAMETOOLONG;
        }
        if (!r->last)
            loop_timer_start(l, &r->timer, loop_now(l) + timeout_ns, on_timeout, r);
        else
            loop_timer_start(l, &r->timer, 0, on_bad, r);
    } else if (split(r)) {
        r->hand = hand_start(l, look_up, looked_up, r);
        loop_timer_start(l, &r->timer, loop_now(l) + timeout_ns, on_timeout, r);
    } else {
        loop_timer_start(l, &r->timer, 0, on_bad, r);
    }
    return r;
}
