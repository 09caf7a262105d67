/* usage -- see usage.h */
#include "base/usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t
usage_cpu_ns(pid_t pid)
{
    struct timespec t;
    clockid_t id;

    if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &t) < 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t
cpu_of(int who)
{
    struct rusage r;

    getrusage(who, &r);
    return (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000u;
}

uint64_t
usage_ended_cpu_ns(void)
{
    return cpu_of(RUSAGE_CHILDREN);
}

uint64_t
usage_own_cpu_ns(void)
{
    return cpu_of(RUSAGE_SELF) + usage_ended_cpu_ns();
}

uint64_t
usage_memory(pid_t pid)
{
    char path[64], text[4096];
    uint64_t sum = 0;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    static const char *const keys[] = { "\nPss_Anon:", "\nPss_Shmem:" };
    for (int i = 0; i < 2; i++) {
        const char *p = strstr(text, keys[i]);

        if (p)
            sum += strtoull(p + strlen(keys[i]), NULL, 10) * 1024;
    }
    return sum;
}
