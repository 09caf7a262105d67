/* bulk_server_priv -- one connection of a bulk server: bulk_server.c takes them in, bulk_serve.c answers them. */
#ifndef NET_BULK_SERVER_PRIV_H
#define NET_BULK_SERVER_PRIV_H
#include <netinet/in.h>

#include "net/bulk_priv.h"

enum {
    BULK_QUEUE = 64,          /* requests of a connection that wait; more stay in the socket */
    BULK_SMALL = 32 << 10,    /* an answer of this size is copied behind its head, and several leave together */
    BULK_JOINED = 256 << 10,  /* so many bytes of them */
    BULK_LIVELY = 64 << 10,   /* a peer that takes fewer bytes in the idle time is closed as well */
};

struct bulk_app {
    char *name;
    int *dir;         /* the folder, then what it is spread over (base/spread.h) */
    unsigned n_dir;
    unsigned char secret[BULK_SECRET];
    struct bulk_app *next;
};

struct bulk_ask { /* a request that waits */
    uint64_t id, offset, length;
    char *name;
};

struct bulk_conn {
    struct bulk_server *s;
    struct bulk_conn *next, **link;
    struct bulk_stream io;
    struct loop_io *watch;
    unsigned events;          /* what watch waits for now */
    struct in6_addr from;     /* IPv4 as mapped */
    struct bulk_app *app;     /* NULL: not authenticated */
    bool closing;             /* after what is in out, it is over */
    unsigned char nonce[BULK_NONCE];
    struct loop_timer timer;
    uint64_t deadline;        /* closed when it is reached */
    uint64_t moved;           /* bytes that left since the deadline was set */

    char in[2 * BULK_REQUEST_MAX];
    size_t in_n;
    struct bulk_ask ask[BULK_QUEUE]; /* a ring */
    unsigned head, asks;

    struct buf out; /* from out_sent on: to be sent first */
    size_t out_sent;
    int file;       /* then [off, off + left) of this */
    uint64_t off, left;
    char *file_name; /* what file is; kept for the next request, NULL: none */
};

struct bulk_server {
    struct loop *l;
    int fd;
    uint16_t port;
    struct loop_io *watch;
    struct loop_timer pause; /* the table of descriptors is full: no accepting until it fires */
    struct ssl_ctx_st *tls;
    unsigned max;
    uint64_t idle_ns, auth_ns;
    struct bulk_app *apps;
    struct bulk_conn *conns;
    struct bulk_server_stats stats;
};

/* ---- bulk_serve.c */
/* Bytes arrived, or there is room for more; closes the connection when it is over. */
void bulk__conn_ready(void *arg, unsigned events);
/* Starts with the nonce in out. */
void bulk__conn_pump(struct bulk_conn *c);
/* ---- bulk_server.c */
void bulk__conn_close(struct bulk_conn *c);
/* Something happened that proves that the peer is alive. */
void bulk__conn_alive(struct bulk_conn *c);
struct bulk_app *bulk__app_of(struct bulk_server *s, const char *name);
#endif
