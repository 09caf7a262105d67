/* sched_priv -- the state of sched, and what its files tell each other.
 *
 *   step.c    events, the gate          stage.c   jobs, stages, what may run now     lost.c   outputs that are gone
 *   slot.c    executors, queues, time   launch.c  which task on which slot
 *   near.c    preferred places          avoid.c   places to avoid
 *
 * No step looks at all tasks: a stage hands out its tasks by a cursor and a list of those that must run
 * again, slots with room lie in buckets by the length of their queue, deadlines in the order in which the
 * heads of the queues began. */
#ifndef SCHED_SCHED_PRIV_H
#define SCHED_SCHED_PRIV_H
#include "sched/sched.h"

#define SCHED__NONE UINT32_MAX
enum { SCHED__QUEUE_MAX = 256, SCHED__WORDS = SCHED__QUEUE_MAX / 64, SCHED__TOUCHED = 64 };
/* Attempts that wait at all slots together: a tenth of a second's work for a driver.  More only costs memory
 * that falls out of the cache before it is looked at again. */
enum { SCHED__QUEUED = 64 << 10, SCHED__DEPTH_MIN = 4 };

/* Bugs that the simulator must find (tests/sim). */
enum sched__plant { SCHED__PLANT_NONE, SCHED__PLANT_DOUBLE_COMMIT, SCHED__PLANT_LOST_DONE, SCHED__PLANT_STALE_EPOCH,
                    SCHED__PLANT_NO_AVOID, SCHED__PLANT_REVOKE_TWICE, SCHED__PLANT_NODE_KEEPS, SCHED__PLANT_WAITS_ON,
                    SCHED__PLANT_NO_WISHES, SCHED__PLANT_MIXED_ROWS, SCHED__PLANT_OLD_READERS };
#ifdef SCHED_PLANT
#define PLANTED(s, bug) ((s)->opts.plant == (bug))
#else
#define PLANTED(s, bug) ((void)(s), false)
#endif

enum sched__state { /* by progress */
    SCHED__FRESH,    /* at or behind the stage's cursor */
    SCHED__AGAIN,    /* in the stage's list of tasks to run again */
    SCHED__LAUNCHED, /* in a slot's queue */
    SCHED__ACCEPTED,
};
struct sched__task { /* one a partition; there may be millions */
    uint64_t digest;    /* of the rows that were accepted last */
    uint32_t next;      /* AGAIN: list */
    uint32_t attempts;  /* launches so far; the latest is attempts - 1 */
    uint32_t accepted;  /* attempt whose output was accepted last, if generation or state say there is one */
    uint32_t slot;      /* where it was launched last */
    uint16_t generation;
    uint16_t version;   /* of the stage's input, when launched last */
    uint16_t failures;
    uint8_t lost;
    uint8_t state : 4;
    uint8_t spare : 4; /* speculation: a second attempt runs */
};
_Static_assert(sizeof(struct sched__task) <= 32, "a million tasks are 32 MB");

struct sched__job;
struct sched__near;
struct sched__avoid;
struct sched__stage {
    uint32_t id;
    bool shuffle;
    bool files;    /* its outputs lie on the disk of the node that made them */
    bool active;   /* a live job needs it now */
    bool mark;     /* used by sched__activate */
    bool listed;   /* in the list of stages with something to launch */
    bool buried;   /* freed at the end of the step */
    bool all_written; /* all tasks are, not only those before the cursor */
    bool near_known;  /* it was looked up which nodes hold the input */
    uint16_t version; /* counts how often its input changed under it */
    uint16_t rounds;  /* times in a row that its input was reported lost and it got no further */
    uint32_t first, n; /* partitions [first, first + n) */
    uint32_t cursor;   /* tasks before it were handed out */
    uint32_t again, again_last;
    uint32_t n_done, n_running, n_failed;
    uint32_t missing;   /* parents that are not complete */
    uint32_t live_jobs; /* jobs that have it in their plan */
    uint64_t order;     /* job, place in its plan */
    uint64_t busy_ns, busy_n;
    uint32_t want;      /* attempts that a slot should hold, by the time they take */
    uint64_t bytes, rows;
    struct sched__job *job; /* of a result stage */
    struct sched__near *near;   /* preferred places, NULL: none */
    struct sched__avoid *avoid; /* where its tasks failed, NULL: nowhere */
    uint64_t *node_bytes;       /* of accepted outputs, by node; NULL: none */
    uint32_t n_node_bytes;
    struct sched__stage *list_prev, *list_next;
    struct sched__stage *grave_next;
    struct sched__stage **parents, **children;
    uint32_t n_parents, n_children, cap_children;
    struct sched__task *tasks; /* those behind the cursor are not written yet */
};
struct sched__job {
    uint32_t id;
    uint32_t n;
    struct sched__stage **stages; /* parents first, the result stage last */
    struct sched__job *prev, *next;
};

