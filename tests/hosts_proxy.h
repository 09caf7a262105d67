/*
 * hosts_proxy -- a TCP proxy in a loop that hurts what goes from the server to its clients: a bit of every so many bytes
 * is wrong, a connection ends after so many bytes.
 */
#ifndef TESTS_HOSTS_PROXY_H
#define TESTS_HOSTS_PROXY_H
#include <stdint.h>

#include "net/loop.h"

struct proxy;
struct proxy_opts {
    uint16_t to;        /* port on 127.0.0.1 */
    uint64_t flip, cut; /* bytes from one to the next, about; 0: never */
    uint64_t seed;
};
struct err *proxy_new(struct loop *l, const struct proxy_opts *o, struct proxy **ret) MUST_USE;
void proxy_free(struct proxy *p); /* NULL is allowed */
uint16_t proxy_port(const struct proxy *p);
struct proxy_stats {
    uint64_t bytes, flips, cuts;
};
void proxy_stats(const struct proxy *p, struct proxy_stats *ret);
#endif
