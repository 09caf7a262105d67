/* Tests of daemon/submit/spec: a line that was given on one host means the same on another. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "submit/spec.h"
#include "unit.h"

enum { ARGS_MAX = 32 };
static char sum[2][32];

struct line {
    struct arena a;
    struct submit_options o;
};

static void
parse(struct line *l, const char *words)
{
    char *argv[ARGS_MAX + 2] = { "taskd-submit" }, *env[] = { NULL };
    int argc = 1;

    memset(l, 0, sizeof *l);
    for (char *p = strtok(arena_strdup(&l->a, words), " "); p && argc < ARGS_MAX; p = strtok(NULL, " "))
        argv[argc++] = p;
    char **copy = ARENA_ARRAY(&l->a, char *, (size_t)argc + 1);
    memcpy(copy, argv, sizeof *argv * (size_t)argc);
    NO_ERR(submit_options_parse(argc, copy, env, &l->a, &l->o));
}

/* What a master and a worker make of it. */
static Taskd__DriverSpec
spec_of(struct arena *a, const Taskd__SubmitDriver *d, const char *dir)
{
    Taskd__DriverSpec s = TASKD__DRIVER_SPEC__INIT;
    Taskd__StartDriver *start = ARENA_NEW(a, Taskd__StartDriver);

    *start = (Taskd__StartDriver)TASKD__START_DRIVER__INIT;
    start->driver = "driver-1";
    start->n_blob = d->n_blob;
    start->blob = d->blob;
    start->n_arg = d->n_arg;
    start->arg = d->arg;
    start->n_conf_key = d->n_conf_key;
    start->conf_key = d->conf_key;
    start->n_conf_value = d->n_conf_value;
    start->conf_value = d->conf_value;
    s.start = start;
    s.host = "b";
    s.dir = (char *)dir;
    s.blobs = "/blobs";
    s.master = "taskd://m:7077";
    return s;
}

static Taskd__AppBlob *
blob(struct arena *a, Taskd__BlobUse use, const char *name, int which)
{
    Taskd__AppBlob *b = ARENA_NEW(a, Taskd__AppBlob);

    *b = (Taskd__AppBlob)TASKD__APP_BLOB__INIT;
    b->use = use;
    b->blob = ARENA_NEW(a, Taskd__Blob);
    *b->blob = (Taskd__Blob)TASKD__BLOB__INIT;
    memset(sum[which], 0xa0 + which, sizeof sum[which]);
    b->blob->sha256 = PROTO_BYTES(sum[which], sizeof sum[which]);
    b->blob->name = (char *)name;
    return b;
}

