/* bulk -- files by the byte range: what a client gets, and what happens to it when servers come and go. */
#include "bulk.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spread.h"
#include "net/tls.h"

static void
loopback(void)
{
    static const char *const yes[] = { "127.0.0.1", "127.255.3.4", "::1", "[::1]", "localhost", "LocalHost" };
    static const char *const no[] = { "",        "0.0.0.0", "10.0.0.1", "::",   "[::]",      "127.0.0.1.example.org",
                                      "128.0.0.1", "::2",     "127.1",    "[::1", "localhost.", "[127.0.0.1]" };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        CU_ASSERT(tls_is_loopback(yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        CU_ASSERT(!tls_is_loopback(no[i]));
    CU_ASSERT(!tls_is_loopback(NULL));
}

static void
write_file(const char *path, int mode)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT(write(fd, "x", 1) == 1);
    CU_ASSERT(fchmod(fd, (mode_t)mode) == 0);
    close(fd);
}

static void
who_may_listen(void)
{
    char dir[] = "/tmp/taskd-tls-XXXXXX", ca[64], cert[64], key[64];
    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    snprintf(ca, sizeof ca, "%s/ca", dir);
    snprintf(cert, sizeof cert, "%s/cert", dir);
    snprintf(key, sizeof key, "%s/key", dir);
    struct tls_files tls = { ca, cert, key };

    NO_ERR(tls_check_listen("127.0.0.1", NULL));
    IS_ERR(tls_check_listen("0.0.0.0", NULL), ERR_DENIED, "refusing to listen on '0.0.0.0' without TLS");
    write_file(ca, 0644);
    write_file(cert, 0644);
    IS_ERR(tls_check_listen("10.0.0.1", &tls), ERR_CONFIG, "cannot read the TLS key file");
    write_file(key, 0640);
    IS_ERR(tls_check_listen("10.0.0.1", &tls), ERR_CONFIG, "may be read by others (mode 0640)");
    write_file(key, 0600);
    NO_ERR(tls_check_listen("10.0.0.1", &tls));
    NO_ERR(tls_check_listen("::1", &tls));
    CU_ASSERT(unlink(ca) == 0);
    IS_ERR(tls_check_listen("10.0.0.1", &tls), ERR_CONFIG, "cannot read the TLS CA file");
    tls.ca = NULL;
    IS_ERR(tls_check_listen("10.0.0.1", &tls), ERR_CONFIG, "none is named");
    CU_ASSERT(unlink(cert) == 0 && unlink(key) == 0 && rmdir(dir) == 0);
}

/* ---- ranges */

static void
ranges(void)
{
    enum { N = 5000000 };
    static const uint64_t at[] = { 0, 1, 4095, 4096, 65535, N - 1, N, N + 1, 1ull << 40 };
    static const uint64_t length[] = { 0, 1, 2, 32767, 32768, 32769, 1 << 20, N, 1ull << 50 };
    struct rig r;
    struct got g = { 0 };

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", N, 1);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
        for (size_t k = 0; k < sizeof length / sizeof *length; k++) {
            uint64_t left = at[i] < N ? N - at[i] : 0, want = length[k] < left ? length[k] : left;
            rig_get(&r, "f", at[i], length[k], &g);
            EQ_U64(g.got, want);
            EQ_U64(g.size, N);
            rig_check(&g, at[i], at[i], want, 1);
            got_fini(&g);
        }
    for (size_t k = 0; k < sizeof length / sizeof *length; k++) {
        uint64_t want = length[k] < N ? length[k] : N;
        rig_get(&r, "f", BULK_TAIL, length[k], &g);
        EQ_U64(g.got, want);
        EQ_U64(g.size, N);
        rig_check(&g, N - want, N - want, want, 1);
        got_fini(&g);
    }
    EQ_U64(rig_stats(&r).connections, 1);
    EQ_U64(rig_stats(&r).refused, 0);
    rig_fini(&r);
}

static void
empty_file(void)
{
    struct rig r;
    struct got g = { 0 };

    rig_init(&r, NULL, NULL);
    rig_file(&r, "e", 0, 1);
    rig_get(&r, "e", 0, 100, &g);
    EQ_U64(g.got + g.size, 0);
    got_fini(&g);
    rig_get(&r, "e", BULK_TAIL, 65536, &g);
    EQ_U64(g.got + g.size, 0);
    got_fini(&g);
    rig_fini(&r);
}

/* Where bytes go that are not wanted at their own place. */
static void
elsewhere(void)
{
    struct rig r;
    struct got g = { 0 };
    char s[8];

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 1000, 1);
    rig_start_at(&r, "f", 500, 6, 2, &g);
    rig_wait(&r, &g);
    EQ_U64(g.got, 6);
    CU_ASSERT(pread(g.fd, s, 8, 0) == 8 && s[0] == 0 && s[1] == 0);
    rig_check(&g, 2, 500, 6, 1);
    got_fini(&g);
    rig_fini(&r);
}

