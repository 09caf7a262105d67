/*
 * unpack -- an archive whose content nobody vouches for (.zip, .tar and its usual compressions), into a folder.
 *
 * libarchive only reads; what is written goes through openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), so no name and no
 * link of the archive leads out of the folder.  Files, folders, symbolic links that stay inside, and hard links to files
 * of the archive (as copies) are made; anything else is refused, never skipped.  Modes: 0700 or 0600, nothing more.
 * Runs in a process of its own (daemon/bin/taskd-unpack): the formats are large and old, and the worker isn't linked to
 * them.
 *
 * Threads: any.  Errors: ERR_DENIED what is refused, ERR_LIMIT too large or too many, ERR_CORRUPT no archive, ERR_IO.
 */
#ifndef WORKER_UNPACK_H
#define WORKER_UNPACK_H
#include <stdint.h>

#include "base/err.h"

struct unpack_limits {
    uint64_t bytes, entries; /* 0: 64 GiB, 1,000,000 */
};
/* Reads from fd and writes below dir, which exists and is empty.  What was written before an error stays: the caller
 * removes the folder. */
struct err *unpack(int fd, const char *dir, const struct unpack_limits *l) MUST_USE;
#endif
