/*
 * zygote -- a small process that makes runners and cleans up behind a dead executor.
 *
 * It is exec'ed before the executor has threads or sockets, holds one descriptor (SPAWN_FD) and
 * talks as net/spawn.h says.  A runner is a clone() of it with CLONE_PARENT: the executor's own
 * child.
 */
#ifndef RUNNER_ZYGOTE_H
#define RUNNER_ZYGOTE_H

struct runner_start;
/* Serves until the socket closes, kills its session, removes what is registered, returns the exit
 * status.  In a new runner it calls run(), which does not return. */
int zygote_main(void (*run)(const struct runner_start *));
#endif
