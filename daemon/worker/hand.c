/* hand -- see hand.h */
#include "worker/hand.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "net/loop.h"

struct hand {
    struct loop *loop;
    void (*work)(void *);
    void (*done)(void *);
    void *arg;
    pthread_t thread;
    bool joined, dropped;
};

static void
finish(void *arg)
{
    struct hand *h = arg;

    if (!h->joined)
        pthread_join(h->thread, NULL);
    if (!h->dropped)
        h->done(h->arg);
    free(h);
}

static void *
run(void *arg)
{
    struct hand *h = arg;

    h->work(h->arg);
    loop_post(h->loop, finish, h);
    return NULL;
}

struct hand *
hand_start(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct hand *h = calloc(1, sizeof *h);
    pthread_attr_t attr;

    if (!h)
        abort();
    *h = (struct hand){ .loop = l, .work = work, .done = done, .arg = arg };
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 << 10);
    if (pthread_create(&h->thread, &attr, run, h)) {
        h->joined = true;
        work(arg);
        loop_post(l, finish, h);
    }
    pthread_attr_destroy(&attr);
    return h;
}

void
hand_drop(struct hand *h)
{
    if (!h || h->dropped)
        return;
    if (!h->joined)
        pthread_join(h->thread, NULL);
    h->joined = h->dropped = true;
}
