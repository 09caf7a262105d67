/* The room rpc: links over gRPC. */
#include "rpc.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "unit.h"

/* ---- bytes */

/* Some megabytes; under the thread sanitizer each word of them is a suppressed report, so some kilobytes. */
enum { MANY = SLOW > 1 ? 1000 : 100000 };

/* Numbered lines, so that order and borders can be seen. */
static void
send_lines(struct link *l, unsigned n, struct buf *all)
{
    struct buf b = { 0 };

    for (unsigned i = 0; i < n; i++) {
        b.n = 0;
        buf_printf(&b, "envelope %u%.*s\n", i, (int)(i % 37), "-------------------------------------");
        link_send(l, b.p, b.n);
        buf_put(all, b.p, b.n);
    }
    buf_fini(&b);
}

static void
echo_of(unsigned n)
{
    static struct party p;
    struct heard h = { .keep = true };
    struct buf all = { 0 };

    party_init(&p);
    p.echo = p.keep = true;
    party_dial_port(&p, &h, party_listen(&p, NULL));
    send_lines(h.l, n, &all);
    EQ_U64(link_queued(h.l), all.n);
    party_want_bytes(&p, &h, all.n);
    link_send(h.l, "!", 1); /* leaves when all before has left */
    party_want_bytes(&p, &h, all.n + 1);
    CU_ASSERT(link_queued(h.l) <= 1);
    buf_put(&all, "!", 1);
    EQ_U64(p.accepted, 1);
    EQ_U64(h.all.n, all.n);
    CU_ASSERT(h.all.n == all.n && !memcmp(h.all.p, all.p, all.n));
    CU_ASSERT(p.in[0].all.n == all.n && !memcmp(p.in[0].all.p, all.p, all.n));
    CU_ASSERT(!strncmp(link_peer(h.l), "ipv4:127.0.0.1:", 15));
    CU_ASSERT(!strncmp(link_peer(p.in[0].l), "ipv4:127.0.0.1:", 15));
#ifndef TASKD_HOSTILE
    CU_ASSERT(p.in[0].messages <= 2 + all.n / (LINK_BATCH / 2));
#endif
    heard_fini(&h);
    buf_fini(&all);
    party_fini(&p);
}

static void
echo_one(void)
{
    echo_of(1);
}

static void
echo_many(void)
{
    echo_of(1000);
    echo_of(MANY);
}

/* ---- ends */

/* All that was sent before the close is there before the end, in either direction. */
static void
closed_by_client(void)
{
    static struct party p;
    struct heard h = { 0 };
    struct buf all = { 0 };

    party_init(&p);
    p.keep = true;
    party_dial_port(&p, &h, party_listen(&p, NULL));
    send_lines(h.l, MANY, &all);
    link_close(h.l);
    h.l = NULL;
    party_want_accepted(&p, 1);
    party_want_down(&p, &p.in[0]);
    EQ_U64(p.in[0].all.n, all.n);
    CU_ASSERT(p.in[0].all.n == all.n && !memcmp(p.in[0].all.p, all.p, all.n));
    IS_ERR(p.in[0].why, ERR_LOST, "closed the connection");
    p.in[0].why = NULL;
    link_send(p.in[0].l, "x", 1); /* does nothing */
    EQ_U64(link_queued(p.in[0].l), 0);
    buf_fini(&all);
    party_fini(&p);
}

static void
close_at_once(struct heard *h, const void *bytes, size_t n)
{
    struct buf all = { 0 };

    send_lines(h->l, MANY, &all);
    link_close(h->l);
    h->l = NULL;
    buf_fini(&all);
}

static void
closed_by_server(void)
{
    static struct party p;
    struct heard h = { .keep = true };

    party_init(&p);
    party_dial_port(&p, &h, party_listen(&p, NULL));
    link_send(h.l, "go", 2);
    party_want_accepted(&p, 1);
    p.in[0].on_bytes = close_at_once;
    party_want_down(&p, &h);
    CU_ASSERT(!strncmp(h.all.p, "envelope 0\nenvelope 1-\n", 23));
    char last[32];
    int n = snprintf(last, sizeof last, "envelope %d", MANY - 1);
    CU_ASSERT(h.all.n > 100 && memmem(h.all.p + h.all.n - 100, 100, last, (size_t)n));
    IS_ERR(h.why, ERR_LOST, "closed the connection");
    h.why = NULL;
    EQ_U64(p.in[0].down, 0);
    heard_fini(&h);
    party_fini(&p);
}

