/* summary -- one JSON object on how it went, and the memory figure in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/usage.h"
#include "submit/submit_priv.h"

void
submit__sample(struct submit *s)
{
    int pids[1026], own[] = { (int)getpid(), zygote_pid(s->zygote), driver_main_pid(s->driver) };
    uint64_t sum = 0;
    unsigned n = s->how->pids(s, pids, 1026);

    for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
        sum += own[i] ? usage_memory(own[i]) : 0;
    for (unsigned i = 0; i < n; i++)
        sum += usage_memory(pids[i]);
    sum += driver_executors_memory(s->driver);
    if (sum > s->peak_memory)
        s->peak_memory = sum;
}

double
submit__cpu_s(const struct submit *s)
{
    return (double)(usage_own_cpu_ns() - s->others_cpu_ns) / 1e9 + (double)s->totals.cpu_us / 1e6;
}

struct err *
submit__summary_open(struct submit *s)
{
    if (!s->o.summary || s->o.dry_run)
        return NULL;
    s->summary_fd = open(s->o.summary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return s->summary_fd < 0 ? err_errno(errno, "--summary: making \"%s\"", s->o.summary) : NULL;
}

struct err *
submit__summary(struct submit *s)
{
    const struct driver_totals *t = &s->totals;
    struct buf b = { 0 };
    struct { const char *name; uint64_t v; } n[] = {
        { "input_bytes", t->input_bytes }, { "input_records", t->input_records },
        { "output_records", t->output_records }, { "shuffle_write_bytes", t->shuffle_write_bytes },
        { "spill_bytes", t->spill_bytes }, { "peak_memory_bytes", s->peak_memory }, { "splits", t->splits },
        { "tasks", t->tasks }, { "attempts", t->attempts }, { "failed_attempts", t->failed_attempts },
        { "bad_records", t->bad_records }, { "refused_messages", t->stale },
    };

    buf_printf(&b, "{\"app_id\": ");
    const char *id = s->app_id ? s->app_id : "";
    buf_json(&b, id, strlen(id));
    buf_printf(&b, ", \"state\": \"%s\", \"exit_code\": %d, \"wall_s\": %.6f, \"cpu_s\": %.6f", s->state, s->status,
               (double)(clock_mono_ns() - s->began) / 1e9, submit__cpu_s(s));
    for (size_t i = 0; i < sizeof n / sizeof n[0]; i++)
        buf_printf(&b, ", \"%s\": %llu", n[i].name, (unsigned long long)n[i].v);
    buf_printf(&b, ", \"accumulators\": ");
    if (s->accumulators.n)
        buf_put(&b, s->accumulators.p, s->accumulators.n);
    else
        buf_put(&b, "{}", 2);
    buf_put(&b, "}\n", 2);
    struct err *e = file_write_full(s->summary_fd, b.p, b.n, s->o.summary);
    file_close(&s->summary_fd);
    buf_fini(&b);
    return e;
}
