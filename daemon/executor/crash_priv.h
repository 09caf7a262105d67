/* crash_priv -- what is known about a death, and the sentence made of it. */
#ifndef EXECUTOR_CRASH_PRIV_H
#define EXECUTOR_CRASH_PRIV_H
#include "executor/crash_report.h"

enum { CRASH_FRAMES = 8 }; /* addresses inside the module that are looked up, innermost first */

struct crash_facts {
    struct runner_death death;
    const char *module, *what, *input;
    uint64_t timeout_ns, data_limit;
    /* filled by crash__offsets() */
    int n;
    uint64_t offset[CRASH_FRAMES]; /* as in the backtrace, relative to the module */
    uint64_t lookup[CRASH_FRAMES]; /* of the instruction: a return address is one too far */
};

/* Finds the addresses inside the module; returns how many. */
int crash__offsets(struct crash_facts *f);
/* The error for this death; names: output of taskd-symbolise, "" if there is none; not trusted. */
struct err *crash__text(const struct crash_facts *f, const char *names) MUST_USE;
#endif
