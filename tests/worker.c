/* worker -- tests of daemon/worker: registration, children, output, folders. */
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

static void
failed_to_start(struct rig *r, const char *app, uint32_t n, const char *words)
{
    struct rig_state s = rig_next(r, app, n);

    EQ_U64(s.phase, TASKD__CHILD_PHASE__FAILED_TO_START);
    if (!strstr(s.text, words))
        EQ_STR(s.text, words);
}

/* ---- registration */

/* Masters are called one after the other until one answers. */
static void
next_master(void)
{
    struct rig r;
    struct worker *none = NULL;

    rig_init(&r);
    r.o.master = "spark://10.0.0.1,[::1],[::1]:88,127.0.0.1";
    rig_worker(&r);
    EQ_STR(r.wrong, "10.0.0.1:7077 [::1]:7077 [::1]:88 ");
    rig_worker_kill(&r);
    r.o.master = "http://127.0.0.1";
    IS_ERR(worker_new(r.l, &r.o, &none), ERR_USAGE, "is no master's URL");
    r.o.master = "taskd://";
    IS_ERR(worker_new(r.l, &r.o, &none), ERR_USAGE, "names no host");
    rig_fini(&r);
}

static bool
dialled_again(struct rig *r)
{
    return r->hellos >= 2;
}

static void
registers(void)
{
    struct rig r;
    char id[64];

    rig_init(&r);
    rig_worker(&r);
    EQ_STR(r.worker, worker_id(r.w));
    EQ_STR(r.bulk, worker_bulk(r.w));
    EQ_U64(r.cores, 3);
    CU_ASSERT(strstr(r.profile, "2.") != NULL);
    strcpy(id, r.worker);
    struct worker *other = NULL;
    IS_ERR(worker_new(r.l, &r.o, &other), ERR_DENIED, "another worker works in");
    rig_worker_kill(&r);
    rig_worker(&r);
    EQ_STR(r.worker, id);
    rig_fini(&r);
}

static void
registers_again(void)
{
    struct rig r;

    rig_init(&r);
    rig_worker(&r);
    rig_executor(&r, "app-1", 1, "stay", NULL, 0);
    struct rig_state s;
    rig_phases(&r, "app-1", 1, &s);
    rig_executor(&r, "app-1", 2, "stay", NULL, 0);
    struct rig_state s2;
    rig_phases(&r, "app-1", 2, &s2);
    /* the master dies, and a child with nobody to tell */
    link_close(r.link);
    r.link = NULL;
    kill(s2.pid, SIGKILL);
    rig_until(&r, dialled_again);
    EQ_U64(r.n_hello_child >= 1, true);
    EQ_STR(r.hello_child[r.n_hello_child > 1].app, "app-1");
    EQ_STR(r.apps, "app-1 ");
    if (r.n_hello_child == 2) { /* usually: a back-off of 100 ms is long */
        EQ_U64(r.hello_child[0].pid, s.pid);
        EQ_U64(r.hello_child[0].phase, TASKD__CHILD_PHASE__RUNNING);
        EQ_U64(r.hello_child[1].phase, TASKD__CHILD_PHASE__ENDED);
        EQ_U64(r.hello_child[1].status, 137);
    }
    rig_fini(&r);
}

static void
refuses_stale(void)
{
    struct rig r;

    rig_init(&r);
    rig_worker(&r);
    r.epoch = RIG_EPOCH - 1;
    rig_executor(&r, "app-1", 1, "exit 0", NULL, 0);
    r.epoch = RIG_EPOCH;
    rig_executor(&r, "app-2", 1, "exit 0", NULL, 0);
    rig_phases(&r, "app-2", 1, NULL);
    CU_ASSERT(!rig_there(&r, "app-1"));
    /* an old master that came back is left, and called again later */
    r.epoch = RIG_EPOCH - 1;
    link_close(r.link);
    r.link = NULL;
    rig_until(&r, dialled_again);
    r.n_state = 0;
    r.epoch = RIG_EPOCH + 1;
    rig_until(&r, dialled_again);
    r.hellos = 1;
    rig_until(&r, dialled_again);
    rig_executor(&r, "app-3", 1, "exit 0", NULL, 0);
    rig_phases(&r, "app-3", 1, NULL);
    rig_fini(&r);
}

static struct err *refusal;
static void
on_refused(void *arg, struct err *why)
{
    struct rig *r = arg;

    refusal = why;
    loop_stop(r->l);
}

