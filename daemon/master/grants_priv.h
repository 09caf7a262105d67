/* The parts of grants: grants.c (step, time), grants_workers.c (with leases), grants_apps.c, grants_drivers.c, place.c
 * (who gets what), why.c. */
#ifndef MASTER_GRANTS_PRIV_H
#define MASTER_GRANTS_PRIV_H
#include "master/grants.h"

struct grants__worker {
    char *id, *host;
    uint64_t process;
    uint64_t serial; /* of all workers that ever came */
    uint32_t slot;   /* small, its alone while it is known */
    uint32_t cores, used;
    uint64_t memory, memory_used;
    bool up;
    uint64_t down_at;
    struct grants__lease *leases; /* in the order of their making */
    char **kept;                  /* RECOVERING: applications of unknown fate whose files it has */
    uint32_t n_kept;
};

enum { LEASE_STARTING = GRANTS_STARTING, LEASE_RUNNING = GRANTS_RUNNING, LEASE_STOPPING };
struct grants__lease {
    struct grants__lease *next; /* of the worker */
    struct grants__worker *worker;
    struct grants__app *app;       /* whose executor; NULL: nobody's (any more, or not yet again) */
    struct grants__driver *driver; /* whose process */
    char *id;
    uint32_t executor;
    uint32_t cores;
    uint64_t memory;
    uint64_t since;    /* it was made */
    uint64_t asked_at; /* STOPPING: the last time */
    uint64_t pid;
    uint8_t state, asked;
    bool fresh; /* made in this step; not said yet */
    bool over;  /* its application is over: FORGET behind the last one */
};

/* A worker as one application or driver knows it. */
struct grants__history {
    uint64_t serial;   /* the worker's; another one: nothing is known */
    uint32_t failures; /* in a row */
    uint64_t until;    /* avoided */
    bool files;        /* executors were there */
};
struct grants__past { /* by the worker's slot */
    struct grants__history *v;
    uint32_t n;
};
struct grants__pair { /* an executor that its driver has and no worker has reported yet */
    uint32_t executor, cores;
};

struct grants__app {
    char *id, *name, *submission;
    struct grants_ask ask;
    uint32_t want;
    uint32_t held, executors; /* leases that are not being stopped; with unpaired ones */
    uint32_t next_executor;
    uint32_t failures; /* to start, in a row */
    char *failure;     /* the last */
    char *waiting;     /* as said */
    bool up, registered;
    bool blocked; /* in this step: can have no more */
    bool recovered; /* nobody knows where its files are */
    uint64_t down_at;
    uint64_t starved_at; /* 0: it isn't */
    struct grants__past past;
    struct grants__pair *pairs;
    uint32_t n_pairs, pairs_cap;
};

struct grants__driver {
    char *id, *name;
    uint32_t cores;
    uint64_t memory;
    bool supervise;
    uint32_t tries, failures; /* starts; failures in a row */
    uint32_t unstarted;       /* times that a worker could not even start it, in a row */
    uint64_t began;           /* the last start */
    uint64_t not_before;      /* back-off */
    char *missing;            /* RECOVERING: the worker that should have it; else NULL */
    struct grants__lease *lease;
    char *waiting;
    struct grants__past past;
};

struct grants {
    struct grants_opts o;
    struct grants__worker **workers;
    uint32_t n_workers, workers_cap;
    struct grants__app **apps; /* in the order of their coming */
    uint32_t n_apps, apps_cap;
    struct grants__driver **drivers;
    uint32_t n_drivers, drivers_cap;
    bool recovering;
    bool expecting; /* the journal knew of something that lived */
    uint64_t recover_until;
    uint64_t patient_until; /* nobody is lost before */
    uint64_t wake_at; /* as said */
    uint64_t stale;
    uint64_t serials;
    uint64_t now;
    struct grants_actions *out;
};

