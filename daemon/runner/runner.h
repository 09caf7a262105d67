/*
 * runner -- the process in which user code runs.
 *
 * The zygote makes it and calls runner_main() with everything it may touch: a socket to the executor,
 * the two memories of its rings, the bell.  It has no other descriptors but 0 (/dev/null), 1 and 2.
 */
#ifndef RUNNER_RUNNER_H
#define RUNNER_RUNNER_H

struct runner_start {
    int socket;     /* frame_open() it: stage definitions, OPEN requests and their descriptors */
    int fd_a, fd_b; /* ring_attach() */
    int bell_page, bell_event;
    unsigned slot;
};
/* Signals are at their defaults (SIGPIPE ignored), limits are set; crash_init() is the first call to make
 * once the rings are attached.  Ends by crash_quit() of crash.h. */
_Noreturn void runner_main(const struct runner_start *s);
#endif