static bool
is_refused(struct rig *r)
{
    return refusal;
}

static bool
said_hello(struct rig *r)
{
    return r->hellos;
}

static void
is_refused_once(void)
{
    struct rig r;
    Taskd__Item item = TASKD__ITEM__INIT;
    Taskd__Refused m = TASKD__REFUSED__INIT;
    Taskd__Error why = TASKD__ERROR__INIT;
    char *say[] = { "the token is another cluster's" };

    rig_init(&r);
    refusal = NULL;
    r.o.refused = on_refused;
    r.mute = true;
    NO_ERR(worker_new(r.l, &r.o, &r.w));
    rig_until(&r, said_hello);
    why.code = "DENIED";
    why.n_say = 1;
    why.say = say;
    m.error = &why;
    item.kind_case = TASKD__ITEM__KIND_REFUSED;
    item.refused = &m;
    rig_send(&r, &item);
    rig_until(&r, is_refused);
    IS_ERR(refusal, ERR_DENIED, "another cluster's");
    rig_fini(&r);
}

/* ---- children */

static void
executor_runs(void)
{
    struct rig r;
    struct buf b = { 0 };
    char want[2000];

    rig_init(&r);
    rig_worker(&r);
    rig_executor(&r, "app-1", 4, "say", NULL, 0);
    rig_phases(&r, "app-1", 4, NULL);
    rig_ended(&r, "app-1", 4, 0, "exit status 0");
    rig_read(&r, "app-1/executor-4/stdout", &b);
    put_u8(&b, 0);
    snprintf(want, sizeof want,
             "taskd executor app-1/4\nhost 127.0.0.1\ndir %s/app-1/blocks\nblobs %s/blobs\nbulk %s\n"
             "scratch %s/app-1/executor-4/scratch\nsecret 32 s\nfd 3\n",
             r.dir, r.dir, r.bulk, r.dir);
    EQ_STR(b.p, want);
    CU_ASSERT(!rig_there(&r, "app-1/executor-4/scratch"));
    rig_executor(&r, "app-1", 5, "exit 3", NULL, 0);
    rig_phases(&r, "app-1", 5, NULL);
    rig_ended(&r, "app-1", 5, 3, "exit status 3: last words");
    rig_executor(&r, "app-1", 6, "json", NULL, 0);
    rig_phases(&r, "app-1", 6, NULL);
    rig_ended(&r, "app-1", 6, 5, "exit status 5: a \"b\" c");
    buf_fini(&b);
    rig_fini(&r);
}

static pid_t watched;
/* 'R', 'T', 'Z'...; 0: there is no such process. */
static char
state_of(pid_t pid)
{
    char path[40], p[200] = "";
    size_t n = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f) {
        n = fread(p, 1, sizeof p - 1, f);
        fclose(f);
    }
    p[n] = 0;
    const char *name_end = strrchr(p, ')');
    return name_end ? name_end[2] : 0;
}

/* Dead at least: somebody else's to reap. */
static bool
is_gone(struct rig *r)
{
    char c = state_of(watched);

    return !c || c == 'Z' || c == 'X';
}

static bool
is_in_stop(struct rig *r)
{
    return state_of(watched) == 'T';
}

static void
wait_stopped(struct rig *r, pid_t pid)
{
    watched = pid;
    rig_until(r, is_in_stop);
}

static void
stop_child(void)
{
    static const char *const kinds[] = { "stay", "stopped", "deaf", "family" };
    static const uint32_t status[] = { 143, 137, 137, 143 };
    struct rig r;

    rig_init(&r);
    rig_worker(&r);
    for (uint32_t i = 0; i < 4; i++) {
        struct rig_state s;
        struct buf b = { 0 };
        char path[80];

        rig_executor(&r, "app-1", i + 1, kinds[i], NULL, 0);
        rig_phases(&r, "app-1", i + 1, &s);
        snprintf(path, sizeof path, "app-1/executor-%u/stdout", i + 1);
        if (i == 1)
            wait_stopped(&r, s.pid);
        while (i >= 2 && !b.n) /* until it ignores the signal, until its child is there */
            rig_read(&r, path, &b);
        uint64_t began = clock_mono_ns();
        rig_stop(&r, "app-1", i + 1);
        rig_ended(&r, "app-1", i + 1, status[i], "the test wants it");
        CU_ASSERT(clock_mono_ns() - began < UINT64_C(5000000000));
        if (i == 3) {
            put_u8(&b, 0);
            watched = atoi(b.p);
            rig_until(&r, is_gone);
        }
        buf_fini(&b);
    }
    rig_fini(&r);
}

