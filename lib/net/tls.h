/*
 * tls -- who may listen where, and the files that mutual TLS needs.
 *
 * One rule for all listeners: beyond loopback nothing listens without mutual TLS.
 *
 * Owner: the strings are the caller's.  Threads: any.
 */
#ifndef NET_TLS_H
#define NET_TLS_H
#include <stdbool.h>

#include "base/err.h"

/* PEM files: own certificate (with its chain) and key, and the CA that peers must be signed by.  Both sides check. */
struct tls_files {
    const char *ca, *cert, *key;
};

/* 127.0.0.0/8, ::1, "localhost". */
bool tls_is_loopback(const char *host);
/* ERR_DENIED, with the sentence for people, if host is not loopback and tls is NULL; ERR_CONFIG if a file can't be read
 * or the key may be read by others. */
struct err *tls_check_listen(const char *host, const struct tls_files *tls) MUST_USE;
#endif
