/* clock -- see clock.h */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t
now(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t
clock_mono_ns(void)
{
    return now(CLOCK_MONOTONIC);
}

uint64_t
clock_wall_ns(void)
{
    return now(CLOCK_REALTIME);
}

uint64_t
clock_cpu_ns(void)
{
    return now(CLOCK_PROCESS_CPUTIME_ID);
}

void
clock_iso8601(uint64_t wall_ns, char s[static 25])
{
    time_t sec = (time_t)(wall_ns / 1000000000u);
    unsigned ms = (unsigned)(wall_ns / 1000000u % 1000u);
    struct tm tm;

    gmtime_r(&sec, &tm);
    size_t n = strftime(s, 20, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(s + n, 25 - n, ".%03uZ", ms);
}