/* A folder that is spread over others: a file is found in each, by its name alone. */
static void
spread(void)
{
    struct rig r;
    struct got g = { 0 };
    char far[120], gone[120];

    rig_init(&r, NULL, NULL);
    snprintf(far, sizeof far, "%s.far", r.dir);
    snprintf(gone, sizeof gone, "%s.gone", r.dir);
    NO_ERR(file_mkdirs(far, 0700));
    rig_file(&r, "near", 1000, 1);
    rig_file(&r, "away", 2000, 2);
    char from[200], to[200];
    snprintf(from, sizeof from, "%s/away", r.dir);
    snprintf(to, sizeof to, "%s/away", far);
    CU_ASSERT(rename(from, to) == 0);
    rig_get(&r, "away", 0, 2000, &g);
    IS_ERR(g.e, ERR_LOST, "");
    g.e = NULL;
    got_fini(&g);
    NO_ERR(spread_over(r.dir, (const char *const[]){ gone, far }, 2)); /* a disk that is not there */
    NO_ERR(bulk_server_add(r.s, "app", r.dir, r.secret));
    rig_get(&r, "away", 0, 2000, &g);
    rig_check(&g, 0, 0, 2000, 2);
    got_fini(&g);
    rig_get(&r, "near", 0, 1000, &g);
    rig_check(&g, 0, 0, 1000, 1);
    got_fini(&g);
    rig_get(&r, "more-2/away", 0, 2000, &g);
    IS_ERR(g.e, ERR_DENIED, "");
    g.e = NULL;
    got_fini(&g);
    NO_ERR(file_remove_tree(far));
    rig_fini(&r);
}

static bool
all_done(void *arg)
{
    unsigned *left = arg;

    return left[0] == left[1];
}

/* Many gets of several sizes at once, little of it in flight. */
static void
many(void)
{
    enum { N = 600 };
    struct bulk_client_opts o = { .in_flight = 300000, .requests = 5 };
    struct rig r;
    struct got *g = calloc(N, sizeof *g);
    unsigned left[2] = { 0, N };

    CU_ASSERT_FATAL(g != NULL);
    rig_init(&r, NULL, &o);
    rig_file(&r, "a", 1000000, 1);
    rig_file(&r, "b", 70000, 2);
    for (unsigned i = 0; i < N; i++) {
        g[i].count = left;
        rig_start(&r, i % 3 ? "a" : "b", i * 100, i % 7 ? i * 37 : 400000, &g[i]);
    }
    rig_until(&r, all_done, left);
    for (unsigned i = 0; i < N; i++) {
        uint64_t size = i % 3 ? 1000000 : 70000, want = i % 7 ? i * 37 : 400000, rest = size - i * 100;
        want = want < rest ? want : rest;
        EQ_U64(g[i].got, want);
        rig_check(&g[i], i * 100, i * 100, want, i % 3 ? 1 : 2);
        got_fini(&g[i]);
    }
    EQ_U64(rig_stats(&r).connections, 1);
    free(g);
    rig_fini(&r);
}

/* No retries: the first broken connection is the last one. */
static void
limits(void)
{
    struct rig r;
    struct got g = { 0 };

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 1 << 20, 1);
    bulk_client_limit(r.c, 100000, 0, 1000000);
    rig_get(&r, "f", 0, 1 << 20, &g);
    EQ_U64(g.got, 1 << 20);
    rig_check(&g, 0, 0, 1 << 20, 1);
    got_fini(&g);
    CU_ASSERT(rig_stats(&r).requests >= (1 << 20) / 100000);
    bulk_server_remove(r.s, "app");
    rig_get(&r, "f", 0, 1, &g); /* by a connection that the server has closed already */
    IS_ERR(g.e, ERR_LOST, "it closed the connection");
    g.e = NULL;
    got_fini(&g);
    EQ_U64(rig_stats(&r).refused, 0);
    rig_fini(&r);
}

