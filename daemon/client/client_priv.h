/* client_priv -- what client.c (verbs), put.c (submit), follow.c (output) and show.c (tables) share. */
#ifndef CLIENT_CLIENT_PRIV_H
#define CLIENT_CLIENT_PRIV_H
#include "client/client.h"
#include "event/event.h"

enum put_phase { PUT_LOOK, PUT_BLOBS, PUT_ASKED, PUT_DONE };

struct put_blob {
    uint64_t have, sent; /* bytes that the master has, that it was sent */
    unsigned flying;     /* pieces without an answer */
    bool asked, whole;
};
struct client {
    struct client_opts o;
    struct loop *loop;
    struct arena a;
    struct uplink *conn;
    bool over;
    int status;
    const char *id;         /* what it is about: the line's, or what the master called the submission */
    /* put.c */
    enum put_phase phase;
    bool asked;             /* for the driver, perhaps on an earlier connection */
    struct put_blob *put;
    size_t at;              /* the blob that is being put */
    /* follow.c */
    bool following, quiet;  /* quiet: only the end counts */
    uint64_t out_at, err_at; /* printed so far */
    uint64_t seen[2];       /* where the last pieces of this connection ended; UINT64_MAX: none came yet */
    int killing;            /* the signal that asked for it, or 0 */
    uint32_t tries;         /* which start of the driver the places count in; 0: not known */
    bool resuming;          /* a new connection: has the driver been started again meanwhile? */
    bool ended;             /* only the reason is still asked for */
    int end_status;
    bool away;              /* said that the master is away */
    char *waiting;          /* what was said last of why it waits; heap */
    struct loop_timer look;
};

/* The end of the process's work; e is printed and freed. */
void client__over(struct client *c, int status);
void client__fail(struct client *c, struct err *e);
/* A line on err: "taskd: text", or what the submission's --progress makes of it: with json an event, with none nothing
 * that is below EVENT_LEVEL_WARN. */
void client__say(struct client *c, enum event_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* All of it, or the process is over. */
void client__write(struct client *c, int fd, const void *p, size_t n);
void client__send(struct client *c, const Taskd__Item *item);
void client__ask_status(struct client *c, const char *id);

void client__put_up(struct client *c);
void client__put_item(struct client *c, const Taskd__Item *item);

/* From where the output ended. */
void client__follow(struct client *c, bool wait);
/* The same on a new connection. */
void client__resume(struct client *c);
void client__follow_item(struct client *c, const Taskd__Item *item);
void client__ask_kill(struct client *c);

void client__show_list(struct client *c, const Taskd__Status *s);
void client__show_status(struct client *c, const Taskd__Status *s);
#endif
