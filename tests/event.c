/* Tests of lib/event. */
#include <jansson.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "event/event.h"
#include "unit.h"

static uint64_t
fixed_time(void)
{
    return 1795409767123000000ull;
}

/* What has been written to fd so far, for free(). */
static char *
all_of(int fd)
{
    off_t n = lseek(fd, 0, SEEK_END);
    char *s = calloc(1, (size_t)n + 1);

    CU_ASSERT_FATAL(s && pread(fd, s, (size_t)n, 0) == n);
    return s;
}

static void
a_line_has_everything_in_order(void)
{
    struct event_json_sink j;
    int fd = memfd_create("events", MFD_CLOEXEC);

    event_json_init(&j, fd, (struct event_origin){ "driver", "h1", "app-1" }, EVENT_LEVEL_DEBUG);
    j.now_ns = fixed_time;
    struct event_sink s = event_json_sink(&j);
    EMIT(&s, task_failed, .stage = 3, .partition = 7, .attempt = 1, .err = "signal 11 in \"f\"");
    EMIT(&s, log_info, .message = "tab\there");
    char *got = all_of(fd);
    EQ_STR(got, "{\"ts\":\"2026-11-23T04:56:07.123Z\",\"level\":\"warn\",\"role\":\"driver\",\"host\":\"h1\",\"app\":\"app-1\","
                "\"event\":\"task_failed\",\"stage\":3,\"partition\":7,\"attempt\":1,\"runner\":0,\"run_us\":0,"
                "\"err\":\"signal 11 in \\\"f\\\"\","
                "\"message\":\"task 3.7 attempt 1 failed: signal 11 in \\\"f\\\"\"}\n"
                "{\"ts\":\"2026-11-23T04:56:07.123Z\",\"level\":\"info\",\"role\":\"driver\",\"host\":\"h1\",\"app\":\"app-1\","
                "\"event\":\"log_info\",\"message\":\"tab\\u0009here\"}\n");
    EQ_U64(j.written, 2);
    free(got);
    event_json_fini(&j);
    close(fd);
}

static void
every_event_is_json_with_a_message(void)
{
    uint64_t fields[16] = { 0 };

    for (int i = 0; i < EVENTS; i++) {
        struct buf b = { 0 };
        json_error_t why;

        event_json(&b, fixed_time(), &(struct event_origin){ 0 }, (enum event_id)i, fields);
        json_t *o = json_loadb(b.p, b.n, 0, &why);
        if (!o)
            fprintf(stderr, "%.*s%s\n", (int)b.n, b.p, why.text);
        CU_ASSERT_PTR_NOT_NULL_FATAL(o);
        EQ_STR(json_string_value(json_object_get(o, "event")), event_name((enum event_id)i));
        EQ_STR(json_string_value(json_object_get(o, "level")), event_level_name(event_level((enum event_id)i)));
        CU_ASSERT(json_string_length(json_object_get(o, "message")) > 0);
        CU_ASSERT_PTR_NULL(json_object_get(o, "role"));
        CU_ASSERT_PTR_NULL(json_object_get(o, "err"));
        json_decref(o);
        buf_fini(&b);
    }
}

static void
levels_are_filtered(void)
{
    struct event_json_sink j;
    int fd = memfd_create("events", MFD_CLOEXEC);

    event_json_init(&j, fd, (struct event_origin){ 0 }, EVENT_LEVEL_WARN);
    struct event_sink s = event_json_sink(&j), none = { 0 };
    EMIT(&s, task_start, .stage = 1);
    EMIT(&s, job_start, .job = 1);
    EMIT(&s, log_warn, .message = "w");
    EMIT(&s, log_error, .message = "e");
    EMIT(&none, log_error, .message = "nobody");
    EMIT((struct event_sink *)NULL, log_error, .message = "nobody");
    EQ_U64(j.written, 2);
    event_json_fini(&j);
    close(fd);
}

static void
the_first_failure_is_kept(void)
{
    struct event_json_sink j;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    event_json_init(&j, fd, (struct event_origin){ 0 }, EVENT_LEVEL_DEBUG);
    struct event_sink s = event_json_sink(&j);
    EMIT(&s, log_info, .message = "a");
    EMIT(&s, log_info, .message = "b");
    EQ_U64(j.lost, 2);
    EQ_U64(j.written, 0);
    struct err *e = j.err;
    j.err = NULL;
    IS_ERR(e, ERR_LIMIT, "writing \"the event log\": No space left");
    event_json_fini(&j);
    close(fd);
}

static const struct unit_test tests[] = {
    { "event.a_line_has_everything_in_order", a_line_has_everything_in_order },
    { "event.every_event_is_json_with_a_message", every_event_is_json_with_a_message },
    { "event.levels_are_filtered", levels_are_filtered },
    { "event.the_first_failure_is_kept", the_first_failure_is_kept },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "event", tests);
}