static void
many_connections(void)
{
    enum { N = 200 };
    struct rig r;
    struct bulk_client *c[N];
    struct got g[N] = { 0 };
    unsigned left[2] = { 0, N };

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 100000, 1);
    unsigned before = open_descriptors();
    struct bulk_client *own = r.c;
    for (unsigned i = 0; i < N; i++) {
        rig_client(&r, NULL);
        c[i] = r.c;
        g[i].count = left;
        rig_start(&r, "f", i, 90000, &g[i]);
    }
    r.c = own;
    rig_until(&r, all_done, left);
    EQ_U64(rig_stats(&r).connections, N);
    for (unsigned i = 0; i < N; i++) {
        EQ_U64(g[i].got, 90000);
        rig_check(&g[i], i, i, 90000, 1);
        got_fini(&g[i]);
        bulk_client_free(c[i]);
    }
    rig_until_connections(&r, 0);
    EQ_U64(open_descriptors(), before);
    rig_fini(&r);
}

/* ---- servers that come and go */

/* A server in a process of its own, to be killed. */
static pid_t
serve(const char *dir, uint16_t port, uint16_t *ret_port)
{
    int pipes[2];
    pid_t parent = getpid();

    CU_ASSERT_FATAL(pipe2(pipes, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct loop *l;
        struct bulk_server *s;
        struct bulk_server_opts o = { .host = "127.0.0.1", .port = port };
        unsigned char secret[BULK_SECRET];

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        memset(secret, 0x5a, sizeof secret);
        if (getppid() != parent || loop_new(&l) || bulk_server_new(l, &o, &s) || bulk_server_add(s, "app", dir, secret))
            _exit(1);
        port = bulk_server_port(s);
        if (write(pipes[1], &port, sizeof port) != sizeof port || loop_run(l))
            _exit(1);
        _exit(0);
    }
    close(pipes[1]);
    CU_ASSERT_FATAL(read(pipes[0], ret_port, sizeof *ret_port) == sizeof *ret_port);
    close(pipes[0]);
    return pid;
}

struct reach {
    struct got *g;
    uint64_t bytes;
};

static bool
has_bytes(void *arg)
{
    struct reach *w = arg;
    struct stat st;

    return fstat(w->g->fd, &st) == 0 && (uint64_t)st.st_size >= w->bytes;
}

static void
killed(void)
{
    enum { N = 64 << 20, KILLS = 5 };
    struct bulk_client_opts o = { .requests = 4 };
    struct rig r;
    struct got g = { 0 }, small[50] = { 0 };
    unsigned left[2] = { 0, 50 };
    uint16_t port = 0, again;

    rig_init(&r, NULL, &o);
    rig_file(&r, "f", N, 1);
    pid_t pid = serve(r.dir, 0, &port);
    snprintf(r.address, sizeof r.address, "127.0.0.1:%u", port);
    rig_start(&r, "f", 0, N, &g);
    for (unsigned i = 0; i < 50; i++) {
        small[i].count = left;
        rig_start(&r, "f", i * 1000, 500, &small[i]);
    }
    for (unsigned i = 1; i <= KILLS; i++) {
        struct reach w = { &g, (uint64_t)N / (KILLS + 1) * i };
        rig_until(&r, has_bytes, &w);
        CU_ASSERT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
        pid = serve(r.dir, port, &again);
        EQ_U64(again, port);
    }
    rig_wait(&r, &g);
    rig_until(&r, all_done, left);
    EQ_U64(g.got, N);
    EQ_U64(g.size, N);
    rig_check(&g, 0, 0, N, 1);
    got_fini(&g);
    for (unsigned i = 0; i < 50; i++) {
        EQ_U64(small[i].got, 500);
        rig_check(&small[i], i * 1000, i * 1000, 500, 1);
        got_fini(&small[i]);
    }
    CU_ASSERT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    rig_get(&r, "f", 0, 1, &g); /* and not again */
    IS_ERR(g.e, ERR_LOST, "Connection refused");
    g.e = NULL;
    got_fini(&g);
    rig_fini(&r);
}

static void
stopped(void)
{
    struct bulk_client_opts o = { .silence_ns = 60000000, .retries = 1 };
    struct rig r;
    struct got g = { 0 };
    uint16_t port;

    rig_init(&r, NULL, &o);
    rig_file(&r, "f", 10, 1);
    pid_t pid = serve(r.dir, 0, &port);
    snprintf(r.address, sizeof r.address, "127.0.0.1:%u", port);
    rig_get(&r, "f", 0, 10, &g);
    EQ_U64(g.got, 10);
    got_fini(&g);
    CU_ASSERT(kill(pid, SIGSTOP) == 0);
    rig_get(&r, "f", 0, 10, &g);
    IS_ERR(g.e, ERR_LOST, "it says nothing any more");
    g.e = NULL;
    got_fini(&g);
    CU_ASSERT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    rig_fini(&r);
}

/* The file becomes shorter while it is sent. */
static void
shrinks(void)
{
    enum { N = 64 << 20 };
    struct rig r;
    struct got g = { 0 };
    char path[200];

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", N, 1);
    snprintf(path, sizeof path, "%s/f", r.dir);
    rig_start(&r, "f", 0, N, &g);
    struct reach w = { &g, 1 << 20 };
    rig_until(&r, has_bytes, &w);
    CU_ASSERT(truncate(path, N / 2 + 777) == 0);
    rig_wait(&r, &g);
    NO_ERR(g.e);
    g.e = NULL;
    EQ_U64(g.size, N / 2 + 777); /* the caller sees it, and that not all came */
    CU_ASSERT(g.got >= N / 2 + 777 && g.got < N);
    rig_check(&g, 0, 0, N / 2 + 777, 1);
    got_fini(&g);
    rig_fini(&r);
}

/* ---- apps and clients that go away */

static void
apps(void)
{
    struct rig r;
    struct got g = { 0 };
    unsigned char other[BULK_SECRET] = { 1 };
    char none[100];

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 10, 1);
    rig_get(&r, "f", 0, 10, &g);
    got_fini(&g);
    NO_ERR(bulk_server_add(r.s, "app", r.dir, r.secret)); /* the same again: nothing happens */
    EQ_U64(rig_stats(&r).connections, 1);
    NO_ERR(bulk_server_add(r.s, "app", r.dir, other));
    EQ_U64(rig_stats(&r).connections, 0);
    rig_get(&r, "f", 0, 10, &g);
    IS_ERR(g.e, ERR_DENIED, "refuses us");
    g.e = NULL;
    got_fini(&g);
    NO_ERR(bulk_server_add(r.s, "app", r.dir, r.secret));
    rig_get(&r, "f", 0, 10, &g);
    got_fini(&g);
    bulk_server_remove(r.s, "nobody");
    bulk_server_remove(r.s, "app");
    EQ_U64(rig_stats(&r).connections, 0);
    rig_get(&r, "f", 0, 10, &g);
    IS_ERR(g.e, ERR_DENIED, "refuses us");
    g.e = NULL;
    got_fini(&g);
    snprintf(none, sizeof none, "%s/none", r.dir);
    IS_ERR(bulk_server_add(r.s, "x", none, other), ERR_IO, "opening");
    IS_ERR(bulk_server_add(r.s, "", r.dir, other), ERR_LIMIT, "1 to 128 bytes");
    rig_fini(&r);
}

