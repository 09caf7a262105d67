/* worker_rig -- see worker.h */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker.h"

static void
save(const Taskd__ChildState *m, struct rig_state *ret)
{
    snprintf(ret->app, sizeof ret->app, "%s", m->app_id);
    snprintf(ret->text, sizeof ret->text, "%s", m->text);
    ret->executor = m->executor;
    ret->status = m->exit_status;
    ret->phase = m->phase;
    ret->pid = (pid_t)m->pid;
}

static void
on_hello(struct rig *r, const Taskd__WorkerHello *h)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__WorkerWelcome welcome = TASKD__WORKER_WELCOME__INIT;
    Taskd__Hello hello;

    snprintf(r->worker, sizeof r->worker, "%s", h->worker);
    snprintf(r->bulk, sizeof r->bulk, "%s", h->bulk);
    snprintf(r->profile, sizeof r->profile, "%s %s", h->profile->machine, h->profile->glibc);
    r->n_library = h->profile->n_library;
    r->cores = h->cores;
    r->n_hello_child = 0;
    for (size_t i = 0; i < h->n_child && i < RIG_STATES; i++)
        save(h->child[i], &r->hello_child[r->n_hello_child++]);
    r->apps[0] = 0;
    for (size_t i = 0; i < h->n_app; i++) {
        strcat(r->apps, h->app[i]);
        strcat(r->apps, " ");
    }
    r->hellos++;
    if (r->mute)
        return;
    proto_hello(&hello, "master", "here");
    item.kind_case = TASKD__ITEM__KIND_HELLO;
    item.hello = &hello;
    rig_send(r, &item);
    welcome.master = "m1";
    item.kind_case = TASKD__ITEM__KIND_WORKER_WELCOME;
    item.worker_welcome = &welcome;
    rig_send(r, &item);
}

static void
on_output(struct rig *r, const Taskd__ChildOutput *o)
{
    if (!o->data.len)
        r->end[o->err] = true;
    if (o->at != r->out[o->err].n)
        r->fault = true;
    buf_put(&r->out[o->err], o->data.data, o->data.len);
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct rig *r = arg;
    struct arena a = { 0 };
    Taskd__Envelope *v;

    NO_ERR(proto_get(p, n, &a, &v));
    for (size_t i = 0; i < v->n_item; i++) {
        const Taskd__Item *item = v->item[i];

        if (item->kind_case == TASKD__ITEM__KIND_WORKER_HELLO)
            on_hello(r, item->worker_hello);
        else if (item->kind_case == TASKD__ITEM__KIND_CHILD_OUTPUT)
            on_output(r, item->child_output);
        else if (item->kind_case == TASKD__ITEM__KIND_CHILD_STATE && r->n_state < RIG_STATES)
            save(item->child_state, &r->state[r->n_state++]);
    }
    arena_fini(&a);
    loop_stop(r->l);
}

static void
on_down(void *arg, struct err *why)
{
    struct rig *r = arg;

    err_free(why);
    link_close(r->link);
    r->link = NULL;
    loop_stop(r->l);
}

static struct err *
dial(void *arg, const char *address, struct link **ret)
{
    static const struct link_handler handler = { on_envelope, on_down };
    struct rig *r = arg;

    r->dials++;
    if (strcmp(address, "127.0.0.1:7077") != 0) {
        strcat(r->wrong, address);
        strcat(r->wrong, " ");
        return err_new(ERR_LOST, "nobody is at %s", address);
    }
    link_close(r->link);
    r->link = NULL;
    TRY(link_pair(r->l, ret, &r->link));
    link_handle(r->link, &handler, r);
    return NULL;
}

/* ---- waiting */

static void
on_timeout(void *arg)
{
    struct rig *r = arg;

    r->timeout = true;
    loop_stop(r->l);
}

void
rig_until(struct rig *r, bool (*cond)(struct rig *r))
{
    struct loop_timer t = { 0 }, poll = { 0 };

    loop_timer_start(r->l, &t, clock_mono_ns() + UINT64_C(20000000000), on_timeout, r);
    while (!r->timeout && !cond(r)) {
        /* a condition may be about a file: look again */
        loop_timer_start(r->l, &poll, clock_mono_ns() + 5000000, (void (*)(void *))loop_stop, r->l);
        NO_ERR(loop_run(r->l));
    }
    loop_timer_stop(r->l, &t);
    loop_timer_stop(r->l, &poll);
    CU_ASSERT_FATAL(!r->timeout);
}

static bool
registered(struct rig *r)
{
    return r->hellos && r->n_state == 0 && r->link && link_queued(r->link) == 0;
}

