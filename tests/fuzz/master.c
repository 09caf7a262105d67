/*
 * What workers, drivers and clients may say to a master: any bytes at all, on links that were greeted and on one that
 * was not.  Input: {u8 who, u16 length, bytes}...  The master's folder is in memory and fresh for each input.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "common/identity.h"
#include "master/master.h"
#include "net/link.h"
#include "net/loop.h"
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { PEERS = 8 };
static const char *const roles[PEERS] = { NULL, "worker", "worker", "driver", "driver", "client", "client", NULL };
static const unsigned char token[] = "0123456789abcdef";

struct peer {
    struct link *link;
};

/* What the master says must be an envelope. */
static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct arena a = { 0 };
    Taskd__Envelope *v;
    struct err *e = proto_get(p, n, &a, &v);

    (void)arg;
    ASSERT(!e);
    arena_fini(&a);
}

static void
on_down(void *arg, struct err *why)
{
    struct peer *p = arg;

    err_free(why);
    link_close(p->link);
    p->link = NULL;
}

static void
on_timer(void *arg)
{
    loop_stop(arg);
}

static void
rounds(struct loop *l, unsigned n)
{
    for (; n; n--) {
        struct loop_timer t = { 0 };

        loop_timer_start(l, &t, 0, on_timer, l);
        err_free(loop_run(l));
        loop_timer_stop(l, &t);
    }
}

static void
dial(struct loop *l, struct master *m, struct peer *p, const char *role)
{
    static const struct link_handler handler = { on_envelope, on_down };
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__Hello h;
    struct buf b = { 0 };
    struct link *other;
    struct err *e = link_pair(l, &p->link, &other);

    ASSERT(!e);
    link_handle(p->link, &handler, p);
    master_accept(m, other);
    if (!role)
        return;
    proto_hello(&h, role, "host");
    h.token = PROTO_BYTES(token, sizeof token - 1);
    item.kind_case = TASKD__ITEM__KIND_HELLO;
    item.hello = &h;
    proto_put(&b, &item);
    link_send(p->link, b.p, b.n);
    buf_fini(&b);
}

static void
feed(struct loop *l, struct master *m, const uint8_t *data, size_t n)
{
    struct peer peers[PEERS] = { 0 };

    for (unsigned i = 0; i < PEERS; i++)
        dial(l, m, &peers[i], roles[i]);
    rounds(l, 2);
    while (n >= 3) {
        struct peer *p = &peers[data[0] % PEERS];
        size_t len = (size_t)(data[1] | data[2] << 8);
        bool hang_up = data[0] & 0x80, wait = data[0] & 0x40;

        data += 3;
        n -= 3;
        len = len < n ? len : n;
        if (!p->link) {
            dial(l, m, p, roles[p - peers]);
            rounds(l, 1);
        }
        link_send(p->link, data, len);
        data += len;
        n -= len;
        if (wait || hang_up)
            rounds(l, 1);
        if (hang_up && p->link) {
            link_close(p->link);
            p->link = NULL;
            rounds(l, 2);
        }
    }
    rounds(l, 3);
    for (unsigned i = 0; i < PEERS; i++)
        link_close(peers[i].link);
    rounds(l, 3);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char dir[] = "/dev/shm/fuzz-master-XXXXXX";
    const struct identity id = { .token = token, .token_n = sizeof token - 1, .token_file = "here" };
    const struct master_opts o = { .dir = dir, .bind = "127.0.0.1", .host = "127.0.0.1", .identity = &id,
                                   .grace_ns = 1 };
    struct loop *l;
    struct master *m;

    ASSERT(mkdtemp(dir) != NULL);
    struct err *e = loop_new(&l);
    ASSERT(!e);
    e = master_new(l, &o, &m);
    ASSERT(!e);
    feed(l, m, data, n);
    master_free(m);
    loop_free(l);
    err_free(file_remove_tree(dir));
    return 0;
}
