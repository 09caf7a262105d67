/* The rpc tests of what is refused: too large, too many, a place that is taken, strangers. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "rpc.h"
#include "unit.h"

/* ---- size */

void
limit_of_message(void)
{
    enum { LIMIT = 100000 };
    static struct party p;
    static char bytes[LIMIT + 1];
    struct heard h = { .keep = true };
    char address[32];
    struct rpc_listen_opts lo = { .host = "127.0.0.1", .message_limit = LIMIT };
    struct rpc_dial_opts o = { .address = address, .message_limit = LIMIT };

    party_init(&p);
    p.echo = true;
    snprintf(address, sizeof address, "127.0.0.1:%u", party_listen(&p, &lo));
    party_dial(&p, &h, &o);
    memset(bytes, 'b', sizeof bytes);
    link_send(h.l, bytes, LIMIT);
    party_want_bytes(&p, &h, LIMIT);
    CU_ASSERT(h.all.n == LIMIT && !memcmp(h.all.p, bytes, LIMIT));
    link_send(h.l, bytes, LIMIT + 1);
    link_send(h.l, "not after that", 14);
    CU_ASSERT(!h.down); /* not from inside */
    party_want_down(&p, &h);
    IS_ERR(h.why, ERR_LIMIT, "a message of 100001 bytes");
    h.why = NULL;
    party_want_down(&p, &p.in[0]);
    EQ_U64(p.in[0].bytes, LIMIT);
    heard_fini(&h);
    party_fini(&p);
}