static void
forgotten(void)
{
    struct rig r;
    struct got g[20] = { 0 }, last = { 0 };

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 20 << 20, 1);
    for (unsigned i = 0; i < 20; i++)
        rig_start(&r, "f", i, 10 << 20, &g[i]);
    struct reach w = { &g[0], 1 };
    rig_until(&r, has_bytes, &w);
    for (unsigned i = 0; i < 20; i += 2)
        bulk_forget(r.c, &g[i]);
    rig_get(&r, "f", 5, 100, &last);
    got_fini(&last);
    for (unsigned i = 0; i < 20; i++) {
        if (i % 2)
            rig_wait(&r, &g[i]);
        CU_ASSERT(g[i].done == (i % 2 == 1));
        if (i % 2)
            rig_check(&g[i], i, i, 10 << 20, 1);
        got_fini(&g[i]);
    }
    for (unsigned i = 0; i < 20; i++) /* and the client goes with all of them under way */
        rig_start(&r, "f", i, 10 << 20, &g[i]);
    struct reach v = { &g[0], 1 };
    rig_until(&r, has_bytes, &v);
    bulk_client_free(r.c);
    r.c = NULL;
    rig_until_connections(&r, 0);
    for (unsigned i = 0; i < 20; i++) {
        CU_ASSERT(!g[i].done);
        got_fini(&g[i]);
    }
    rig_fini(&r);
}

