/* see master_wire.h */
#include "master_wire.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

static const unsigned char token[] = "0123456789abcdef";

/* ---- the loop */

static void
on_timer(void *arg)
{
    struct wire *w = arg;

    w->timeout = true;
    loop_stop(w->l);
}

static void
run(struct wire *w, uint64_t ns)
{
    w->timeout = false;
    loop_timer_start(w->l, &w->timer, loop_now(w->l) + ns, on_timer, w);
    NO_ERR(loop_run(w->l));
    loop_timer_stop(w->l, &w->timer);
}

void
wire_rounds(struct wire *w)
{
    run(w, 20000000);
}

/* ---- the master */

void
wire_init(struct wire *w)
{
    *w = (struct wire){ .identity = { .token = token, .token_n = sizeof token - 1, .token_file = "here" } };
    strcpy(w->dir, "/tmp/taskd-master-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(w->dir));
    NO_ERR(loop_new(&w->l));
    w->grace_ns = 1;
    wire_start(w);
}

void
wire_start(struct wire *w)
{
    const struct master_opts o = { .dir = w->dir, .bind = "127.0.0.1", .host = "127.0.0.1", .identity = &w->identity,
                                   .grace_ns = w->grace_ns, .recover_ns = w->recover_ns };

    NO_ERR(master_new(w->l, &o, &w->m));
}

void
wire_stop(struct wire *w)
{
    master_free(w->m);
    w->m = NULL;
}

void
wire_fini(struct wire *w)
{
    wire_stop(w);
    loop_free(w->l);
    NO_ERR(file_remove_tree(w->dir));
}

/* ---- hearing */

static void
hear_executor(struct buf *b, const Taskd__StartExecutor *m)
{
    buf_printf(b, "start %s/%u %uc %" PRIu64 "M driver %s bulk %s blobs %zu secret %u name %s", m->app_id, m->executor,
               m->cores, m->memory >> 20, m->driver, m->driver_bulk, m->n_blob, m->secret.data[31], m->app_name);
}

static void
hear_driver(struct buf *b, const Taskd__StartDriver *m)
{
    buf_printf(b, "run %s #%u %uc blobs %zu of %s, args %zu, conf %s=%s, bulk %d", m->driver, m->try_, m->cores, m->n_blob,
               m->blob_app, m->n_arg, m->n_conf_key ? m->conf_key[0] : "", m->n_conf_key ? m->conf_value[0] : "",
               strncmp(m->blob_bulk, "127.0.0.1:", 10) == 0 && m->blob_secret.len == 32);
}

static void
hear_status(struct buf *b, const Taskd__Status *m)
{
    for (size_t i = 0; i < m->n_worker; i++)
        buf_printf(b, "[%s %u/%u %s]", m->worker[i]->worker, m->worker[i]->cores_used, m->worker[i]->cores,
                   m->worker[i]->alive ? "alive" : "away");
    for (size_t i = 0; i < m->n_app; i++)
        buf_printf(b, "[%s %s %uc \"%s\" %u]", m->app[i]->name, m->app[i]->state, m->app[i]->cores, m->app[i]->why,
                   m->app[i]->exit_status);
    for (size_t i = 0; i < m->n_driver; i++)
        buf_printf(b, "[%s %s #%u \"%s\" %u on %s]", m->driver[i]->name, m->driver[i]->state, m->driver[i]->tries,
                   m->driver[i]->why, m->driver[i]->exit_status, m->driver[i]->worker);
}

static void
hear_error(struct buf *b, const char *what, const Taskd__Error *e)
{
    buf_printf(b, "%s %s", what, e ? e->code : "");
    for (size_t i = 0; e && i < e->n_say; i++)
        buf_printf(b, "%s %s", i ? ":" : "", e->say[i]);
}

static void
hear(struct peer *p, const Taskd__Item *item)
{
    struct buf *b = &p->heard;

    p->epoch = item->epoch;
    switch ((int)item->kind_case) {
    case TASKD__ITEM__KIND_HELLO:
        buf_printf(b, "hello %s", item->hello->role);
        break;
    case TASKD__ITEM__KIND_REFUSED:
        hear_error(b, "refused", item->refused->error);
        break;
    case TASKD__ITEM__KIND_WORKER_WELCOME:
        buf_printf(b, "welcome worker");
        break;
    case TASKD__ITEM__KIND_APP_WELCOME:
        snprintf(p->id, sizeof p->id, "%s", item->app_welcome->app_id);
        buf_printf(b, "welcome app %uc", item->app_welcome->cores);
        break;
    case TASKD__ITEM__KIND_START_EXECUTOR:
        hear_executor(b, item->start_executor);
        break;
    case TASKD__ITEM__KIND_START_DRIVER:
        hear_driver(b, item->start_driver);
        break;
    case TASKD__ITEM__KIND_STOP_CHILD:
        buf_printf(b, "stop %s/%u %s", item->stop_child->app_id, item->stop_child->executor, item->stop_child->why);
        break;
    case TASKD__ITEM__KIND_FORGET_APP:
        buf_printf(b, "forget %s", item->forget_app->app_id);
        break;
    case TASKD__ITEM__KIND_FOLLOW_CHILD:
        buf_printf(b, "follow %" PRIu64 " %" PRIu64 "%s", item->follow_child->out_at, item->follow_child->err_at,
                   item->follow_child->stop ? " stop" : "");
        break;
    case TASKD__ITEM__KIND_GRANTED:
        buf_printf(b, "granted %u %uc on %s", item->granted->executor, item->granted->cores, item->granted->worker);
        break;
    case TASKD__ITEM__KIND_GONE:
        buf_printf(b, "gone %u %s%s", item->gone->executor, item->gone->text, item->gone->worker_lost ? " lost" : "");
        break;
    case TASKD__ITEM__KIND_WAITING:
        buf_printf(b, "waiting \"%s\"", item->waiting->why);
        break;
    case TASKD__ITEM__KIND_BLOB_STATE:
        p->have = item->blob_state->have;
        p->whole = item->blob_state->whole;
        buf_printf(b, "blob %" PRIu64 " %d", p->have, p->whole);
        break;
    case TASKD__ITEM__KIND_SUBMITTED:
        snprintf(p->id, sizeof p->id, "%s", item->submitted->driver);
        buf_printf(b, "submitted");
        break;
    case TASKD__ITEM__KIND_ANSWER:
        hear_error(b, "answer", item->answer->error);
        buf_printf(b, " %s", item->answer->text);
        break;
    case TASKD__ITEM__KIND_STATUS:
        buf_printf(b, "status ");
        hear_status(b, item->status);
        break;
    case TASKD__ITEM__KIND_OUTPUT:
        if (item->output->end)
            buf_printf(b, "end %u %s", item->output->exit_status, item->output->state);
        else
            buf_printf(b, "%s %" PRIu64 " %.*s", item->output->err ? "err" : "out", item->output->at,
                       (int)item->output->data.len, (const char *)item->output->data.data);
        break;
    default:
        buf_printf(b, "item %d", (int)item->kind_case);
    }
    put_u8(b, '\n');
}

static void
on_envelope(void *arg, const void *bytes, size_t n)
{
    struct peer *p = arg;
    struct arena a = { 0 };
    Taskd__Envelope *v;

    NO_ERR(proto_get(bytes, n, &a, &v));
    for (size_t i = 0; i < v->n_item; i++)
        hear(p, v->item[i]);
    arena_fini(&a);
    loop_stop(p->w->l);
}

static void
on_down(void *arg, struct err *why)
{
    struct peer *p = arg;

    err_free(why);
    link_close(p->link);
    p->link = NULL;
    buf_printf(&p->heard, "down\n");
    loop_stop(p->w->l);
}

/* The end of the first line from p->read on that has the words; 0 if there is none. */
static size_t
find(const struct peer *p, const char *words)
{
    for (size_t at = p->read; at < p->heard.n;) {
        const char *line = p->heard.p + at, *end = memchr(line, '\n', p->heard.n - at);
        size_t n = (size_t)(end - line);

        if (memmem(line, n, words, strlen(words)))
            return at + n + 1;
        at += n + 1;
    }
    return 0;
}

void
peer_hears(struct peer *p, const char *words)
{
    size_t at = 0;

    for (p->w->timeout = false; !(at = find(p, words)) && !p->w->timeout;)
        run(p->w, UINT64_C(10000000000));
    if (!at)
        printf("\n  nobody said \"%s\", but:\n%.*s", words, (int)(p->heard.n - p->read), p->heard.p + p->read);
    CU_ASSERT_FATAL(at > 0);
    p->read = at;
}

void
peer_heard_no(struct peer *p, const char *words)
{
    wire_rounds(p->w);
    CU_ASSERT_EQUAL(find(p, words), 0);
}

/* ---- saying */

void
peer_dial(struct wire *w, struct peer *p)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct link *other;

    *p = (struct peer){ .w = w };
    NO_ERR(link_pair(w->l, &p->link, &other));
    link_handle(p->link, &handler, p);
    master_accept(w->m, other);
}

