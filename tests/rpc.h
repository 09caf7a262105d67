/* What the files of the rpc tests share: a party is an rpc with its loop, and what its links heard. */
#ifndef TESTS_RPC_H
#define TESTS_RPC_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "net/loop.h"
#include "rpc/rpc.h"

enum { RPC_HEARD = 512 };
#define MS UINT64_C(1000000)
#ifdef __SANITIZE_THREAD__
enum { SLOW = 8 }; /* the thread sanitizer looks up a stack for each report that it then suppresses */
#else
enum { SLOW = 1 };
#endif

struct heard { /* by one link */
    struct party *p;
    struct link *l;
    uint64_t messages, bytes;
    struct buf all;        /* if keep */
    bool keep, echo, down;
    struct err *why;
    void (*on_bytes)(struct heard *h, const void *p, size_t n);
    void (*on_down)(struct heard *h);
    uint64_t down_at;
};
struct party {
    struct loop *loop;
    struct rpc *r;
    struct rpc_server *s;
    struct heard in[RPC_HEARD]; /* accepted */
    unsigned accepted, downs;
    bool echo, keep;
    /* the loop ends when all of these hold */
    unsigned want_accepted, want_downs;
    struct heard *want_of;
    uint64_t want_bytes;
    struct loop_timer guard;
};

void party_init(struct party *p);
void party_fini(struct party *p);
uint16_t party_listen(struct party *p, const struct rpc_listen_opts *o);
void party_dial(struct party *p, struct heard *h, const struct rpc_dial_opts *o);
void party_dial_port(struct party *p, struct heard *h, uint16_t port);
/* Runs the loop until what is wanted is there; fails the test after 20 s. */
void party_run(struct party *p);
void party_want_down(struct party *p, struct heard *h);
void party_want_bytes(struct party *p, struct heard *h, uint64_t n);
void party_want_accepted(struct party *p, unsigned n);
void heard_fini(struct heard *h);

int peer_main(int port, bool crowded);
void peer_killed(void);
void peer_frozen(void);
void peer_frozen_before(void);
void peer_many(void);
void peer_crowded(void);
void limit_of_message(void);
void limit_not_reached(void);
void limit_of_peer(void);
void limit_of_links(void);
void limit_of_peer_links(void);
void place_taken(void);
void place_unix(void);
void place_left(void);
void stranger_talks(void);
void stranger_asks(void);
void tls_let_in(void);
void tls_refused(void);
void tls_server_refused(void);
void tls_files_bad(void);
#endif