static void
a_line_travels(void)
{
    char dir[] = "/tmp/taskd-spec-XXXXXX", link[256] = "";
    struct line l, there = { .a = { 0 } };
    Taskd__SubmitDriver d;
    Taskd__AppBlob *blobs[2];

    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    parse(&l, "--master taskd://m --deploy-mode cluster --supervise --driver-memory 2g --driver-cores 3 -v --progress none "
              "--conf my.key=1 --conf spark.task.maxFailures=7 --conf taskd.local.dir=/x dir/job.so a -b");
    submit_spec_put(&l.o, &l.a, &d);
    EQ_STR(d.name, "job");
    EQ_U64(d.cores, 3);
    EQ_U64(d.memory, 2ull << 30);
    CU_ASSERT(d.supervise);
    EQ_U64(d.n_arg, 3);
    for (size_t i = 0; i < d.n_conf_key; i++)
        CU_ASSERT(strcmp(d.conf_key[i], "taskd.local.dir") && strcmp(d.conf_key[i], "taskd.master") &&
                  strcmp(d.conf_key[i], "taskd.submit.deployMode") && strcmp(d.conf_key[i], "taskd.executor.memory"));
    blobs[0] = blob(&l.a, TASKD__BLOB_USE__MODULE, "job.so", 0);
    blobs[1] = blob(&l.a, TASKD__BLOB_USE__FILE, "t.csv", 1);
    d.blob = blobs;
    d.n_blob = 2;

    Taskd__DriverSpec s = spec_of(&l.a, &d, dir);
    s.tls_ca = "ca", s.tls_cert = "cert", s.tls_key = "key";
    for (int i = 0; i < 2; i++) { /* a second try finds the link there */
        NO_ERR(submit_spec_options(&s, &there.a, &there.o));
        EQ_U64(there.o.action, SUBMIT_RUN);
        EQ_U64(there.o.master.kind, SUBMIT_STANDALONE);
        EQ_STR(there.o.master.url, "taskd://m:7077");
        CU_ASSERT(!there.o.cluster_mode && there.o.verbose && there.o.progress == SUBMIT_PROGRESS_NONE);
        EQ_STR(there.o.app_name, "job");
        EQ_STR(conf_get(there.o.conf, "my.key"), "1");
        EQ_U64(conf_int(there.o.conf, CONF_TASK_MAX_FAILURES), 7);
        EQ_STR(conf_origin(there.o.conf, CONF_TASK_MAX_FAILURES), "submitted");
        EQ_STR(conf_str(there.o.conf, CONF_LOCAL_DIR), dir);
        EQ_STR(conf_str(there.o.conf, CONF_SSL_KEY), "key");
        EQ_STR(conf_str(there.o.conf, CONF_DRIVER_HOST), "b");
        EQ_U64(there.o.n_args, 3);
        EQ_STR(there.o.args[0], "dir/job.so");
        EQ_STR(there.o.args[2], "-b");
        CU_ASSERT_PTR_NULL(there.o.args[3]);
        EQ_U64(there.o.n_files, 1);
        EQ_U64(there.o.files[0].use, SUBMIT_FILE);
        EQ_STR(there.o.files[0].name, "t.csv");
        CU_ASSERT(!strncmp(there.o.files[0].path, "/blobs/a1a1a1", 13) && strlen(there.o.files[0].path) == 7 + 64);
        CU_ASSERT_PTR_NOT_NULL(strstr(there.o.module, "/job.so"));
        CU_ASSERT(readlink(there.o.module, link, sizeof link - 1) == 7 + 64 && !strncmp(link, "/blobs/a0a0", 11));
        arena_reset(&there.a);
    }
    arena_fini(&there.a);
    arena_fini(&l.a);
    NO_ERR(file_remove_tree(dir));
}

static void
odd_specs_are_refused(void)
{
    static const struct {
        const char *name;
        Taskd__BlobUse use;
        size_t n, values;
        const char *text;
    } bad[] = {
        { "job.so", TASKD__BLOB_USE__MODULE, 0, 0, "without a module" },
        { "job.so", TASKD__BLOB_USE__FILE, 1, 0, "without a module" },
        { "job.so", TASKD__BLOB_USE__MODULE, 2, 0, "with two modules" },
        { "../x", TASKD__BLOB_USE__MODULE, 1, 0, "has no name" },
        { "..", TASKD__BLOB_USE__FILE, 1, 0, "has no name" },
        { "", TASKD__BLOB_USE__FILE, 1, 0, "has no name" },
        { "job.so", TASKD__BLOB_USE__MODULE, 1, 1, "0 keys and 1 values" },
    };
    char dir[] = "/tmp/taskd-spec-XXXXXX", *value = "x";
    struct submit_options o;

    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct arena a = { 0 };
        Taskd__SubmitDriver d = TASKD__SUBMIT_DRIVER__INIT;
        Taskd__AppBlob *blobs[2] = { blob(&a, bad[i].use, bad[i].name, 0), blob(&a, bad[i].use, bad[i].name, 1) };

        d.blob = blobs;
        d.n_blob = bad[i].n;
        d.conf_value = &value;
        d.n_conf_value = bad[i].values;
        Taskd__DriverSpec s = spec_of(&a, &d, dir);
        IS_ERR(submit_spec_options(&s, &a, &o), ERR_CORRUPT, bad[i].text);
        arena_fini(&a);
    }
    struct arena a = { 0 };
    Taskd__DriverSpec s = TASKD__DRIVER_SPEC__INIT;
    IS_ERR(submit_spec_options(&s, &a, &o), ERR_CORRUPT, "without saying which");
    arena_fini(&a);
    NO_ERR(file_remove_tree(dir));
}

static const struct unit_test tests[] = {
    { "spec.a_line_travels", a_line_travels },
    { "spec.odd_specs_are_refused", odd_specs_are_refused },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "spec", tests);
}
