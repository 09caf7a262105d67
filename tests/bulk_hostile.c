/* bulk_hostile -- peers of a bulk server or client that lie, dawdle or talk nonsense. */
#include "bulk.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/bulk_priv.h"

/* ---- names */

static void
names(void)
{
    static const char *const outside[] = { "../x", "/etc/passwd", "d/../../x", "link", "d/out/x", "/", ".", "d", "d/..", "fifo" };
    static const char *const absent[] = { "none", "f/x", "d/none" };
    struct rig r;
    struct got g = { 0 };
    char path[200];

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 10, 1);
    snprintf(path, sizeof path, "%s/d", r.dir);
    CU_ASSERT(mkdir(path, 0700) == 0);
    rig_file(&r, "d/f", 10, 2);
    snprintf(path, sizeof path, "%s/link", r.dir);
    CU_ASSERT(symlink("f", path) == 0);
    snprintf(path, sizeof path, "%s/d/out", r.dir);
    CU_ASSERT(symlink("/tmp", path) == 0);
    snprintf(path, sizeof path, "%s/fifo", r.dir);
    CU_ASSERT(mkfifo(path, 0600) == 0);

    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        rig_get(&r, outside[i], 0, 100, &g);
        IS_ERR(g.e, ERR_DENIED, "the name is refused there");
        g.e = NULL;
        EQ_U64(rig_stats(&r).refused, i + 1);
        got_fini(&g);
    }
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        rig_get(&r, absent[i], 0, 100, &g);
        IS_ERR(g.e, ERR_LOST, "there is no such file");
        g.e = NULL;
        got_fini(&g);
    }
    rig_get(&r, "d/f", 0, 10, &g); /* the connection is as good as before */
    EQ_U64(g.got, 10);
    rig_check(&g, 0, 0, 10, 2);
    got_fini(&g);
    EQ_U64(rig_stats(&r).connections, 1);
    rig_fini(&r);
}

/* ---- who is there */

static void
strangers(void)
{
    struct rig r;
    struct got g = { 0 };
    struct bulk_client_opts o = { .app = "app" };

    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 10, 1);
    bulk_client_free(r.c);
    rig_client(&r, &o); /* a secret of zeroes */
    rig_get(&r, "f", 0, 10, &g);
    IS_ERR(g.e, ERR_DENIED, "wrong secret or unknown application");
    g.e = NULL;
    EQ_U64(g.got, 0);
    got_fini(&g);
    EQ_U64(rig_stats(&r).refused, 4); /* once and three retries */
    bulk_client_free(r.c);
    o.app = "other";
    memcpy(o.secret, r.secret, sizeof o.secret);
    rig_client(&r, &o);
    rig_get(&r, "f", 0, 10, &g);
    IS_ERR(g.e, ERR_DENIED, "wrong secret or unknown application");
    g.e = NULL;
    got_fini(&g);
    EQ_U64(rig_stats(&r).refused, 8);
    EQ_U64(rig_stats(&r).requests, 0);
    rig_fini(&r);
}

/* A proof that was overheard is worth nothing on another connection. */
static void
replay(void)
{
    struct rig r;
    struct bulk_hello h;
    struct bulk_auth a = { .version = BULK_VERSION, .app = "app" };
    struct buf b = { 0 };
    char in[BULK_HELLO_BYTES], v[BULK_VERDICT_BYTES];
    size_t used;

    rig_init(&r, NULL, NULL);
    int fd = rig_connect(&r);
    CU_ASSERT(rig_read(&r, fd, in, sizeof in));
    CU_ASSERT(bulk__get_hello(in, sizeof in, &h, &used) == BULK_WHOLE);
    bulk__prove(false, r.secret, h.nonce, a.nonce, a.app, a.mac);
    bulk__put_auth(&b, &a);
    rig_write(fd, b.p, b.n);
    CU_ASSERT(rig_read(&r, fd, v, sizeof v));
    EQ_U64(v[4], BULK_OK);
    close(fd);
    EQ_U64(rig_stats(&r).refused, 0);

    fd = rig_connect(&r);
    CU_ASSERT(rig_read(&r, fd, in, sizeof in));
    rig_write(fd, b.p, b.n);
    CU_ASSERT(rig_read(&r, fd, v, sizeof v));
    EQ_U64(v[4], BULK_REFUSED);
    CU_ASSERT(!rig_read(&r, fd, v, 1)); /* and closed */
    close(fd);
    rig_until_refused(&r, 1);

    /* The server's own proof, sent back, is none of a client. */
    fd = rig_connect(&r);
    CU_ASSERT(rig_read(&r, fd, in, sizeof in));
    CU_ASSERT(bulk__get_hello(in, sizeof in, &h, &used) == BULK_WHOLE);
    bulk__prove(true, r.secret, h.nonce, a.nonce, a.app, a.mac);
    b.n = 0;
    bulk__put_auth(&b, &a);
    rig_write(fd, b.p, b.n);
    CU_ASSERT(rig_read(&r, fd, v, sizeof v));
    EQ_U64(v[4], BULK_REFUSED);
    close(fd);
    rig_until_refused(&r, 2);
    buf_fini(&b);
    rig_fini(&r);
}