static void
close_now(struct heard *h, const void *bytes, size_t n)
{
    link_send(h->l, "bye", 3);
    link_close(h->l);
    h->l = NULL;
}

static void
close_when_down(struct heard *h)
{
    link_send(h->l, "nobody hears this", 17);
    link_close(h->l);
    h->l = NULL;
}

/* Closed inside on_envelope at one end and inside on_down at the other. */
static void
closed_in_handlers(void)
{
    static struct party p;
    struct heard h = { .keep = true, .on_down = close_when_down };

    party_init(&p);
    party_dial_port(&p, &h, party_listen(&p, NULL));
    party_want_accepted(&p, 1);
    p.in[0].on_bytes = close_now;
    link_send(h.l, "hello", 5);
    party_want_down(&p, &h);
    CU_ASSERT(h.all.n == 3 && !memcmp(h.all.p, "bye", 3));
    EQ_U64(p.downs, 1);
    heard_fini(&h);
    party_fini(&p);
}

/* Both ends close at the same time: nobody is told, everything ends. */
static void
closed_by_both(void)
{
    static struct party p;
    struct heard h = { .echo = true };
    struct buf all = { 0 };

    party_init(&p);
    party_dial_port(&p, &h, party_listen(&p, NULL));
    link_send(h.l, "hello", 5);
    party_want_accepted(&p, 1);
    party_want_bytes(&p, &p.in[0], 5);
    send_lines(h.l, 100, &all);
    send_lines(p.in[0].l, 100, &all);
    link_close(h.l);
    link_close(p.in[0].l);
    h.l = p.in[0].l = NULL;
    uint64_t began = clock_mono_ns();
    party_fini(&p);
    CU_ASSERT(clock_mono_ns() - began < 900 * MS * SLOW);
    EQ_U64(h.down, 0);
    buf_fini(&all);
    heard_fini(&h);
}

static void *
run_until_down(void *arg)
{
    struct party *p = arg;

    party_want_accepted(p, 1);
    party_want_down(p, &p->in[0]);
    return NULL;
}

/* Sent, closed and freed at once: it still arrives. */
static void
closed_and_freed(void)
{
    static struct party p, q;
    struct heard h = { 0 };
    struct buf all = { 0 };
    pthread_t other;

    party_init(&p);
    party_init(&q);
    p.echo = p.keep = true;
    uint16_t port = party_listen(&p, NULL);
    CU_ASSERT_FATAL(pthread_create(&other, NULL, run_until_down, &p) == 0);
    party_dial_port(&q, &h, port);
    link_send(h.l, "first\n", 6);
    buf_put(&all, "first\n", 6);
    party_want_bytes(&q, &h, 6);
    send_lines(h.l, MANY / 5, &all);
    heard_fini(&h);
    party_fini(&q);
    pthread_join(other, NULL);
    CU_ASSERT(p.in[0].all.n == all.n && !memcmp(p.in[0].all.p, all.p, all.n));
    party_fini(&p);
    buf_fini(&all);
}

static void
nobody_there(void)
{
    static struct party p;
    struct heard h = { 0 };
    struct rpc_dial_opts o = { .address = "127.0.0.1:1", .timeout_ns = 300 * MS * SLOW };

    party_init(&p);
    uint64_t began = clock_mono_ns();
    party_dial(&p, &h, &o);
    link_send(h.l, "hello", 5);
    party_want_down(&p, &h);
    CU_ASSERT(h.down_at - began >= 300 * MS * SLOW && h.down_at - began < 1000 * MS * SLOW);
    IS_ERR(h.why, ERR_LOST, "can't reach \"127.0.0.1:1\": Connection refused");
    h.why = NULL;
    heard_fini(&h);
    party_fini(&p);
}

