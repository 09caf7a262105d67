/* timer -- the loop's timers: a binary heap, the nearest first.  A timer knows its place, so
 * stopping one needs no search. */
#include <limits.h>
#include <stdlib.h>

#include "net/loop_priv.h"

static void
place(struct loop *l, unsigned i, struct loop_timer *t)
{
    l->heap[i] = t;
    t->slot = i + 1;
}

static void
sift_up(struct loop *l, unsigned i, struct loop_timer *t)
{
    for (; i > 0 && l->heap[(i - 1) / 2]->at > t->at; i = (i - 1) / 2)
        place(l, i, l->heap[(i - 1) / 2]);
    place(l, i, t);
}

static void
sift_down(struct loop *l, unsigned i, struct loop_timer *t)
{
    for (unsigned kid; (kid = 2 * i + 1) < l->ntimers; i = kid) {
        if (kid + 1 < l->ntimers && l->heap[kid + 1]->at < l->heap[kid]->at)
            kid++;
        if (l->heap[kid]->at >= t->at)
            break;
        place(l, i, l->heap[kid]);
    }
    place(l, i, t);
}

void
loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    if (!t->slot)
        return;
    unsigned i = t->slot - 1;
    ASSERT(i < l->ntimers && l->heap[i] == t);
    struct loop_timer *last = l->heap[--l->ntimers];
    t->slot = 0;
    if (last == t)
        return;
    if (i > 0 && l->heap[(i - 1) / 2]->at > last->at)
        sift_up(l, i, last);
    else
        sift_down(l, i, last);
}

void
loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t at_ns, void (*fn)(void *), void *arg)
{
    loop_timer_stop(l, t);
    if (l->ntimers == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->heap = realloc(l->heap, l->cap * sizeof *l->heap);
        if (!l->heap)
            abort();
    }
    *t = (struct loop_timer){ .at = at_ns, .fn = fn, .arg = arg };
    sift_up(l, l->ntimers++, t);
}

void
loop__timers_run(struct loop *l)
{
    /* a timer that starts itself anew for now or earlier waits for the next round */
    for (unsigned n = l->ntimers; n > 0 && l->ntimers && l->heap[0]->at <= l->now; n--) {
        struct loop_timer *t = l->heap[0];

        loop_timer_stop(l, t);
        t->fn(t->arg);
    }
}

int
loop__timers_wait(const struct loop *l)
{
    if (!l->ntimers)
        return -1;
    uint64_t at = l->heap[0]->at;
    if (at <= l->now)
        return 0;
    uint64_t ms = (at - l->now + 999999) / 1000000;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}
