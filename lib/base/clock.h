/* clock -- time as nanoseconds.  Rooms that must be replayable (plan, sched) take `now` as a parameter
 * and never call these.  Threads: any. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stdint.h>

uint64_t clock_mono_ns(void); /* since some fixed point; never goes back */
uint64_t clock_wall_ns(void); /* since 1970 UTC */
uint64_t clock_cpu_ns(void);  /* of this process, all threads */
/* "2026-11-23T04:56:07.123Z" into s (at least 25 bytes). */
void clock_iso8601(uint64_t wall_ns, char s[static 25]);
#endif
