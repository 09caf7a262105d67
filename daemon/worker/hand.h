/*
 * hand -- slow work (hashing a large file, removing a tree, asking a name server) in a thread of its own, which owns
 * nothing but its argument until it is done.
 *
 * Owner: the one who started it, until done was called.  Threads: the loop's.
 */
#ifndef WORKER_HAND_H
#define WORKER_HAND_H
struct loop;
struct hand;

/* work(arg) in another thread, then done(arg) in the loop's; never from inside this call.  Without a thread to be had,
 * the work is done at once. */
struct hand *hand_start(struct loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);
/* Waits for the work; done will not be called.  NULL is allowed.  The loop must run once more to free everything. */
void hand_drop(struct hand *h);
#endif
