/* usage -- what processes of this host have used, as the kernel counts it.  Threads: any. */
#ifndef BASE_USAGE_H
#define BASE_USAGE_H
#include <stdint.h>
#include <sys/types.h>

/* CPU time of a process and its threads in ns, without its children's; 0 when it is gone. */
uint64_t usage_cpu_ns(pid_t pid);
/* Of this process, and of those of its descendants that have ended and were waited for. */
uint64_t usage_own_cpu_ns(void);
uint64_t usage_ended_cpu_ns(void); /* these descendants alone */
/* Anonymous and shared-memory Pss of a process in bytes; 0 when it is gone.  The kernel walks all its pages for this. */
uint64_t usage_memory(pid_t pid);
#endif
