/*
 * bench/rpc -- what a link costs: round trips and joined envelopes between two processes.
 *
 *   bench/rpc [unix|tcp|tls] ...      one row each: round trip p50 and p99 in us, envelopes/s out and echoed back,
 *                                     and the CPU of both sides an envelope; ms from rpc_new() to the first answer,
 *                                     and of rpc_free(); first the round trips of bare sockets
 *
 * The peer is this program again.  For tls it makes certificates with the openssl command.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/loop.h"
#include "rpc/rpc.h"

enum { PINGS = 20000, ENVELOPES = 1000000, BYTES = 276, WINDOW = 4 << 20 };

struct side {
    struct loop *loop;
    struct link *l;
    unsigned pings;
    uint64_t began, out, back;
    uint32_t us[PINGS];
    uint64_t first;
};

static void
fail(struct err *e)
{
    char *s = e ? err_text(e) : NULL;

    if (!e)
        return;
    fprintf(stderr, "bench/rpc: %s\n", s);
    exit(1);
}

static void
down(void *arg, struct err *why)
{
    struct side *s = arg;

    err_free(why);
    link_close(s->l);
    s->l = NULL;
    loop_stop(s->loop);
}

/* ---- the peer */

static void
echo(void *arg, const void *p, size_t n)
{
    struct side *s = arg;

    link_send(s->l, p, n);
}

static void
on_link(void *arg, struct link *l)
{
    static const struct link_handler h = { echo, down };
    struct side *s = arg;

    s->l = l;
    link_handle(l, &h, s);
}

static int
peer(const char *where, const struct tls_files *tls)
{
    static struct side s;
    struct rpc *r;
    struct rpc_server *srv;
    struct rpc_listen_opts o = { .host = "127.0.0.1", .tls = tls };

    if (where[0] == '/')
        o.path = where;
    fail(loop_new(&s.loop));
    fail(rpc_new(s.loop, &r));
    fail(rpc_listen(r, &o, on_link, &s, &srv));
    printf("%u\n", rpc_server_port(srv));
    fflush(stdout);
    fail(loop_run(s.loop));
    rpc_server_free(srv);
    rpc_free(r);
    loop_free(s.loop);
    return 0;
}

/* ---- this side */

static void
pong(void *arg, const void *p, size_t n)
{
    struct side *s = arg;
    uint64_t now = clock_mono_ns();

    if (!s->first)
        s->first = now;
    s->us[s->pings++] = (uint32_t)((now - s->began) / 10); /* in 10 ns */
    if (s->pings == PINGS) {
        loop_stop(s->loop);
        return;
    }
    s->began = now;
    link_send(s->l, p, n);
}

static void
pump(struct side *s)
{
    static char bytes[BYTES];
    uint64_t all = (uint64_t)ENVELOPES * BYTES;

    while (s->out < all && s->out - s->back < WINDOW) {
        link_send(s->l, bytes, BYTES);
        s->out += BYTES;
    }
}

static void
counted(void *arg, const void *p, size_t n)
{
    struct side *s = arg;

    s->back += n;
    if (s->back == (uint64_t)ENVELOPES * BYTES)
        loop_stop(s->loop);
    pump(s);
}

static int
by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double
cpu_of(pid_t pid)
{
    char name[64], text[512] = "";
    unsigned long u = 0, k = 0;

    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    FILE *f = fopen(name, "r");
    if (f && fgets(text, sizeof text, f) && strrchr(text, ')'))
        sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &k);
    if (f)
        fclose(f);
    return (double)(u + k) / (double)sysconf(_SC_CLK_TCK);
}

static void
row(const char *name, const char *address, const struct tls_files *tls, pid_t other)
{
    static const struct link_handler ping = { pong, down }, stream = { counted, down };
    static struct side s;
    struct rpc *r;
    struct rpc_dial_opts o = { .address = address, .tls = tls };

    memset(&s, 0, sizeof s);
    uint64_t began = clock_mono_ns();
    fail(loop_new(&s.loop));
    fail(rpc_new(s.loop, &r));
    fail(rpc_dial(r, &o, &s.l));
    link_handle(s.l, &ping, &s);
    s.began = clock_mono_ns();
    link_send(s.l, "ping", 4);
    fail(loop_run(s.loop));
    qsort(s.us, PINGS, sizeof *s.us, by_size);
    link_handle(s.l, &stream, &s);
    uint64_t t0 = clock_mono_ns(), c0 = clock_cpu_ns();
    double other0 = cpu_of(other);
    pump(&s);
    fail(loop_run(s.loop));
    double cpu = cpu_of(other), own = (double)(clock_cpu_ns() - c0);
    double wall = (double)(clock_mono_ns() - t0) / 1e9;
    link_close(s.l);
    uint64_t t1 = clock_mono_ns();
    rpc_free(r);
    printf("%-5s %8.1f %8.1f %14.0f %10.2f %10.2f %9.1f %7.1f\n", name, s.us[PINGS / 2] / 100.0, s.us[PINGS / 100 * 99] / 100.0,
           ENVELOPES / wall, own / 1e3 / ENVELOPES,
           (cpu - other0) * 1e6 / ENVELOPES, (double)(s.first - began) / 1e6, (double)(clock_mono_ns() - t1) / 1e6);
    loop_free(s.loop);
}

