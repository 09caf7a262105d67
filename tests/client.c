/* Tests of daemon/client: against a master of a few lines, over loopback links. */
#include <elf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "client/client.h"
#include "client/line.h"
#include "net/loop.h"
#include "unit.h"

enum { BLOB_SIZE = 600 << 10, STEPS = 64 };

/* What the master does, and what it saw. */
struct master {
    struct loop *loop;
    struct link *link;            /* its end */
    struct buf log;               /* a line an item */
    struct arena a;
    uint64_t have;                /* of the one blob */
    struct buf blob;
    unsigned dials, dial_fails, cut_after; /* items until the link breaks; 0: never */
    unsigned items, statuses;
    const char *refuse;
    const char *isa;
    bool mute, lose_submit, no_driver;
    const char *out;              /* what the application prints */
    uint64_t lag;                 /* Output begins that many bytes before what was asked for */
    bool hold_end;                /* the application goes on */
    unsigned end_at;              /* that many statuses: it ends after all; 0: never */
    bool over, quiet;
    bool restarted;               /* so is the driver, while the link is broken */
    bool again;                   /* it is started again after its output; that begins anew */
    unsigned status;
    const char *state;
    struct client *client;
    int signal_at_follow;
};

struct rig {
    struct master m;
    struct client_opts o;
    struct submit_options submit;
    struct module_info module;
    struct client_blob blob;
    char *content;
    char out[4096], err[4096];
};

static void
say(struct master *m, Taskd__Item *item)
{
    struct buf b = { 0 };

    proto_put(&b, item);
    if (m->link)
        link_send(m->link, b.p, b.n);
    buf_fini(&b);
}

#define SAY(m, KIND, field, value)                     \
    do {                                               \
        Taskd__Item item_ = TASKD__ITEM__INIT;         \
        item_.kind_case = TASKD__ITEM__KIND_##KIND;    \
        item_.field = (value);                         \
        say((m), &item_);                              \
    } while (0)

static void
say_blob_state(struct master *m, const Taskd__Blob *b)
{
    Taskd__BlobState s = TASKD__BLOB_STATE__INIT;

    s.sha256 = b->sha256;
    s.have = m->have;
    s.whole = m->have == b->size;
    SAY(m, BLOB_STATE, blob_state, &s);
}

static void
on_put(struct master *m, const Taskd__BlobPut *p)
{
    if (p->data.len && p->at == m->have) {
        if (m->blob.n < p->at)
            buf_room(&m->blob, BLOB_SIZE), m->blob.n = p->at;
        buf_put(&m->blob, p->data.data, p->data.len);
        m->have += p->data.len;
    }
    say_blob_state(m, p->blob);
}

static void
say_end(struct master *m)
{
    Taskd__Output o = TASKD__OUTPUT__INIT;

    m->over = true;
    o.driver = "driver-1";
    o.end = true;
    o.exit_status = m->status;
    o.state = (char *)m->state;
    SAY(m, OUTPUT, output, &o);
}

