/*
 * cluster -- taskd-driver: an application whose executors a cluster starts.  The driver is here; its main's output,
 * progress and exit status are those of local mode.
 *
 * With arguments it is a command line of taskd-submit (client mode, local-cluster); without any a worker has started
 * it with a DriverSpec as descriptor 3 (cluster mode).
 */
#ifndef SUBMIT_CLUSTER_H
#define SUBMIT_CLUSTER_H
#include "cluster/cluster.h"

/* The whole program; returns the exit status. */
int submit_cluster_main(int argc, char **argv, char **envp, const struct cluster_ops *backend);
#endif