void
peer_say(struct peer *p, Taskd__Item *item)
{
    struct buf b = { 0 };

    if (!item->epoch)
        item->epoch = p->epoch;
    proto_put(&b, item);
    if (p->link)
        link_send(p->link, b.p, b.n);
    buf_fini(&b);
}

void
peer_hello(struct wire *w, struct peer *p, const char *role)
{
    Taskd__Hello h;

    peer_dial(w, p);
    proto_hello(&h, role, "host");
    h.token = PROTO_BYTES(token, sizeof token - 1);
    SAY(p, HELLO, hello, &h);
}

void
peer_close(struct peer *p)
{
    link_close(p->link);
    buf_fini(&p->heard);
    *p = (struct peer){ .w = p->w };
    wire_rounds(p->w);
}

void
worker_registers(struct wire *w, struct peer *p, const char *id, uint32_t cores, Taskd__ChildState *child)
{
    Taskd__WorkerHello h = TASKD__WORKER_HELLO__INIT;
    Taskd__Profile profile = TASKD__PROFILE__INIT;

    peer_hello(w, p, "worker");
    h.worker = (char *)id;
    h.host = (char *)"hostw";
    h.cores = cores;
    h.memory = UINT64_C(4) << 30;
    h.bulk = (char *)"hostw:1";
    h.profile = &profile;
    h.child = &child;
    h.n_child = child ? 1 : 0;
    SAY(p, WORKER_HELLO, worker_hello, &h);
    peer_hears(p, "welcome worker");
}