static void
say_status(struct master *m, const Taskd__StatusRequest *r)
{
    Taskd__Status s = TASKD__STATUS__INIT;
    Taskd__WorkerStatus w = TASKD__WORKER_STATUS__INIT, *ws[] = { &w };
    Taskd__AppStatus a = TASKD__APP_STATUS__INIT, *as[] = { &a };
    Taskd__DriverStatus d = TASKD__DRIVER_STATUS__INIT, *ds[] = { &d };
    Taskd__Profile p = TASKD__PROFILE__INIT;

    m->statuses++;
    p.isa = (char *)(m->isa ? m->isa : "x86-64-v4");
    p.machine = "x86-64";
    p.glibc = "2.36";
    w.worker = "w1", w.host = "b", w.alive = true, w.profile = &p;
    w.cores = 4, w.cores_used = 1, w.memory = 8ull << 30, w.memory_used = 1 << 30;
    a.app_id = "app-1", a.name = "a\nname", a.state = m->statuses < 3 ? "RUNNING" : "FAILED", a.cores = 2, a.executors = 1;
    a.driver = "10.0.0.1:41234", a.began_ms = 1000, a.ended_ms = m->statuses < 3 ? 0 : 3000, a.exit_status = m->statuses < 3 ? 0 : 3;
    d.driver = "driver-1", d.name = "job", d.state = "RUNNING", d.worker = "w1";
    d.tries = m->restarted && m->dials > 1 ? 2 : 1;
    if (!*r->id || !strcmp(r->id, "w1")) {
        s.worker = ws;
        s.n_worker = 1;
    }
    if (!*r->id || !strcmp(r->id, "app-1")) {
        s.app = as;
        s.n_app = 1;
    }
    if (!m->no_driver && (!*r->id || !strcmp(r->id, "driver-1"))) {
        s.driver = ds;
        s.n_driver = 1;
    }
    if (m->over)
        d.state = (char *)m->state, d.why = "because";
    else if (m->hold_end)
        d.state = "WAITING", d.why = "asked 4 cores; largest free 2/4 on host b";
    SAY(m, STATUS, status, &s);
    if (m->end_at && m->statuses == m->end_at)
        say_end(m);
}

static void
on_follow(struct master *m, const Taskd__Follow *f)
{
    Taskd__Output o = TASKD__OUTPUT__INIT;
    uint64_t at = f->out_at > m->lag ? f->out_at - m->lag : 0;
    size_t n = strlen(m->out), half = n / 2;

    o.driver = "driver-1";
    o.at = at;
    if (m->cut_after && at < half)
        n = half; /* the rest after the next dial */
    if (at < n) {
        o.data = PROTO_BYTES(m->out + at, n - at);
        SAY(m, OUTPUT, output, &o);
    }
    if (m->again) {
        o.at = 0;
        o.data = PROTO_BYTES(m->out, n);
        SAY(m, OUTPUT, output, &o);
    }
    o.err = true;
    o.at = 0;
    o.data = PROTO_BYTES("oops\n", 5);
    if (!m->quiet)
        SAY(m, OUTPUT, output, &o);
    if (m->signal_at_follow)
        client_signal(m->client, m->signal_at_follow);
    if (!m->hold_end && n == strlen(m->out))
        say_end(m);
}

static void
hello(struct master *m)
{
    Taskd__Refused r = TASKD__REFUSED__INIT;
    Taskd__Error e = TASKD__ERROR__INIT;
    Taskd__Hello h;
    char *words[] = { (char *)m->refuse };

    if (m->refuse) {
        e.code = "DENIED";
        e.say = words;
        e.n_say = 1;
        r.error = &e;
        SAY(m, REFUSED, refused, &r);
        return;
    }
    proto_hello(&h, "master", "m");
    SAY(m, HELLO, hello, &h);
}

static void
on_kill(struct master *m)
{
    Taskd__Answer a = TASKD__ANSWER__INIT;

    a.text = "killing it";
    SAY(m, ANSWER, answer, &a);
    if (m->hold_end) {
        m->state = "KILLED";
        say_end(m);
    }
}

static void
on_one(struct master *m, const Taskd__Item *item)
{
    Taskd__Submitted s = TASKD__SUBMITTED__INIT;

    switch (item->kind_case) {
    case TASKD__ITEM__KIND_HELLO:
        buf_printf(&m->log, "hello %s %zu\n", item->hello->role, item->hello->token.len);
        if (!m->mute)
            hello(m);
        break;
    case TASKD__ITEM__KIND_STATUS_REQUEST:
        buf_printf(&m->log, "status %s\n", item->status_request->id);
        say_status(m, item->status_request);
        break;
    case TASKD__ITEM__KIND_BLOB_PUT:
        buf_printf(&m->log, "put %llu+%zu\n", (unsigned long long)item->blob_put->at, item->blob_put->data.len);
        on_put(m, item->blob_put);
        break;
    case TASKD__ITEM__KIND_SUBMIT_DRIVER:
        buf_printf(&m->log, "submit %s %zu key %zu%s\n", item->submit_driver->name, item->submit_driver->n_blob,
                   item->submit_driver->key.len, item->submit_driver->again ? " again" : "");
        s.driver = "driver-1";
        if (!m->lose_submit)
            SAY(m, SUBMITTED, submitted, &s);
        m->lose_submit = false;
        break;
    case TASKD__ITEM__KIND_FOLLOW:
        buf_printf(&m->log, "follow %s %llu %llu %d\n", item->follow->driver, (unsigned long long)item->follow->out_at,
                   (unsigned long long)item->follow->err_at, item->follow->wait);
        on_follow(m, item->follow);
        break;
    case TASKD__ITEM__KIND_KILL_REQUEST:
        buf_printf(&m->log, "kill %s\n", item->kill_request->id);
        on_kill(m);
        break;
    default:
        buf_printf(&m->log, "?\n");
    }
}