static const char *wanted_app;
static uint32_t wanted_executor;
static struct rig_state *
find(struct rig *r)
{
    for (size_t i = 0; i < r->n_state; i++)
        if (!strcmp(r->state[i].app, wanted_app) && r->state[i].executor == wanted_executor)
            return &r->state[i];
    return NULL;
}

static bool
has_state(struct rig *r)
{
    return find(r);
}

struct rig_state
rig_next(struct rig *r, const char *app, uint32_t executor)
{
    wanted_app = app;
    wanted_executor = executor;
    rig_until(r, has_state);
    struct rig_state *s = find(r), got = *s;
    memmove(s, s + 1, (size_t)(r->state + --r->n_state - s) * sizeof *s);
    return got;
}

void
rig_phases(struct rig *r, const char *app, uint32_t n, struct rig_state *ret_running)
{
    struct rig_state s = rig_next(r, app, n);

    EQ_U64(s.phase, TASKD__CHILD_PHASE__STARTING);
    if (s.phase == TASKD__CHILD_PHASE__STARTING)
        s = rig_next(r, app, n);
    EQ_U64(s.phase, TASKD__CHILD_PHASE__RUNNING);
    if (s.phase != TASKD__CHILD_PHASE__RUNNING)
        EQ_STR(s.text, "");
    CU_ASSERT_FATAL(s.pid > 0);
    if (ret_running)
        *ret_running = s;
}

void
rig_ended(struct rig *r, const char *app, uint32_t n, uint32_t status, const char *words)
{
    struct rig_state s = rig_next(r, app, n);

    EQ_U64(s.phase, TASKD__CHILD_PHASE__ENDED);
    EQ_U64(s.status, status);
    if (!strstr(s.text, words))
        EQ_STR(s.text, words);
}

/* ---- life */

static void
program(const char *name, char ret[static 4096])
{
    const char *top = getenv("top_builddir");

    snprintf(ret, 4096, "%s/%s", top ? top : ".", name);
    if (access(ret, X_OK) < 0) { /* tests/worker by hand */
        ssize_t n = readlink("/proc/self/exe", ret, 4000);

        CU_ASSERT_FATAL(n > 0);
        ret[n] = 0;
        *strrchr(ret, '/') = 0;
        strcpy(strrchr(ret, '/') + 1, name);
    }
}

void
rig_init(struct rig *r)
{
    struct bulk_server_opts so = { .host = "127.0.0.1" };
    char path[128];

    *r = (struct rig){ .epoch = RIG_EPOCH };
    strcpy(r->top, "/tmp/taskd-worker-XXXXXX");
    CU_ASSERT_FATAL(mkdtemp(r->top) != NULL);
    snprintf(r->dir, sizeof r->dir, "%s/work", r->top);
    memset(r->secret, 's', sizeof r->secret);
    NO_ERR(loop_new(&r->l));
    NO_ERR(bulk_server_new(r->l, &so, &r->s));
    snprintf(r->address, sizeof r->address, "127.0.0.1:%u", bulk_server_port(r->s));
    snprintf(path, sizeof path, "%s/blobs", r->top);
    CU_ASSERT_FATAL(mkdir(path, 0700) == 0);
    program("tests/worker-child", r->executor);
    program("taskd-unpack", r->unpack);
    r->o = (struct worker_opts){ .dir = r->dir, .host = "127.0.0.1", .cores = 3, .memory = UINT64_C(1) << 30,
                                 .master = "taskd://127.0.0.1", .token = "cluster", .token_n = 7, .executor = r->executor,
                                 .driver = r->executor, .unpack = r->unpack, .strays_ns = 300000000, .dial = dial, .arg = r };
}

void
rig_worker(struct rig *r)
{
    r->hellos = 0;
    NO_ERR(worker_new(r->l, &r->o, &r->w));
    rig_until(r, registered);
}

void
rig_worker_kill(struct rig *r)
{
    worker_free(r->w);
    r->w = NULL;
}

void
rig_fini(struct rig *r)
{
    worker_free(r->w);
    link_close(r->link);
    bulk_server_free(r->s);
    loop_post(r->l, (void (*)(void *))loop_stop, r->l); /* behind what hands have posted */
    NO_ERR(loop_run(r->l));
    loop_free(r->l);
    buf_fini(&r->out[0]);
    buf_fini(&r->out[1]);
    NO_ERR(file_remove_tree(r->top));
}

/* ---- orders */

void
rig_send(struct rig *r, Taskd__Item *item)
{
    struct buf b = { 0 };

    item->epoch = r->epoch;
    proto_put(&b, item);
    link_send(r->link, b.p, b.n);
    buf_fini(&b);
}

void
rig_stop(struct rig *r, const char *app, uint32_t executor)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__StopChild m = TASKD__STOP_CHILD__INIT;

    m.app_id = (char *)app;
    m.executor = executor;
    m.why = "the test wants it";
    item.kind_case = TASKD__ITEM__KIND_STOP_CHILD;
    item.stop_child = &m;
    rig_send(r, &item);
}

