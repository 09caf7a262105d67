/* A runner for the tests of the process border: loads any shared object and calls functions in it
 * by name, as  int f(const char *record). */
#include "runner_stub.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "net/frame.h"
#include "net/recorder.h"
#include "net/ring.h"
#include "runner/crash.h"
#include "runner/runner.h"

static const char *record; /* in hand */
static void *module;

static void
on_record(void *arg, struct recorder *rec)
{
    size_t n = record ? strlen(record) : 0;

    if (!record)
        return;
    if (!strcmp(record, "a fault in the handler"))
        __builtin_trap();
    rec->rec.file = 0;
    rec->rec.offset = 23893;
    rec->rec.first_n = n > RECORDER_FIRST ? RECORDER_FIRST : (unsigned)n;
    rec->rec.cut = n > RECORDER_FIRST;
    memcpy(rec->rec.first, record, rec->rec.first_n);
    rec->rec.known = 1;
}

static void
must(struct err *e)
{
    if (e) {
        crash_give_up(err_text(e));
    }
}

static void
answer(struct ring *r, const void *p, size_t n)
{
    while (!ring_send(r, STUB_DONE, p, n))
        ring_wait_room(r);
}

static void
load(struct frame_chan *chan)
{
    char path[64];
    struct frame f;

    must(frame_recv(chan, &f));
    if (f.type != STUB_LOAD) { /* something else: send it back */
        must(frame_send(chan, STUB_DONE, f.id, f.p, f.n, f.fds, f.nfds));
        return;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", f.fds[0]);
    module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        crash_give_up(dlerror());
    }
    crash_module_of(dlsym(module, "anchor"));
}

static void
call(struct ring *r, const struct ring_frame *f)
{
    char text[4096];

    memcpy(text, f->p, f->n);
    text[f->n] = 0;
    if (!strcmp(text, "no_luck"))
        must(err_hint(err_new(ERR_LIMIT, "there is \"no\" luck"), "Try a\bgain."));
    int (*fn)(const char *) = (int (*)(const char *))dlsym(module, text);
    record = text + strlen(text) + 1;
    int v = fn ? fn(record) : -1;
    record = NULL;
    answer(r, &v, sizeof v);
}

static void
flood(struct ring *r, const struct ring_frame *f)
{
    struct get g = GET_OF(f->p, f->n);

    for (uint32_t n = get_u32(&g), i = 0; i < n; i++)
        answer(r, &i, sizeof i);
    crash_quit(0); /* without ringing the bell: the end brings them */
}

void
runner_main(const struct runner_start *s)
{
    struct frame_chan *chan;
    struct ring *r;

    must(frame_open(s->socket, 1 << 24, &chan));
    must(ring_attach(s->fd_a, s->fd_b, s->bell_page, s->bell_event, &r));
    must(crash_init(ring_recorder(r)));
    crash_on_record(on_record, NULL);
    for (;;) {
        struct ring_frame f;
        enum ring_got got = ring_recv(r, &f);

        if (got == RING_EMPTY) {
            ring_kick(r);
            ring_wait(r);
            continue;
        }
        if (got == RING_BAD)
            crash_quit(5);
        if (f.type == STUB_QUIT)
            crash_quit(0);
        if (f.type == STUB_MORE)
            load(chan);
        else if (f.type == STUB_CALL)
            call(r, &f);
        else if (f.type == STUB_FLOOD)
            flood(r, &f);
        else
            answer(r, f.p, f.n);
    }
}
