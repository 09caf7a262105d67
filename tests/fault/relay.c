/*
 * tests/fault/relay -- stands between the processes of a cluster and hurts what they say, an item at a time.
 *
 *   relay --kinds         prints the names of all kinds of item
 *   relay HOST:PORT       for the master at that place; prints the address at which it listens instead of it
 *
 * Workers, drivers and clients dial the relay and come out at the master; of what a driver says to the master the place
 * where executors dial is changed, so these come by the relay, too.  Standard input has orders, a line each:
 *
 *   KIND HOW SKIP         the next item of that kind, after so many of them, is
 *     twice                 sent twice
 *     late                  held, with all that follows on its link, for LATE_MS
 *     swapped               sent behind the next item of its link (or after LATE_MS, if nothing follows)
 *     dropped               lost, with its link: a stream that is whole loses nothing, so nothing else can be
 *     pass                  nothing happens
 *
 * and what was done to whom is told on standard output, "KIND HOW".  It ends with its standard input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "net/loop.h"
#include "proto/proto.h"
#include "rpc/rpc.h"

enum { LATE_MS = 400, PLACES = 1024, WORD = 32 };

struct way; /* one direction */
struct pair {
    struct pair *next, **prev;
    struct way {
        struct pair *pair;
        struct link *from, *to;
        struct buf kept, swapped; /* what waits: everything, an item that the next one overtakes */
        struct loop_timer timer;
        bool holding;
    } way[2];
    bool down;
};
struct place { /* where we listen for somebody */
    struct rpc_server *server;
    char to[128];
};
static struct {
    struct loop *loop;
    struct rpc *rpc;
    struct place place[PLACES];
    unsigned n_places;
    struct pair *pairs;
    struct arena a;
    char line[256];
    size_t n_line;
    int kind; /* of the order, 0: there is none */
    char word[WORD], how[WORD];
    unsigned skip;
} r;

static void
check(struct err *e)
{
    if (!e)
        return;
    fprintf(stderr, "relay: %s\n", err_text(e));
    exit(1);
}

/* ---- pairs of links */

static void
put_out(struct way *w, struct buf *b)
{
    if (b->n)
        link_send(w->to, b->p, b->n);
    b->n = 0;
}

static void
flush(struct way *w)
{
    w->holding = false;
    put_out(w, &w->kept);
    put_out(w, &w->swapped);
}

static void
on_late(void *arg)
{
    flush(arg);
}

static void
pair_close(struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        loop_timer_stop(r.loop, &p->way[i].timer);
        link_close(p->way[i].from);
        buf_fini(&p->way[i].kept);
        buf_fini(&p->way[i].swapped);
    }
    *p->prev = p->next;
    if (p->next)
        p->next->prev = p->prev;
    free(p);
}

static const char *place_for(const char *to);

static void
pass(struct way *w, const Taskd__Item *it)
{
    Taskd__Item changed = *it;
    Taskd__AppHello hello;

    if (it->kind_case == TASKD__ITEM__KIND_APP_HELLO) { /* where its executors will dial: here */
        hello = *it->app_hello;
        hello.driver = (char *)place_for(hello.driver);
        changed.app_hello = &hello;
    }
    proto_put(&w->kept, &changed);
    if (w->holding)
        return;
    if (w->swapped.n)
        loop_timer_stop(r.loop, &w->timer);
    flush(w);
}

/* False: the pair is to go. */
static bool
harm(struct way *w, const Taskd__Item *it)
{
    uint64_t until = loop_now(r.loop) + LATE_MS * 1000000ull;

    r.kind = 0;
    printf("%s %s\n", r.word, r.how);
    if (!strcmp(r.how, "dropped"))
        return false;
    if (!strcmp(r.how, "swapped")) {
        proto_put(&w->swapped, it);
        loop_timer_start(r.loop, &w->timer, until, on_late, w);
        return true;
    }
    if (!strcmp(r.how, "late")) {
        w->holding = true;
        loop_timer_start(r.loop, &w->timer, until, on_late, w);
    }
    pass(w, it);
    if (!strcmp(r.how, "twice"))
        pass(w, it);
    return true;
}