/* ---- the baseline: the same over a bare socket between two processes that block */

static void
echo_bare(int fd)
{
    char c[64];
    ssize_t n;

    while ((n = read(fd, c, sizeof c)) > 0)
        if (write(fd, c, (size_t)n) < 0)
            break;
    _exit(0);
}

static int
bare_tcp(pid_t *ret_pid)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    int one = 1, l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(l, (struct sockaddr *)&a, n) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &n) ||
        connect(fd, (struct sockaddr *)&a, n))
        exit(1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *ret_pid = fork();
    if (*ret_pid == 0) {
        int peer_fd = accept(l, NULL, NULL);

        close(fd);
        setsockopt(peer_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        echo_bare(peer_fd);
    }
    close(l);
    return fd;
}

static int
bare_unix(pid_t *ret_pid)
{
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
        exit(1);
    *ret_pid = fork();
    if (*ret_pid == 0) {
        close(sv[0]);
        echo_bare(sv[1]);
    }
    close(sv[1]);
    return sv[0];
}

/* Before gRPC has threads: it forks. */
static void
bare(const char *name, int (*make)(pid_t *))
{
    static uint32_t us[PINGS];
    pid_t pid;
    int fd = make(&pid);
    char c[64];

    for (int i = 0; i < PINGS; i++) {
        uint64_t t0 = clock_mono_ns();

        if (write(fd, "ping", 4) != 4 || read(fd, c, sizeof c) != 4)
            exit(1);
        us[i] = (uint32_t)((clock_mono_ns() - t0) / 10);
    }
    close(fd);
    waitpid(pid, NULL, 0);
    qsort(us, PINGS, sizeof *us, by_size);
    printf("%-5s %8.1f %8.1f   bare %s socket\n", "-", us[PINGS / 2] / 100.0, us[PINGS / 100 * 99] / 100.0, name);
}

/* ---- */

static char dir[] = "/tmp/bench-rpc-XXXXXX";

static void
certificates(struct tls_files *tls)
{
    static const char *const make =
        "cd %s && umask 077 && exec >/dev/null 2>&1 && "
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 "
        "-subj /CN=ca && "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout node.key -out node.csr -subj /CN=node && "
        "openssl x509 -req -in node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out node.pem -days 2";
    static char names[3][64];
    static const char *const files[3] = { "ca.pem", "node.pem", "node.key" };
    struct buf b = { 0 };

    buf_printf(&b, make, dir);
    put_u8(&b, 0);
    if (system(b.p))
        fprintf(stderr, "bench/rpc: openssl could not make certificates\n");
    buf_fini(&b);
    for (int i = 0; i < 3; i++)
        snprintf(names[i], sizeof names[i], "%s/%s", dir, files[i]);
    *tls = (struct tls_files){ names[0], names[1], names[2] };
}

static void
one(const char *self, const char *name, const struct tls_files *tls)
{
    char where[64], address[80], line[16] = "";
    int out[2];
    pid_t pid;
    posix_spawn_file_actions_t fa;
    const char *t = !strcmp(name, "tls") ? "tls" : "plain";

    snprintf(where, sizeof where, "%s%s", !strcmp(name, "unix") ? dir : "tcp", !strcmp(name, "unix") ? "/s" : "");
    char *argv[] = { (char *)self, "--peer", where, (char *)t, (char *)tls->ca, (char *)tls->cert, (char *)tls->key, NULL };
    if (pipe(out))
        return;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, out[1], 1);
    posix_spawn_file_actions_addclose(&fa, out[0]);
    if (posix_spawn(&pid, "/proc/self/exe", &fa, NULL, argv, environ))
        exit(1);
    posix_spawn_file_actions_destroy(&fa);
    close(out[1]);
    if (read(out[0], line, sizeof line - 1) <= 0)
        exit(1);
    close(out[0]);
    if (where[0] == '/')
        snprintf(address, sizeof address, "unix:%s", where);
    else
        snprintf(address, sizeof address, "127.0.0.1:%d", atoi(line));
    row(name, address, *t == 't' ? tls : NULL, pid);
    waitpid(pid, NULL, 0);
}

int
main(int argc, char **argv)
{
    static const char *const all[] = { "unix", "tcp", "tls" };
    struct tls_files tls = { "", "", "" };

    if (argc == 7 && !strcmp(argv[1], "--peer")) {
        tls = (struct tls_files){ argv[4], argv[5], argv[6] };
        return peer(argv[2], !strcmp(argv[3], "tls") ? &tls : NULL);
    }
    if (!mkdtemp(dir))
        return 1;
    certificates(&tls);
    printf("%-5s %8s %8s %14s %10s %10s %9s %7s\n", "link", "p50 us", "p99 us", "envelopes/s", "CPU us", "peer us",
           "first ms", "free ms");
    fflush(stdout);
    bare("unix", bare_unix);
    bare("tcp", bare_tcp);
    for (int i = 1; i < argc || (argc == 1 && i <= 3); i++)
        one(argv[0], argc == 1 ? all[i - 1] : argv[i], &tls);
    struct buf b = { 0 };
    buf_printf(&b, "rm -r %s", dir);
    put_u8(&b, 0);
    if (system(b.p))
        return 1;
    buf_fini(&b);
    return 0;
}