static void
on_envelope(void *arg, const void *p, size_t n)
{
    struct master *m = arg;
    struct arena a = { 0 };
    Taskd__Envelope *env;

    NO_ERR(proto_get(p, n, &a, &env));
    for (size_t i = 0; i < env->n_item && m->link; i++) {
        m->items++;
        on_one(m, env->item[i]);
        if (m->cut_after && --m->cut_after == 0) {
            link_close(m->link);
            m->link = NULL;
        }
    }
    arena_fini(&a);
}

static void
on_down(void *arg, struct err *why)
{
    struct master *m = arg;

    err_free(why);
    link_close(m->link);
    m->link = NULL;
}

static const struct link_handler handler = { on_envelope, on_down };

static struct err *
dial(void *arg, const char *address, struct link **ret)
{
    struct master *m = arg;

    m->dials++;
    if (m->dial_fails) {
        m->dial_fails--;
        return err_new(ERR_LOST, "nobody at %s", address);
    }
    if (m->link)
        link_close(m->link);
    TRY(link_pair(m->loop, ret, &m->link));
    link_handle(m->link, &handler, m);
    return NULL;
}

/* ---- */

static void
begin(struct rig *r, enum client_verb verb, const char *id)
{
    static const char *const addresses[] = { "m:1", "n:2" }, *const exports[] = { "td_plugin_v1" };
    static const struct module_need needs[] = { { "libc.so.6", "GLIBC_2.34" } };
    static char *args[] = { "job.so", NULL };
    struct module_profile host;

    memset(r, 0, sizeof *r);
    NO_ERR(loop_new(&r->m.loop));
    module_profile_host(&host);
    r->m.out = "one\ntwo\n";
    r->m.state = "FINISHED";
    r->module = (struct module_info){ .name = "job.so", .machine = EM_X86_64, .abi = host.abi, .isa = 3,
                                      .plugin_size = sizeof(td_plugin), .needs = needs, .nneeds = 1, .exports = exports,
                                      .nexports = 1, .plugin_at = 8 };
    r->submit = (struct submit_options){ .action = SUBMIT_RUN, .conf = conf_new(), .cluster_mode = true, .app_name = "job",
                                         .args = args, .n_args = 1 };
    r->content = malloc(BLOB_SIZE);
    for (int i = 0; i < BLOB_SIZE; i++)
        r->content[i] = (char)(i * 7 + i / 1000);
    r->blob = (struct client_blob){ .use = TASKD__BLOB_USE__MODULE, .name = "job.so", .fd = memfd_create("b", 0),
                                    .size = BLOB_SIZE };
    NO_ERR(file_write_full(r->blob.fd, r->content, BLOB_SIZE, "b"));
    r->o = (struct client_opts){ .verb = verb, .id = id, .out = memfd_create("out", 0), .err = memfd_create("err", 0),
                                 .submit = &r->submit, .module = &r->module, .blobs = &r->blob, .n_blobs = 1,
                                 .look_ns = 1000000,
                                 .conn = { .url = "taskd://m:1,n:2", .addresses = addresses, .n_addresses = 2,
                                           .token = "0123456789abcdef", .token_n = 16, .dial = dial, .dial_arg = &r->m } };
}

