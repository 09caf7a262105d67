/* The master's wiring on loopback links: a master in a folder of its own, and peers that say things and hear others. */
#ifndef TESTS_MASTER_WIRE_H
#define TESTS_MASTER_WIRE_H
#include "common/identity.h"
#include "master/master.h"
#include "net/link.h"
#include "net/loop.h"
#include "proto/proto.h"
#include "unit.h"

struct peer {
    struct wire *w;
    struct link *link; /* NULL: it is down */
    struct buf heard;  /* items as text, one a line */
    size_t read;       /* what was looked at */
    uint32_t epoch;    /* that it heard, and says */
    uint64_t have;     /* of a BlobState */
    bool whole;
    char id[80];       /* that it was given */
};
struct wire {
    struct loop *l;
    char dir[80];
    struct identity identity;
    struct tls_files tls;
    struct master *m;
    struct loop_timer timer;
    bool timeout;
    uint64_t grace_ns, recover_ns;
};
void wire_init(struct wire *w);
void wire_fini(struct wire *w);
void wire_start(struct wire *w); /* a master in the folder */
void wire_stop(struct wire *w);  /* as kill -9, as far as the journal goes */

void peer_dial(struct wire *w, struct peer *p);
/* Dials, and says Hello in this role. */
void peer_hello(struct wire *w, struct peer *p, const char *role);
void peer_say(struct peer *p, Taskd__Item *item);
#define SAY(p, KIND, field, msg)                               \
    do {                                                       \
        Taskd__Item item_ = TASKD__ITEM__INIT;                 \
        item_.kind_case = TASKD__ITEM__KIND_##KIND;            \
        item_.field = (msg);                                   \
        peer_say((p), &item_);                                 \
    } while (0)
/* Waits until a line with these words is heard; the test fails after 10 s.  What was before it is skipped. */
void peer_hears(struct peer *p, const char *words);
/* Nothing with these words was heard. */
void peer_heard_no(struct peer *p, const char *words);
void peer_close(struct peer *p); /* and forgets what it heard */

void worker_registers(struct wire *w, struct peer *p, const char *id, uint32_t cores, Taskd__ChildState *child);
void worker_says(struct peer *p, const char *id, uint32_t executor, Taskd__ChildPhase phase, uint32_t status);
void worker_writes(struct peer *p, const char *driver, bool err, uint64_t at, const char *text);
/* A new one with app_id "". */
void app_registers(struct wire *w, struct peer *p, const char *app_id, const char *submission, unsigned char secret,
                   Taskd__ChildState *executor);
void app_wants(struct peer *p, uint32_t cores);
/* Puts a blob of this text and says its hash. */
void client_puts(struct peer *p, const char *text, unsigned char ret_sha256[32]);
void client_submits(struct peer *p, const unsigned char sha256[32], bool supervise);
void client_submits_again(struct peer *p, const unsigned char sha256[32], bool supervise, const char *mark, bool again);
void client_follows(struct peer *p, const char *driver, uint64_t out_at, bool wait);

/* Runs the loop for a few rounds. */
void wire_rounds(struct wire *w);
#endif
