/*
 * broadcast -- the values of main's broadcasts: each a file "bID" in the driver's folder, copied from main's memory or
 * from a file and summed piece by piece, one piece a round of the loop, so that nobody else has to wait.
 *
 * Main waits for the answer, so one is made at a time.
 *
 * Owner: the driver.  Threads: the loop's.
 */
#ifndef DRIVER_BROADCAST_H
#define DRIVER_BROADCAST_H
#include "executor/broadcast.h"
#include "net/frame.h"

struct bcast_store;
struct loop;

struct bcast_store_opts {
    struct loop *loop;
    const char *dir; /* exists; copied */
    /* The answer to main's request number frame; takes e. */
    void (*reply)(void *arg, uint32_t frame, struct err *e);
    /* All executors are to know: it is new, has other holders, or was destroyed. */
    void (*tell)(void *arg, const struct broadcast_info *i);
    void *arg;
};
struct bcast_store *bcast_store_new(const struct bcast_store_opts *o);
/* Removes its files.  NULL is allowed. */
void bcast_store_free(struct bcast_store *s);

/* Main's requests WIRE_BROADCAST and WIRE_UNBROADCAST, and its own use of a value. */
void bcast_store_add(struct bcast_store *s, struct frame *f);
void bcast_store_remove(struct bcast_store *s, const struct frame *f);
struct err *bcast_store_open(struct bcast_store *s, uint32_t id, int *ret_fd, uint64_t *ret_size) MUST_USE;

/* For an executor that is new: calls fn for all there are. */
void bcast_store_each(const struct bcast_store *s, void (*fn)(void *arg, const struct broadcast_info *i), void *arg);
/* A node has it whole; a node is gone.  Who should know is told. */
void bcast_store_held(struct bcast_store *s, uint32_t id, uint32_t node);
void bcast_store_lost(struct bcast_store *s, uint32_t node);
#endif
