/*
 * bench/bulk [--bytes N] [--rounds N] [--dir DIR] -- the bulk server and client beside a bare sendfile/recv pair.
 *
 * A file of N bytes in DIR, in the page cache, goes over loopback TCP from one process to another, in turn:
 *   drop   sendfile -> recv into one buffer: what the socket can do when nobody wants the bytes
 *   store  sendfile -> recv -> pwrite into a new file: the same work as ours
 *   null   bulk server -> bulk client -> /dev/null: what protocol and socket cost without any copy (splice)
 *   ours   bulk server -> bulk client, into a new file: the same work as store
 * Prints medians of wall time and of CPU (both sides), and ratios of like to like, each a median of rounds.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "net/bulk.h"
#include "net/loop.h"

enum { ROUNDS_MAX = 99, BUFFER = 512 << 10 };
enum way { DROP, STORE, NOWHERE, OURS, WAYS };
static const char *const way_name[WAYS] = { "drop", "store", "null", "ours" };

static struct {
    uint64_t bytes;
    unsigned rounds;
    char dir[200], path[260];
} o = { 2000000000u, 7, "/tmp", "" };

static void
check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void
check_err(struct err *e)
{
    if (!e)
        return;
    fprintf(stderr, "bench/bulk: %s\n", err_text(e));
    exit(1);
}

static void
make_file(void)
{
    uint64_t *p = malloc(BUFFER), x = 88172645463325252u;

    snprintf(o.path, sizeof o.path, "%s/taskd-bench-bulk-%d", o.dir, (int)getpid());
    int fd = open(o.path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    check(fd >= 0 && p, o.path);
    for (uint64_t done = 0; done < o.bytes; done += BUFFER) {
        for (unsigned i = 0; i < BUFFER / 8; i++)
            p[i] = x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        check_err(file_write_full(fd, p, o.bytes - done < BUFFER ? o.bytes - done : BUFFER, o.path));
    }
    check(fsync(fd) == 0, "fsync"); /* nothing is written back while we measure */
    close(fd);
    free(p);
}

static int
target(void)
{
    int fd = open(o.dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    check(fd >= 0, o.dir);
    return fd;
}

static int
listener(uint16_t *ret_port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    check(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 1) == 0, "listen");
    check(getsockname(fd, (struct sockaddr *)&a, &n) == 0, "getsockname");
    *ret_port = ntohs(a.sin_port);
    return fd;
}

/* ---- bare */

_Noreturn static void
bare_server(int l)
{
    int fd = open(o.path, O_RDONLY | O_CLOEXEC), c = accept(l, NULL, NULL);

    check(fd >= 0 && c >= 0, "accept");
    (void)setsockopt(c, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5); /* as ours on loopback */
    for (off_t at = 0; (uint64_t)at < o.bytes;)
        check(sendfile(c, fd, &at, 1 << 20) > 0, "sendfile");
    exit(0);
}

static void
bare_client(uint16_t port, bool store)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port) };
    int fd = store ? target() : -1, c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char *p = malloc(BUFFER);
    ssize_t n;
    uint64_t at = 0;

    check(c >= 0 && connect(c, (struct sockaddr *)&a, sizeof a) == 0 && p, "connect");
    while ((n = recv(c, p, BUFFER, 0)) > 0) {
        if (store)
            check(pwrite(fd, p, (size_t)n, (off_t)at) == n, "pwrite");
        at += (uint64_t)n;
    }
    check(at == o.bytes, "recv");
}

/* ---- ours */

static const unsigned char secret[BULK_SECRET] = { 1 };

_Noreturn static void
our_server(int to)
{
    struct loop *l;
    struct bulk_server *s;
    struct bulk_server_opts so = { .host = "127.0.0.1" };

    check_err(loop_new(&l));
    check_err(bulk_server_new(l, &so, &s));
    check_err(bulk_server_add(s, "bench", o.dir, secret));
    uint16_t port = bulk_server_port(s);
    check(write(to, &port, sizeof port) == sizeof port, "write");
    close(to);
    check_err(loop_run(l));
    exit(0);
}

