/* bulk_peer -- one server of a client: connecting, proving, and what comes back. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "net/bulk_client_priv.h"

#define IDLE_NS 30000000000u /* less than a server's patience */
#define BACKOFF_MAX_NS 2000000000u
#define CONNECT_NS 5000000000u /* longer waits a host that is not there, or that a wall hides */

static void on_timer(void *arg);

/* How long nothing may happen now. */
static uint64_t
patience(const struct bulk_peer *p)
{
    uint64_t silence = p->c->silence_ns;

    if (p->state == BULK_READY)
        return p->under_way ? silence : IDLE_NS;
    return silence < CONNECT_NS ? silence : CONNECT_NS;
}

static void
hang_up(struct bulk_peer *p)
{
    loop_timer_stop(p->c->l, &p->timer);
    loop_io_free(p->watch);
    p->watch = NULL;
    if (p->io.fd >= 0)
        bulk__stream_close(&p->io);
    p->io.fd = -1;
    p->out.n = p->out_sent = p->head_n = 0;
    p->body = NULL;
    p->state = BULK_IDLE;
}

/* The connection is of no more use, or there is none.  What waits is tried again later, or given up. */
static void
broken(struct bulk_peer *p, const char *why)
{
    struct bulk_client *c = p->c;
    uint64_t wait = c->backoff_ns;
    char text[160];

    snprintf(text, sizeof text, "%s", why); /* it may be the stream's */
    hang_up(p);
    p->failures = p->progress ? 1 : p->failures + 1;
    bulk__pieces_broken(p, text);
    if (p->failures > c->retries) {
        bulk__peer_hopeless(p, p->refused ? ERR_DENIED : ERR_LOST, text);
        p->failures = 0;
    }
    p->progress = false;
    if (!bulk__peer_wanted(p))
        return;
    for (unsigned i = 1; i < p->failures && wait < BACKOFF_MAX_NS; i++)
        wait *= 2;
    p->state = BULK_BACKING_OFF;
    loop_timer_start(c->l, &p->timer, loop_now(c->l) + (wait < BACKOFF_MAX_NS ? wait : BACKOFF_MAX_NS), on_timer, p);
}

/* ---- what comes */

static bool
on_hello(struct bulk_peer *p, const struct bulk_hello *h)
{
    struct bulk_auth a = { .version = BULK_VERSION };
    struct err *e = bulk__nonce(a.nonce);

    if (e) {
        err_free(e);
        return false;
    }
    snprintf(a.app, sizeof a.app, "%s", p->c->app);
    bulk__prove(false, p->c->secret, h->nonce, a.nonce, a.app, a.mac);
    bulk__prove(true, p->c->secret, h->nonce, a.nonce, a.app, p->want_mac);
    bulk__put_auth(&p->out, &a);
    p->state = BULK_VERDICT;
    return true;
}

/* Why the message in head breaks the connection; NULL: it doesn't. */
static const char *
on_message(struct bulk_peer *p)
{
    struct bulk_hello h;
    struct bulk_verdict v;
    struct bulk_answer a;
    size_t used;

    switch (p->state) {
    case BULK_HELLO:
        if (bulk__get_hello(p->head, p->head_n, &h, &used) != BULK_WHOLE)
            return "it is not a bulk server";
        if (h.version != BULK_VERSION)
            return "it speaks another version of the protocol";
        return on_hello(p, &h) ? NULL : "no random bytes";
    case BULK_VERDICT:
        if (bulk__get_verdict(p->head, p->head_n, &v, &used) != BULK_WHOLE)
            return "its verdict is malformed";
        p->refused = v.status != BULK_OK || !bulk__same(v.mac, p->want_mac);
        if (p->refused)
            return v.status != BULK_OK ? "it refuses us: wrong secret or unknown application"
                                       : "it does not know the secret of the application";
        p->state = BULK_READY;
        return NULL;
    default:
        if (bulk__get_answer(p->head, p->head_n, &a, &used) != BULK_WHOLE)
            return "an answer is malformed";
        p->body = p->under_way;
        while (p->body && p->body->id != a.id)
            p->body = p->body->next;
        if (!p->body || !bulk__piece_head(p, p->body, &a))
            return "an answer does not fit the request";
        return NULL;
    }
}

static size_t
head_size(const struct bulk_peer *p)
{
    return p->state == BULK_HELLO ? BULK_HELLO_BYTES : p->state == BULK_VERDICT ? BULK_VERDICT_BYTES : BULK_ANSWER_HEAD;
}

/* The bytes that came; why the connection is broken, or NULL. */
static const char *
take(struct bulk_peer *p, const char *b, size_t n)
{
    const char *why;

    while (n || (p->body && !p->body->left)) {
        size_t k;

        if (p->body) {
            k = n < p->body->left ? n : (size_t)p->body->left;
            if (k)
                bulk__piece_bytes(p, p->body, b, k);
            if (!p->body->left) {
                struct bulk_piece *x = p->body;

                p->body = NULL;
                bulk__piece_end(p, x);
            }
        } else {
            size_t want = head_size(p) - p->head_n;

            k = n < want ? n : want;
            memcpy(p->head + p->head_n, b, k);
            p->head_n += k;
            if (p->head_n == head_size(p)) {
                why = on_message(p);
                p->head_n = 0;
                if (why)
                    return why;
            }
        }
        b += k;
        n -= k;
    }
    return NULL;
}

