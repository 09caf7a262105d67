/* bulk_client_priv -- bulk_client.c knows the gets and their pieces, bulk_peer.c one connection a server. */
#ifndef NET_BULK_CLIENT_PRIV_H
#define NET_BULK_CLIENT_PRIV_H
#include "net/bulk_priv.h"

enum {
#ifdef TASKD_HOSTILE
    BULK_PIECE_MIN = 512,
    BULK_PIECE_MAX = 4096,
    BULK_BUFFER = 1000,
    BULK_SPLICE = 3000,
#else
    BULK_PIECE_MIN = 64 << 10,
    BULK_PIECE_MAX = 4 << 20, /* a get is asked for in pieces of at most this */
    BULK_BUFFER = 512 << 10,  /* what is received at once */
    BULK_SPLICE = 64 << 10,   /* if more of a body is missing it is spliced: one copy less, 0.6 of the CPU time */
#endif
};

struct bulk_job { /* a get */
    struct bulk_client *c;
    struct bulk_job *next, **link; /* all of the client, or those that are finished */
    struct bulk_job *turn_next;    /* the peer's: has bytes that were not asked for yet */
    struct bulk_peer *peer;
    struct bulk_get get;           /* host is the peer's, name this one's */
    uint64_t from, end;            /* not asked for yet; from == end: nothing */
    bool asked;                    /* at least once, so that a size is known */
    bool queued;                   /* is in the peer's turn list */
    unsigned pieces;               /* under way or to be asked for again */
    uint64_t got, size;
    struct err *err;
};

struct bulk_piece {
    struct bulk_piece *next;
    struct bulk_job *job;    /* NULL: nobody wants it any more */
    uint64_t id;
    uint64_t offset, length; /* what is missing of it; offset BULK_TAIL: the end of the file */
    uint64_t left;           /* of the answer: not received yet; before the answer: length */
    uint64_t at;             /* place in the target of the next byte */
    bool moved;              /* bytes came in this connection */
    unsigned tries;          /* connections that broke without it getting further */
};

enum bulk_state { BULK_IDLE, BULK_BACKING_OFF, BULK_CONNECTING, BULK_HELLO, BULK_VERDICT, BULK_READY };
struct bulk_peer {
    struct bulk_client *c;
    struct bulk_peer *next;
    char *address;
    enum bulk_state state;
    struct bulk_stream io;
    struct loop_io *watch;
    unsigned events;
    struct loop_timer timer;   /* back-off; silence; idleness */
    uint64_t heard;            /* when bytes came last */
    unsigned failures;         /* one after the other */
    struct sockaddr_storage addr; /* of the name; looking it up may take time, so it is kept */
    socklen_t addr_n;          /* 0: not known */
    bool progress;             /* bytes of files came in this connection */
    bool refused;              /* the last failure was a verdict */
    unsigned char nonce[BULK_NONCE], want_mac[BULK_MAC];

    struct bulk_job *turn, **turn_end;
    struct bulk_piece *again;  /* first in the queue */
    struct bulk_piece *under_way, **under_way_end;
    unsigned requests;
    struct bulk_piece *body;   /* the one whose bytes come now; one of under_way */
    unsigned char head[BULK_ANSWER_HEAD]; /* of the next message, as far as it came */
    size_t head_n;
    struct buf out;
    size_t out_sent;
};

struct bulk_client {
    struct loop *l;
    char *app;
    unsigned char secret[BULK_SECRET];
    struct ssl_ctx_st *tls;
    uint64_t in_flight, piece;
    unsigned requests, retries;
    uint64_t backoff_ns, silence_ns;

    struct bulk_peer *peers;
    struct bulk_peer *next_peer; /* whose turn it is to ask */
    struct bulk_job *jobs, *finished, **finished_end;
    struct loop_timer deliver;
    bool *freed;
    uint64_t asked; /* bytes asked for and not here yet */
    uint64_t last_id;
    char *buffer;   /* BULK_BUFFER */
    int pipe[2];    /* for splice(); empty between calls; -1: there is none */
};

/* ---- bulk_client.c */
/* Asks for as much as the limits allow, everywhere. */
void bulk__ask(struct bulk_client *c);
/* An answer's head for a piece under way; false: it can't be right. */
bool bulk__piece_head(struct bulk_peer *p, struct bulk_piece *x, const struct bulk_answer *a) MUST_USE;
void bulk__piece_bytes(struct bulk_peer *p, struct bulk_piece *x, const void *bytes, size_t n);
/* n bytes that lie in the client's pipe. */
void bulk__piece_piped(struct bulk_peer *p, struct bulk_piece *x, size_t n);
/* All of it came: frees it. */
void bulk__piece_end(struct bulk_peer *p, struct bulk_piece *x);
/* The connection broke: what is under way is asked for again, or given up. */
void bulk__pieces_broken(struct bulk_peer *p, const char *why);
/* All that wait for the peer fail. */
void bulk__peer_hopeless(struct bulk_peer *p, enum err_code code, const char *why);
bool bulk__peer_wanted(const struct bulk_peer *p);

/* ---- bulk_peer.c */
void bulk__peer_connect(struct bulk_peer *p);
/* Sends what is in out. */
void bulk__peer_flush(struct bulk_peer *p);
void bulk__peer_fini(struct bulk_peer *p);
#endif