/* The callback may do anything, free the client too. */
static void
free_client(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct rig *r = arg;

    NO_ERR(e);
    bulk_client_free(r->c);
    r->c = NULL;
}

static bool
no_client(void *arg)
{
    return ((struct rig *)arg)->c == NULL;
}

static void
freed_in_callback(void)
{
    struct rig r;

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 10, 1);
    struct got g = { 0 };
    rig_start(&r, "f", 0, 10, &g);
    struct bulk_get get = { .host = r.address, .name = "f", .length = 1, .fd = g.fd, .done = free_client, .arg = &r };
    for (int i = 0; i < 3; i++)
        bulk_get(r.c, &get);
    rig_until(&r, no_client, &r);
    rig_until_connections(&r, 0);
    CU_ASSERT(g.done);
    got_fini(&g);
    rig_fini(&r);
}

/* The target has no room: that get fails, the others go on. */
static void
full_target(void)
{
    struct rig r;
    struct got g = { 0 }, h = { 0 };
    struct bulk_client_opts o = { 0 };

    rig_init(&r, NULL, &o);
    rig_file(&r, "f", 3 << 20, 1);
    rig_start(&r, "f", 0, 3 << 20, &g);
    close(g.fd);
    g.fd = open("/dev/full", O_WRONLY | O_CLOEXEC); /* the same number */
    rig_start(&r, "f", 0, 3 << 20, &h);
    rig_wait(&r, &g);
    IS_ERR(g.e, ERR_LIMIT, "storing \"f\"");
    g.e = NULL;
    rig_wait(&r, &h);
    rig_check(&h, 0, 0, 3 << 20, 1);
    got_fini(&g);
    got_fini(&h);
    EQ_U64(rig_stats(&r).connections, 1);
    rig_fini(&r);
}

static void
bad_addresses(void)
{
    static const char *const bad[] = { "", "nowhere", "127.0.0.1", ":1", "127.0.0.1:", "::1:99", "127.0.0.1:x" };
    struct bulk_client_opts o = { .retries = 1 };
    struct rig r;
    struct got g = { 0 };

    rig_init(&r, NULL, &o);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        strcpy(r.address, bad[i]);
        rig_get(&r, "f", 0, 1, &g);
        CU_ASSERT(g.e && g.e->code == ERR_LOST);
        err_free(g.e);
        g.e = NULL;
        got_fini(&g);
    }
    rig_get(&r, "", 0, 1, &g);
    IS_ERR(g.e, ERR_DENIED, "not a name");
    g.e = NULL;
    got_fini(&g);
    struct bulk_server_opts so = { .host = "0.0.0.0" };
    struct bulk_server *s = NULL;
    IS_ERR(bulk_server_new(r.l, &so, &s), ERR_DENIED, "without TLS");
    CU_ASSERT(s == NULL);
    rig_fini(&r);
}

static const struct unit_test tests[] = {
    { "tls.loopback", loopback },
    { "tls.who_may_listen", who_may_listen },
    { "bulk.ranges", ranges },
    { "bulk.empty_file", empty_file },
    { "bulk.elsewhere", elsewhere },
    { "bulk.spread", spread },
    { "bulk.many", many },
    { "bulk.limits", limits },
    { "bulk.many_connections", many_connections },
    { "bulk.killed", killed },
    { "bulk.stopped", stopped },
    { "bulk.shrinks", shrinks },
    { "bulk.apps", apps },
    { "bulk.forgotten", forgotten },
    { "bulk.freed_in_callback", freed_in_callback },
    { "bulk.full_target", full_target },
    { "bulk.bad_addresses", bad_addresses },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    struct unit_test all[64] = { UNIT_END };
    const struct unit_test *const parts[] = { tests, bulk_hostile_tests, bulk_tls_tests };
    size_t n = 0;

    for (size_t i = 0; i < 3; i++)
        for (const struct unit_test *t = parts[i]; t->name; t++)
            all[n++] = *t;
    return unit_main(argc, argv, "bulk", all);
}
