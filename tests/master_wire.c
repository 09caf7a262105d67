/* The master's messages, on loopback links. */
#include "master_wire.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static void
test_strangers(void)
{
    struct wire w;
    struct peer p;
    Taskd__Hello h;
    Taskd__Want want = TASKD__WANT__INIT;

    wire_init(&w);
    peer_dial(&w, &p);
    link_send(p.link, "nonsense", 8);
    peer_hears(&p, "refused CORRUPT");
    peer_hears(&p, "down");
    peer_close(&p);
    peer_dial(&w, &p);
    SAY(&p, WANT, want, &want);
    peer_hears(&p, "refused CORRUPT somebody did not greet");
    peer_close(&p);
    peer_hello(&w, &p, "executor");
    peer_hears(&p, "refused DENIED a master has nothing to say to a executor");
    peer_close(&p);
    for (int i = 0; i < 3; i++) {
        peer_dial(&w, &p);
        proto_hello(&h, "worker", "host");
        h.token = PROTO_BYTES("0123456789abcdeF", i ? 16 : 0);
        h.protocol += i == 2;
        SAY(&p, HELLO, hello, &h);
        peer_hears(&p, i == 2 ? "refused ABI" : i ? "shows a wrong token" : "refused DENIED the worker on \"host\" shows no token");
        peer_close(&p);
    }
    /* a certificate is enough, but a wrong token is one too many */
    w.identity.tls = &w.tls;
    for (int i = 0; i < 2; i++) {
        peer_dial(&w, &p);
        proto_hello(&h, "worker", "host");
        h.token = PROTO_BYTES("0123456789abcdeF", i ? 16 : 0);
        SAY(&p, HELLO, hello, &h);
        peer_hears(&p, i ? "shows a wrong token" : "hello master");
        peer_close(&p);
    }
    w.identity.tls = NULL;
    peer_hello(&w, &p, "driver");
    SAY(&p, WANT, want, &want);
    peer_hears(&p, "refused CORRUPT a driver did not register");
    peer_close(&p);
    wire_fini(&w);
}

static void
test_application(void)
{
    struct wire w;
    struct peer a, b, x, y;
    char words[200];
    Taskd__Release release = TASKD__RELEASE__INIT;
    Taskd__AppEnd end = TASKD__APP_END__INIT;

    wire_init(&w);
    app_registers(&w, &x, "", "", 7, NULL);
    peer_hears(&x, "welcome app 0c");
    app_wants(&x, 3);
    peer_hears(&x, "waiting \"there are no workers\"");
    worker_registers(&w, &a, "wa", 2, NULL);
    snprintf(words, sizeof words, "start %s/1 1c 1024M driver hostd:1 bulk hostd:2 blobs 0 secret 7 name job", x.id);
    peer_hears(&a, words);
    peer_hears(&x, "granted 2 1c on wa");
    peer_hears(&x, "waiting \"\"");
    worker_registers(&w, &b, "wb", 2, NULL);
    peer_hears(&x, "granted 3 1c on wb");
    worker_says(&b, x.id, 3, TASKD__CHILD_PHASE__RUNNING, 0);
    worker_says(&b, x.id, 3, TASKD__CHILD_PHASE__ENDED, 9);
    peer_hears(&x, "gone 3 it ended with status 9");
    release.executor = 1;
    release.why = (char *)"it is slow";
    SAY(&x, RELEASE, release, &release);
    peer_hears(&a, "/1 it is slow");
    /* of an earlier epoch: nobody listens */
    Taskd__Item stale = TASKD__ITEM__INIT;
    stale.epoch = 77;
    stale.kind_case = TASKD__ITEM__KIND_APP_END;
    stale.app_end = &end;
    peer_say(&x, &stale);
    peer_heard_no(&x, "down");

    /* registering again needs its secret */
    app_registers(&w, &y, x.id, "", 8, NULL);
    peer_hears(&y, "has another secret");
    peer_close(&y);
    app_registers(&w, &y, x.id, "", 7, NULL);
    peer_hears(&y, "welcome app 4c");
    peer_hears(&y, "granted 2 1c on wa");
    peer_hears(&x, "down");
    peer_close(&x);
    SAY(&y, APP_END, app_end, &end);
    peer_hears(&a, "/2 its application is over");
    peer_hears(&y, "down");
    worker_says(&a, y.id, 1, TASKD__CHILD_PHASE__ENDED, 0);
    worker_says(&a, y.id, 2, TASKD__CHILD_PHASE__ENDED, 0);
    peer_hears(&a, "forget ");
    app_registers(&w, &x, y.id, "", 7, NULL);
    peer_hears(&x, "refused CANCELLED");
    peer_close(&x);
    peer_close(&y);
    peer_close(&a);
    peer_close(&b);
    wire_fini(&w);
}