static void
slurp(int fd, char *to)
{
    ssize_t n = pread(fd, to, 4095, 0);

    to[n < 0 ? 0 : n] = 0;
    close(fd);
}

/* The exit status; everything but r->out, err and m.log is gone. */
static int
run(struct rig *r)
{
    struct client *c = client_new(r->m.loop, &r->o);
    int status;

    r->m.client = c;
    NO_ERR(loop_run(r->m.loop));
    status = client_status(c);
    client_free(c);
    link_close(r->m.link);
    loop_free(r->m.loop);
    conf_free(r->submit.conf);
    slurp(r->o.out, r->out);
    slurp(r->o.err, r->err);
    close(r->blob.fd);
    buf_put(&r->m.log, "", 1);
    return status;
}

static void
end(struct rig *r)
{
    buf_fini(&r->m.log);
    buf_fini(&r->m.blob);
    free(r->content);
    arena_fini(&r->m.a);
}

#define HAS(text, words) CU_ASSERT_PTR_NOT_NULL(strstr(text, words))

static void
a_job_is_submitted_and_followed(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.status = 7;
    EQ_U64(run(&r), 7);
    EQ_STR(r.out, "one\ntwo\n");
    EQ_STR(r.err, "taskd: submitted as driver-1\noops\n");
    EQ_STR(r.m.log.p, "hello client 16\nstatus \nput 0+0\nput 0+262144\nput 262144+262144\nput 524288+90112\n"
                      "submit job 1 key 16\nfollow driver-1 0 0 1\n");
    CU_ASSERT(r.m.blob.n == BLOB_SIZE && !memcmp(r.m.blob.p, r.content, BLOB_SIZE));
    end(&r);
}

static void
what_is_there_is_not_sent(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.have = 262144;
    EQ_U64(run(&r), 0);
    HAS(r.m.log.p, "put 0+0\nput 262144+262144\nput 524288+90112\nsubmit");
    end(&r);
    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.have = BLOB_SIZE;
    r.submit.detach = true;
    EQ_U64(run(&r), 0);
    HAS(r.m.log.p, "put 0+0\nsubmit job 1 key 16\n");
    EQ_STR(r.out, "driver-1\n");
    EQ_STR(r.err, "");
    end(&r);
}

/* The link breaks after each of the first items in turn; what the master then has is asked for again. */
static void
a_broken_link_costs_nothing(void)
{
    for (unsigned cut = 1; cut < 9; cut++) {
        struct rig r;

        begin(&r, CLIENT_SUBMIT, NULL);
        r.m.cut_after = cut;
        r.m.lag = cut % 3;
        int status = run(&r);
        EQ_U64(status, 0);
        EQ_STR(r.out, "one\ntwo\n");
        CU_ASSERT(!strncmp(r.err + strlen(r.err) - 5, "oops\n", 5) || strstr(r.err, "back"));
        CU_ASSERT(!strstr(r.m.log.p, " again") || cut == 6);
        CU_ASSERT(r.m.blob.n == BLOB_SIZE && !memcmp(r.m.blob.p, r.content, BLOB_SIZE));
        CU_ASSERT(r.m.dials >= 2);
        end(&r);
    }
}

/* The answer to the submission is lost with the link: it is said again, with its key. */
static void
a_submission_is_one(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.have = BLOB_SIZE;
    r.m.lose_submit = true;
    r.m.cut_after = 4; /* hello, status, put, submit */
    EQ_U64(run(&r), 0);
    HAS(r.m.log.p, "submit job 1 key 16\nhello client 16\nstatus \nput 0+0\nsubmit job 1 key 16 again\nfollow");
    EQ_STR(r.out, "one\ntwo\n");
    end(&r);
}

static void
output_goes_on_where_it_ended(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.have = BLOB_SIZE;
    r.m.cut_after = 5; /* hello, status, put, submit, follow */
    r.m.lag = 3;
    EQ_U64(run(&r), 0);
    EQ_STR(r.out, "one\ntwo\n");
    EQ_STR(r.err, "taskd: submitted as driver-1\noops\ntaskd: the master is away; driver-1, trying again\n"
                  "taskd: the master is back\n");
    HAS(r.m.log.p, "follow driver-1 4 5 1\n");
    end(&r);
}

