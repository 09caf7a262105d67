/* loop_priv -- what the files of the loop share. */
#ifndef NET_LOOP_PRIV_H
#define NET_LOOP_PRIV_H
#include <signal.h>
#include <stdatomic.h>

#include "net/loop.h"

enum { LOOP_SIGNALS = 65, LOOP_EVENTS = 64 };

struct loop_io {
    struct loop *l;
    int fd;
    bool dead; /* freed by its owner; the memory goes at the end of the round */
    loop_io_fn *fn;
    void *arg;
    struct loop_io *next, **link; /* all that live; in the grave: next only */
};

struct loop_post_node {
    void (*fn)(void *);
    void *arg;
    struct loop_post_node *next;
};

struct loop {
    int epoll, wake, sig;
    bool stop;
    uint64_t now;
    struct loop_io *ios, *grave;
    struct loop_io *wake_io, *sig_io;
    struct loop_timer **heap;
    unsigned ntimers, cap;
    struct loop_poll *polls, *poll_next;
    sigset_t mask;
    struct {
        void (*fn)(void *arg, int signo);
        void *arg;
    } on_signal[LOOP_SIGNALS];
    _Atomic(struct loop_post_node *) posted; /* newest first; written by any thread */
};

/* Fires what is due at l->now. */
void loop__timers_run(struct loop *l);
/* Milliseconds until the next timer, rounded up; -1: none. */
int loop__timers_wait(const struct loop *l);
#endif
