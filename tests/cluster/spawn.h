/*
 * spawn -- a back-end for tests: executors are children of the driver, without master and worker.
 *
 *   SPAWN_DIR      where executors have their folders
 *   SPAWN_REMOTE   set: each executor says that it is on a host of its own, so all goes through the bulk server
 *   SPAWN_KEEP     set: files belong to one worker, so they outlive their executor
 *
 * An executor that dies is replaced.  --executor-cores is the slots of each, --total-executor-cores of all.
 */
#ifndef TESTS_CLUSTER_SPAWN_H
#define TESTS_CLUSTER_SPAWN_H
#include "cluster/cluster.h"

extern const struct cluster_ops cluster_spawn;
#endif