/* ---- clients that talk nonsense */

static void
garbage(void)
{
    struct rig r;
    char bytes[4096], in[BULK_HELLO_BYTES];
    struct buf b = { 0 };
    uint64_t refused = 0;

    rig_init(&r, NULL, NULL);
    memset(bytes, 'x', sizeof bytes);
    for (size_t n = 1; n <= sizeof bytes; n *= 4) { /* instead of a proof */
        int fd = rig_connect(&r);
        CU_ASSERT(rig_read(&r, fd, in, sizeof in));
        rig_write(fd, bytes, n);
        CU_ASSERT(!rig_read(&r, fd, bytes, 1));
        close(fd);
        rig_until_refused(&r, ++refused);
    }
    bulk__put_request(&b, 1, "f", 0, 1);
    for (int what = 0; what < 4; what++) { /* instead of a request */
        int fd = rig_admitted(&r);
        char *bad = malloc(b.n);
        CU_ASSERT_FATAL(bad != NULL);
        memcpy(bad, b.p, b.n);
        if (what == 0)
            bad[0] ^= 1;
        else if (what == 1)
            bad[4] = bad[5] = (char)0xff; /* a name of 65535 bytes */
        else if (what == 2)
            bad[6] = 1; /* what must be zero */
        else
            bad[b.n - 1] = 0; /* a NUL in the name */
        rig_write(fd, bad, b.n);
        CU_ASSERT(!rig_read(&r, fd, in, 1));
        close(fd);
        free(bad);
        rig_until_refused(&r, ++refused);
    }
    int fd = rig_admitted(&r); /* half a request, and gone */
    rig_write(fd, b.p, b.n / 2);
    close(fd);
    rig_until_connections(&r, 0);
    EQ_U64(rig_stats(&r).refused, refused);
    buf_fini(&b);
    rig_fini(&r);
}

/* ---- clients that dawdle */

static void
slow(void)
{
    struct bulk_server_opts o = { .idle_ns = 150000000 };
    struct rig r;
    struct buf b = { 0 };
    char in[BULK_HELLO_BYTES];

    rig_init(&r, &o, NULL);
    rig_file(&r, "f", 32 << 20, 3);
    int mute = rig_connect(&r), slow_loris = rig_admitted(&r), idle = rig_admitted(&r), deaf = rig_admitted(&r);
    bulk__put_request(&b, 1, "f", 0, 32 << 20);
    rig_write(slow_loris, b.p, 7);
    rig_write(deaf, b.p, b.n); /* and never takes the answer */
    rig_until_connections(&r, 0);
    EQ_U64(rig_stats(&r).refused, 1); /* the mute one */
    EQ_U64(rig_stats(&r).requests, 1);
    CU_ASSERT(!rig_read(&r, slow_loris, in, 1));
    CU_ASSERT(!rig_read(&r, idle, in, 1));
    close(mute);
    close(slow_loris);
    close(idle);
    close(deaf);
    buf_fini(&b);
    rig_fini(&r);
}

/* Far more requests than the ring holds, all answered in the end, with little memory. */
static void
flood(void)
{
    enum { N = 5000 };
    struct rig r;
    struct buf b = { 0 };
    char *in = malloc((size_t)N * (BULK_ANSWER_HEAD + 8));
    unsigned wrong = 0;

    CU_ASSERT_FATAL(in != NULL);
    rig_init(&r, NULL, NULL);
    rig_file(&r, "f", 100, 3);
    int fd = rig_admitted(&r);
    for (uint64_t i = 0; i < N; i++)
        bulk__put_request(&b, i, "f", i % 90, 8);
    rig_write(fd, b.p, b.n);
    CU_ASSERT(rig_read(&r, fd, in, (size_t)N * (BULK_ANSWER_HEAD + 8)));
    for (uint64_t i = 0; i < N; i++) {
        struct bulk_answer a = { 0 };
        const char *p = in + i * (BULK_ANSWER_HEAD + 8);
        size_t used;

        wrong += bulk__get_answer(p, BULK_ANSWER_HEAD, &a, &used) != BULK_WHOLE || a.id != i || a.offset != i % 90 ||
                 a.length != 8 || a.size != 100;
        for (unsigned k = 0; k < 8; k++)
            wrong += (unsigned char)p[BULK_ANSWER_HEAD + k] != rig_byte(i % 90 + k, 3);
    }
    EQ_U64(wrong, 0);
    EQ_U64(rig_stats(&r).requests, N);
    EQ_U64(rig_stats(&r).bytes, N * 8);
    close(fd);
    buf_fini(&b);
    free(in);
    rig_fini(&r);
}

