/* broadcast_priv -- what broadcast.c (who asks) and broadcast_fetch.c (how it comes here) share. */
#ifndef EXECUTOR_BROADCAST_PRIV_H
#define EXECUTOR_BROADCAST_PRIV_H
#include "executor/broadcast.h"
#include "net/loop.h"

struct waiter {
    unsigned slot;
    uint32_t frame, id;
    struct waiter *next;
};

struct piece; /* one that is under way */
struct known {
    uint32_t id;
    uint64_t size;
    uint32_t n_pieces, n_holders;
    uint64_t *xxh3;
    uint32_t *holder;
    bool destroyed;
    struct waiter *waiters;
    struct broadcasts *b;
    struct known *next;
    /* fetching: part is locked and ours */
    int part; /* -1: not */
    uint32_t *order; /* pieces not asked for yet: [next_piece, n_pieces) */
    uint32_t next_piece, under_way, done;
    uint32_t n_good; /* holder[0 .. n_good): where nothing has gone wrong in this fetch */
    struct piece *pieces;
    struct loop_timer again; /* somebody else on this host holds the lock, or nobody has it at present */
};

struct broadcasts {
    struct broadcasts_opts o;
    char *dir, *host;
    struct known *all;
    struct broadcasts_stats stats;
};

struct known *broadcasts__find(const struct broadcasts *b, uint32_t id);
char *broadcasts__path(const char *dir, uint32_t id, const char *suffix);
bool broadcasts__here(const struct broadcasts *b, const struct known *k);
/* It is here, or not to be had (takes e): the waiters are answered. */
void broadcasts__ready(struct broadcasts *b, struct known *k, struct err *e);

/* broadcast_fetch.c */
/* Begins if it has not begun. */
void broadcasts__fetch(struct broadcasts *b, struct known *k);
/* Ends it without an answer; the partial file goes (remove) or stays. */
void broadcasts__stop(struct broadcasts *b, struct known *k, bool remove);
void broadcasts__holders_changed(struct broadcasts *b, struct known *k);
#endif
