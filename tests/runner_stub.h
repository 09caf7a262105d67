/* What the tests of the process border say to the stub runner. */
#ifndef TESTS_RUNNER_STUB_H
#define TESTS_RUNNER_STUB_H
enum {
    STUB_LOAD = 1, /* frame: payload: nothing; one descriptor: the module */
    STUB_CALL,     /* ring: payload: function name, NUL, record; answered by STUB_DONE with its result (i32) */
    STUB_ECHO,     /* ring: answered by STUB_DONE with the same bytes */
    STUB_QUIT,     /* ring: crash_quit(0) */
    STUB_FLOOD,    /* ring: u32 n: n answers, then crash_quit(0) */
    STUB_MORE,     /* ring: a frame waits on the socket: read it */
    STUB_DONE = 9, /* ring and frame */
};
#endif
