/*
 * master_priv -- what the files of the wiring share.
 *
 *   master.c  life, links, who is who       rows.c    what the journal has, in memory
 *   act.c     what grants asks for          apps.c    a driver's messages
 *   workers.c a worker's messages           clients.c a client's: submissions, kill, status
 *   follow.c  output of drivers             store.c   blobs
 */
#ifndef MASTER_MASTER_PRIV_H
#define MASTER_MASTER_PRIV_H
#include "master/grants.h"
#include "master/journal.h"
#include "master/master.h"
#include "net/bulk.h"
#include "net/loop.h"
#include "proto/proto.h"

enum { MASTER_ID_MAX = 64, MASTER_KEPT = 200 };

enum role { ROLE_UNKNOWN, ROLE_WORKER, ROLE_DRIVER, ROLE_CLIENT };
struct party { /* the other end of a link */
    struct master *m;
    struct link *link; /* NULL: dropped */
    struct party *next;
    enum role role;
    bool greeted, busy; /* busy: in its handler */
    uint64_t since;
    char *host;          /* of its Hello */
    uint64_t pid;
    struct wrow *worker; /* once registered */
    struct arow *app;
    struct follow *follows;
};

/* A worker that registered in this master's life. */
struct wrow {
    struct wrow *next;
    char *id, *host;
    struct party *party;  /* NULL: away */
    struct buf profile;   /* an envelope with its WorkerHello */
    bool lost;
    uint32_t cores;
    uint64_t memory;
};

struct arow {
    struct arow *next;
    struct journal_app row; /* its strings are ours */
    bool dirty;
    struct party *party;
    uint32_t tries; /* of its submission, when it registered */
    struct buf hello; /* an envelope with its last AppHello */
};

struct drow {
    struct drow *next;
    struct journal_driver row; /* its strings and spec (an envelope with SubmitDriver) are ours */
    bool dirty, spec_saved;
    struct follow *follows;
    bool held; /* followers don't take it fast enough */
};

struct follow {
    struct follow *next_of_driver, *next_of_party;
    struct party *party;
    struct drow *driver;
    uint64_t at[2];
    bool end[2]; /* the worker said: that was all */
    bool wait;
    uint64_t quiet_since;
};

struct master {
    struct loop *loop;
    struct master_opts o;
    char *dir, *host;
    struct journal *journal;
    struct journal_head head;
    struct grants *grants;
    struct grants_actions actions;
    struct bulk_server *bulk;
    char *bulk_address;
    struct party *parties;
    struct wrow *workers;
    struct arow *apps;
    struct drow *drivers;
    struct loop_timer wake, tick, save;
    struct store *store;
    struct buf out;
    uint64_t began, stale, ticks, last_tick;
    bool stepping;
};

/* ---- master.c */
void master__send(struct master *m, struct party *p, Taskd__Item *item);
#define MASTER_SEND(m, p, KIND, field, msg)                    \
    do {                                                       \
        Taskd__Item item_ = TASKD__ITEM__INIT;                 \
        item_.kind_case = TASKD__ITEM__KIND_##KIND;            \
        item_.field = (msg);                                   \
        master__send((m), (p), &item_);                        \
    } while (0)
/* Says Refused and drops; takes why. */
void master__refuse(struct party *p, struct err *why);
/* Closes; says nothing. */
void master__drop(struct party *p);
bool master__id_ok(const char *id);
char *master__dup(const char *s);
void master__set(char const **p, const char *s);

/* ---- act.c */
void master__step(struct master *m, const struct grants_event *ev);
#define MASTER_STEP(m, k, ...) master__step((m), &(struct grants_event){ .kind = GRANTS_##k, __VA_ARGS__ })
/* "RUNNING" */
const char *master__app_state(const struct master *m, const struct arow *a);
const char *master__driver_state(const struct drow *d);

/* ---- rows.c */
struct err *rows__load(struct master *m) MUST_USE; /* and tells grants */
struct arow *rows__app(struct master *m, const char *id);
struct drow *rows__driver(struct master *m, const char *id);
struct wrow *rows__worker(struct master *m, const char *id);
/* A new id, and its row; both are durable only after rows__save().  what: "app", "driver". */
struct err *rows__new_app(struct master *m, const char *id, struct arow **ret) MUST_USE;
struct err *rows__new_driver(struct master *m, struct drow **ret) MUST_USE;
/* What is dirty.  On error it stays so, and is tried again. */
struct err *rows__save(struct master *m) MUST_USE;
void rows__remove_app(struct master *m, struct arow *a);
void rows__remove_driver(struct master *m, struct drow *d);
void rows__free(struct master *m);
uint64_t rows__now_ms(void);

/* ---- handlers */
void workers__hello(struct party *p, const Taskd__WorkerHello *h);
void workers__item(struct party *p, const Taskd__Item *item);
void workers__down(struct party *p);
void apps__hello(struct party *p, const Taskd__AppHello *h);
void apps__item(struct party *p, const Taskd__Item *item);
void apps__down(struct party *p);
void clients__item(struct party *p, const Taskd__Item *item);
void clients__answer(struct party *p, struct err *e, const char *text); /* takes e */
/* StartExecutor, StartDriver of what is known of them. */
void apps__start_executor(struct master *m, struct wrow *w, const struct grants_action *a);
void clients__start_driver(struct master *m, struct wrow *w, const struct grants_action *a);

/* ---- follow.c */
void follow__start(struct party *p, const Taskd__Follow *f);
void follow__output(struct master *m, const Taskd__ChildOutput *o);
/* The driver runs (again), or its worker is back: the worker is asked for what followers miss. */
void follow__ask(struct master *m, struct drow *d);
/* Another worker runs it: its output begins at 0. */
void follow__moved(struct drow *d);
/* Its state changed: perhaps that was all. */
void follow__over(struct master *m, struct drow *d);
void follow__drop(struct party *p);
/* True if something is held back: look again soon. */
bool follow__tick(struct master *m);

/* ---- store.c */
struct err *store__new(const char *dir, struct store **ret) MUST_USE;
void store__free(struct store *s);
bool store__has(const struct store *s, const unsigned char sha256[32]);
/* Appends; says how much is there. */
struct err *store__put(struct store *s, const Taskd__BlobPut *put, uint64_t *ret_have, bool *ret_whole) MUST_USE;
/* Removes what is older than an hour and not kept. */
void store__trim(struct store *s, bool (*keep)(void *arg, const unsigned char sha256[32]), void *arg);
#endif