static void
test_lost(void)
{
    struct wire w;
    struct peer a, b, x, c;
    Taskd__StatusRequest q = TASKD__STATUS_REQUEST__INIT;

    wire_init(&w);
    worker_registers(&w, &a, "wa", 2, NULL);
    worker_registers(&w, &b, "wb", 1, NULL);
    app_registers(&w, &x, "", "", 7, NULL);
    app_wants(&x, 3);
    peer_hears(&x, "granted 3");
    peer_close(&b);
    peer_hears(&x, "is gone lost");
    peer_hello(&w, &c, "client");
    SAY(&c, STATUS_REQUEST, status_request, &q);
    peer_hears(&c, "status [wa 2/2 alive][wb 0/1 away][job RUNNING 2c \"\" 0]");
    peer_close(&x);
    peer_hears(&a, "its application is over");
    SAY(&c, STATUS_REQUEST, status_request, &q);
    peer_hears(&c, "[job LOST 0c \"its driver is gone\" 1]");
    peer_close(&a);
    peer_close(&c);
    wire_fini(&w);
}

static void
test_blobs(void)
{
    struct wire w;
    struct peer c;
    Taskd__BlobPut put = TASKD__BLOB_PUT__INIT;
    Taskd__Blob blob = TASKD__BLOB__INIT;
    unsigned char sha[32];

    wire_init(&w);
    peer_hello(&w, &c, "client");
    client_puts(&c, "all of it", sha);
    client_puts(&c, "all of it", sha); /* it is there */
    blob.sha256 = PROTO_BYTES(sha, 32);
    blob.name = (char *)"x";
    put.blob = &blob;
    sha[0] ^= 1;
    blob.size = 6;
    put.data = PROTO_BYTES("abc", 3);
    SAY(&c, BLOB_PUT, blob_put, &put);
    peer_hears(&c, "blob 3 0");
    SAY(&c, BLOB_PUT, blob_put, &put); /* not where it goes on */
    peer_hears(&c, "blob 3 0");
    put.at = 3;
    put.data = PROTO_BYTES("defghi", 6); /* more than it is */
    SAY(&c, BLOB_PUT, blob_put, &put);
    peer_hears(&c, "blob 3 0");
    peer_close(&c);
    wire_stop(&w);
    wire_start(&w); /* what was there is gone on with */
    peer_hello(&w, &c, "client");
    put.data = PROTO_BYTES("", 0);
    SAY(&c, BLOB_PUT, blob_put, &put);
    peer_hears(&c, "blob 3 0");
    put.data = PROTO_BYTES("def", 3);
    SAY(&c, BLOB_PUT, blob_put, &put);
    peer_hears(&c, "has another SHA-256");
    put.data = PROTO_BYTES("", 0);
    SAY(&c, BLOB_PUT, blob_put, &put);
    peer_hears(&c, "blob 0 0");
    client_submits(&c, sha, false);
    peer_hears(&c, "answer INPUT \"wordcount.so\" was not sent before its submission");
    blob.sha256.len = 31;
    SAY(&c, BLOB_PUT, blob_put, &put);
    peer_hears(&c, "a blob without a SHA-256");
    peer_close(&c);
    wire_fini(&w);
}

