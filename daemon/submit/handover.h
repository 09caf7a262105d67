/*
 * handover -- what taskd-submit doesn't do itself: everything that needs a cluster.
 *
 * taskd-submit is linked without gRPC and starts in milliseconds; with a cluster's master it becomes taskd-driver
 * (client mode, local-cluster) or taskd-client (cluster mode, --kill, --status), which parse the same line again.
 */
#ifndef SUBMIT_HANDOVER_H
#define SUBMIT_HANDOVER_H
#include "submit/options.h"

/* The program that runs this line; NULL: taskd-submit itself. */
const char *submit_handover_to(const struct submit_options *o);
/* Becomes that program with the same arguments; returns only to say why not. */
struct err *submit_handover(const char *program, char **argv) MUST_USE;
#endif