static void
a_second_try_prints_again(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.have = BLOB_SIZE;
    r.m.again = true;
    EQ_U64(run(&r), 0);
    EQ_STR(r.out, "one\ntwo\none\ntwo\n");
    end(&r);
}

static void
a_second_try_while_away(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.have = BLOB_SIZE;
    r.m.restarted = true;
    r.m.cut_after = 5;
    EQ_U64(run(&r), 0);
    EQ_STR(r.out, "one\none\ntwo\n");
    HAS(strstr(r.m.log.p, "hello client 16\nstatus driver-1\n"), "follow driver-1 0 0 1\n");
    end(&r);
}

static void
masters_that_are_none(void)
{
    struct rig r;

    begin(&r, CLIENT_LIST, NULL);
    r.m.dial_fails = 2;
    EQ_U64(run(&r), 5);
    EQ_STR(r.err, "taskd: the master taskd://m:1,n:2 can't be reached: nobody at n:2\nhint: Is it running there?  `taskd "
                  "master --help` says how to start one.\n");
    end(&r);
    begin(&r, CLIENT_LIST, NULL);
    r.m.dial_fails = 1;
    EQ_U64(run(&r), 0);
    EQ_U64(r.m.dials, 2);
    end(&r);
    begin(&r, CLIENT_LIST, NULL);
    r.m.refuse = "the token is another cluster's";
    EQ_U64(run(&r), 6);
    EQ_STR(r.err, "taskd: the master taskd://m:1,n:2 refused: the token is another cluster's\n");
    end(&r);
    begin(&r, CLIENT_LIST, NULL);
    r.m.mute = true;
    r.o.conn.greet_ns = 1000000;
    EQ_U64(run(&r), 5);
    HAS(r.err, "n:2 does not talk like a master");
    end(&r);
}

static void
the_node_is_named(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.isa = "x86-64-v2";
    EQ_U64(run(&r), 4);
    HAS(r.err, "taskd: worker w1 on host b: job.so was built for x86-64-v3, this CPU is x86-64-v2");
    CU_ASSERT_PTR_NULL(strstr(r.m.log.p, "put"));
    end(&r);
}

/* Plain text, with --progress none only errors, with json nothing but events. */
static void
progress_is_kept_to(void)
{
    static const char waits[] = "driver-1 waits: asked 4 cores; largest free 2/4 on host b";
    static const enum submit_progress how[] = { SUBMIT_PROGRESS_PLAIN, SUBMIT_PROGRESS_NONE, SUBMIT_PROGRESS_JSON };

    for (int i = 0; i < 3; i++) {
        struct rig r;
        char text[256];

        begin(&r, CLIENT_SUBMIT, NULL);
        r.submit.progress = how[i];
        r.m.hold_end = r.m.quiet = true;
        r.m.end_at = 4; /* the workers', then three looks */
        r.m.state = "FAILED";
        EQ_U64(run(&r), 1);
        EQ_STR(r.out, "one\ntwo\n");
        if (how[i] == SUBMIT_PROGRESS_NONE) {
            EQ_STR(r.err, "taskd: driver-1 failed: because\n");
        } else if (how[i] == SUBMIT_PROGRESS_PLAIN) {
            snprintf(text, sizeof text, "taskd: submitted as driver-1\ntaskd: %s\ntaskd: driver-1 failed: because\n", waits);
            EQ_STR(r.err, text);
        } else {
            snprintf(text, sizeof text, "\"event\":\"log_info\",\"message\":\"%s\"}\n", waits);
            HAS(r.err, text);
            HAS(r.err, "\"level\":\"info\",\"role\":\"client\",\"event\":\"log_info\",\"message\":\"submitted as driver-1\"}\n");
            HAS(r.err, "\"level\":\"error\",\"role\":\"client\",\"event\":\"log_error\",\"message\":\"driver-1 failed: because\"}\n");
            CU_ASSERT_PTR_NULL(strstr(r.err, "taskd: "));
        }
        end(&r);
    }
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.submit.progress = SUBMIT_PROGRESS_JSON;
    r.m.refuse = "the token is another cluster's";
    EQ_U64(run(&r), 6);
    HAS(r.err, "\"event\":\"log_error\"");
    HAS(r.err, "refused: the token is another cluster's\"");
    CU_ASSERT_PTR_NULL(strstr(r.err, "taskd: "));
    end(&r);
}

