/*
 * profile -- what this host can run, as it is published: ISA, machine, glibc, and the sonames that its loader finds
 * (/etc/ld.so.cache), so that a module's needs are checked before anything is sent here.
 *
 * Owner: the result lives in the arena.  Threads: any.  Without a readable cache there are no sonames.
 */
#ifndef WORKER_PROFILE_H
#define WORKER_PROFILE_H
#include "base/arena.h"
#include "proto/proto.h"

void profile_host(struct arena *a, Taskd__Profile *ret);
/* The sonames for 64-bit programs of this machine in an ld.so.cache ("glibc-ld.so.cache1.1"); 0 if it is none.  The
 * bytes are believed in nothing. */
size_t profile_sonames(const void *p, size_t n, struct arena *a, char ***ret);
#endif