static void
cannot_start(void)
{
    struct rig r;
    char address[64];

    rig_init(&r);
    strcpy(address, r.address);
    rig_worker(&r);
    /* a port where nobody listens: the one that was just closed */
    bulk_server_free(r.s);
    r.s = NULL;
    struct bulk_server_opts so = { .host = "127.0.0.1" };
    NO_ERR(bulk_server_new(r.l, &so, &r.s));
    rig_executor(&r, "app-1", 1, "exit 0", NULL, 0);
    EQ_U64(rig_next(&r, "app-1", 1).phase, TASKD__CHILD_PHASE__STARTING);
    char words[200];
    snprintf(words, sizeof words, "worker on host 127.0.0.1 can't reach the driver at %s: connection refused", address);
    failed_to_start(&r, "app-1", 1, words);
    CU_ASSERT(!rig_there(&r, "app-1/executor-1/scratch"));
    /* what isn't fit for a folder */
    snprintf(r.address, sizeof r.address, "127.0.0.1:%u", bulk_server_port(r.s));
    rig_executor(&r, "../x", 1, "exit 0", NULL, 0);
    failed_to_start(&r, "../x", 1, "can't be an application's id");
    rig_executor(&r, "blobs", 1, "exit 0", NULL, 0);
    failed_to_start(&r, "blobs", 1, "can't be an application's id");
    rig_fini(&r);
}

static void
no_program(void)
{
    struct rig r;

    rig_init(&r);
    r.o.executor = "/nowhere/taskd-executor";
    rig_worker(&r);
    rig_executor(&r, "app-1", 1, "exit 0", NULL, 0);
    EQ_U64(rig_next(&r, "app-1", 1).phase, TASKD__CHILD_PHASE__STARTING);
    failed_to_start(&r, "app-1", 1, "running \"/nowhere/taskd-executor\": No such file");
    rig_fini(&r);
}

/* A worker in a process of its own, which says which children it has. */
static void
doomed(int say)
{
    static const char *const kinds[] = { "stay", "deaf", "stopped" };
    struct rig r;
    struct rig_state s;

    rig_init(&r);
    rig_worker(&r);
    for (uint32_t i = 0; i < 3; i++) {
        rig_executor(&r, "app-1", i + 1, kinds[i], NULL, 0);
        rig_phases(&r, "app-1", i + 1, &s);
        if (write(say, &s.pid, sizeof s.pid) != sizeof s.pid)
            _exit(1);
    }
    if (write(say, r.top, sizeof r.top) != sizeof r.top)
        _exit(1);
    for (;;)
        err_free(loop_run(r.l));
}

static void
dies_with_worker(void)
{
    struct rig r;
    pid_t pid[3];
    char top[sizeof r.top];
    int p[2];

    CU_ASSERT_FATAL(pipe(p) == 0);
    pid_t worker = fork();
    if (worker == 0)
        doomed(p[1]);
    close(p[1]);
    for (int i = 0; i < 3; i++)
        EQ_U64(read(p[0], &pid[i], sizeof *pid), sizeof *pid);
    EQ_U64(read(p[0], top, sizeof top), sizeof top);
    close(p[0]);
    rig_init(&r);
    uint64_t began = clock_mono_ns();
    kill(worker, SIGKILL);
    for (int i = 0; i < 3; i++) {
        watched = pid[i];
        rig_until(&r, is_gone);
    }
    CU_ASSERT(clock_mono_ns() - began < UINT64_C(3000000000));
    EQ_U64(waitpid(worker, NULL, 0), worker);
    /* in its folder the next one finds the scratch of three, and removes it */
    snprintf(r.dir, sizeof r.dir, "%s/work", top);
    CU_ASSERT(rig_there(&r, "app-1/executor-1/scratch"));
    rig_worker(&r);
    CU_ASSERT(!rig_there(&r, "app-1/executor-1/scratch") && rig_there(&r, "app-1/secret"));
    rig_fini(&r);
    NO_ERR(file_remove_tree(top));
}

/* ---- drivers */

static bool
all_output(struct rig *r)
{
    return r->end[0] && r->end[1];
}

