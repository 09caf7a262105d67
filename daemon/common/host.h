/*
 * host -- whether a host can be reached by the name that it is told to listen at.
 *
 * Threads: any; a name is looked up, so not in a loop.
 */
#ifndef COMMON_HOST_H
#define COMMON_HOST_H
#include "event/event.h"

/* ERR_CONFIG, a warning, if the name means the loopback interface on this host, as many systems have it of their own name:
 * who listens there is reached by nobody else.  NULL: it does not, or nobody knows it, or it is an address or "localhost",
 * and therefore meant so. */
struct err *host_check(const char *host) MUST_USE;
/* The same as a line of the log. */
void host_warn(const struct event_sink *log, const char *host);
#endif
