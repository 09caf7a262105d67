/* blobs_priv -- what blobs.c and blobs_fetch.c share. */
#ifndef WORKER_BLOBS_PRIV_H
#define WORKER_BLOBS_PRIV_H
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "net/loop.h"
#include "worker/blobs.h"

struct blob_waiter {
    char *name, *host, *app;
    unsigned char secret[BULK_SECRET];
    void (*done)(void *, struct err *);
    void *arg;
    struct blob_waiter *next;
};

struct blob_hash { /* a hand's */
    int fd;
    bool sync;
    int errnum;
    unsigned char got[BLOBS_SHA256];
};

enum blob_state { BLOB_IDLE, BLOB_LOOKING, BLOB_FETCHING };

struct blob {
    struct blobs *blobs;
    unsigned char sha256[BLOBS_SHA256];
    char hex[BLOBS_HEX];
    uint64_t size;
    enum blob_state state;
    unsigned holds;
    struct stat verified;        /* of the file that was hashed last; all zero: none */
    struct blob_waiter *waiters; /* the first one's source is asked */
    struct hand *hand;
    struct blob_hash hash;
    struct loop_timer timer;
    /* a fetch under way */
    struct bulk_client *client;
    char *from;                  /* whom client asks */
    int part;
    uint64_t next;               /* byte that is asked for next */
    unsigned under_way;
    bool again;                  /* it was corrupt once */
    struct err *why;             /* the first error; no more is asked for */
    struct blob *next_blob;      /* in the list of all */
};

struct blobs {
    struct loop *loop;
    char *dir;
    uint64_t limit, ttl_ns, fetched;
    struct tls_files tls_files;
    const struct tls_files *tls;
    struct blob *entries;
};

char *blobs__path(const struct blobs *b, const struct blob *x, bool part); /* for free() */
void blobs__hash(void *blob); /* a hand's work */
void blobs__look(struct blobs *b, struct blob *x);
void blobs__there(struct blobs *b, struct blob *x);
void blobs__failed(struct blobs *b, struct blob *x, struct err *e);
void blobs__fetch(struct blobs *b, struct blob *x);
void blobs__fetch_drop(struct blob *x);
#endif