void
rig_forget(struct rig *r, const char *app)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__ForgetApp m = TASKD__FORGET_APP__INIT;

    m.app_id = (char *)app;
    item.kind_case = TASKD__ITEM__KIND_FORGET_APP;
    item.forget_app = &m;
    rig_send(r, &item);
}

void
rig_follow(struct rig *r, const char *driver, uint64_t out_at, uint64_t err_at, bool stop)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__FollowChild m = TASKD__FOLLOW_CHILD__INIT;

    m.driver = (char *)driver;
    m.out_at = out_at;
    m.err_at = err_at;
    m.stop = stop;
    item.kind_case = TASKD__ITEM__KIND_FOLLOW_CHILD;
    item.follow_child = &m;
    rig_send(r, &item);
}

/* ---- blobs */

void
rig_blob_path(struct rig *r, const struct rig_blob *b, bool cache, char ret[static 256])
{
    int n = snprintf(ret, 256, "%s/%sblobs/", r->top, cache ? "work/" : "");

    for (int i = 0; i < 32; i++)
        n += snprintf(ret + n, 256 - (size_t)n, "%02x", b->sha256[i]);
}

struct rig_blob
rig_blob(struct rig *r, Taskd__BlobUse use, const char *name, const void *p, size_t n)
{
    struct rig_blob b = { .use = use, .name = name, .size = n };
    char path[256];

    SHA256(p, n, b.sha256);
    rig_blob_path(r, &b, false, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    NO_ERR(file_write_full(fd, p, n, path));
    close(fd);
    return b;
}

static void
fill(const struct rig_blob *from, size_t n, Taskd__AppBlob *ab, Taskd__Blob *b, Taskd__AppBlob **list)
{
    for (size_t i = 0; i < n; i++) {
        ab[i] = (Taskd__AppBlob)TASKD__APP_BLOB__INIT;
        b[i] = (Taskd__Blob)TASKD__BLOB__INIT;
        ab[i].use = from[i].use;
        ab[i].blob = &b[i];
        b[i].sha256 = PROTO_BYTES(from[i].sha256, 32);
        b[i].size = from[i].size;
        b[i].name = (char *)from[i].name;
        list[i] = &ab[i];
    }
}

enum { BLOBS = 8 };

void
rig_executor(struct rig *r, const char *app, uint32_t n, const char *what, const struct rig_blob *b, size_t blobs)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__StartExecutor m = TASKD__START_EXECUTOR__INIT;
    Taskd__AppBlob ab[BLOBS], *list[BLOBS];
    Taskd__Blob raw[BLOBS];
    char name[80], dir[128];

    snprintf(name, sizeof name, "blobs-%s", app);
    snprintf(dir, sizeof dir, "%s/blobs", r->top);
    NO_ERR(bulk_server_add(r->s, name, dir, r->secret));
    fill(b, blobs, ab, raw, list);
    m.app_id = (char *)app;
    m.executor = n;
    m.cores = 1;
    m.memory = 1 << 20;
    m.driver = m.driver_bulk = r->address;
    m.secret = PROTO_BYTES(r->secret, BULK_SECRET);
    m.app_name = (char *)what;
    m.blob = list;
    m.n_blob = blobs;
    item.kind_case = TASKD__ITEM__KIND_START_EXECUTOR;
    item.start_executor = &m;
    rig_send(r, &item);
}

void
rig_driver(struct rig *r, const char *id, const char *what, const struct rig_blob *b, size_t blobs)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__StartDriver m = TASKD__START_DRIVER__INIT;
    Taskd__AppBlob ab[BLOBS], *list[BLOBS];
    Taskd__Blob raw[BLOBS];
    char *arg[] = { (char *)what }, dir[128];

    snprintf(dir, sizeof dir, "%s/blobs", r->top);
    NO_ERR(bulk_server_add(r->s, "blobs", dir, r->secret));
    fill(b, blobs, ab, raw, list);
    m.driver = (char *)id;
    m.cores = 1;
    m.blob_bulk = r->address;
    m.blob_app = "blobs";
    m.blob_secret = PROTO_BYTES(r->secret, BULK_SECRET);
    m.arg = arg;
    m.n_arg = 1;
    m.blob = list;
    m.n_blob = blobs;
    item.kind_case = TASKD__ITEM__KIND_START_DRIVER;
    item.start_driver = &m;
    rig_send(r, &item);
}

bool
rig_there(struct rig *r, const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    return access(path, F_OK) == 0;
}

void
rig_read(struct rig *r, const char *name, struct buf *out)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    NO_ERR(file_slurp(path, 1 << 24, out));
}