static void
test_submission(void)
{
    struct wire w;
    struct peer c, f, a, x;
    unsigned char sha[32];
    char words[200], id[80];
    Taskd__KillRequest kill = TASKD__KILL_REQUEST__INIT;
    Taskd__StatusRequest q = TASKD__STATUS_REQUEST__INIT;

    wire_init(&w);
    peer_hello(&w, &c, "client");
    client_puts(&c, "module", sha);
    client_submits(&c, sha, false);
    peer_hears(&c, "submitted");
    snprintf(id, sizeof id, "%s", c.id);
    q.id = id;
    SAY(&c, STATUS_REQUEST, status_request, &q);
    peer_hears(&c, "status [job SUBMITTED #0 \"there are no workers\" 0 on ]");
    client_follows(&c, id, 0, true);
    worker_registers(&w, &a, "wa", 2, NULL);
    snprintf(words, sizeof words, "run %s #0 1c blobs 1 of blobs, args 2, conf k=v, bulk 1", id);
    peer_hears(&a, words);
    worker_says(&a, id, 0, TASKD__CHILD_PHASE__RUNNING, 0);
    peer_hears(&a, "follow 0 0");
    app_registers(&w, &x, "", id, 7, NULL);
    peer_hears(&x, "welcome app");
    worker_writes(&a, id, false, 0, "hello ");
    worker_writes(&a, id, true, 0, "oops");
    peer_hears(&c, "out 0 hello ");
    peer_hears(&c, "err 0 oops");
    /* another one, who has a part already: the worker is asked again, nobody hears anything twice */
    peer_hello(&w, &f, "client");
    client_follows(&f, id, 4, true);
    peer_hears(&a, "follow 4 0");
    worker_writes(&a, id, false, 4, "o world");
    peer_hears(&f, "out 4 o world");
    peer_hears(&c, "out 6 world");
    worker_writes(&a, id, false, 11, "");
    worker_writes(&a, id, true, 4, "");
    worker_says(&a, id, 0, TASKD__CHILD_PHASE__ENDED, 3);
    peer_hears(&c, "end 3 FAILED");
    peer_hears(&x, "down");
    SAY(&c, STATUS_REQUEST, status_request, &q);
    peer_hears(&c, "status [job FAILED #1 \"it ended with status 3\" 3 on wa]");
    kill.id = id;
    SAY(&c, KILL_REQUEST, kill_request, &kill);
    peer_hears(&c, "is over already: FAILED");
    kill.id = (char *)"nobody";
    SAY(&c, KILL_REQUEST, kill_request, &kill);
    peer_hears(&c, "answer INPUT no application and no submission is named \"nobody\"");
    /* one that is over, from the start */
    client_follows(&c, id, 0, false);
    peer_hears(&a, "follow 0 0");
    worker_writes(&a, id, false, 0, "hello world");
    worker_writes(&a, id, false, 11, "");
    worker_writes(&a, id, true, 0, "");
    peer_hears(&c, "out 0 hello world");
    peer_hears(&c, "end 3 FAILED");
    peer_close(&a);
    client_follows(&c, id, 0, true); /* nobody has it any more */
    peer_hears(&c, "end 3 FAILED");
    peer_close(&c);
    peer_close(&f);
    peer_close(&x);
    wire_fini(&w);
}

static void
test_kill(void)
{
    struct wire w;
    struct peer c, a, x;
    unsigned char sha[32];
    Taskd__KillRequest kill = TASKD__KILL_REQUEST__INIT;

    wire_init(&w);
    peer_hello(&w, &c, "client");
    worker_registers(&w, &a, "wa", 2, NULL);
    client_puts(&c, "module", sha);
    client_submits(&c, sha, true);
    peer_hears(&c, "submitted");
    peer_hears(&a, "run ");
    worker_says(&a, c.id, 0, TASKD__CHILD_PHASE__RUNNING, 0);
    client_follows(&c, c.id, 0, true);
    app_registers(&w, &x, "", c.id, 7, NULL);
    peer_hears(&x, "welcome app");
    kill.id = x.id; /* its driver with it */
    SAY(&c, KILL_REQUEST, kill_request, &kill);
    peer_hears(&x, "refused CANCELLED application ");
    peer_hears(&a, "/0 killed by request");
    worker_writes(&a, c.id, false, 0, "");
    worker_writes(&a, c.id, true, 0, "");
    peer_hears(&c, "end 137 KILLED");
    peer_close(&x);
    app_registers(&w, &x, "", c.id, 7, NULL); /* a zombie */
    peer_hears(&x, "refused CANCELLED submission ");
    peer_close(&x);
    app_registers(&w, &x, "", "", 7, NULL);
    peer_hears(&x, "welcome app");
    kill.id = x.id;
    SAY(&c, KILL_REQUEST, kill_request, &kill);
    peer_hears(&x, "refused CANCELLED");
    peer_close(&x);
    peer_close(&c);
    peer_close(&a);
    wire_fini(&w);
}

