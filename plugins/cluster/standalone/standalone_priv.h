/* standalone_priv -- for tests: the same back-end with another way to call a master than rpc_dial(). */
#ifndef CLUSTER_STANDALONE_PRIV_H
#define CLUSTER_STANDALONE_PRIV_H
#include "cluster/cluster.h"
#include "net/link.h"

struct err *standalone__start(const struct cluster_opts *o, const struct cluster_up *up, void *arg,
                              struct err *(*dial)(void *arg, const char *address, struct link **ret), void *dial_arg,
                              struct cluster **ret) MUST_USE;
#endif
