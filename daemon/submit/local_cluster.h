/*
 * local_cluster -- a master and workers as processes of our own, on loopback: --master local-cluster[N,CORES,MEMORY].
 *
 * The programs are those of a real cluster.  All they have is below one folder; they end with this process, whatever
 * ends it.
 *
 * Owner: the one who started it.  Threads: the main one.
 */
#ifndef SUBMIT_LOCAL_CLUSTER_H
#define SUBMIT_LOCAL_CLUSTER_H
#include "net/tls.h"
#include "submit/options.h"

struct local_cluster;
/* Returns when the master listens; workers register meanwhile.  dir exists and is for this alone; local_dirs: further
 * folders of its workers, "" none; token_file: of the cluster, exists.  m gets addresses and url. */
struct err *local_cluster_start(struct arena *a, const char *dir, const char *local_dirs, const char *token_file,
                                const struct tls_files *tls, struct submit_master *m,
                                struct local_cluster **ret) MUST_USE;
/* Ends all of it and waits, 3 s at most before it is killed.  NULL is allowed. */
void local_cluster_stop(struct local_cluster *c);
#endif