struct sched__entry {
    uint32_t stage, partition;
    uint32_t attempt; /* and flags; no bit-field, which costs a stalled load an answer */
};
#define SCHED__REVOKED (1u << 31) /* a REVOKE is out */
#define SCHED__DOOMED (1u << 30)  /* it shall not run: a KILL when it is the head */
#define SCHED__ATTEMPT (SCHED__DOOMED - 1)
static inline bool
sched__same(const struct sched__entry *a, const struct sched__entry *b)
{
    return a->stage == b->stage && a->partition == b->partition && ((a->attempt ^ b->attempt) & SCHED__ATTEMPT) == 0;
}
struct sched__slot {
    uint32_t executor, number, node;
    bool up;
    bool killing; /* a KILL is out: nothing is launched here */
    bool killed;  /* `kill` is what it was for, since the last SLOT_DOWN */
    bool placed, timed;
    bool full;    /* and not half empty since */
    bool avoid;   /* by the whole application: nothing is launched here */
    uint8_t kill_code;
    uint8_t downs; /* SLOT_DOWNs that were nobody's fault since the last answer */
    uint32_t bucket;
    uint32_t depth; /* attempts that it may hold */
    uint32_t prev, next;             /* bucket */
    uint32_t time_prev, time_next;   /* deadlines */
    uint64_t since;                  /* the head of the queue began */
    uint32_t head, n, cap;           /* queue: ring of cap (a power of two) */
    struct sched__entry *queue;
    struct sched__entry kill;
};
struct sched__executor {
    uint32_t epoch; /* 0: down */
    uint32_t node;
    uint32_t first, n, room; /* slots[first .. first + n), room of them are its own */
};

/* Where it is better to run. */
struct sched__spot { /* an executor or a node, and the tasks that prefer it */
    uint64_t key;      /* near.c */
    uint32_t first, n; /* in `who`; those that have run are taken off the front */
    bool live;
};
struct sched__near {
    uint64_t wait;           /* per level */
    uint64_t waited, since;  /* time with an idle slot that was refused; 0: none is refused now */
    uint32_t n_nodes, nodes[5]; /* all tasks prefer these */
    uint32_t n_spots;
    struct sched__spot *spots;  /* by key */
    uint32_t *who;           /* task indices */
    uint8_t *has;            /* per task: has a preference */
    uint32_t any;            /* tasks before it have one, or have run */
    uint32_t dead;           /* spots before it are live, or nothing is left there */
    uint32_t changes;        /* of the executors, when that was looked up */
    uint32_t slots;          /* of live spots */
    uint32_t level;
    uint32_t executors;      /* spots before it are executors with nothing left, or not live */
    bool stuck;              /* slots were offered and refused; new ones only */
};

/* Where not to. */
struct sched__fault {
    uint32_t stage, partition, executor, node;
    uint64_t at;
};
struct sched__bad {
    uint32_t executor; /* SCHED__NONE: all of the node */
    uint32_t node;
    uint64_t until; /* 0: as long as the stage runs */
};
enum { SCHED__FAULTS = 128, SCHED__BAD = 32 };
struct sched__avoid {
    uint32_t n_faults, next; /* a ring: the latest ones */
    struct sched__fault faults[SCHED__FAULTS];
    uint32_t n_bad;
    struct sched__bad bad[SCHED__BAD];
    uint8_t *hit;    /* per executor: is it on the list? */
    uint32_t n_hit;
    uint64_t refused; /* `idled` when all idle slots were looked at and avoided */
};
/* Where one task failed that runs again. */
enum { SCHED__SCARS = 16 };
struct sched__scars {
    uint32_t n;
    struct sched__bad at[SCHED__SCARS];
};

