/*
 * spawn -- what an executor and its zygote say to each other: frames (frame.h) on the zygote's only
 * socket, which is descriptor SPAWN_FD of the zygote.
 *
 * The zygote is the janitor, too: when its socket closes (the executor ended or was killed) it
 * removes all registered paths with everything below them, and exits.  One that has a mark is removed only if the mark
 * is there.
 */
#ifndef NET_SPAWN_H
#define NET_SPAWN_H
#include <stdint.h>

enum { SPAWN_FD = 3 };
/* An id is a slot's number plus a multiple of SPAWN_IDS; of a job's main plus SPAWN_MAIN. */
#define SPAWN_IDS (UINT32_C(1) << 16)
#define SPAWN_MAIN (UINT32_C(1) << 31)

/* to the zygote; id: the slot's */
enum {
    SPAWN_RUNNER = 1, /* u64 RLIMIT_DATA or 0; descriptors in the order of enum spawn_fd */
    SPAWN_REGISTER,   /* payload: an absolute path; then, maybe, a NUL and a mark (file_remove_marked()) */
    SPAWN_UNREGISTER, /* payload: the same path */
    /* to the executor; id: the slot's */
    SPAWN_STARTED = 16, /* u32 pid: a child of the executor (CLONE_PARENT) */
    SPAWN_FAILED,       /* u32 errno: there will be no runner in this slot */
};
enum spawn_fd { SPAWN_FD_SOCKET, SPAWN_FD_A, SPAWN_FD_B, SPAWN_FD_BELL_PAGE, SPAWN_FD_BELL_EVENT, SPAWN_FDS };
#endif
