/* The loopback link: order, joining, and what comes before on_down. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "net.h"
#include "net/link.h"
#include "net/loop.h"
#include "unit.h"

struct side {
    struct loop *l;
    struct link *link;
    struct buf got;
    unsigned messages, downs;
    size_t largest;
    size_t stop_at;       /* bytes; then the loop stops */
    bool echo, close_on_first;
    enum err_code why;
};

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct side *s = arg;

    CU_ASSERT_EQUAL(s->downs, 0);
    buf_put(&s->got, p, n);
    s->messages++;
    s->largest = n > s->largest ? n : s->largest;
    if (s->echo)
        link_send(s->link, p, n);
    if (s->close_on_first) {
        link_close(s->link);
        s->link = NULL;
    }
    if (s->stop_at && s->got.n >= s->stop_at)
        loop_stop(s->l);
}

static void
on_down(void *arg, struct err *why)
{
    struct side *s = arg;

    s->downs++;
    s->why = why->code;
    err_free(why);
    loop_stop(s->l);
}

static const struct link_handler handler = { on_envelope, on_down };

static struct loop *
open_pair(struct side *a, struct side *b)
{
    struct loop *l;

    NO_ERR(loop_new(&l));
    NO_ERR(link_pair(l, &a->link, &b->link));
    a->l = b->l = l;
    link_handle(a->link, &handler, a);
    link_handle(b->link, &handler, b);
    EQ_STR(link_peer(a->link), "loopback");
    return l;
}

static void
close_pair(struct loop *l, struct side *a, struct side *b)
{
    link_close(a->link);
    link_close(b->link);
    buf_fini(&a->got);
    buf_fini(&b->got);
    loop_free(l);
}

void
link_joins(void)
{
    struct side a = { .stop_at = 6 }, b = { .echo = true };
    struct loop *l = open_pair(&a, &b);

    link_send(a.link, "one", 3);
    link_send(a.link, "", 0);
    link_send(a.link, "two", 3);
    EQ_U64(link_queued(a.link), 6);
    EQ_U64(b.messages, 0); /* never from inside a call */
    NO_ERR(loop_run(l));
    EQ_U64(b.messages, 1);
    EQ_U64(a.got.n, 6);
    CU_ASSERT(memcmp(a.got.p, "onetwo", 6) == 0);
    EQ_U64(link_queued(a.link), 0);
    close_pair(l, &a, &b);
}

/* Messages stay below LINK_BATCH, but for one envelope that is larger; order stays. */
void
link_batches(void)
{
    enum { EACH = 1000, N = 1000, LARGE = 3 * LINK_BATCH };
    struct side a = { 0 }, b = { .stop_at = EACH * N + LARGE };
    struct loop *l = open_pair(&a, &b);
    char *p = malloc(LARGE);

    for (int i = 0; i < N; i++) {
        memset(p, i, EACH);
        link_send(a.link, p, EACH);
    }
    memset(p, 'L', LARGE);
    link_send(a.link, p, LARGE);
    NO_ERR(loop_run(l));
    EQ_U64(b.largest, LARGE);
    EQ_U64(b.messages, 1 + (N + LINK_BATCH / EACH - 1) / (LINK_BATCH / EACH));
    for (int i = 0; i < N; i++)
        CU_ASSERT(b.got.p[i * EACH] == (char)i && b.got.p[i * EACH + EACH - 1] == (char)i);
    CU_ASSERT(b.got.p[EACH * N] == 'L');
    free(p);
    close_pair(l, &a, &b);
}

/* What was sent before the close arrives, then on_down; once. */
void
link_closes(void)
{
    struct side a = { 0 }, b = { 0 };
    struct loop *l = open_pair(&a, &b);

    link_send(b.link, "dropped", 7);
    link_send(a.link, "last words", 10);
    link_close(a.link);
    a.link = NULL;
    link_send(b.link, "nobody", 6); /* does nothing */
    NO_ERR(loop_run(l));
    EQ_U64(b.got.n, 10);
    EQ_U64(b.downs, 1);
    EQ_U64(b.why, ERR_LOST);
    EQ_U64(a.got.n, 0);
    close_pair(l, &a, &b);
}

/* A handler may close its link, with more under way to it. */
void
link_closed_in_handler(void)
{
    struct side a = { 0 }, b = { .close_on_first = true };
    struct loop *l = open_pair(&a, &b);
    char *p = calloc(1, LINK_BATCH);

    link_send(a.link, p, LINK_BATCH);
    link_send(a.link, p, LINK_BATCH);
    NO_ERR(loop_run(l)); /* until a hears of it */
    EQ_U64(b.messages, 1);
    EQ_U64(b.downs, 0);
    EQ_U64(a.downs, 1);
    free(p);
    close_pair(l, &a, &b);
}
