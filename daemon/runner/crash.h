/*
 * crash -- the last words of a runner, written by signal handlers into the recorder page.
 *
 * Handlers on a stack of their own for SEGV BUS ILL FPE ABRT SYS TRAP and XCPU (the executor's
 * "where are you", before it kills): signal and pc first, then the return addresses, then the
 * record in hand (by the callback), then memory in use; each step is in shared memory before the
 * next begins, so a second fault loses nothing.  Then the signal is raised again with its default
 * action.  A module's exit() is recorded the same way.
 *
 * Process-wide by nature: one caller, the runner.  Nothing is freed.
 */
#ifndef RUNNER_CRASH_H
#define RUNNER_CRASH_H
#include <stddef.h>

#include "base/err.h"

struct recorder;

/* Installs everything; rec stays mapped for ever.  Before the module is loaded. */
struct err *crash_init(struct recorder *rec) MUST_USE;
/* Where the module lies: its lowest address and the bytes to the end of its last segment. */
void crash_module(const void *base, size_t size);
/* The same for the module that holds this address (a function, say). */
void crash_module_of(const void *address);
/* Fills rec->rec for the record in hand.  Called in a signal handler: no locks, no malloc; a fault
 * in it is survived. */
void crash_on_record(void (*fn)(void *arg, struct recorder *rec), void *arg);
/* Ends a runner that cannot go on: the executor tells the text (200 bytes of it). */
_Noreturn void crash_give_up(const char *text);
/* Ends the runner on purpose: flushes stdio, skips the module's exit handlers. */
_Noreturn void crash_quit(int status);
#endif