static bool
on_item(void *arg, const Taskd__Item *it)
{
    struct way *w = arg;

    if (r.kind && (int)it->kind_case == r.kind && r.skip-- == 0)
        w->pair->down = !harm(w, it);
    else
        pass(w, it);
    return !w->pair->down;
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct way *w = arg;

    check(proto_each(p, n, &r.a, on_item, w));
    arena_reset(&r.a);
    if (w->pair->down)
        pair_close(w->pair);
}

/* What was said before still arrives. */
static void
on_down(void *arg, struct err *why)
{
    struct way *w = arg;

    err_free(why);
    flush(w);
    pair_close(w->pair);
}

static void
on_link(void *arg, struct link *l)
{
    static const struct link_handler handler = { on_envelope, on_down };
    const struct place *at = arg;
    struct pair *p = calloc(1, sizeof *p);
    struct rpc_dial_opts o = { .address = at->to };
    struct link *other;

    if (!p)
        abort();
    check(rpc_dial(r.rpc, &o, &other));
    for (int i = 0; i < 2; i++) {
        struct way *w = &p->way[i];

        w->pair = p;
        w->from = i ? other : l;
        w->to = i ? l : other;
        link_handle(w->from, &handler, w);
    }
    p->next = r.pairs;
    p->prev = &r.pairs;
    if (p->next)
        p->next->prev = &p->next;
    r.pairs = p;
}

/* The address at which we listen for somebody at that one: the same one for ever. */
static const char *
place_for(const char *to)
{
    static char at[PLACES][32];
    unsigned i = 0;

    while (i < r.n_places && strcmp(r.place[i].to, to))
        i++;
    if (i == r.n_places) {
        struct rpc_listen_opts o = { .host = "127.0.0.1" };

        if (i == PLACES)
            check(err_new(ERR_LIMIT, "more than %d places", PLACES));
        snprintf(r.place[i].to, sizeof r.place[i].to, "%s", to);
        check(rpc_listen(r.rpc, &o, on_link, &r.place[i], &r.place[i].server));
        snprintf(at[i], sizeof at[i], "127.0.0.1:%u", rpc_server_port(r.place[i].server));
        r.n_places++;
    }
    return at[i];
}

/* ---- orders */

static int
kind_of(const char *name)
{
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(&taskd__item__descriptor, name);

    return f && (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ? (int)f->id : 0;
}

static void
order(const char *line)
{
    if (sscanf(line, "%31s %31s %u", r.word, r.how, &r.skip) != 3 || !kind_of(r.word))
        check(err_new(ERR_CONFIG, "\"%s\" is no order", line));
    r.kind = strcmp(r.how, "pass") ? kind_of(r.word) : 0;
    printf("ok\n");
}

static void
on_input(void *arg, unsigned events)
{
    ssize_t n = read(STDIN_FILENO, r.line + r.n_line, sizeof r.line - 1 - r.n_line);
    char *end;

    (void)arg;
    (void)events;
    if (n <= 0) {
        loop_stop(r.loop);
        return;
    }
    r.n_line += (size_t)n;
    r.line[r.n_line] = 0;
    while ((end = strchr(r.line, '\n'))) {
        *end = 0;
        order(r.line);
        r.n_line -= (size_t)(end + 1 - r.line);
        memmove(r.line, end + 1, r.n_line + 1);
    }
}

int
main(int argc, char **argv)
{
    struct loop_io *in;

    if (argc != 2)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(argv[1], "--kinds")) {
        for (unsigned i = 0; i < taskd__item__descriptor.n_fields; i++)
            if (taskd__item__descriptor.fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
                puts(taskd__item__descriptor.fields[i].name);
        return 0;
    }
    check(loop_new(&r.loop));
    check(rpc_new(r.loop, &r.rpc));
    check(loop_io_new(r.loop, STDIN_FILENO, LOOP_IN, on_input, NULL, &in));
    puts(place_for(argv[1]));
    check(loop_run(r.loop));
    while (r.pairs)
        pair_close(r.pairs);
    for (unsigned i = 0; i < r.n_places; i++)
        rpc_server_free(r.place[i].server);
    loop_io_free(in);
    rpc_free(r.rpc);
    loop_free(r.loop);
    arena_fini(&r.a);
    return 0;
}
