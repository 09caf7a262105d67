/*
 * process -- starts a program that must not outlive this one.
 *
 * vfork and exec: no page is copied, no fork handler of a library runs, so it is safe beside gRPC's threads.  The
 * child leads a process group of its own, has default signals and no descriptor but 0 1 2 and (if asked for) 3, and
 * gets SIGKILL when the *thread* that started it ends (PR_SET_PDEATHSIG): call it from the main thread only.
 *
 * Owner: the caller reaps.  Threads: the main one.  Errors: ERR_IO and ERR_LIMIT, with what could not be done.
 */
#ifndef WORKER_PROCESS_H
#define WORKER_PROCESS_H
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

struct process_opts {
    const char *path;
    char *const *argv;   /* NULL-terminated */
    const char *cwd;     /* NULL: this one's */
    int out, err;        /* borrowed; -1: /dev/null */
    int three;           /* borrowed; -1: none */
    uint64_t cpu_s;      /* RLIMIT_CPU, 0: none */
    uint64_t file_bytes; /* RLIMIT_FSIZE, 0: none */
};
struct err *process_start(const struct process_opts *o, pid_t *ret_pid) MUST_USE;

/* The bytes in a memfd that nobody can change any more, at offset 0; close-on-exec. */
struct err *process_sealed(const char *name, const void *p, size_t n, int *ret_fd) MUST_USE;
/* "exit status 3", "signal 9 (Killed)": of what waitpid() gave. */
void process_end_text(int status, struct buf *out);
/* As a shell says it: 128 + signal. */
unsigned process_exit_status(int status);
#endif
