/* The rpc tests with a peer in a process of its own, which is this binary again: killed, frozen, many. */
#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc.h"
#include "unit.h"

/* ---- the other process: tests/rpc --peer PORT; dials that port, listens itself, says its port by the link, echoes */

static void
say_port(struct heard *h, uint16_t port)
{
    char text[16];

    link_send(h->l, text, (size_t)snprintf(text, sizeof text, "%u\n", port));
}

enum { CROWDED_FDS = 64 };
static int peer_port;

static void
peer_run(void)
{
    static struct party p;
    struct heard h = { .echo = true };

    party_init(&p);
    p.echo = true;
    uint16_t port = party_listen(&p, NULL);
    party_dial_port(&p, &h, (uint16_t)peer_port);
    say_port(&h, port);
    party_want_down(&p, &h);
    heard_fini(&h);
    party_fini(&p);
}

int
peer_main(int port, bool crowded)
{
    static const struct unit_test tests[] = { { "peer", peer_run }, UNIT_END };
    char *argv[] = { "peer", NULL };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    peer_port = port;
    if (crowded)
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){ CROWDED_FDS, CROWDED_FDS });
    if (!freopen("/dev/null", "w", stdout))
        return 1;
    return unit_main(1, argv, "peer", tests);
}

static pid_t
spawn_peer(uint16_t port, const char *how)
{
    char text[16];
    char *argv[] = { "tests/rpc", (char *)how, text, NULL };
    pid_t pid = -1;

    snprintf(text, sizeof text, "%u", port);
    CU_ASSERT_FATAL(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) == 0);
    return pid;
}

/* p listens and has a link from the peer (p->in[0]); h is one to the peer. */
static pid_t
meet_how(struct party *p, struct heard *h, const char *how)
{
    party_init(p);
    p->keep = true;
    pid_t pid = spawn_peer(party_listen(p, NULL), how);
    party_want_accepted(p, 1);
    party_want_bytes(p, &p->in[0], 2);
    buf_put(&p->in[0].all, "", 1);
    party_dial_port(p, h, (uint16_t)atoi(p->in[0].all.p));
    link_send(h->l, "hello", 5);
    party_want_bytes(p, h, 5);
    return pid;
}

static pid_t
meet(struct party *p, struct heard *h)
{
    return meet_how(p, h, "--peer");
}

/* Both sides of the peer's death: the link it dialled and the link it accepted. */
static void
both_down(struct party *p, struct heard *h, uint64_t *ret_ns)
{
    uint64_t began = clock_mono_ns();

    party_want_down(p, h);
    party_want_down(p, &p->in[0]);
    *ret_ns = (h->down_at > p->in[0].down_at ? h->down_at : p->in[0].down_at) - began;
    IS_ERR(h->why, ERR_LOST, "lost");
    IS_ERR(p->in[0].why, ERR_LOST, "lost");
    h->why = p->in[0].why = NULL;
}

void
peer_killed(void)
{
    static struct party p;
    struct heard h = { 0 };
    uint64_t took;
    pid_t pid = meet(&p, &h);

    kill(pid, SIGKILL);
    both_down(&p, &h, &took);
    CU_ASSERT(took < 500 * MS * SLOW);
    waitpid(pid, NULL, 0);
    heard_fini(&h);
    party_fini(&p);
}

/* One link is idle, on the other megabytes wait for the peer to read them. */
void
peer_frozen(void)
{
    static struct party p;
    static char megabyte[1 << 20];
    struct heard h = { 0 }, busy = { 0 };
    uint64_t took;
    pid_t pid = meet(&p, &h);

    party_dial_port(&p, &busy, (uint16_t)atoi(p.in[0].all.p));
    link_send(busy.l, "hello", 5);
    party_want_bytes(&p, &busy, 5);
    kill(pid, SIGSTOP);
    for (int i = 0; i < 8; i++)
        link_send(busy.l, megabyte, sizeof megabyte);
    CU_ASSERT(link_queued(busy.l) >= 8 << 20);
    both_down(&p, &h, &took);
    CU_ASSERT(took > 500 * MS && took < 5000 * MS * SLOW);
    party_want_down(&p, &busy);
    CU_ASSERT(busy.down_at - h.down_at + took < 5000 * MS * SLOW);
    EQ_U64(link_queued(busy.l), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    heard_fini(&busy);
    heard_fini(&h);
    party_fini(&p);
}

/* A listener that is frozen before anybody dials: the dial gives up in time. */
void
peer_frozen_before(void)
{
    static struct party p;
    struct heard h = { 0 }, g = { 0 };
    char address[32];
    pid_t pid = meet(&p, &h);
    struct rpc_dial_opts o = { .address = address, .timeout_ns = 400 * MS * SLOW };

    snprintf(address, sizeof address, "127.0.0.1:%d", atoi(p.in[0].all.p));
    kill(pid, SIGSTOP);
    uint64_t began = clock_mono_ns();
    party_dial(&p, &g, &o);
    party_want_down(&p, &g);
    CU_ASSERT(g.down_at - began >= 400 * MS * SLOW && g.down_at - began < 1500 * MS * SLOW);
    IS_ERR(g.why, ERR_LOST, "can't reach");
    g.why = NULL;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    heard_fini(&g);
    heard_fini(&h);
    party_fini(&p);
}

/* 200 links at once, each with its own bytes. */
void
peer_many(void)
{
    enum { N = SLOW > 1 ? 20 : 200 };
    static struct party p;
    static struct heard h[N];
    char text[32];

    memset(h, 0, sizeof h);
    party_init(&p);
    p.echo = true;
    uint16_t port = party_listen(&p, NULL);
    for (int i = 0; i < N; i++) {
        h[i].keep = true;
        party_dial_port(&p, &h[i], port);
        link_send(h[i].l, text, (size_t)snprintf(text, sizeof text, "link %d", i));
    }
    for (int i = 0; i < N; i++) {
        int n = snprintf(text, sizeof text, "link %d", i);

        party_want_bytes(&p, &h[i], (uint64_t)n);
        CU_ASSERT(h[i].all.n == (size_t)n && !memcmp(h[i].all.p, text, (size_t)n));
    }
    EQ_U64(p.accepted, N);
    EQ_U64(p.downs, 0);
    for (int i = 0; i < N; i++)
        heard_fini(&h[i]);
    party_fini(&p);
}

/* A peer that has no descriptors left for a while listens again afterwards (gRPC alone would not). */
void
peer_crowded(void)
{
    static struct party p;
    struct heard h = { 0 }, g = { 0 }, late = { 0 };
    int fd[2 * CROWDED_FDS];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    pid_t pid = meet_how(&p, &h, "--crowded");
    uint16_t port = (uint16_t)atoi(p.in[0].all.p);

    to.sin_port = htons(port);
    for (int i = 0; i < 2 * CROWDED_FDS; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CU_ASSERT(connect(fd[i], (struct sockaddr *)&to, sizeof to) == 0);
    }
    link_send(h.l, "still there", 11); /* those who are in are not harmed */
    party_want_bytes(&p, &h, 16);
    for (int i = 0; i < 2 * CROWDED_FDS; i++)
        close(fd[i]);
    party_dial_port(&p, &g, port);
    link_send(g.l, "hello", 5);
    party_want_bytes(&p, &g, 5);
    EQ_U64(g.bytes, 5);
    party_dial_port(&p, &late, port);
    link_send(late.l, "hello", 5);
    party_want_bytes(&p, &late, 5);
    EQ_U64(h.down, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    heard_fini(&late);
    heard_fini(&g);
    heard_fini(&h);
    party_fini(&p);
}
