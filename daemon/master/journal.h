/*
 * journal -- what a master must not forget: its epoch, what it accepted, and what became of it.  SQLite, in WAL mode,
 * synced at each commit: what was committed survives kill -9 and a power cut, what was not leaves no trace.
 *
 * One process has it open (SQLite's exclusive lock); a second one is refused.
 *
 * Owner: the one who opened it.  Threads: one.  Errors: ERR_DENIED somebody else has it open, ERR_CORRUPT it is no
 * journal or a damaged one, ERR_LIMIT no space, ERR_IO.
 */
#ifndef MASTER_JOURNAL_H
#define MASTER_JOURNAL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { JOURNAL_SECRET = 32, JOURNAL_ID = 33 };

struct journal;
/* What it says of itself.  epoch: one higher at each opening, committed. */
struct journal_head {
    char id[JOURNAL_ID];                  /* of this master, the same for ever: hexadecimal digits */
    unsigned char secret[JOURNAL_SECRET]; /* of its blobs */
    uint32_t epoch;
};
struct err *journal_open(const char *path, struct journal_head *ret_head, struct journal **ret) MUST_USE;
void journal_close(struct journal *j); /* NULL is allowed */

/* state: enum grants_state.  Strings are never NULL. */
struct journal_driver {
    const char *id, *name, *worker, *why;
    uint8_t state;
    bool supervise;
    uint32_t tries, exit_status;
    uint64_t began_ms, ended_ms; /* ended 0: it isn't over */
    const void *spec;            /* SubmitDriver, packed; put: NULL leaves the one that is there */
    size_t spec_n;
};
struct journal_app {
    const char *id, *name, *submission, *driver, *why;
    uint8_t state;
    uint32_t exit_status, numbers; /* of executors, up to which they may have been used */
    uint64_t began_ms, ended_ms;
    unsigned char secret_hash[32];
};
/* Rows are written between begin and commit; commit that fails has changed nothing. */
struct err *journal_begin(struct journal *j) MUST_USE;
struct err *journal_put_driver(struct journal *j, const struct journal_driver *d) MUST_USE;
struct err *journal_put_app(struct journal *j, const struct journal_app *a) MUST_USE;
/* A number that no other call got or will get, for ids; durable with the commit. */
struct err *journal_number(struct journal *j, uint64_t *ret) MUST_USE;
struct err *journal_commit(struct journal *j) MUST_USE;
void journal_rollback(struct journal *j);
/* Of those that are over, only the newest keep of each kind stay.  Inside begin and commit. */
struct err *journal_trim(struct journal *j, unsigned keep) MUST_USE;

/* All rows in the order of their first writing; strings live during the call. */
struct err *journal_load(struct journal *j, void (*driver)(void *arg, const struct journal_driver *d),
                         void (*app)(void *arg, const struct journal_app *a), void *arg) MUST_USE;
#endif