/* Larger than a join, smaller than the limit: travels alone and whole. */
void
limit_not_reached(void)
{
    enum { BIG = (SLOW > 1 ? 1 : 3) * LINK_BATCH + 17 };
    static struct party p;
    struct heard h = { .keep = true };
    char *bytes = malloc(BIG);

    party_init(&p);
    p.echo = p.keep = true;
    party_dial_port(&p, &h, party_listen(&p, NULL));
    for (size_t i = 0; i < BIG; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    link_send(h.l, "small", 5);
    link_send(h.l, bytes, BIG);
    link_send(h.l, "small", 5);
    party_want_bytes(&p, &h, BIG + 10);
    CU_ASSERT(h.all.n == BIG + 10 && !memcmp(h.all.p + 5, bytes, BIG) && !memcmp(h.all.p + 5 + BIG, "small", 5));
    EQ_U64(p.in[0].messages, 3);
    free(bytes);
    heard_fini(&h);
    party_fini(&p);
}

/* The peer takes less than we may send. */
void
limit_of_peer(void)
{
    static struct party p;
    static char bytes[5000];
    struct heard h = { 0 };
    struct rpc_listen_opts lo = { .host = "127.0.0.1", .message_limit = 4096 };

    party_init(&p);
    party_dial_port(&p, &h, party_listen(&p, &lo));
    link_send(h.l, bytes, sizeof bytes);
    party_want_down(&p, &h);
    IS_ERR(h.why, ERR_LIMIT, "message");
    h.why = NULL;
    party_want_down(&p, &p.in[0]);
    EQ_U64(p.in[0].bytes, 0);
    heard_fini(&h);
    party_fini(&p);
}

/* ---- number */

static void
too_many(const struct rpc_listen_opts *lo, const char *words)
{
    static struct party p;
    struct heard a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

    party_init(&p);
    p.echo = true;
    uint16_t port = party_listen(&p, lo);
    party_dial_port(&p, &a, port);
    party_dial_port(&p, &b, port);
    link_send(a.l, "a", 1);
    link_send(b.l, "b", 1);
    party_want_bytes(&p, &a, 1);
    party_want_bytes(&p, &b, 1);
    party_dial_port(&p, &c, port);
    party_want_down(&p, &c);
    IS_ERR(c.why, ERR_LIMIT, words);
    c.why = NULL;
    EQ_U64(p.accepted, 2);
    heard_fini(&a); /* makes room */
    p.want_downs = 2; /* c, and a's other end */
    party_run(&p);
    party_dial_port(&p, &d, port);
    link_send(d.l, "d", 1);
    party_want_bytes(&p, &d, 1);
    heard_fini(&b);
    heard_fini(&c);
    heard_fini(&d);
    party_fini(&p);
}

void
limit_of_links(void)
{
    too_many(&(struct rpc_listen_opts){ .host = "127.0.0.1", .max_links = 2 }, "all 2 links are taken");
}

void
limit_of_peer_links(void)
{
    too_many(&(struct rpc_listen_opts){ .host = "127.0.0.1", .max_links_per_peer = 2 }, "all 2 links of one address");
}

/* ---- places */

void
place_taken(void)
{
    static struct party p;
    struct rpc_server *s = NULL;

    party_init(&p);
    struct rpc_listen_opts o = { .host = "127.0.0.1", .port = party_listen(&p, NULL) };
    IS_ERR(rpc_listen(p.r, &o, NULL, NULL, &s), ERR_IO, "Address already in use");
    o = (struct rpc_listen_opts){ .host = "0.0.0.0" };
    IS_ERR(rpc_listen(p.r, &o, NULL, NULL, &s), ERR_DENIED, "without TLS");
    o = (struct rpc_listen_opts){ .host = "no.such.host.invalid" };
    IS_ERR(rpc_listen(p.r, &o, NULL, NULL, &s), ERR_DENIED, "without TLS");
    CU_ASSERT(!s);
    party_fini(&p);
}

void
place_unix(void)
{
    static struct party p;
    char dir[] = "/tmp/taskd-rpc-XXXXXX", path[64], address[80], lock[80];
    struct heard h = { 0 };
    struct rpc_server *s = NULL;
    struct rpc_listen_opts lo = { .path = path };
    struct rpc_dial_opts o = { .address = address };

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(lock, sizeof lock, "%s/s.lock", dir);
    snprintf(address, sizeof address, "unix:%s", path);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* left over */
    file_close(&fd);
    unlink(path);
    party_init(&p);
    p.echo = true;
    chmod(dir, 0750);
    IS_ERR(rpc_listen(p.r, &lo, NULL, NULL, &s), ERR_DENIED, "open to others");
    chmod(dir, 0700);
    EQ_U64(party_listen(&p, &lo), 0);
    IS_ERR(rpc_listen(p.r, &lo, NULL, NULL, &s), ERR_DENIED, "belongs to another process");
    lo.path = "relative/s";
    IS_ERR(rpc_listen(p.r, &lo, NULL, NULL, &s), ERR_CONFIG, "no absolute path");
    party_dial(&p, &h, &o);
    link_send(h.l, "hello", 5);
    party_want_bytes(&p, &h, 5);
    CU_ASSERT(!strncmp(link_peer(h.l), "unix:", 5));
    heard_fini(&h);
    party_fini(&p);
    CU_ASSERT(access(path, F_OK) < 0 && access(lock, F_OK) < 0);
    NO_ERR(file_remove_tree(dir));
}

/* A server that is gone: its links live on, nobody new comes in. */
void
place_left(void)
{
    static struct party p;
    struct heard a = { 0 }, b = { 0 };
    char address[32];
    struct rpc_dial_opts o = { .address = address, .timeout_ns = 300000000 };

    party_init(&p);
    p.echo = true;
    uint16_t port = party_listen(&p, NULL);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    party_dial_port(&p, &a, port);
    link_send(a.l, "a", 1);
    party_want_bytes(&p, &a, 1);
    rpc_server_free(p.s);
    p.s = NULL;
    party_dial(&p, &b, &o);
    party_want_down(&p, &b);
    IS_ERR(b.why, ERR_LOST, "can't reach");
    b.why = NULL;
    link_send(a.l, "again", 5);
    party_want_bytes(&p, &a, 6);
    EQ_U64(p.accepted, 1);
    heard_fini(&a);
    heard_fini(&b);
    party_fini(&p);
}

/* ---- strangers */

/* Bytes that are no HTTP/2: the connection goes, everybody else stays. */
void
stranger_talks(void)
{
    static struct party p;
    struct heard h = { 0 };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char c;

    party_init(&p);
    p.echo = true;
    uint16_t port = party_listen(&p, NULL);
    to.sin_port = htons(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    CU_ASSERT(write(fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18);
    party_dial_port(&p, &h, port);
    link_send(h.l, "hello", 5);
    party_want_bytes(&p, &h, 5);
    while (read(fd, &c, 1) > 0)
        ;
    file_close(&fd);
    EQ_U64(p.accepted, 1);
    heard_fini(&h);
    party_fini(&p);
}

/* A gRPC client that asks for what we don't have is told so at once. */
void
stranger_asks(void)
{
    static struct party p;
    char address[32];
    grpc_status_code status = GRPC_STATUS_OK;
    grpc_slice details = grpc_empty_slice();
    grpc_metadata_array meta, trailer;
    grpc_byte_buffer *answer = NULL;

    party_init(&p);
    snprintf(address, sizeof address, "ipv4:127.0.0.1:%u", party_listen(&p, NULL));
    grpc_completion_queue *cq = grpc_completion_queue_create_for_next(NULL);
    grpc_channel_credentials *creds = grpc_insecure_credentials_create();
    grpc_channel *ch = grpc_channel_create(address, creds, NULL);
    grpc_channel_credentials_release(creds);
    grpc_call *call = grpc_channel_create_call(ch, NULL, GRPC_PROPAGATE_DEFAULTS, cq,
                                               grpc_slice_from_static_string("/other.Service/Method"), NULL,
                                               gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    grpc_metadata_array_init(&meta);
    grpc_metadata_array_init(&trailer);
    grpc_op ops[] = {
        { .op = GRPC_OP_SEND_INITIAL_METADATA },
        { .op = GRPC_OP_RECV_INITIAL_METADATA, .data.recv_initial_metadata.recv_initial_metadata = &meta },
        { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
        { .op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &answer },
        { .op = GRPC_OP_RECV_STATUS_ON_CLIENT, .data.recv_status_on_client = { &trailer, &status, &details, NULL } },
    };
    CU_ASSERT(grpc_call_start_batch(call, ops, 5, call, NULL) == GRPC_CALL_OK);
    grpc_event ev = { 0 };
    for (int i = 0; i < 100 && ev.type != GRPC_OP_COMPLETE; i++) { /* the two loops take turns */
        struct heard clock = { 0 };
        struct rpc_dial_opts o = { .address = "127.0.0.1:1", .timeout_ns = 20000000 };

        ev = grpc_completion_queue_next(cq, gpr_time_from_millis(0, GPR_TIMESPAN), NULL);
        if (ev.type == GRPC_OP_COMPLETE)
            break;
        party_dial(&p, &clock, &o);
        party_want_down(&p, &clock);
        heard_fini(&clock);
    }
    CU_ASSERT(ev.type == GRPC_OP_COMPLETE);
    EQ_U64(status, GRPC_STATUS_UNIMPLEMENTED);
    EQ_U64(p.accepted, 0);
    grpc_metadata_array_destroy(&meta);
    grpc_metadata_array_destroy(&trailer);
    grpc_slice_unref(details);
    grpc_call_unref(call);
    grpc_channel_destroy(ch);
    grpc_completion_queue_shutdown(cq);
    while (grpc_completion_queue_next(cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).type != GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(cq);
    party_fini(&p);
}