static void
test_restart(void)
{
    struct wire w;
    struct peer c, a, x;
    unsigned char sha[32];
    char id[80], app[80];
    Taskd__ChildState s = TASKD__CHILD_STATE__INIT;
    Taskd__StatusRequest q = TASKD__STATUS_REQUEST__INIT;

    wire_init(&w);
    peer_hello(&w, &c, "client");
    worker_registers(&w, &a, "wa", 3, NULL);
    EQ_U64(a.epoch, 1);
    client_puts(&c, "module", sha);
    client_submits(&c, sha, false);
    peer_hears(&c, "submitted");
    peer_hears(&a, "run ");
    strcpy(id, c.id);
    worker_says(&a, id, 0, TASKD__CHILD_PHASE__RUNNING, 0);
    app_registers(&w, &x, "", "", 7, NULL);
    app_wants(&x, 1);
    peer_hears(&x, "granted 1");
    strcpy(app, x.id);
    wire_stop(&w);
    peer_hears(&x, "down");
    peer_close(&x);
    peer_close(&a);
    peer_close(&c);

    wire_start(&w);
    s.app_id = app;
    s.executor = 1;
    s.phase = TASKD__CHILD_PHASE__RUNNING;
    s.cores = 1;
    app_registers(&w, &x, app, "", 7, &s);
    peer_hears(&x, "welcome app");
    app_wants(&x, 2);
    s.app_id = id; /* this one has only the driver: the executor is gone */
    s.executor = 0;
    worker_registers(&w, &a, "wa", 3, &s);
    EQ_U64(a.epoch, 2);
    peer_hears(&x, "granted 65 1c on wa");
    peer_heard_no(&a, "run ");
    worker_says(&a, id, 0, TASKD__CHILD_PHASE__ENDED, 0);
    wire_rounds(&w);
    peer_hello(&w, &c, "client");
    q.id = id;
    SAY(&c, STATUS_REQUEST, status_request, &q);
    peer_hears(&c, "[job FINISHED #1 \"\" 0 on wa]");
    peer_close(&x);
    peer_close(&a);
    peer_close(&c);
    wire_fini(&w);
}

/* What can't be written down is not accepted; what goes on goes on. */
static void
test_disk_full(void)
{
    struct wire w;
    struct peer c, a;
    unsigned char sha[32];
    struct rlimit old, none;

    wire_init(&w);
    peer_hello(&w, &c, "client");
    worker_registers(&w, &a, "wa", 3, NULL);
    client_puts(&c, "module", sha);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    none = (struct rlimit){ 0, old.rlim_max };
    setrlimit(RLIMIT_FSIZE, &none);
    client_submits(&c, sha, false);
    peer_hears(&c, "answer ");
    setrlimit(RLIMIT_FSIZE, &old);
    peer_heard_no(&a, "run ");
    client_submits(&c, sha, false);
    peer_hears(&c, "submitted");
    peer_hears(&a, "run ");
    peer_close(&c);
    peer_close(&a);
    wire_fini(&w);
}

/* A client that did not hear the answer says it again: the same submission, also after a restart. */
static void
test_said_again(void)
{
    struct wire w;
    struct peer c, a;
    unsigned char sha[32];
    char id[80];

    wire_init(&w);
    peer_hello(&w, &c, "client");
    worker_registers(&w, &a, "wa", 3, NULL);
    client_puts(&c, "module", sha);
    client_submits_again(&c, sha, false, "key 1", false);
    peer_hears(&c, "submitted");
    strcpy(id, c.id);
    peer_hears(&a, "run ");
    client_submits_again(&c, sha, false, "key 1", false); /* twice on one link */
    peer_hears(&c, "submitted");
    EQ_STR(c.id, id);
    client_submits_again(&c, sha, false, "key 1", true);
    peer_hears(&c, "submitted");
    EQ_STR(c.id, id);
    wire_stop(&w);
    peer_close(&a);
    peer_close(&c);
    wire_start(&w);
    peer_hello(&w, &c, "client");
    client_submits_again(&c, sha, false, "key 1", true);
    peer_hears(&c, "submitted");
    EQ_STR(c.id, id);
    client_submits_again(&c, sha, false, "key 2", true); /* of that nothing was accepted */
    peer_hears(&c, "submitted");
    CU_ASSERT(strcmp(c.id, id) != 0);
    strcpy(id, c.id);
    client_submits_again(&c, sha, false, "", true);
    peer_hears(&c, "submitted");
    CU_ASSERT(strcmp(c.id, id) != 0);
    peer_close(&c);
    wire_fini(&w);
}

static const struct unit_test tests[] = {
    { "wire.strangers", test_strangers },
    { "wire.application", test_application },
    { "wire.lost", test_lost },
    { "wire.blobs", test_blobs },
    { "wire.submission", test_submission },
    { "wire.kill", test_kill },
    { "wire.restart", test_restart },
    { "wire.disk_full", test_disk_full },
    { "wire.said_again", test_said_again },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "master_wire", tests);
}