static void
interrupts(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.hold_end = true;
    r.m.signal_at_follow = SIGINT;
    EQ_U64(run(&r), 130);
    HAS(r.m.log.p, "kill driver-1\n");
    HAS(r.err, "taskd: interrupted: ending driver-1 (once more to leave)\n");
    HAS(r.err, "taskd: driver-1 was killed: because\n");
    end(&r);
    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.hold_end = true;
    r.m.signal_at_follow = SIGHUP;
    EQ_U64(run(&r), 129);
    CU_ASSERT_PTR_NULL(strstr(r.m.log.p, "kill"));
    end(&r);
}

static void
a_killed_job_failed(void)
{
    struct rig r;

    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.state = "KILLED";
    EQ_U64(run(&r), 1);
    end(&r);
    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.state = "FAILED";
    r.m.status = 137;
    EQ_U64(run(&r), 137);
    EQ_STR(r.err, "taskd: submitted as driver-1\noops\n");
    end(&r);
    begin(&r, CLIENT_SUBMIT, NULL);
    r.m.state = "FAILED";
    r.m.quiet = true;
    EQ_U64(run(&r), 1);
    EQ_STR(r.err, "taskd: submitted as driver-1\ntaskd: driver-1 failed: because\n");
    end(&r);
}

static void
tables_and_json(void)
{
    struct rig r;

    begin(&r, CLIENT_LIST, NULL);
    EQ_U64(run(&r), 0);
    HAS(r.out, "WORKER  HOST  STATE  CORES  MEMORY\nw1      b     ALIVE  1/4    1 GiB/8 GiB\n");
    HAS(r.out, "\nAPPLICATION  NAME    STATE    CORES  EXECUTORS  BEGAN                TOOK");
    HAS(r.out, "\napp-1        a?name  RUNNING  2      1          1970-01-01 00:00:01  ");
    HAS(r.out, "\nSUBMISSION  NAME  STATE");
    end(&r);
    begin(&r, CLIENT_LIST, NULL);
    r.o.json = true;
    EQ_U64(run(&r), 0);
    HAS(r.out, "{\"workers\":[{\"worker\":\"w1\",\"host\":\"b\",\"alive\":true,\"cores\":4,");
    HAS(r.out, "\"applications\":[{\"app_id\":\"app-1\",\"name\":\"a\\u000aname\",");
    HAS(r.out, "\"drivers\":[{\"driver\":\"driver-1\",");
    end(&r);
    begin(&r, CLIENT_STATUS, "driver-1");
    EQ_U64(run(&r), 0);
    HAS(r.out, "submission   driver-1\nname         job\nstate        RUNNING\nworker       w1\n");
    end(&r);
    begin(&r, CLIENT_STATUS, "app-9");
    EQ_U64(run(&r), 1);
    EQ_STR(r.err, "taskd: there is no application, submission or worker \"app-9\"\nhint: `taskd list` shows them.\n");
    end(&r);
    begin(&r, CLIENT_STATUS, "w1");
    EQ_U64(run(&r), 0);
    HAS(r.out, "worker       w1\nhost         b\nstate        ALIVE\ncores        1 of 4 in use\n");
    HAS(r.out, "can run      x86-64 x86-64-v4, glibc 2.36\n");
    end(&r);
}