static void
on_done(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    check_err(e);
    check(got == o.bytes, "all bytes");
    loop_stop(arg);
}

static void
our_client(uint16_t port, bool store)
{
    struct loop *l;
    struct bulk_client *c;
    struct bulk_client_opts co = { .app = "bench" };
    char host[32];

    memcpy(co.secret, secret, sizeof secret);
    check_err(loop_new(&l));
    check_err(bulk_client_new(l, &co, &c));
    snprintf(host, sizeof host, "127.0.0.1:%u", port);
    struct bulk_get g = { .host = host, .name = strrchr(o.path, '/') + 1, .length = o.bytes, .fd = store ? target() : open("/dev/null", O_WRONLY | O_CLOEXEC),
                          .done = on_done, .arg = l };
    bulk_get(c, &g);
    check_err(loop_run(l));
    bulk_client_free(c);
    loop_free(l);
}

/* ---- rounds */

struct cost {
    double wall, cpu;
};

static double
cpu_of(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) + (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static struct cost
once(enum way way)
{
    struct rusage u;
    struct cost ret;
    uint16_t port = 0;
    int pipes[2], l = -1;

    check(pipe2(pipes, O_CLOEXEC) == 0, "pipe");
    if (way < NOWHERE)
        l = listener(&port);
    fflush(stdout);
    pid_t server = fork();
    if (server == 0) {
        if (way >= NOWHERE)
            our_server(pipes[1]);
        bare_server(l);
    }
    close(pipes[1]);
    if (way >= NOWHERE)
        check(read(pipes[0], &port, sizeof port) == sizeof port, "read");
    close(pipes[0]);
    if (l >= 0)
        close(l);
    uint64_t begin = clock_mono_ns();
    pid_t client = fork();
    if (client == 0) {
        if (way >= NOWHERE)
            our_client(port, way == OURS);
        else
            bare_client(port, way == STORE);
        _exit(0);
    }
    int status;
    check(wait4(client, &status, 0, &u) == client && status == 0, "client");
    ret.wall = (double)(clock_mono_ns() - begin) / 1e9;
    ret.cpu = cpu_of(&u);
    kill(server, SIGTERM);
    check(wait4(server, &status, 0, &u) == server, "server");
    ret.cpu += cpu_of(&u);
    return ret;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double
median(double *v)
{
    qsort(v, o.rounds, sizeof *v, by_value);
    return o.rounds % 2 ? v[o.rounds / 2] : (v[o.rounds / 2 - 1] + v[o.rounds / 2]) / 2;
}

int
main(int argc, char **argv)
{
    static double wall[WAYS][ROUNDS_MAX], cpu[WAYS][ROUNDS_MAX], ratio[WAYS][ROUNDS_MAX];

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--bytes") == 0)
            o.bytes = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            o.rounds = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--dir") == 0)
            snprintf(o.dir, sizeof o.dir, "%s", argv[i + 1]);
    }
    if (o.rounds < 1 || o.rounds > ROUNDS_MAX)
        return 2;
    make_file();
    for (unsigned round = 0; round <= o.rounds; round++) { /* the first warms up */
        for (int way = 0; way < WAYS; way++) {
            struct cost c = once(way);

            if (!round)
                continue;
            wall[way][round - 1] = c.wall;
            cpu[way][round - 1] = c.cpu;
        }
        if (!round)
            continue;
        ratio[0][round - 1] = wall[DROP][round - 1] / wall[NOWHERE][round - 1];
        ratio[1][round - 1] = wall[STORE][round - 1] / wall[OURS][round - 1];
        ratio[2][round - 1] = wall[DROP][round - 1] / wall[OURS][round - 1];
    }
    unlink(o.path);
    double gb = (double)o.bytes / 1e9;
    for (int way = 0; way < WAYS; way++)
        printf("%-6s %5.2f GB/s  %5.3f CPU-s/GB\n", way_name[way], gb / median(wall[way]), median(cpu[way]) / gb);
    printf("null/drop %.2f  ours/store %.2f  ours/drop %.2f   (throughput, medians of %u rounds)\n", median(ratio[0]),
           median(ratio[1]), median(ratio[2]), o.rounds);
    return 0;
}