void
worker_says(struct peer *p, const char *id, uint32_t executor, Taskd__ChildPhase phase, uint32_t status)
{
    Taskd__ChildState s = TASKD__CHILD_STATE__INIT;

    s.app_id = (char *)id;
    s.executor = executor;
    s.phase = phase;
    s.exit_status = status;
    SAY(p, CHILD_STATE, child_state, &s);
}

void
worker_writes(struct peer *p, const char *driver, bool err, uint64_t at, const char *text)
{
    Taskd__ChildOutput o = TASKD__CHILD_OUTPUT__INIT;

    o.driver = (char *)driver;
    o.err = err;
    o.at = at;
    o.data = PROTO_BYTES(text, strlen(text));
    SAY(p, CHILD_OUTPUT, child_output, &o);
}

void
app_registers(struct wire *w, struct peer *p, const char *app_id, const char *submission, unsigned char secret,
              Taskd__ChildState *executor)
{
    Taskd__AppHello h = TASKD__APP_HELLO__INIT;
    unsigned char bytes[32] = { 0 };

    peer_hello(w, p, "driver");
    bytes[31] = secret;
    h.app_id = (char *)app_id;
    h.name = (char *)"job";
    h.cores_per_executor = 1;
    h.memory_per_executor = 1 << 30;
    h.driver = (char *)"hostd:1";
    h.driver_bulk = (char *)"hostd:2";
    h.secret = PROTO_BYTES(bytes, sizeof bytes);
    h.submission = (char *)submission;
    h.executor = &executor;
    h.n_executor = executor ? 1 : 0;
    SAY(p, APP_HELLO, app_hello, &h);
}

void
app_wants(struct peer *p, uint32_t cores)
{
    Taskd__Want want = TASKD__WANT__INIT;

    want.cores = cores;
    SAY(p, WANT, want, &want);
}

void
client_puts(struct peer *p, const char *text, unsigned char ret_sha256[32])
{
    Taskd__BlobPut put = TASKD__BLOB_PUT__INIT;
    Taskd__Blob blob = TASKD__BLOB__INIT;

    SHA256((const unsigned char *)text, strlen(text), ret_sha256);
    blob.sha256 = PROTO_BYTES(ret_sha256, 32);
    blob.size = strlen(text);
    blob.name = (char *)"wordcount.so";
    put.blob = &blob;
    put.data = PROTO_BYTES(text, strlen(text));
    SAY(p, BLOB_PUT, blob_put, &put);
    peer_hears(p, "blob ");
    CU_ASSERT_TRUE(p->whole);
}

void
client_submits(struct peer *p, const unsigned char sha256[32], bool supervise)
{
    client_submits_again(p, sha256, supervise, "", false);
}

void
client_submits_again(struct peer *p, const unsigned char sha256[32], bool supervise, const char *mark, bool again)
{
    Taskd__SubmitDriver s = TASKD__SUBMIT_DRIVER__INIT;
    Taskd__AppBlob use = TASKD__APP_BLOB__INIT, *uses = &use;
    Taskd__Blob blob = TASKD__BLOB__INIT;
    char *args[] = { (char *)"in", (char *)"out" }, *key = (char *)"k", *value = (char *)"v";

    blob.sha256 = PROTO_BYTES(sha256, 32);
    blob.name = (char *)"wordcount.so";
    use.use = TASKD__BLOB_USE__MODULE;
    use.blob = &blob;
    s.name = (char *)"job";
    s.blob = &uses;
    s.n_blob = 1;
    s.arg = args;
    s.n_arg = 2;
    s.conf_key = &key;
    s.conf_value = &value;
    s.n_conf_key = s.n_conf_value = 1;
    s.cores = 1;
    s.memory = 1 << 30;
    s.supervise = supervise;
    s.key = PROTO_BYTES(mark, strlen(mark));
    s.again = again;
    SAY(p, SUBMIT_DRIVER, submit_driver, &s);
}

void
client_follows(struct peer *p, const char *driver, uint64_t out_at, bool wait)
{
    Taskd__Follow f = TASKD__FOLLOW__INIT;

    f.driver = (char *)driver;
    f.out_at = out_at;
    f.wait = wait;
    SAY(p, FOLLOW, follow, &f);
}
