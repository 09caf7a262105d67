/* What the files of the runners' tests share: an executor of three slots and what it saw. */
#ifndef TESTS_RUNNERS_H
#define TESTS_RUNNERS_H
#include "executor/runners.h"
#include "net/loop.h"

enum { SLOTS = 3 };

struct world {
    struct loop *l;
    struct zygote *z;
    struct runners *rs;
    unsigned answers, deaths, rounds, frames, lost, stop_answers, stop_deaths;
    int last;                /* the last answer */
    unsigned n;              /* and its length */
    struct runner_death death;
    bool respawn;            /* after each death, until stop_deaths */
    unsigned crash_now;      /* and crash again */
    struct frame got;
    char payload[64];
};

/* A path below the build directory; two are remembered. */
const char *built(const char *name);
int open_fds(void);
void world_open(struct world *w);
void world_close(struct world *w);
/* Runs the loop until so many answers or deaths (in all) were seen. */
void run_until(struct world *w, unsigned answers, unsigned deaths);
/* fn(record) of the loaded module. */
void call(struct world *w, unsigned slot, const char *fn, const char *record);
/* Compiles a source of the tests; a sealed memfd of it. */
int module(const char *source, const char *cc, const char *flags);
int bad_module(void); /* runner_bad.c; stays open */
/* Spawns a runner and has it load the module. */
void load(struct world *w, unsigned slot, int fd, uint64_t data_limit);

void crash_segv(void);
void crash_other_signals(void);
void crash_heap_errors(void);
void crash_stack_overflow(void);
void crash_exits(void);
void crash_gives_up(void);
void crash_nested(void);
void crash_eats_memory(void);
void crash_closes_descriptors(void);
void crash_scribbles(void);
void crash_throws(void);
void crash_no_debug_information(void);
void crash_garbage_for_module(void);
void crash_timeouts(void);
void crash_children_of_modules(void);
#endif
