/* progress -- the line that people watch: a live one on a terminal, one now and then elsewhere, events as JSON. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "submit/submit_priv.h"

enum { TICK_MS = 100, PLAIN_S = 10, SAMPLE_MS = 20, SAMPLE_SHARE = 50 };
/* A line that is watched from elsewhere is kept in a file on its way: less and less often, so that this stays small. */
enum { LIVE_MS = 500, LIVE_SHARE = 100 };

static void
size_text(uint64_t n, char s[static 16])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double v = (double)n;
    int u = 0;

    while (v >= 1024 && u < 4) {
        v /= 1024;
        u++;
    }
    snprintf(s, 16, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static enum submit_progress
kind(const struct submit *s)
{
    if (s->o.progress != SUBMIT_PROGRESS_AUTO)
        return s->o.progress;
    return isatty(STDERR_FILENO) ? SUBMIT_PROGRESS_AUTO : SUBMIT_PROGRESS_PLAIN;
}

void
submit__progress_clear(struct submit *s)
{
    if (s->line)
        submit__say(s, "\r\033[K");
    s->line = false;
}

static void
print_line(struct submit *s, bool live)
{
    struct driver_progress p;
    double sec = (double)(clock_mono_ns() - s->began) / 1e9;
    char size[16], rate[16];

    driver_progress(s->driver, &p);
    if (!p.stage || !submit__heard(s, false)) /* it is not worth waiting for */
        return;
    size_text(p.bytes, size);
    size_text((uint64_t)((double)p.bytes / (sec > 0 ? sec : 1)), rate);
    submit__say(s, "%s[%u/%u] %.40s: %u/%u tasks, %u running, %s read, %s/s, %.1f s%s", live ? "\r\033[K" : "",
            p.stages_done + 1, p.stages, p.stage, p.tasks_done, p.tasks, p.running, size, rate, sec, live ? "" : "\n");
    s->line = live;
}

static uint64_t
live_pause(const struct submit *s, uint64_t now)
{
    uint64_t pause = (now - s->began) / LIVE_SHARE;

    if (pause > PLAIN_S * 1000000000ull)
        return PLAIN_S * 1000000000ull;
    return pause < LIVE_MS * 1000000ull ? LIVE_MS * 1000000ull : pause;
}

static void
on_tick(void *arg)
{
    struct submit *s = arg;
    uint64_t now = loop_now(s->loop);

    if (kind(s) == SUBMIT_PROGRESS_AUTO) {
        print_line(s, true);
    } else if (kind(s) == SUBMIT_PROGRESS_LIVE) {
        if (now - s->last_line >= live_pause(s, now)) {
            print_line(s, true);
            s->last_line = now;
        }
    } else if (now - s->last_line >= PLAIN_S * 1000000000ull) {
        print_line(s, false);
        s->last_line = now;
    }
    loop_timer_start(s->loop, &s->tick, now + TICK_MS * 1000000ull, on_tick, s);
}

static void
on_sample(void *arg)
{
    struct submit *s = arg;

    /* The kernel walks all pages for this: at most 1/SAMPLE_SHARE of a core goes into it. */
    uint64_t began = clock_mono_ns();
    submit__sample(s);
    uint64_t now = clock_mono_ns(), pause = (now - began) * SAMPLE_SHARE;
    if (pause < SAMPLE_MS * 1000000ull)
        pause = SAMPLE_MS * 1000000ull;
    loop_timer_start(s->loop, &s->sample, now + pause, on_sample, s);
}

void
submit__progress_start(struct submit *s)
{
    enum submit_progress k = kind(s);

    s->last_line = clock_mono_ns();
    if (k == SUBMIT_PROGRESS_AUTO || k == SUBMIT_PROGRESS_PLAIN || k == SUBMIT_PROGRESS_LIVE)
        loop_timer_start(s->loop, &s->tick, s->last_line + 2 * TICK_MS * 1000000ull, on_tick, s);
    if (s->o.summary)
        loop_timer_start(s->loop, &s->sample, s->last_line + SAMPLE_MS * 1000000ull, on_sample, s);
}

void
submit__progress_stop(struct submit *s)
{
    if (!s->loop)
        return;
    loop_timer_stop(s->loop, &s->tick);
    loop_timer_stop(s->loop, &s->sample);
    submit__progress_clear(s);
}

/* --verbose: what happens, as sentences. */
static void
tell(void *arg, enum event_id id, const void *fields)
{
    struct submit *s = arg;
    struct buf b = { 0 };

    if (event_level(id) < EVENT_LEVEL_INFO)
        return;
    event_message(&b, id, fields);
    submit__progress_clear(s);
    submit__say(s, "%.3f s: %.*s\n", (double)(clock_mono_ns() - s->began) / 1e9, (int)b.n, b.p);
    buf_fini(&b);
}

struct err *
submit__events_open(struct submit *s)
{
    struct event_origin origin = { .role = "driver" }; /* the rest is not known yet */

    if (s->o.progress != SUBMIT_PROGRESS_JSON && !conf_bool(s->o.conf, CONF_STRUCTURED_LOGGING)) {
        if (s->o.verbose)
            s->events = (struct event_sink){ tell, s };
        return NULL;
    }
    event_json_init(&s->json, STDERR_FILENO, origin, s->o.verbose ? EVENT_LEVEL_DEBUG : EVENT_LEVEL_INFO);
    s->events = submit__json_sink(s);
    s->json_open = true;
    return NULL;
}

void
submit__events_begin(struct submit *s, const char *host, uint32_t slots)
{
    s->json.origin.app = s->app_id;
    s->json.origin.host = host;
    EMIT(&s->events, app_start, .name = s->o.app_name, .module = s->module.info.name, .slots = slots);
}

void
submit__said(struct submit *s, int level, const char *text)
{
    switch (level) {
    case TD_DEBUG: EMIT(&s->events, log_debug, .message = text); break;
    case TD_WARN: EMIT(&s->events, log_warn, .message = text); break;
    case TD_ERROR: EMIT(&s->events, log_error, .message = text); break;
    default: EMIT(&s->events, log_info, .message = text);
    }
}

void
submit__events_close(struct submit *s)
{
    if (!s->events.put)
        return;
    EMIT(&s->events, app_end, .exit_code = (uint64_t)s->status, .wall_us = (clock_mono_ns() - s->began) / 1000,
         .cpu_us = (uint64_t)(submit__cpu_s(s) * 1e6),
         .input_bytes = s->totals.input_bytes, .output_records = s->totals.output_records);
    if (s->json_open)
        event_json_fini(&s->json);
}
