/* worker -- what the tests of the worker share: a worker and a master that only listens, in one loop, on a loopback
 * link; a driver's bulk server; tests/worker-child as executor and driver. */
#ifndef TESTS_WORKER_H
#define TESTS_WORKER_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/buf.h"
#include "net/bulk.h"
#include "net/link.h"
#include "net/loop.h"
#include "proto/proto.h"
#include "unit.h"
#include "worker/worker.h"

enum { RIG_EPOCH = 7, RIG_STATES = 64 };

struct rig_state { /* a ChildState, kept */
    char app[64], text[1000];
    uint32_t executor, status;
    Taskd__ChildPhase phase;
    pid_t pid;
};
struct rig {
    struct loop *l;
    char top[64], dir[80];       /* top/work is the worker's */
    struct worker *w;
    struct worker_opts o;
    char executor[4096], unpack[4096];
    /* the master's side */
    struct link *link;
    uint32_t epoch;
    unsigned dials, hellos;
    bool mute;                   /* says nothing to a worker's hello */
    char worker[64], bulk[64];
    char wrong[256];             /* addresses that were called in vain, "a:1 b:2 " */
    uint32_t cores;
    struct rig_state hello_child[RIG_STATES], state[RIG_STATES];
    size_t n_hello_child, n_state;
    char apps[256];              /* of the last hello, "a b " */
    size_t n_library;
    char profile[64];
    struct buf out[2];           /* of the driver that is followed */
    bool end[2];
    bool fault;                  /* a ChildOutput that does not go on where the last one ended */
    /* the driver's side */
    struct bulk_server *s;
    char address[64];
    unsigned char secret[BULK_SECRET];
    bool timeout;
};
void rig_init(struct rig *r);
void rig_fini(struct rig *r);
void rig_worker(struct rig *r);      /* starts it and waits until it is registered */
void rig_worker_kill(struct rig *r); /* frees it: its folder is as it was left */
/* Runs the loop until cond holds; fails the test after 20 s. */
void rig_until(struct rig *r, bool (*cond)(struct rig *r));
/* The next state of that child that was not looked at before; waits for it. */
struct rig_state rig_next(struct rig *r, const char *app, uint32_t executor);
/* STARTING, then RUNNING; ret_running NULL is allowed. */
void rig_phases(struct rig *r, const char *app, uint32_t n, struct rig_state *ret_running);
void rig_ended(struct rig *r, const char *app, uint32_t n, uint32_t status, const char *words);
void rig_send(struct rig *r, Taskd__Item *item);
void rig_stop(struct rig *r, const char *app, uint32_t executor);
void rig_forget(struct rig *r, const char *app);
void rig_follow(struct rig *r, const char *driver, uint64_t out_at, uint64_t err_at, bool stop);

struct rig_blob { /* of bytes that the driver serves */
    Taskd__BlobUse use;
    const char *name;
    unsigned char sha256[32];
    uint64_t size;
};
/* Puts the bytes where the driver serves blobs. */
struct rig_blob rig_blob(struct rig *r, Taskd__BlobUse use, const char *name, const void *p, size_t n);
/* Where that is; name: of the blob */
void rig_blob_path(struct rig *r, const struct rig_blob *b, bool cache, char ret[static 256]);
/* what: for tests/worker-child */
void rig_executor(struct rig *r, const char *app, uint32_t n, const char *what, const struct rig_blob *b, size_t blobs);
void rig_driver(struct rig *r, const char *id, const char *what, const struct rig_blob *b, size_t blobs);
/* top/work/NAME */
bool rig_there(struct rig *r, const char *name);
void rig_read(struct rig *r, const char *name, struct buf *out);

/* The tests of the other files. */
void place_serves(void);
void place_is_forgotten(void);
void place_is_old(void);
void blobs_once(void);
void blobs_resumed(void);
void blobs_corrupt(void);
void blobs_touched(void);
void blobs_next_source(void);
void blobs_trimmed(void);
void files_placed(void);
void files_refused(void);
void unpack_good(void);
void unpack_attacks(void);
void unpack_links(void);
void unpack_bombs(void);
void unpack_garbage(void);
void profile_cache(void);
#endif