/* A dial that begins before anybody listens. */
static void
listens_later(void)
{
    static struct party p, early;
    struct heard h = { .keep = true };

    party_init(&early);
    uint16_t port = party_listen(&early, NULL);
    party_fini(&early);
    party_init(&p);
    p.echo = true;
    party_dial_port(&p, &h, port);
    link_send(h.l, "hello", 5);
    /* the first attempt fails */
    struct rpc_dial_opts o = { .address = "127.0.0.1:1", .timeout_ns = 50 * MS };
    struct heard clock = { 0 };
    party_dial(&p, &clock, &o);
    party_want_down(&p, &clock);
    CU_ASSERT(!h.down);
    struct rpc_listen_opts lo = { .host = "127.0.0.1", .port = port };
    EQ_U64(party_listen(&p, &lo), port);
    uint64_t began = clock_mono_ns();
    party_want_bytes(&p, &h, 5);
    CU_ASSERT(clock_mono_ns() - began < 1000 * MS * SLOW);
    heard_fini(&h);
    heard_fini(&clock);
    party_fini(&p);
}

/* All ways to write an address. */
static void
addresses(void)
{
    static const char *const hosts[][2] = { { "127.0.0.1", "127.0.0.1" }, { "localhost", "localhost" },
                                            { "::1", "[::1]" }, { "localhost", "127.0.0.1" } };

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        static struct party p;
        struct heard h = { 0 };
        char address[64];
        struct rpc_listen_opts lo = { .host = hosts[i][0] };
        struct rpc_dial_opts o = { .address = address };

        party_init(&p);
        p.echo = true;
        snprintf(address, sizeof address, "%s:%u", hosts[i][1], party_listen(&p, &lo));
        party_dial(&p, &h, &o);
        link_send(h.l, "hello", 5);
        party_want_bytes(&p, &h, 5);
        EQ_U64(h.bytes, 5);
        heard_fini(&h);
        party_fini(&p);
    }
}

static void
no_such_host(void)
{
    static struct party p;
    struct heard h = { 0 };
    struct rpc_dial_opts o = { .address = "no-such-host.invalid:7077", .timeout_ns = 400 * MS * SLOW };

    party_init(&p);
    party_dial(&p, &h, &o);
    party_want_down(&p, &h);
    IS_ERR(h.why, ERR_LOST, "can't reach \"no-such-host.invalid:7077\"");
    h.why = NULL;
    heard_fini(&h);
    party_fini(&p);
}

/* Closed while it dials: goes in its own time, without a call. */
static void
closed_while_dialling(void)
{
    static struct party p;
    struct heard h = { 0 }, g = { 0 };
    struct rpc_dial_opts o = { .address = "127.0.0.1:1" };

    party_init(&p);
    party_dial(&p, &h, &o);
    heard_fini(&h);
    party_dial(&p, &g, &o);
    link_send(g.l, "x", 1);
    heard_fini(&g);
    uint64_t began = clock_mono_ns();
    party_fini(&p);
    CU_ASSERT(clock_mono_ns() - began < 1500 * MS * SLOW);
    EQ_U64(h.down + g.down, 0);
}

static const struct unit_test tests[] = {
    { "echo.one", echo_one },
    { "echo.many", echo_many },
    { "end.closed_by_client", closed_by_client },
    { "end.closed_by_server", closed_by_server },
    { "end.closed_in_handlers", closed_in_handlers },
    { "end.closed_by_both", closed_by_both },
    { "end.closed_and_freed", closed_and_freed },
    { "dial.nobody_there", nobody_there },
    { "dial.listens_later", listens_later },
    { "dial.addresses", addresses },
    { "dial.no_such_host", no_such_host },
    { "dial.closed_while_dialling", closed_while_dialling },
    { "peer.killed", peer_killed },
    { "peer.frozen", peer_frozen },
    { "peer.frozen_before", peer_frozen_before },
    { "peer.many", peer_many },
    { "peer.crowded", peer_crowded },
    { "limit.of_message", limit_of_message },
    { "limit.not_reached", limit_not_reached },
    { "limit.of_peer", limit_of_peer },
    { "limit.of_links", limit_of_links },
    { "limit.of_peer_links", limit_of_peer_links },
    { "place.taken", place_taken },
    { "place.unix", place_unix },
    { "place.left", place_left },
    { "stranger.talks", stranger_talks },
    { "stranger.asks", stranger_asks },
    { "tls.let_in", tls_let_in },
    { "tls.refused", tls_refused },
    { "tls.server_refused", tls_server_refused },
    { "tls.files_bad", tls_files_bad },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    if (argc == 3 && (!strcmp(argv[1], "--peer") || !strcmp(argv[1], "--crowded")))
        return peer_main(atoi(argv[2]), !strcmp(argv[1], "--crowded"));
    return unit_main(argc, argv, "rpc", tests);
}