/* ---- grants.c */
void *grants__more(void *p, uint32_t n, size_t each, uint32_t *cap);
char *grants__dup(const char *s);
void grants__set(char **p, const char *s);
struct grants_action *grants__act(struct grants *g, uint8_t kind);
const char *grants__text(struct grants *g, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- grants_workers.c */
void grants__worker_event(struct grants *g, const struct grants_event *ev);
/* With its children and their files; frees w. */
void grants__worker_lost(struct grants *g, struct grants__worker *w, const char *why);
void grants__worker_free(struct grants__worker *w);
/* Files of applications that are over; while it is not known which are, they stay. */
void grants__drop_files(struct grants *g, struct grants__worker *w);
void grants__say_stop(struct grants *g, struct grants__lease *l, const char *why);
struct grants__worker *grants__worker(const struct grants *g, const char *id);
struct grants__lease *grants__lease_new(struct grants__worker *w, const char *id, uint32_t executor, uint32_t cores,
                                        uint64_t memory, uint64_t now);
struct grants__lease *grants__lease(const struct grants__worker *w, const char *id, uint32_t executor);
/* Out of all books; says nothing. */
void grants__lease_free(struct grants *g, struct grants__lease *l);
/* Belongs to nobody from now on, and the worker is told. */
void grants__stop(struct grants *g, struct grants__lease *l, const char *why);
struct grants__history *grants__past(struct grants__past *p, const struct grants__worker *w);
/* Without making one. */
struct grants__history grants__seen(const struct grants__past *p, const struct grants__worker *w);
void grants__forget(struct grants *g, struct grants__worker *w, const char *id);

/* ---- grants_apps.c */
struct grants__app *grants__app(const struct grants *g, const char *id);
void grants__app_event(struct grants *g, const struct grants_event *ev);
void grants__app_timer(struct grants *g);
/* The state LOST etc.: its leases are stopped, its folders go, a is freed. */
void grants__app_over(struct grants *g, struct grants__app *a, uint8_t state, uint32_t status, const char *why);
void grants__app_attach(struct grants *g, struct grants__app *a, struct grants__lease *l);
void grants__app_granted(struct grants *g, const struct grants__app *a, const struct grants__lease *l);
void grants__app_detach(struct grants__lease *l);
/* The child of l has ended or is lost; l still stands. */
void grants__executor_ended(struct grants *g, struct grants__lease *l, bool failed, uint32_t status, const char *text,
                            bool worker_lost);
void grants__app_worker_lost(struct grants *g, const struct grants__worker *w);
/* A worker says that this executor has ended, and nothing is known of it but what its driver said. */
void grants__app_unpaired(struct grants *g, const struct grants__worker *w, const struct grants_child *c);
/* Nobody is waited for any more. */
void grants__app_recovered(struct grants *g);
bool grants__apps_back(const struct grants *g);
void grants__app_free(struct grants__app *a);

/* ---- grants_drivers.c */
struct grants__driver *grants__driver(const struct grants *g, const char *id);
void grants__driver_event(struct grants *g, const struct grants_event *ev);
void grants__driver_ended(struct grants *g, struct grants__driver *d, const struct grants__worker *w, bool failed,
                          uint32_t status, const char *text);
/* It was never started; no try of it is lost. */
void grants__driver_again(struct grants *g, struct grants__driver *d, const char *why);
void grants__driver_lost(struct grants *g, struct grants__driver *d, const char *text);
/* A worker reports d; true if it may live. */
bool grants__driver_found(struct grants *g, struct grants__driver *d, struct grants__lease *l);
/* w is back without those that should be there. */
void grants__driver_missed(struct grants *g, const struct grants__worker *w);
void grants__driver_say(struct grants *g, const struct grants__driver *d, uint8_t state, uint32_t status,
                        const char *text);
void grants__driver_recovered(struct grants *g);
bool grants__drivers_back(const struct grants *g);
void grants__driver_free(struct grants__driver *d);

/* ---- place.c */
void grants__place(struct grants *g);
bool grants__can_use(const struct grants__worker *w, uint32_t cores, uint64_t memory); /* at its best */
uint32_t grants__could_have(const struct grants *g, const struct grants_ask *ask);
uint32_t grants__wish(const struct grants__app *a);

/* ---- why.c */
void grants__say_waiting(struct grants *g);

/* When one whose link went down then is lost. */
static inline uint64_t
grants__lost_at(const struct grants *g, uint64_t down_at)
{
    uint64_t at = down_at + g->o.grace_ns;

    return at > g->patient_until ? at : g->patient_until;
}

static inline void
grants__earlier(uint64_t *at, uint64_t t)
{
    if (t && (!*at || t < *at))
        *at = t;
}
/* back-off: first, doubled for each further failure, at most most */
static inline uint64_t
grants__backoff(uint64_t first, uint32_t failures, uint64_t most)
{
    while (--failures && first < most)
        first *= 2;
    return first < most ? first : most;
}
#define SECOND UINT64_C(1000000000)
#endif