static void
too_many(void)
{
    struct bulk_server_opts o = { .max_connections = 20 };
    struct rig r;
    struct got g = { 0 };
    int fd[6];
    char c;

    rig_init(&r, &o, NULL);
    rig_file(&r, "f", 10, 1);
    for (int i = 0; i < 5; i++)
        fd[i] = rig_admitted(&r);
    fd[5] = rig_connect(&r);
    CU_ASSERT(!rig_read(&r, fd[5], &c, 1)); /* a quarter of 20 is what one address may have */
    rig_until_refused(&r, 1);
    rig_start(&r, "f", 0, 10, &g);
    rig_until_refused(&r, 2); /* the client is no better; but then there is room */
    close(fd[0]);
    rig_wait(&r, &g);
    EQ_U64(g.got, 10);
    got_fini(&g);
    for (int i = 1; i < 6; i++)
        close(fd[i]);
    rig_fini(&r);
}

/* ---- servers that lie */

enum lie { MUTE, NOT_BULK, OTHER_VERSION, NO_SECRET, GARBAGE, OTHER_ID, TOO_LONG, BEYOND, CUT, LIES };

static void
lie(int fd, enum lie what, const unsigned char secret[BULK_SECRET])
{
    struct bulk_hello h = { .version = what == OTHER_VERSION ? 99 : BULK_VERSION };
    struct bulk_verdict v = { .status = BULK_OK };
    struct bulk_auth a;
    struct bulk_request q;
    struct buf b = { 0 };
    char in[BULK_REQUEST_MAX];
    size_t used;

    if (what == NOT_BULK)
        buf_put(&b, "HTTP/1.1 400 Bad Request\r\n\r\n....................", 44);
    else
        bulk__put_hello(&b, &h);
    if (what == MUTE || send(fd, b.p, b.n, MSG_NOSIGNAL) < 0)
        return;
    ssize_t n = recv(fd, in, sizeof in, 0);
    if (n <= 0 || bulk__get_auth(in, (size_t)n, &a, &used) != BULK_WHOLE)
        return;
    if (what != NO_SECRET)
        bulk__prove(true, secret, h.nonce, a.nonce, a.app, v.mac);
    b.n = 0;
    bulk__put_verdict(&b, &v);
    if (send(fd, b.p, b.n, MSG_NOSIGNAL) < 0)
        return;
    n = recv(fd, in, sizeof in, 0);
    if (n <= 0 || bulk__get_request(in, (size_t)n, &q, &used) != BULK_WHOLE)
        return;
    struct bulk_answer x = { .status = BULK_OK, .id = q.id, .size = 100, .offset = q.offset, .length = q.length };
    if (what == GARBAGE)
        x.status = 77;
    else if (what == OTHER_ID)
        x.id = q.id + 1;
    else if (what == TOO_LONG)
        x.length++;
    else if (what == BEYOND)
        x.offset = 99;
    b.n = 0;
    bulk__put_answer(&b, &x);
    buf_put(&b, "1234", 4); /* of ten */
    (void)!send(fd, b.p, b.n, MSG_NOSIGNAL);
    buf_fini(&b);
}

static void
liars(void)
{
    static const char *const why[LIES] = { "it closed the connection",
                                           "it is not a bulk server",
                                           "another version of the protocol",
                                           "does not know the secret",
                                           "an answer is malformed",
                                           "an answer does not fit the request",
                                           "an answer does not fit the request",
                                           "an answer is malformed",
                                           NULL };
    struct rig r;
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t n = sizeof a;

    rig_init(&r, NULL, NULL);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int what = 0; what < LIES; what++) {
        struct got g = { 0 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        a.sin_port = 0;
        CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 10) == 0);
        CU_ASSERT(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
        pid_t pid = fork();
        if (pid == 0) {
            for (int c; (c = accept(fd, NULL, NULL)) >= 0; close(c)) {
                lie(c, what, r.secret);
                shutdown(c, SHUT_WR);
                char in[64];
                while (recv(c, in, sizeof in, 0) > 0)
                    ;
            }
            _exit(0);
        }
        close(fd);
        snprintf(r.address, sizeof r.address, "127.0.0.1:%u", ntohs(a.sin_port));
        rig_get(&r, "f", 3, 10, &g);
        if (what == CUT) { /* each time it got four bytes further */
            NO_ERR(g.e);
            EQ_U64(g.got, 10);
        } else {
            IS_ERR(g.e, what == NO_SECRET ? ERR_DENIED : ERR_LOST, why[what]);
        }
        g.e = NULL;
        got_fini(&g);
        kill(pid, SIGKILL);
        CU_ASSERT(waitpid(pid, NULL, 0) == pid);
    }
    rig_fini(&r);
}

const struct unit_test bulk_hostile_tests[] = {
    { "hostile.names", names },     { "hostile.strangers", strangers }, { "hostile.replay", replay },
    { "hostile.garbage", garbage }, { "hostile.slow", slow },           { "hostile.flood", flood },
    { "hostile.too_many", too_many }, { "hostile.liars", liars },       UNIT_END,
};