/* Receives once, and does with it what is to be done; *ret_why: why the connection is broken, NULL if it isn't. */
static enum bulk_io
receive_once(struct bulk_peer *p, size_t *ret_n, const char **ret_why)
{
    struct bulk_client *c = p->c;
    struct bulk_piece *x = p->body;
    bool spliced = x && x->job && x->left > BULK_SPLICE && c->pipe[1] >= 0;
    enum bulk_io r = spliced ? bulk__recv_pipe(&p->io, c->pipe[1], x->left < BULK_TURN ? (size_t)x->left : BULK_TURN, ret_n)
                             : bulk__recv(&p->io, c->buffer, BULK_BUFFER, ret_n);

    if (r != BULK_MOVED)
        return r;
    p->heard = loop_now(c->l);
    if (spliced) {
        bulk__piece_piped(p, x, *ret_n);
        *ret_why = take(p, NULL, 0);
    } else {
        *ret_why = take(p, c->buffer, *ret_n);
    }
    return r;
}

/* False: broken (or closed when nobody minds). */
static bool
receive(struct bulk_peer *p)
{
    const char *why = NULL;

    for (size_t turn = 0, n = 0; turn < BULK_TURN || bulk__pending(&p->io); turn += n) {
        enum bulk_io r = receive_once(p, &n, &why);

        if (r == BULK_AGAIN)
            return true;
        if (r == BULK_END && p->state == BULK_READY && !p->under_way) {
            hang_up(p);
            return false;
        }
        if (r == BULK_FAILED && p->io.why[0]) /* by TLS */
            p->refused = true;
        if (r != BULK_MOVED)
            why = r == BULK_END ? "it closed the connection" : bulk__why(&p->io);
        if (why) {
            broken(p, why);
            return false;
        }
    }
    return true;
}

/* ---- what goes */

static void
wait_for(struct bulk_peer *p)
{
    unsigned events = LOOP_IN | (p->out.n ? LOOP_OUT : 0u);

    if (p->io.want == LOOP_IN)
        events = LOOP_IN;
    else
        events |= p->io.want;
    if (events != p->events)
        loop_io_events(p->watch, p->events = events);
}

void
bulk__peer_flush(struct bulk_peer *p)
{
    size_t n = 0;

    p->io.want = 0;
    while (p->out_sent < p->out.n) {
        enum bulk_io r = bulk__send(&p->io, p->out.p + p->out_sent, p->out.n - p->out_sent, false, &n);

        if (r == BULK_AGAIN)
            break;
        if (r != BULK_MOVED) {
            broken(p, bulk__why(&p->io));
            return;
        }
        p->out_sent += n;
    }
    if (p->out_sent == p->out.n)
        p->out.n = p->out_sent = 0;
    wait_for(p);
}

/* ---- its life */

static void
on_ready(void *arg, unsigned events)
{
    struct bulk_peer *p = arg;
    int failed = 0;
    socklen_t n = sizeof failed;

    if (p->state == BULK_CONNECTING) {
        if (getsockopt(p->io.fd, SOL_SOCKET, SO_ERROR, &failed, &n) < 0 || failed) {
            broken(p, strerror(failed ? failed : errno));
            bulk__ask(p->c);
            return;
        }
        p->state = BULK_HELLO;
        p->events = LOOP_IN | LOOP_OUT;
        wait_for(p);
    }
    if ((events & (LOOP_IN | LOOP_HUP) || p->io.ssl) && !receive(p)) {
        bulk__ask(p->c);
        return;
    }
    if (p->out.n)
        bulk__peer_flush(p);
    else
        wait_for(p);
    bulk__ask(p->c);
}

static void
on_timer(void *arg)
{
    struct bulk_peer *p = arg;
    struct bulk_client *c = p->c;
    uint64_t now = loop_now(c->l);

    if (p->state == BULK_BACKING_OFF) {
        p->state = BULK_IDLE;
        bulk__ask(c);
        return;
    }
    if (now >= p->heard + patience(p) && p->state > BULK_CONNECTING && !receive(p)) {
        bulk__ask(c); /* our own loop may have been away: looked first */
        return;
    }
    if (now < p->heard + patience(p)) { /* patience changes: looked at often enough */
        uint64_t next = p->heard + patience(p), soon = now + c->silence_ns;

        loop_timer_start(c->l, &p->timer, next < soon ? next : soon, on_timer, p);
        return;
    }
    if (p->state == BULK_READY && !p->under_way)
        hang_up(p);
    else
        broken(p, p->state == BULK_CONNECTING ? "no connection in time" : "it says nothing any more");
    bulk__ask(c);
}

static struct err *
start(struct bulk_peer *p)
{
    int one = 1;

    if (p->addr_n == 0 || p->failures > 1) { /* it may have moved */
        p->addr_n = 0;
        TRY(bulk__resolve(p->address, &p->addr, &p->addr_n));
    }
    int fd = socket(p->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(errno, "making a socket");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&p->addr, p->addr_n) < 0 && errno != EINPROGRESS) {
        int errnum = errno;

        close(fd);
        return err_errno(errnum, "connecting");
    }
    struct err *e = bulk__stream_open(&p->io, fd, p->c->tls, false);
    return e ? e : loop_io_new(p->c->l, fd, LOOP_OUT, on_ready, p, &p->watch);
}

void
bulk__peer_connect(struct bulk_peer *p)
{
    struct err *e = start(p);

    p->progress = false;
    p->refused = false;
    if (e) {
        char *text = err_text(e);

        err_free(e);
        broken(p, text);
        free(text);
        return;
    }
    p->state = BULK_CONNECTING;
    p->events = LOOP_OUT;
    p->heard = loop_now(p->c->l);
    loop_timer_start(p->c->l, &p->timer, p->heard + patience(p), on_timer, p);
}

void
bulk__peer_fini(struct bulk_peer *p)
{
    hang_up(p);
    for (struct bulk_piece *x; (x = p->under_way);) {
        p->under_way = x->next;
        free(x);
    }
    ASSERT(!p->again); /* went with its get */
    buf_fini(&p->out);
    free(p->address);
}
