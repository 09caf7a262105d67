/* say -- standard error: a reader who has stopped reading (a pager, a terminal that was halted) holds the job up, but does
 * not keep it from being stopped. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "submit/submit_priv.h"

struct err *
submit__listen(struct submit *s)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < SUBMIT_STOPS; i++)
        sigaddset(&set, submit_stops[i]);
    /* Never read: it says that one of them waits for the loop. */
    s->stop_fd = signalfd(-1, &set, SFD_CLOEXEC);
    return s->stop_fd < 0 ? err_errno(errno, "making a signalfd") : NULL;
}

bool
submit__heard(const struct submit *s, bool wait)
{
    struct pollfd p[] = { { STDERR_FILENO, POLLOUT, 0 }, { s->stop_fd, POLLIN, 0 } };

    while (poll(p, s->stop_fd > 0 ? 2 : 1, wait && !s->stopping ? -1 : 0) < 0 && errno == EINTR)
        ;
    return p[0].revents != 0; /* an error, too: the write will tell */
}

static void
say_text(const struct submit *s, const char *p, size_t n)
{
    while (n && submit__heard(s, true)) {
        ssize_t k = write(STDERR_FILENO, p, n < PIPE_BUF ? n : PIPE_BUF); /* so much does not block now */

        if (k < 0 && errno != EINTR)
            return;
        p += k > 0 ? k : 0;
        n -= k > 0 ? (size_t)k : 0;
    }
}

void
submit__say(const struct submit *s, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        abort();
    say_text(s, text, (size_t)n);
    free(text);
}

/* The events' sink, behind a look whether anybody reads. */
static void
put_json(void *arg, enum event_id id, const void *fields)
{
    struct submit *s = arg;
    struct event_sink to = event_json_sink(&s->json);

    if (submit__heard(s, true))
        to.put(to.arg, id, fields);
}

struct event_sink
submit__json_sink(struct submit *s)
{
    return (struct event_sink){ put_json, s };
}
