/*
 * process -- the life of one taskd-executor: descriptor 3 says what it is (ExecutorSpec of lib/proto/control.proto), it
 * dials its driver, runs what that says, and ends with it.  A worker starts it; nothing is in argv or environment.
 *
 * Exit status: 0 when the driver said Stop; else that of the error, which it has written as a JSON line.
 */
#ifndef EXECUTOR_PROCESS_H
#define EXECUTOR_PROCESS_H

/* The whole program. */
int executor_process(void);
#endif
