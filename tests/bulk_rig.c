/* bulk_rig -- see bulk.h */
#include "bulk.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "net/bulk_priv.h"

/* ---- the loop */

struct until {
    struct rig *r;
    bool (*cond)(void *arg);
    void *arg;
    bool late;
};

static bool
until_work(void *arg)
{
    struct until *u = arg;

    if (u->cond(u->arg))
        loop_stop(u->r->l);
    return false;
}

static void
until_late(void *arg)
{
    struct until *u = arg;

    u->late = true;
    loop_stop(u->r->l);
}

static bool
never(void *arg)
{
    return false;
}

static void
nothing(void *arg)
{
}

void
rig_until(struct rig *r, bool (*cond)(void *arg), void *arg)
{
    struct until u = { r, cond, arg, false };
    struct loop_poll p = { .work = until_work, .arm = never, .disarm = nothing, .arg = &u };
    struct loop_timer guard = { 0 };

    loop_poll_add(r->l, &p);
    loop_timer_start(r->l, &guard, loop_now(r->l) + 20000000000u, until_late, &u);
    if (!cond(arg))
        NO_ERR(loop_run(r->l));
    loop_timer_stop(r->l, &guard);
    loop_poll_remove(r->l, &p);
    CU_ASSERT_FATAL(!u.late);
}

struct bulk_server_stats
rig_stats(struct rig *r)
{
    struct bulk_server_stats s;

    bulk_server_stats(r->s, &s);
    return s;
}

struct stat_cond {
    struct rig *r;
    uint64_t want;
};

static bool
refused(void *arg)
{
    struct stat_cond *c = arg;

    return rig_stats(c->r).refused >= c->want;
}

static bool
connections(void *arg)
{
    struct stat_cond *c = arg;

    return rig_stats(c->r).connections == c->want;
}

void
rig_until_refused(struct rig *r, uint64_t n)
{
    struct stat_cond c = { r, n };

    rig_until(r, refused, &c);
    EQ_U64(rig_stats(r).refused, n);
}

void
rig_until_connections(struct rig *r, uint32_t n)
{
    struct stat_cond c = { r, n };

    rig_until(r, connections, &c);
}

/* ---- server, client, folder */

void
rig_server(struct rig *r, const struct bulk_server_opts *so)
{
    struct bulk_server_opts o = so ? *so : (struct bulk_server_opts){ 0 };

    if (!o.host)
        o.host = "127.0.0.1";
    if (!o.tls)
        o.tls = r->tls;
    NO_ERR(bulk_server_new(r->l, &o, &r->s));
    CU_ASSERT_FATAL(r->s != NULL);
    NO_ERR(bulk_server_add(r->s, "app", r->dir, r->secret));
    snprintf(r->address, sizeof r->address, "127.0.0.1:%u", bulk_server_port(r->s));
}

void
rig_client(struct rig *r, const struct bulk_client_opts *co)
{
    struct bulk_client_opts o = co ? *co : (struct bulk_client_opts){ 0 };

    if (!o.app) {
        o.app = "app";
        memcpy(o.secret, r->secret, sizeof o.secret);
    }
    if (!o.backoff_ns)
        o.backoff_ns = 2000000;
    if (!o.tls)
        o.tls = r->tls;
    NO_ERR(bulk_client_new(r->l, &o, &r->c));
    CU_ASSERT_FATAL(r->c != NULL);
}

void
rig_init(struct rig *r, const struct bulk_server_opts *so, const struct bulk_client_opts *co)
{
    const struct tls_files *tls = so ? so->tls : NULL;

    *r = (struct rig){ .tls = tls };
    strcpy(r->dir, "/tmp/taskd-bulk-XXXXXX");
    CU_ASSERT_FATAL(mkdtemp(r->dir) != NULL);
    memset(r->secret, 0x5a, sizeof r->secret);
    NO_ERR(loop_new(&r->l));
    rig_server(r, so);
    rig_client(r, co);
}

void
rig_fini(struct rig *r)
{
    bulk_client_free(r->c);
    bulk_server_free(r->s);
    loop_free(r->l);
    NO_ERR(file_remove_tree(r->dir));
}

unsigned char
rig_byte(uint64_t at, unsigned seed)
{
    return (unsigned char)((at * 2654435761u + seed * 40503u) >> 11 ^ at);
}

void
rig_file(struct rig *r, const char *name, size_t n, unsigned seed)
{
    char path[200];
    unsigned char *p = malloc(n + 1);

    CU_ASSERT_FATAL(p != NULL);
    for (size_t i = 0; i < n; i++)
        p[i] = rig_byte(i, seed);
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    NO_ERR(file_write_full(fd, p, n, path));
    close(fd);
    free(p);
}