struct sched {
    struct sched_opts opts;
    struct sched_actions *out; /* of the step in hand */
    uint64_t now;
    struct sched_counters count;
    uint32_t epoch;
    struct sched__executor *executors;
    uint32_t n_executors;
    struct sched__slot *slots;
    uint32_t n_slots, cap_slots;
    uint64_t idled; /* counts how often a slot became idle */
    uint32_t bucket_first[SCHED__QUEUE_MAX], bucket_last[SCHED__QUEUE_MAX];
    uint64_t buckets[SCHED__WORDS]; /* which have a slot */
    uint32_t time_first, time_last;
    uint64_t wake; /* the WAKE_AT that is out, 0: none */
    uint32_t depth;          /* attempts that any slot may hold */
    uint32_t n_held, n_busy; /* attempts in all queues, slots that have one */
    uint64_t revoke_at;      /* when to look for attempts that wait too long, 0: not */
    uint64_t revoke_seen;    /* launches when that was done last */
    uint64_t near_at;        /* when a stage stops waiting for a better slot, SCHED_NEVER: none does */
    uint32_t n_near;         /* stages with preferred places */
    uint32_t changes;        /* of which executors are up and usable */
    uint32_t n_touched, touched[SCHED__TOUCHED]; /* slots that got room in this step; for stages with `near` */
    uint32_t *node_slots;    /* usable ones, by node */
    uint32_t n_nodes;
    struct sched__avoid *avoid; /* of the application */
    struct sched__stage **stages; /* by id */
    uint32_t n_stages;
    struct sched__stage *list_first, *list_last; /* something to launch, by order */
    struct sched__stage *graves;
    struct sched__job *jobs, *jobs_last;
    uint64_t n_submits;
};

/* Appends an action of that kind, all else zero. */
struct sched_action *sched__act(struct sched *s, enum sched_action_kind kind);
void *sched__more(void *p, uint32_t n, size_t each, uint32_t *cap);

/* ---- stage.c */
static inline struct sched__stage *
sched__stage(const struct sched *s, uint32_t id)
{
    return id < s->n_stages ? s->stages[id] : NULL;
}
static inline struct sched__task *
sched__task(const struct sched__stage *st, uint32_t partition)
{
    return &st->tasks[partition - st->first];
}
/* Tasks from here on are not written yet. */
static inline uint32_t
sched__written(const struct sched__stage *st)
{
    return st->all_written ? st->n : st->cursor;
}
/* The task, NULL if the stage has none such or hasn't handed out any yet that far. */
static inline struct sched__task *
sched__known(const struct sched__stage *st, uint32_t partition)
{
    return st && partition >= st->first && partition - st->first < sched__written(st) ? sched__task(st, partition)
                                                                                     : NULL;
}
static inline bool
sched__complete(const struct sched__stage *st)
{
    return st->n_done == st->n;
}
void sched__submit(struct sched *s, const struct sched_event *ev);
void sched__cancel(struct sched *s, uint32_t job);
void sched__cancel_stage(struct sched *s, uint32_t stage);
/* Ends all jobs that have the stage. */
void sched__fail(struct sched *s, struct sched__stage *st, enum sched_why why, enum err_code code,
                 const struct sched__entry *where);
/* A task that was launched and has no result: it runs again, unless nobody wants it. */
void sched__again(struct sched *s, struct sched__stage *st, uint32_t partition);
void sched__accept(struct sched *s, struct sched__stage *st, const struct sched_event *ev);
/* What its jobs need now, after outputs were lost. */
void sched__activate(struct sched *s, struct sched__stage *st);
void sched__push_again(struct sched *s, struct sched__stage *st, uint32_t partition);
void sched__unlist(struct sched *s, struct sched__stage *st);
/* The task behind the cursor, written; SCHED__NONE if there is none. */
uint32_t sched__fresh(struct sched__stage *st);
/* Task i (FRESH, or AGAIN and out of the list) has been launched. */
void sched__taken(struct sched__stage *st, uint32_t i);
void sched__bury(struct sched *s);
void sched__stages_free(struct sched *s);

/* ---- lost.c */
void sched__output_lost(struct sched *s, const struct sched_event *ev);
/* All outputs that were made by the executor, on the node; SCHED__NONE: on any. */
void sched__outputs_lost(struct sched *s, uint32_t executor, uint32_t node);
void sched__node_down(struct sched *s, uint32_t node);

