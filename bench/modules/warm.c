/* warm N: N jobs of one task each, one after the other; how long each took, from the call in main to its return */
#include <inttypes.h>
#include <taskd.h>
#include <time.h>

static uint64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int
by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int
job(td_job *j, int argc, char **argv)
{
    uint64_t n, counted;

    if (argc != 2 || !td_to_u64(td_cstr(argv[1]), &n) || n == 0 || n > 1000000)
        return TD_USAGE(j, "warm N");
    uint64_t *took = calloc(n, sizeof *took);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t began = now_ns();

        if (td_count(td_range(j, 0, 1, .partitions = 1), &counted))
            return 1;
        took[i] = now_ns() - began;
    }
    qsort(took, n, sizeof *took, by_size);
    td_say(j, "p50 %" PRIu64 " us, p99 %" PRIu64 " us, least %" PRIu64 " us", took[n / 2] / 1000, took[n * 99 / 100] / 1000,
           took[0] / 1000);
    free(took);
    return 0;
}
TD_PLUGIN("warm", "1.0", job);