/* ---- gets */

static void
on_done(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct got *g = arg;

    CU_ASSERT(!g->done);
    g->done = true;
    g->e = e;
    g->got = got;
    g->size = size;
    if (g->count)
        ++*g->count;
}

void
rig_start(struct rig *r, const char *name, uint64_t offset, uint64_t length, struct got *g)
{
    rig_start_at(r, name, offset, length, offset == BULK_TAIL ? 0 : offset, g);
}

void
rig_start_at(struct rig *r, const char *name, uint64_t offset, uint64_t length, uint64_t at, struct got *g)
{
    unsigned *count = g->count;

    *g = (struct got){ .fd = memfd_create("target", MFD_CLOEXEC), .count = count };
    CU_ASSERT_FATAL(g->fd >= 0);
    struct bulk_get get = { .host = r->address, .name = name, .offset = offset, .length = length, .fd = g->fd,
                            .at = at, .done = on_done, .arg = g };
    bulk_get(r->c, &get);
    CU_ASSERT(!g->done);
}

static bool
is_done(void *arg)
{
    return ((struct got *)arg)->done;
}

void
rig_wait(struct rig *r, struct got *g)
{
    rig_until(r, is_done, g);
}

void
rig_get(struct rig *r, const char *name, uint64_t offset, uint64_t length, struct got *g)
{
    rig_start(r, name, offset, length, g);
    rig_wait(r, g);
}

void
rig_check(struct got *g, uint64_t at, uint64_t offset, uint64_t n, unsigned seed)
{
    unsigned char *p = malloc(n + 1);
    uint64_t wrong = 0;

    CU_ASSERT_FATAL(p != NULL);
    CU_ASSERT(pread(g->fd, p, n, (off_t)at) == (ssize_t)n);
    for (uint64_t i = 0; i < n; i++)
        wrong += p[i] != rig_byte(offset + i, seed);
    EQ_U64(wrong, 0);
    free(p);
}

void
got_fini(struct got *g)
{
    NO_ERR(g->e);
    g->e = NULL;
    close(g->fd);
}

/* ---- connections of our own */

int
rig_connect(struct rig *r)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(bulk_server_port(r->s)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CU_ASSERT_FATAL(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    CU_ASSERT_FATAL(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

struct reading {
    int fd;
    char *p;
    size_t n;
    bool over;
};

static bool
read_some(void *arg)
{
    struct reading *d = arg;
    ssize_t n = 0;

    while (d->n && (n = recv(d->fd, d->p, d->n, 0)) > 0) {
        d->p += n;
        d->n -= (size_t)n;
    }
    d->over = d->n && (n == 0 || (n < 0 && errno != EAGAIN));
    return d->over || !d->n;
}

static void
on_bytes(void *arg, unsigned events)
{
}

bool
rig_read(struct rig *r, int fd, void *p, size_t n)
{
    struct reading d = { fd, p, n, false };
    struct loop_io *io = NULL;

    NO_ERR(loop_io_new(r->l, fd, LOOP_IN, on_bytes, NULL, &io));
    rig_until(r, read_some, &d);
    loop_io_free(io);
    return !d.over;
}

void
rig_write(int fd, const void *p, size_t n)
{
    CU_ASSERT(send(fd, p, n, MSG_NOSIGNAL) == (ssize_t)n);
}

int
rig_admitted(struct rig *r)
{
    struct bulk_hello h;
    struct bulk_auth a = { .version = BULK_VERSION, .app = "app" };
    struct bulk_verdict v;
    struct buf b = { 0 };
    char in[BULK_HELLO_BYTES];
    size_t used;
    int fd = rig_connect(r);

    CU_ASSERT(rig_read(r, fd, in, BULK_HELLO_BYTES));
    CU_ASSERT(bulk__get_hello(in, sizeof in, &h, &used) == BULK_WHOLE && used == sizeof in);
    bulk__prove(false, r->secret, h.nonce, a.nonce, a.app, a.mac);
    bulk__put_auth(&b, &a);
    rig_write(fd, b.p, b.n);
    buf_fini(&b);
    CU_ASSERT(rig_read(r, fd, in, BULK_VERDICT_BYTES));
    CU_ASSERT(bulk__get_verdict(in, BULK_VERDICT_BYTES, &v, &used) == BULK_WHOLE && v.status == BULK_OK);
    return fd;
}

unsigned
open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    CU_ASSERT_FATAL(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}