/* ---- slot.c */
void sched__slots_init(struct sched *s);
void sched__executor_up(struct sched *s, uint32_t executor, uint32_t n, uint32_t node);
/* All that its slots held, as LOST. */
void sched__executor_down(struct sched *s, uint32_t executor);
/* All of the node. */
void sched__executors_down(struct sched *s, uint32_t node);
/* Takes the attempt out of the slot's queue; false if it isn't there.  asked: we wanted it to end.  To be followed
 * by sched__pace() or sched__place(). */
bool sched__answered(struct sched *s, uint32_t slot, const struct sched__entry *e, bool *ret_asked);
/* The slot answered an attempt of st after that time: its queue may grow. */
void sched__pace(struct sched *s, uint32_t slot, struct sched__stage *st, uint64_t busy_ns);
/* The index of a slot that is up, SCHED__NONE if there is no such. */
uint32_t sched__slot_of(const struct sched *s, uint32_t executor, uint32_t number);
/* Empties the queue into e (SCHED__QUEUE_MAX of them); returns how many there were. */
uint32_t sched__flush(struct sched *s, uint32_t slot, struct sched__entry *e);
void sched__enqueue(struct sched *s, uint32_t slot, struct sched__entry e);
/* Puts the slot into the bucket where it belongs now. */
void sched__place(struct sched *s, uint32_t slot);
/* The first bucket from b on that has a slot; SCHED__QUEUE_MAX if none has. */
uint32_t sched__bucket_from(const struct sched *s, uint32_t b);
/* KILL for every slot whose running attempt nobody wants any more, REVOKE for what waits behind others. */
void sched__kill_unwanted(struct sched *s);
/* False if the slot doesn't hold it. */
bool sched__kill_task(struct sched *s, uint32_t slot, const struct sched__entry *e);
/* An executor that is up shall be avoided, or not any more. */
void sched__avoid_slots(struct sched *s, uint32_t executor, bool avoid);
void sched__timer(struct sched *s);
void sched__arm(struct sched *s);
void sched__slots_free(struct sched *s);

/* ---- launch.c */
void sched__launch_all(struct sched *s);
void sched__launch(struct sched *s, struct sched__stage *st, uint32_t i, uint32_t slot);
/* Attempts of the stage that a slot should hold. */
static inline uint32_t
sched__target(const struct sched *s, const struct sched__stage *st)
{
    return st->want < s->depth ? st->want : s->depth;
}

/* ---- near.c */
void sched__near_prefer(struct sched *s, struct sched__stage *st, const struct sched_prefer *v, uint32_t n);
/* A stage that begins: do a few nodes hold much of its input? */
void sched__near_input(struct sched *s, struct sched__stage *st);
void sched__near_bytes(struct sched__stage *st, uint32_t node, uint64_t bytes);
void sched__near_free(struct sched *s, struct sched__stage *st);
/* Launches what may go now. */
void sched__near_fill(struct sched *s, struct sched__stage *st);

/* ---- avoid.c */
/* A task of the stage failed on that slot. */
void sched__fault(struct sched *s, struct sched__stage *st, uint32_t partition, uint32_t slot);
/* The stage has ended well: what failed there tells something of the places. */
void sched__avoid_learn(struct sched *s, struct sched__stage *st);
/* Is the executor on the list?  NULL is an empty one. */
static inline bool
sched__avoids(const struct sched__avoid *a, uint32_t executor)
{
    return a && executor < a->n_hit && a->hit[executor];
}
void sched__scars(const struct sched *s, const struct sched__stage *st, uint32_t partition, struct sched__scars *ret);
/* May a task with these (NULL: one that has not failed) run there? */
bool sched__acceptable(const struct sched *s, const struct sched__stage *st, const struct sched__scars *scars,
                       uint32_t slot);
/* Is there any executor where it may? */
bool sched__anybody(const struct sched *s, const struct sched__stage *st, const struct sched__scars *scars);
void sched__avoid_free(struct sched__avoid *a);
/* An executor is up that may have been on a list. */
void sched__avoid_look(struct sched *s);
/* Executors came, went, or time has passed. */
void sched__avoid_review(struct sched *s);
/* When that is to be looked at again, SCHED_NEVER: need not be. */
uint64_t sched__avoid_until(const struct sched *s);

/* ---- step.c */
/* What becomes of an attempt that failed or got lost; asked: that is what sched wanted. */
void sched__attempt_failed(struct sched *s, const struct sched__entry *e, enum err_code code, bool asked);
#endif
