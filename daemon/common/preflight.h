/*
 * preflight -- a master is asked once whether all its workers can run a module.
 *
 * Owner: the one who made it; preflight_free() in all cases.  Threads: the loop's.
 */
#ifndef COMMON_PREFLIGHT_H
#define COMMON_PREFLIGHT_H
#include "flow/module.h"
#include "uplink/uplink.h"

struct preflight;
struct preflight_opts {
    struct uplink_opts uplink;       /* but the calls and their arg; it gives up as a first connection does */
    const struct module_info *module;
    const struct module_info *libs;  /* that come with the module, in the order of loading */
    size_t n_libs;
    /* NULL: all of them can, or nobody could say; ERR_ABI with the worker's name.  Once, never from inside a call. */
    void (*done)(void *arg, struct err *e);
    void *arg;
};
/* What o names must live as long. */
struct preflight *preflight_new(struct loop *l, const struct preflight_opts *o);
void preflight_free(struct preflight *p); /* NULL is allowed; not from inside done */
#endif