static void
driver_output(void)
{
    struct rig r;
    struct buf b = { 0 };

    rig_init(&r);
    rig_worker(&r);
    rig_driver(&r, "driver-1", "write 3200000", NULL, 0);
    rig_follow(&r, "driver-1", 0, 0, false);
    rig_phases(&r, "driver-1", 0, NULL);
    rig_ended(&r, "driver-1", 0, 0, "exit status 0");
    CU_ASSERT(!r.fault);
    EQ_U64(r.out[0].n, 3200000);
    EQ_U64(r.out[1].n, 4);
    rig_until(&r, all_output);
    rig_read(&r, "driver-1/stdout", &b);
    EQ_U64(b.n, r.out[0].n);
    CU_ASSERT(!memcmp(b.p, r.out[0].p, b.n));
    CU_ASSERT(!memcmp(b.p + 16 * 199999, "000000000199999\n", 16));
    /* again, from the middle, of one that has ended */
    r.out[0].n = 3199984;
    r.out[1].n = 4;
    r.end[0] = r.end[1] = false;
    rig_follow(&r, "driver-1", 3199984, 4, false);
    rig_until(&r, all_output);
    CU_ASSERT(!r.fault);
    EQ_U64(r.out[0].n, 3200000);
    EQ_U64(r.out[1].n, 4);
    buf_fini(&b);
    rig_fini(&r);
}

static void
driver_given(void)
{
    struct rig r;

    rig_init(&r);
    rig_worker(&r);
    rig_driver(&r, "driver-1", "say", NULL, 0);
    rig_follow(&r, "driver-1", 0, 0, false);
    rig_phases(&r, "driver-1", 0, NULL);
    rig_ended(&r, "driver-1", 0, 0, "exit status 0");
    put_u8(&r.out[0], 0);
    EQ_STR(r.out[0].p, "taskd driver driver-1\nmaster taskd://127.0.0.1\ntoken cluster\nconf 0\n");
    CU_ASSERT(!rig_there(&r, "driver-1/scratch"));
    CU_ASSERT(rig_there(&r, "driver-1/stdout"));
    rig_forget(&r, "driver-1");
    rig_driver(&r, "driver-2", "exit 9", NULL, 0);
    rig_phases(&r, "driver-2", 0, NULL);
    rig_ended(&r, "driver-2", 0, 9, "exit status 9: last words");
    CU_ASSERT(!rig_there(&r, "driver-1"));
    rig_fini(&r);
}

static void
on_stopped(void *arg)
{
    struct rig *r = arg;

    r->mute = true;
    loop_stop(r->l);
}

static bool
is_stopped(struct rig *r)
{
    return r->mute;
}

static void
stops(void)
{
    struct rig r;
    struct rig_state s;

    rig_init(&r);
    rig_worker(&r);
    rig_executor(&r, "app-1", 1, "stopped", NULL, 0);
    rig_phases(&r, "app-1", 1, &s);
    wait_stopped(&r, s.pid);
    worker_stop(r.w, on_stopped, &r);
    rig_until(&r, is_stopped);
    CU_ASSERT(kill(s.pid, 0) < 0);
    rig_fini(&r);
}

int
main(int argc, char **argv)
{
    static const struct unit_test tests[] = {
        { "link.registers", registers },
        { "link.next_master", next_master },
        { "link.registers_again", registers_again },
        { "link.refuses_stale", refuses_stale },
        { "link.is_refused", is_refused_once },
        { "child.runs", executor_runs },
        { "child.is_stopped", stop_child },
        { "child.cannot_start", cannot_start },
        { "child.has_no_program", no_program },
        { "child.all_end", stops },
        { "child.dies_with_worker", dies_with_worker },
        { "driver.output", driver_output },
        { "driver.is_given", driver_given },
        { "place.place_serves", place_serves },
        { "place.is_forgotten", place_is_forgotten },
        { "place.is_old", place_is_old },
        { "blobs.once", blobs_once },
        { "blobs.resumed", blobs_resumed },
        { "blobs.corrupt", blobs_corrupt },
        { "blobs.touched", blobs_touched },
        { "blobs.next_source", blobs_next_source },
        { "blobs.trimmed", blobs_trimmed },
        { "files.placed", files_placed },
        { "files.refused", files_refused },
        { "unpack.good", unpack_good },
        { "unpack.attacks", unpack_attacks },
        { "unpack.links", unpack_links },
        { "unpack.bombs", unpack_bombs },
        { "unpack.garbage", unpack_garbage },
        { "profile.cache", profile_cache },
        UNIT_END,
    };

    return unit_main(argc, argv, "worker", tests);
}
