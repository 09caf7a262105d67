/* hosts_proxy -- see hosts_proxy.h */
#include "hosts_proxy.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"

enum { BUFFER = 64 << 10 };

struct half { /* one direction */
    struct pair *pair;
    int from, to;
    char *p;
    size_t n, sent;
    bool hurt;
};
struct pair {
    struct proxy *proxy;
    struct pair *next;
    int fd[2]; /* client, server */
    struct loop_io *io[2];
    struct half half[2];
};
struct proxy {
    struct loop *l;
    struct proxy_opts o;
    int fd;
    uint16_t port;
    struct loop_io *io;
    struct pair *pairs;
    uint64_t state, next_flip, next_cut;
    struct proxy_stats stats;
};

/* About n on average, never the same. */
static uint64_t
some(struct proxy *p, uint64_t n)
{
    p->state = p->state * 6364136223846793005u + 1442695040888963407u;
    return n ? n / 2 + (p->state >> 11) % n : UINT64_MAX;
}

static void
pair_free(struct pair *k)
{
    struct pair **link = &k->proxy->pairs;

    while (*link != k)
        link = &(*link)->next;
    *link = k->next;
    for (int i = 0; i < 2; i++) {
        loop_io_free(k->io[i]);
        file_close(&k->fd[i]);
        free(k->half[i].p);
    }
    free(k);
}

/* False: the connection is to end here. */
static bool
hurt(struct proxy *p, struct half *h)
{
    uint64_t at = p->stats.bytes;

    p->stats.bytes += h->n;
    for (; p->next_flip < p->stats.bytes; p->next_flip += some(p, p->o.flip)) {
        if (p->next_flip >= at)
            h->p[p->next_flip - at] ^= (char)(1 << p->state % 8);
        p->stats.flips++;
    }
    if (p->next_cut >= p->stats.bytes)
        return true;
    p->next_cut = p->stats.bytes + some(p, p->o.cut);
    p->stats.cuts++;
    return false;
}

/* Moves what there is; false: over. */
static bool
move(struct half *h)
{
    for (int turn = 0; turn < 16; turn++) {
        if (h->sent == h->n) {
            ssize_t n = recv(h->from, h->p, BUFFER, 0);

            h->n = h->sent = 0;
            if (n <= 0)
                return n < 0 && (errno == EAGAIN || errno == EINTR);
            h->n = (size_t)n;
            if (h->hurt && !hurt(h->pair->proxy, h))
                return false;
        }
        ssize_t n = send(h->to, h->p + h->sent, h->n - h->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        h->sent += (size_t)n;
    }
    return true;
}

static void
on_ready(void *arg, unsigned events)
{
    struct pair *k = arg;

    if (!move(&k->half[0]) || !move(&k->half[1])) {
        pair_free(k);
        return;
    }
    for (int i = 0; i < 2; i++) /* reading from a side waits until the other one has taken what is there */
        loop_io_events(k->io[i], (k->half[i].sent == k->half[i].n ? LOOP_IN : 0u) |
                                     (k->half[1 - i].sent < k->half[1 - i].n ? LOOP_OUT : 0u));
}

static int
connect_to(uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS)
        file_close(&fd);
    return fd;
}

static void
on_connection(void *arg, unsigned events)
{
    struct proxy *p = arg;
    int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    struct pair *k = calloc(1, sizeof *k);
    if (!k)
        abort();
    *k = (struct pair){ .proxy = p, .next = p->pairs, .fd = { fd, connect_to(p->o.to) } };
    p->pairs = k;
    for (int i = 0; i < 2; i++) {
        k->half[i] = (struct half){ .pair = k, .from = k->fd[i], .to = k->fd[1 - i], .p = malloc(BUFFER), .hurt = i };
        if (!k->half[i].p)
            abort();
    }
    struct err *e = k->fd[1] < 0 ? err_new(ERR_LOST, "no server") : NULL;
    for (int i = 0; i < 2 && !e; i++)
        e = loop_io_new(p->l, k->fd[i], LOOP_IN, on_ready, k, &k->io[i]);
    if (e)
        pair_free(k);
    err_free(e);
}

struct err *
proxy_new(struct loop *l, const struct proxy_opts *o, struct proxy **ret)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    struct proxy *p = calloc(1, sizeof *p);

    if (!p)
        abort();
    *p = (struct proxy){ .l = l, .o = *o, .state = o->seed, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
    p->next_flip = some(p, o->flip);
    p->next_cut = some(p, o->cut);
    *ret = p;
    if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&a, n) < 0 || listen(p->fd, 64) < 0 ||
        getsockname(p->fd, (struct sockaddr *)&a, &n) < 0)
        return err_errno(errno, "making a proxy");
    p->port = ntohs(a.sin_port);
    return loop_io_new(l, p->fd, LOOP_IN, on_connection, p, &p->io);
}

void
proxy_free(struct proxy *p)
{
    if (!p)
        return;
    while (p->pairs)
        pair_free(p->pairs);
    loop_io_free(p->io);
    file_close(&p->fd);
    free(p);
}

uint16_t
proxy_port(const struct proxy *p)
{
    return p->port;
}

void
proxy_stats(const struct proxy *p, struct proxy_stats *ret)
{
    *ret = p->stats;
}
