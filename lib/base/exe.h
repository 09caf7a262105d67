/*
 * exe -- where the other programs of this installation are.
 *
 * An installation may be moved as a whole: everything is found from the place of the running program.
 * Looked for in this order: $TASKD_LIBEXEC (for a build tree), ../libexec/taskd beside the program's
 * folder, the program's own folder.  Threads: any.
 */
#ifndef BASE_EXE_H
#define BASE_EXE_H
#include "base/arena.h"

/* The path of prog ("taskd-runner"), which can be executed; ERR_IO if it is in none of the places. */
struct err *exe_libexec(struct arena *a, const char *prog, const char **ret_path) MUST_USE;
#endif
