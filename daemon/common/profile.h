/*
 * profile -- whether a module is of the kind that a host can run, as its worker publishes it.
 *
 * Owner: everything lives in the arena.  Threads: any.
 */
#ifndef COMMON_PROFILE_H
#define COMMON_PROFILE_H
#include "base/arena.h"
#include "flow/module.h"
#include "proto/proto.h"

/* p with those of its libraries that are asked for; views into p. */
void profile_filter(struct arena *a, const Taskd__Profile *p, char *const *need, size_t n_need, Taskd__Profile *ret);
/* What to ask hosts for: the libraries that m and the n_libs that come along with it need and that are not among these;
 * and libc.so.6, so that a host that answers with none has not said what it has.  Views into m and libs. */
void profile_need(struct arena *a, const struct module_info *m, const struct module_info *libs, size_t n_libs,
                  char ***ret, size_t *ret_n);
/* module_check_all() for another host: p.library says which libraries it has.  The sentence begins with where, "worker
 * w1 on host b". */
struct err *profile_check(const struct module_info *m, const Taskd__Profile *p, const struct module_info *libs,
                          size_t n_libs, const char *where) MUST_USE;
/* The same for all workers that are there; the module must load on each, as a driver or executor may come to any. */
struct err *profile_check_workers(const struct module_info *m, const Taskd__Status *s, const struct module_info *libs,
                                  size_t n_libs) MUST_USE;
#endif
