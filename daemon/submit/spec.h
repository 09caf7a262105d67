/*
 * spec -- a command line that travels: what taskd-client asks a master for in cluster mode, and what the driver makes
 * of it on a worker.
 *
 * Keys travel that somebody set (wherever: file, environment, flag), but those that belong to the submitting host
 * (its master's address, files, certificates, folders).  Two options that are no keys travel as if they were:
 * "--progress" and "--verbose", names that no key can have.
 *
 * Owner: everything lives in the arena.  Threads: main.
 */
#ifndef SUBMIT_SPEC_H
#define SUBMIT_SPEC_H
#include "proto/proto.h"
#include "submit/options.h"

/* All of ret but its blobs, as views into o and into a. */
void submit_spec_put(const struct submit_options *o, struct arena *a, Taskd__SubmitDriver *ret);
/* What submit_options_parse() would have said on the submitting host, for the driver that a worker starts: action RUN,
 * client mode (the driver is here now), the worker's master and certificates, module and files in the worker's
 * blob folder (files keep their order).  Makes a link in s->dir, so that the module is called what it was called.
 * ERR_CORRUPT: no module, a name that is none. */
struct err *submit_spec_options(const Taskd__DriverSpec *s, struct arena *a, struct submit_options *ret) MUST_USE;
#endif
