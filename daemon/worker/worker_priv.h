/*
 * worker_priv -- what the files of this room share.
 *
 *   worker.c   folders, lock, id, life        uplink.c   the link to the master, and what it says
 *   place.c    one folder of an app or driver: secret, served blocks, removal
 *   prepare.c  what must be there before a child starts: reach, blobs, files
 *   child.c    one executor or driver         output.c   a driver's stdout and stderr: into files, to followers
 */
#ifndef WORKER_WORKER_PRIV_H
#define WORKER_WORKER_PRIV_H
#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/spread.h"
#include "event/event.h"
#include "net/bulk.h"
#include "net/link.h"
#include "net/loop.h"
#include "proto/proto.h"
#include "worker/blobs.h"
#include "worker/worker.h"

enum { ID_BYTES = 128, PATH_BYTES = 4096 };

/* ---- a folder below DIR: of an application (executors) or of one driver */

struct place_blob {
    struct place *place;
    Taskd__BlobUse use;
    struct blobs_want want; /* name is ours */
    bool waiting, held;
};
enum place_state { PLACE_NEW, PLACE_REACHING, PLACE_FETCHING, PLACE_FILES, PLACE_READY };
struct place {
    struct worker *w;
    char id[ID_BYTES];
    char *dir;                   /* DIR/ID */
    bool driver;
    bool spread;                 /* blocks/ over the local folders */
    bool served;                 /* an app's blocks, by the bulk server */
    bool forgotten;              /* goes as soon as its last child has ended */
    unsigned char secret[BULK_SECRET];
    unsigned children;
    /* prepare.c */
    enum place_state state;
    struct reach *reach;
    bool reached;
    char *reach_to;
    struct place_blob *blobs;
    size_t n_blobs, waiting, next_file;
    struct err *why;             /* of a blob */
    struct loop_child *unpacker;
    pid_t unpacker_pid;
    struct loop_timer later;
    /* output.c */
    struct stream *stream[2];
    struct place *next;
};

/* ---- an executor or a driver */

struct child {
    struct worker *w;
    struct place *place;
    uint32_t number;             /* 0: a driver */
    uint32_t cores;
    uint64_t memory;
    char *dir;                   /* of its own: executor-N, or the driver's place */
    struct buf spec;             /* until it is started */
    Taskd__ChildPhase phase;
    pid_t pid;
    struct loop_child *process;
    struct loop_timer kill;
    char *stopped;               /* why somebody asked for its end, NULL: nobody did */
    int status;                  /* of waitpid(); ended, but followers don't have all of its output yet */
    bool ended;
    struct child *next;
};

/* What the master may not have heard. */
struct ended {
    char app_id[ID_BYTES];
    uint32_t number, exit_status;
    Taskd__ChildPhase phase;
    char *text;
    struct ended *next;
};

struct removal {
    struct worker *w;
    struct hand *hand;
    char *path;
    struct removal *next;
};

struct worker {
    struct loop *loop;
    struct arena a;              /* of opts */
    struct worker_opts o;
    struct tls_files tls;
    char id[64];
    char *bulk_address;
    int lock;
    const char *local[SPREAD_MAX]; /* LOCAL/ID: of ours in each local folder that can be used */
    unsigned n_local;
    struct bulk_server *bulk;
    struct blobs *blobs;
    struct place *places;
    struct child *children;
    struct ended *ended;         /* newest first */
    struct removal *removals;
    struct strays *strays;       /* child.c */
    char gone_name[32];          /* what is being removed is called this and a number; another word in each life */
    unsigned gone;
    struct loop_timer tidy;
    /* uplink.c */
    const char **masters;
    size_t n_masters, master_at;
    struct link *link;
    struct loop_timer redial;
    uint64_t backoff_ns;
    bool greeted, welcome, ever_welcome;
    char master_id[ID_BYTES];
    uint32_t epoch;
    uint64_t stale;              /* items of another epoch */
    struct buf out;
    struct loop_timer pump;
    /* worker_stop() */
    void (*stopped)(void *);
    void *stopped_arg;
};

void worker__log(struct worker *w, enum event_level level, const char *app, const struct err *e, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* Now if it is small, by a hand: the folder is out of the way when this returns. */
void worker__remove(struct worker *w, const char *path);
void worker__remove_in(struct worker *w, const char *root, const char *path); /* root: a folder of ours on its disk */
/* The last child is gone: is somebody waiting for that? */
void worker__child_gone(struct worker *w);
char *worker__text(struct err *e); /* takes e; for free() */

/* uplink.c */
struct err *uplink__new(struct worker *w) MUST_USE;
void uplink__dial(struct worker *w);
void uplink__free(struct worker *w);
void uplink__child(struct worker *w, const struct child *c, Taskd__ChildPhase phase, uint32_t exit_status, const char *text);
void uplink__output(struct worker *w, const char *driver, bool err, uint64_t at, const void *p, size_t n);
bool uplink__ready(const struct worker *w);  /* registered, and little waits to leave */
void uplink__forget_ended(struct worker *w, const char *id, uint32_t number, bool all);

/* place.c */
bool place__id_ok(const char *id);
struct place *place__find(struct worker *w, const char *id);
struct err *place__get(struct worker *w, const char *id, bool driver, struct place **ret) MUST_USE;
/* The app's secret is known: its blocks are served from now on. */
struct err *place__serve(struct place *p, const unsigned char *secret) MUST_USE;
void place__forget(struct place *p);  /* frees p now or when its last child has ended */
void place__child_gone(struct place *p);
void place__free(struct place *p);    /* leaves the folder */
struct err *place__find_old(struct worker *w) MUST_USE;
void place__forget_old(struct worker *w);

/* prepare.c: calls child__ready() or child__failed() for all children that are starting */
void prepare__start(struct place *p, const char *reach, const char *host, const char *app, const unsigned char *secret,
                    Taskd__AppBlob *const *blob, size_t n);
void prepare__drop(struct place *p);    /* nothing is under way any more */
void prepare__release(struct place *p); /* its blobs may go; the next child needs them anew */

/* child.c */
void child__start_executor(struct worker *w, const Taskd__StartExecutor *m);
void child__start_driver(struct worker *w, const Taskd__StartDriver *m);
void child__stop(struct child *c, const char *why);
struct child *child__find(struct worker *w, const char *app_id, uint32_t number);
void child__ready(struct child *c);
void child__failed(struct child *c, const char *text);  /* frees c */
void child__drained(struct child *c);                   /* frees c */
void child__free(struct child *c);
void child__forget_strays(struct worker *w);

/* output.c */
struct err *output__open(struct place *p, int ret_write[2]) MUST_USE;
void output__end(struct place *p);                      /* the driver ended: takes what is left in the pipes */
void output__follow(struct worker *w, const Taskd__FollowChild *m);
bool output__drained(const struct place *p);            /* nobody waits for more of it */
void output__pump(struct worker *w);
void output__unfollow_all(struct worker *w);
void output__close(struct place *p);                    /* its files, unless somebody follows */
void output__free(struct place *p);
#endif