static void
waiting_and_logs(void)
{
    struct rig r;

    begin(&r, CLIENT_WAIT, "driver-1");
    r.m.status = 9;
    EQ_U64(run(&r), 9);
    EQ_STR(r.out, "");
    EQ_STR(r.err, "");
    end(&r);
    begin(&r, CLIENT_WAIT, "app-1"); /* looked at until it has ended */
    r.m.no_driver = true;
    EQ_U64(run(&r), 3);
    EQ_U64(r.m.statuses, 3);
    end(&r);
    begin(&r, CLIENT_LOGS, "driver-1");
    r.m.status = 9;
    EQ_U64(run(&r), 0);
    EQ_STR(r.out, "one\ntwo\n");
    EQ_STR(r.err, "oops\n");
    HAS(r.m.log.p, "follow driver-1 0 0 0\n");
    end(&r);
    begin(&r, CLIENT_LOGS, "app-1");
    EQ_U64(run(&r), 1);
    HAS(r.err, "app-1 was submitted in client mode, its output is not here");
    end(&r);
    begin(&r, CLIENT_KILL, "driver-1");
    EQ_U64(run(&r), 0);
    EQ_STR(r.out, "killing it\n");
    end(&r);
}

static void
lines(void)
{
    static const struct {
        enum client_verb verb;
        const char *words, *text;
        enum err_code code;
    } bad[] = {
        { CLIENT_STATUS, "--master taskd://m", "status: no application or submission is named", ERR_USAGE },
        { CLIENT_LIST, "x", "\"x\" is too much\nhint: `taskd list --help` lists the options.", ERR_USAGE },
        { CLIENT_KILL, "a b", "\"b\" is too much", ERR_USAGE },
        { CLIENT_KILL, "--json a", "\"--json\" is not an option", ERR_USAGE },
        { CLIENT_LIST, "--master", "--master needs a value", ERR_USAGE },
        { CLIENT_LIST, "-c", "-c needs a value", ERR_USAGE },
        { CLIENT_LIST, "-c x", "--conf: \"x\" is not key=value", ERR_CONFIG },
        { CLIENT_LIST, "--master local[2]", "which cluster? the master is \"local[2]\"", ERR_CONFIG },
        { CLIENT_LIST, "--master=taskd://", "--master: master \"taskd://\" names no host", ERR_CONFIG },
    };
    char *env[] = { "TASKD_MASTER=spark://h", NULL }, *none[] = { NULL };
    struct client_line l;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *argv[8] = { "taskd" }, words[64];
        struct arena a = { 0 };
        int argc = 1;

        strcpy(words, bad[i].words);
        for (char *p = strtok(words, " "); p; p = strtok(NULL, " "))
            argv[argc++] = p;
        IS_ERR(client_line_parse(bad[i].verb, argc, argv, none, &a, &l), bad[i].code, bad[i].text);
        arena_fini(&a);
    }
    struct arena a = { 0 };
    char *argv[] = { "taskd logs", "-f", "driver-1", NULL };
    NO_ERR(client_line_parse(CLIENT_LOGS, 3, argv, env, &a, &l));
    CU_ASSERT(l.follow && !strcmp(l.id, "driver-1") && !strcmp(l.master.url, "taskd://h:7077"));
    arena_fini(&a);
    CU_ASSERT(client_verb_of("list") == CLIENT_LIST && client_verb_of("submit") < 0 && client_verb_of("") < 0);
}

static const struct unit_test tests[] = {
    { "client.a_job_is_submitted_and_followed", a_job_is_submitted_and_followed },
    { "client.what_is_there_is_not_sent", what_is_there_is_not_sent },
    { "client.a_broken_link_costs_nothing", a_broken_link_costs_nothing },
    { "client.a_submission_is_one", a_submission_is_one },
    { "client.output_goes_on_where_it_ended", output_goes_on_where_it_ended },
    { "client.a_second_try_prints_again", a_second_try_prints_again },
    { "client.a_second_try_while_away", a_second_try_while_away },
    { "client.masters_that_are_none", masters_that_are_none },
    { "client.the_node_is_named", the_node_is_named },
    { "client.progress_is_kept_to", progress_is_kept_to },
    { "client.interrupts", interrupts },
    { "client.a_killed_job_failed", a_killed_job_failed },
    { "client.tables_and_json", tables_and_json },
    { "client.waiting_and_logs", waiting_and_logs },
    { "client.lines", lines },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "client", tests);
}
