/* Tests of the command line of taskd-submit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "submit/handover.h"
#include "submit/options.h"
#include "unit.h"

enum { ARGS_MAX = 32 };

/* A command line split at blanks. */
struct line {
    struct arena a;
    struct submit_options o;
    char *argv[ARGS_MAX + 2];
    int argc;
};

static struct err *
parse_env(struct line *l, const char *words, char **envp)
{
    memset(l, 0, sizeof *l);
    l->argv[l->argc++] = arena_strdup(&l->a, "taskd-submit");
    for (char *p = strtok(arena_strdup(&l->a, words), " "); p && l->argc < ARGS_MAX; p = strtok(NULL, " "))
        l->argv[l->argc++] = p;
    return submit_options_parse(l->argc, l->argv, envp, &l->a, &l->o);
}

static struct err *
parse(struct line *l, const char *words)
{
    char *env[] = { NULL };

    return parse_env(l, words, env);
}

static void
refused(const char *words, enum err_code code, const char *text)
{
    struct line l;

    IS_ERR(parse(&l, words), code, text);
    arena_fini(&l.a);
}

static void
flags_are_keys(void)
{
    struct line l;

    NO_ERR(parse(&l, "--master local[3] --name n1 --executor-memory=2g -c spark.task.maxFailures=2 --conf=my.x=a=b "
                     "--deploy-mode client --verbose --dry-run --progress json --summary s.json dir/job.so"));
    EQ_U64(l.o.action, SUBMIT_RUN);
    EQ_U64(l.o.slots, 3);
    EQ_STR(l.o.app_name, "n1");
    EQ_U64(conf_bytes(l.o.conf, CONF_EXECUTOR_MEMORY), 2ull << 30);
    EQ_STR(conf_origin(l.o.conf, CONF_EXECUTOR_MEMORY), "--executor-memory");
    EQ_U64(conf_int(l.o.conf, CONF_TASK_MAX_FAILURES), 2);
    EQ_STR(conf_get(l.o.conf, "my.x"), "a=b");
    CU_ASSERT(l.o.verbose && l.o.dry_run);
    EQ_U64(l.o.progress, SUBMIT_PROGRESS_JSON);
    EQ_STR(l.o.summary, "s.json");
    EQ_STR(l.o.module, "dir/job.so");
    EQ_U64(l.o.n_args, 1);
    arena_fini(&l.a);
}

static void
defaults_are_quiet(void)
{
    struct line l;

    NO_ERR(parse(&l, "dir/job.so"));
    CU_ASSERT(l.o.slots >= 1 && !l.o.verbose && !l.o.dry_run && !l.o.summary);
    EQ_U64(l.o.progress, SUBMIT_PROGRESS_AUTO);
    EQ_STR(l.o.app_name, "job");
    arena_fini(&l.a);
}

static void
the_rest_is_the_jobs(void)
{
    struct line l;

    NO_ERR(parse(&l, "-v job.so --master yarn -c -- x"));
    EQ_U64(l.o.n_args, 6);
    EQ_STR(l.o.args[0], "job.so");
    EQ_STR(l.o.args[1], "--master");
    EQ_STR(l.o.args[4], "--");
    CU_ASSERT_PTR_NULL(l.o.args[6]);
    arena_fini(&l.a);
    NO_ERR(parse(&l, "--name n -- -odd.so -v"));
    EQ_STR(l.o.module, "-odd.so");
    EQ_U64(l.o.n_args, 2);
    CU_ASSERT(!l.o.verbose);
    arena_fini(&l.a);
    NO_ERR(parse(&l, "- x"));
    EQ_STR(l.o.module, "-");
    arena_fini(&l.a);
}

static void
help_and_version_ask_for_nothing_else(void)
{
    struct line l;

    NO_ERR(parse(&l, "--help --nonsense"));
    EQ_U64(l.o.action, SUBMIT_HELP);
    arena_fini(&l.a);
    NO_ERR(parse(&l, "-v --version"));
    EQ_U64(l.o.action, SUBMIT_VERSION);
    arena_fini(&l.a);
    NO_ERR(parse(&l, "-h"));
    EQ_U64(l.o.action, SUBMIT_HELP);
    arena_fini(&l.a);
}

static void
wrong_lines_say_so(void)
{
    refused("", ERR_USAGE, "no module is given\nhint: Say which job to run: taskd-submit [options] job.so [arguments].");
    refused("--name x", ERR_USAGE, "no module is given");
    refused("--mastr local job.so", ERR_USAGE, "\"--mastr\" is not an option\nhint: Did you mean --master?");
    refused("--executor-memroy=1g job.so", ERR_USAGE, "\"--executor-memroy\" is not an option\nhint: Did you mean "
                                                      "--executor-memory?");
    refused("--zzzzzzzzz job.so", ERR_USAGE, "hint: `taskd-submit --help` lists the options.");
    refused("-x job.so", ERR_USAGE, "\"-x\" is not an option\nhint: `taskd-submit --help` lists the options.");
    refused("--master", ERR_USAGE, "--master needs a value");
    refused("-c", ERR_USAGE, "--conf needs a value");
    refused("--verbose=yes job.so", ERR_USAGE, "--verbose takes no value");
    refused("--progress loud job.so", ERR_USAGE, "--progress: \"loud\" is none of auto|plain|json|none");
    refused("--summary= job.so", ERR_USAGE, "--summary needs a file name");
    refused("--conf x job.so", ERR_CONFIG, "--conf: \"x\" is not key=value");
    refused("--conf spark.executor.memroy=1g job.so", ERR_CONFIG, "Did you mean spark.executor.memory?");
    refused("--executor-memory much job.so", ERR_CONFIG, "--executor-memory: taskd.executor.memory: \"much\" is not a size");
    refused("--deploy-mode both job.so", ERR_CONFIG, "--deploy-mode: taskd.submit.deployMode: \"both\" is none of");
    refused("--properties-file /nowhere/x job.so", ERR_CONFIG, "opening \"/nowhere/x\"");
    refused("--master local[0] job.so", ERR_CONFIG,
            "--master: master \"local[0]\" has no runner\nhint: N is at least 1; local[*] takes a runner a CPU.");
}

static void
masters_are_local(void)
{
    static const struct {
        const char *text;
        unsigned slots;
    } good[] = { { "local", 1 }, { "local[1]", 1 }, { "local[16]", 16 }, { "local[*]", 5 }, { "local[1024]", 1024 } };
    struct submit_master m;
    struct arena a = { 0 };

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        NO_ERR(submit_master_parse(good[i].text, 5, &a, &m));
        EQ_U64(m.kind, SUBMIT_LOCAL);
        EQ_U64(m.slots, good[i].slots);
        EQ_STR(m.url, good[i].text);
    }
    NO_ERR(submit_master_parse("local[*]", 5000, &a, &m));
    EQ_U64(m.slots, 1024);
    arena_fini(&a);
}

static void
masters_are_clusters(void)
{
    static const struct {
        const char *text, *url, *first, *last;
        unsigned n;
    } good[] = {
        { "taskd://h:1", "taskd://h:1", "h:1", "h:1", 1 },
        { "spark://h", "taskd://h:7077", "h:7077", "h:7077", 1 },
        { "taskd://10.0.0.1,b.c-d_e:65535", "taskd://10.0.0.1:7077,b.c-d_e:65535", "10.0.0.1:7077", "b.c-d_e:65535", 2 },
        { "taskd://[::1],[fe80::1%eth0]:9", "taskd://[::1]:7077,[fe80::1%eth0]:9", "[::1]:7077", NULL, 2 },
    };
    static const struct {
        const char *text;
        unsigned n, cores;
        uint64_t memory;
    } local[] = {
        { "local-cluster[2,1,1024]", 2, 1, 1ull << 30 }, { "local-cluster[1,4,3]", 1, 4, 3 << 20 },
        { "local-cluster[64,1024,512m]", 64, 1024, 512 << 20 }, { "local-cluster[3,2,2G]", 3, 2, 2ull << 30 },
        { "local-cluster[ 2 , 1,1024 ]", 2, 1, 1ull << 30 },
        { "local-cluster[1,1,1024k]", 1, 1, 1 << 20 }, { "local-cluster[1,1,1t]", 1, 1, 1ull << 40 },
    };
    struct submit_master m;
    struct arena a = { 0 };

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        NO_ERR(submit_master_parse(good[i].text, 5, &a, &m));
        EQ_U64(m.kind, SUBMIT_STANDALONE);
        EQ_STR(m.url, good[i].url);
        EQ_U64(m.n_addresses, good[i].n);
        EQ_STR(m.addresses[0], good[i].first);
        if (good[i].last)
            EQ_STR(m.addresses[m.n_addresses - 1], good[i].last);
        CU_ASSERT_PTR_NULL(m.addresses[m.n_addresses]);
    }
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        NO_ERR(submit_master_parse(local[i].text, 5, &a, &m));
        EQ_U64(m.kind, SUBMIT_LOCAL_CLUSTER);
        EQ_U64(m.workers, local[i].n);
        EQ_U64(m.cores, local[i].cores);
        EQ_U64(m.memory, local[i].memory);
    }
    arena_fini(&a);
}

static void
other_masters_are_none(void)
{
    static const struct {
        const char *text, *words;
    } bad[] = {
        { "local[0]", "has no runner" },
        { "local[1025]", "has more than 1024 runners" },
        { "local[99999999999999999999999]", "has more than 1024 runners" },
        { "local[2,4]", "has two numbers\nhint: Write local[N] and --conf taskd.task.maxFailures=M." },
        { "local[]", "\"local[]\" is not a master" },
        { "local[2", "\"local[2\" is not a master" },
        { "local[2]x", "is not a master" },
        { "local[-1]", "is not a master" },
        { "lokal", "\"lokal\" is not a master\nhint: A master is local, local[N], local[*], local-cluster[N,CORES,MEMORY]" },
        { "", "\"\" is not a master" },
        { "yarn", "master \"yarn\" is not built yet" },
        { "k8s://https://h", "is not built yet" },
        { "slurm", "is not built yet" },
        { "taskd:/h", "is not a master" },
        { "taskd://", "master \"taskd://\" names no host\nhint: Write taskd://HOST:PORT" },
        { "taskd://a,", "names no host" },
        { "taskd://,a", "names no host" },
        { "taskd://:7077", "\":7077\" is not a host and port" },
        { "spark://h:", "\"h:\" is not a host and port" },
        { "spark://h:0", "\"h:0\" is not a host and port" },
        { "spark://h:65536", "is not a host and port" },
        { "spark://h:99999999999999999999999", "is not a host and port" },
        { "spark://h:7x", "is not a host and port" },
        { "spark://h/x", "is not a host and port" },
        { "spark://u@h", "is not a host and port" },
        { "taskd://[::1", "is not a host and port" },
        { "taskd://[]", "is not a host and port" },
        { "taskd://::1:7077", "is not a host and port" },
        { "taskd://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", "has more than 16 addresses" },
        { "local-cluster[2,1]", "is not a master\nhint: Write local-cluster[WORKERS,CORES,MEMORY]" },
        { "local-cluster[2,1,x]", "is not a master" },
        { "local-cluster[2,1,1024", "is not a master" },
        { "local-cluster[2,1,1024]]", "is not a master" },
        { "local-cluster[2,1 1,1024]", "is not a master" },
        { "local-cluster[2,1,1024q]", "is not a master" },
        { "local-cluster[,1,1024]", "is not a master" },
        { "local-cluster[0,1,1024]", "has not between 1 and 64 workers" },
        { "local-cluster[65,1,1024]", "has not between 1 and 64 workers" },
        { "local-cluster[1,0,1024]", "has not between 1 and 1024 cores a worker" },
        { "local-cluster[1,1025,1024]", "has not between 1 and 1024 cores a worker" },
        { "local-cluster[1,1,0]", "of memory a worker" },
        { "local-cluster[1,1,1023k]", "of memory a worker" },
        { "local-cluster[1,1,99999999999999999999999]", "of memory a worker" },
    };
    struct submit_master m;
    struct arena a = { 0 };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        IS_ERR(submit_master_parse(bad[i].text, 5, &a, &m), ERR_CONFIG, bad[i].words);
    arena_fini(&a);
}

static void
a_cluster_line(void)
{
    struct line l;

    NO_ERR(parse(&l, "--master spark://a:1,b --deploy-mode cluster --supervise --detach --total-executor-cores 8 "
                     "--executor-cores 2 --num-executors 3 --driver-memory 2g --driver-cores 2 job.so x"));
    EQ_U64(l.o.action, SUBMIT_RUN);
    CU_ASSERT(l.o.cluster_mode && l.o.detach && conf_bool(l.o.conf, CONF_DRIVER_SUPERVISE));
    EQ_STR(l.o.master.url, "taskd://a:1,b:7077");
    EQ_STR(conf_origin(l.o.conf, CONF_DRIVER_SUPERVISE), "--supervise");
    EQ_U64(conf_int(l.o.conf, CONF_CORES_MAX), 8);
    EQ_U64(conf_int(l.o.conf, CONF_EXECUTOR_INSTANCES), 3);
    EQ_U64(conf_bytes(l.o.conf, CONF_DRIVER_MEMORY), 2ull << 30);
    EQ_U64(conf_int(l.o.conf, CONF_DRIVER_CORES), 2);
    EQ_STR(submit_handover_to(&l.o), "taskd-client");
    arena_fini(&l.a);
    NO_ERR(parse(&l, "--master taskd://a --detach --wait job.so"));
    CU_ASSERT(!l.o.cluster_mode && !l.o.detach);
    EQ_STR(submit_handover_to(&l.o), "taskd-driver");
    arena_fini(&l.a);
    NO_ERR(parse(&l, "--master taskd://a --dry-run job.so"));
    CU_ASSERT_PTR_NULL(submit_handover_to(&l.o));
    arena_fini(&l.a);
    NO_ERR(parse(&l, "--master local-cluster[2,1,1024] job.so"));
    EQ_STR(submit_handover_to(&l.o), "taskd-driver");
    arena_fini(&l.a);
    NO_ERR(parse(&l, "--master local[2] job.so"));
    CU_ASSERT_PTR_NULL(submit_handover_to(&l.o));
    arena_fini(&l.a);
}

static void
questions_take_no_module(void)
{
    struct line l;

    NO_ERR(parse(&l, "--master taskd://a --kill driver-1"));
    EQ_U64(l.o.action, SUBMIT_KILL);
    EQ_STR(l.o.id, "driver-1");
    EQ_STR(submit_handover_to(&l.o), "taskd-client");
    arena_fini(&l.a);
    NO_ERR(parse(&l, "--status=app-2 --master taskd://a"));
    EQ_U64(l.o.action, SUBMIT_STATUS);
    EQ_STR(l.o.id, "app-2");
    arena_fini(&l.a);
    refused("--master taskd://a --kill d job.so", ERR_USAGE,
            "--kill and --status take no module, and there is \"job.so\"");
    refused("--master taskd://a --kill d --status d", ERR_USAGE, "--status: one question at a time");
    refused("--master taskd://a --kill=", ERR_USAGE, "--kill needs an id");
    refused("--master local[2] --kill d", ERR_CONFIG,
            "--kill needs a cluster, and the master is \"local[2]\"\nhint: Use --master taskd://HOST:PORT.");
    refused("--master local-cluster[1,1,1g] --status d", ERR_CONFIG, "--status needs a cluster");
}

static void
lines_that_make_no_sense(void)
{
    refused("--master local[2] --deploy-mode cluster job.so", ERR_CONFIG,
            "--deploy-mode: deploy mode cluster needs a cluster, and the master is \"local[2]\"\nhint: Use --deploy-mode "
            "client, or --master taskd://HOST:PORT.");
    refused("--master local-cluster[1,1,1g] --deploy-mode cluster job.so", ERR_CONFIG, "needs a cluster");
    refused("--master taskd://a --supervise job.so", ERR_CONFIG,
            "--supervise: in client mode the driver runs here, and nobody starts it again\nhint: Use --deploy-mode cluster.");
    refused("--master local --conf spark.driver.supervise=true job.so", ERR_CONFIG, "--conf: in client mode");
    refused("--master taskd://a --detach job.so", ERR_USAGE, "--detach: in client mode");
    refused("--master taskd://a --deploy-mode cluster --summary x job.so", ERR_USAGE, "--summary: in cluster mode");
    refused("--supervise=true job.so", ERR_USAGE, "--supervise takes no value");
    refused("--master taskd://a --total-executor-cores 2 --executor-cores 4 job.so", ERR_CONFIG,
            "--total-executor-cores: 2 cores in all are fewer than the 4 of one executor");
    refused("--master local-cluster[2,1,1024] --executor-cores 2 job.so", ERR_CONFIG,
            "--executor-cores: an executor of 2 cores does not fit into a worker of 1");
    refused("--master local-cluster[2,1,512] job.so", ERR_CONFIG,
            "an executor of 1024 MiB does not fit into a worker of 512 MiB\nhint: Use --executor-memory");
    refused("--master taskd://a --conf taskd.ssl.key=k job.so", ERR_CONFIG, "--conf: taskd.ssl.key is set, but taskd.ssl.ca is not");
    refused("--jars a.jar job.so", ERR_USAGE, "--jars is an option of Spark's that taskd does not have\nhint: Jobs are "
                                              "shared objects");
    refused("--class=X job.so", ERR_USAGE, "--class is an option of Spark's");
}

static void
touch(const char *dir, const char *name)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f = fopen(path, "w"));
    fclose(f);
}

static void
files_go_along(void)
{
    char dir[] = "/tmp/taskd-options-XXXXXX", words[512];
    struct line l;

    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    touch(dir, "liba.so");
    touch(dir, "libb.so.1");
    touch(dir, "t.csv");
    touch(dir, "t.tar");
    touch(dir, "l.zip");
    CU_ASSERT(chdir(dir) == 0);
    NO_ERR(parse(&l, "--master taskd://a --archives t.tar#data --files ./t.csv,,t.csv#u.csv --py-files liba.so,libb.so.1 "
                     "job.so"));
    EQ_U64(l.o.n_files, 5);
    EQ_U64(l.o.files[0].use, SUBMIT_LIBRARY);
    EQ_STR(l.o.files[0].name, "liba.so");
    EQ_STR(l.o.files[1].name, "libb.so.1");
    EQ_U64(l.o.files[2].use, SUBMIT_FILE);
    EQ_STR(l.o.files[2].path, "./t.csv");
    EQ_STR(l.o.files[2].name, "t.csv");
    EQ_STR(l.o.files[3].path, "t.csv");
    EQ_STR(l.o.files[3].name, "u.csv");
    EQ_U64(l.o.files[4].use, SUBMIT_ARCHIVE);
    EQ_STR(l.o.files[4].name, "data");
    EQ_STR(conf_origin(l.o.conf, CONF_LIBS), "--py-files");
    arena_fini(&l.a);
    refused("--master taskd://a --files none.csv job.so", ERR_IO, "--files: opening \"none.csv\"");
    refused("--master taskd://a --files t.csv,t.csv job.so", ERR_CONFIG,
            "--files: two files are called \"t.csv\"\nhint: Give one of them another name: PATH#NAME.");
    refused("--master taskd://a --files t.csv --archives t.tar#t.csv job.so", ERR_CONFIG, "--archives: two files are called");
    refused("--master taskd://a --files t.csv#a/b job.so", ERR_CONFIG, "\"t.csv#a/b\" does not name a file");
    refused("--master taskd://a --files t.csv#.. job.so", ERR_CONFIG, "does not name a file");
    refused("--master taskd://a --files t.csv# job.so", ERR_CONFIG, "does not name a file");
    refused("--master taskd://a --libs l.zip job.so", ERR_CONFIG,
            "--libs: \"l.zip\" is not a shared library\nhint: Unpack it and name the libraries in it.");
    refused("--master taskd://a --py-files t.csv job.so", ERR_CONFIG, "--py-files: \"t.csv\" is not a shared library");
    snprintf(words, sizeof words, "--master taskd://a --files %s job.so", dir);
    refused(words, ERR_CONFIG, "is not a file");
    CU_ASSERT(chdir("/") == 0);
    NO_ERR(file_remove_tree(dir));
}

static void
the_environment_is_weaker_than_flags(void)
{
    char *env[] = { "TASKD_MASTER=local[2]", "TASKD_APP_NAME=env", NULL };
    char *bad[] = { "TASKD_MASTER=local[0]", NULL };
    struct line l;

    NO_ERR(parse_env(&l, "--name flag job.so", env));
    EQ_U64(l.o.slots, 2);
    EQ_STR(l.o.app_name, "flag");
    arena_fini(&l.a);
    IS_ERR(parse_env(&l, "job.so", bad), ERR_CONFIG, "TASKD_MASTER: master \"local[0]\" has no runner");
    arena_fini(&l.a);
}

static void
help_has_every_option_in_100_columns(void)
{
    static const struct {
        const char *name, *kind;
    } rows[] = {
#define OPTION(ID, name, letter, kind, ...) { "--" name " ", #kind },
#include "submit/options.def"
#undef OPTION
    };
    struct buf b = { 0 };

    submit_options_help(&b);
    buf_put(&b, "", 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CU_ASSERT((strstr(b.p, rows[i].name) != NULL) == (strcmp(rows[i].kind, "REFUSED") != 0) ||
                  !strcmp(rows[i].kind, "WORD"));
    for (char *p = b.p, *nl; (nl = strchr(p, '\n')); p = nl + 1)
        CU_ASSERT(nl - p <= 100);
    CU_ASSERT_PTR_NOT_NULL(strstr(b.p, "\n      --executor-memory SIZE   "));
    buf_fini(&b);
}

static void
keys_name_their_flags(void)
{
    static const struct {
        enum conf_key key;
        const char *flag;
    } want[] = {
#define KEY(name, key) { key, "--" name },
#define SET(name, key) { key, "--" name },
#define ALIAS(name, key)
#define CONF(name, key)
#define VALUE(name, key)
#define WORD(name, key)
#define FLAG(name, key)
#define REFUSED(name, key)
#define OPTION(ID, name, letter, kind, argument, key, doc) kind(name, key)
#include "submit/options.def"
#undef OPTION
#undef CONF
    };
    int flags = 0;

    for (int i = 0; i < CONF_KEYS; i++)
        flags += conf_def((enum conf_key)i)->flag != NULL;
    EQ_U64(flags, sizeof want / sizeof *want);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        EQ_STR(conf_def(want[i].key)->flag, want[i].flag);
}

static const struct unit_test tests[] = {
    { "options.flags_are_keys", flags_are_keys },
    { "options.defaults_are_quiet", defaults_are_quiet },
    { "options.the_rest_is_the_jobs", the_rest_is_the_jobs },
    { "options.help_and_version_ask_for_nothing_else", help_and_version_ask_for_nothing_else },
    { "options.wrong_lines_say_so", wrong_lines_say_so },
    { "options.masters_are_local", masters_are_local },
    { "options.masters_are_clusters", masters_are_clusters },
    { "options.other_masters_are_none", other_masters_are_none },
    { "options.a_cluster_line", a_cluster_line },
    { "options.questions_take_no_module", questions_take_no_module },
    { "options.lines_that_make_no_sense", lines_that_make_no_sense },
    { "options.files_go_along", files_go_along },
    { "options.the_environment_is_weaker_than_flags", the_environment_is_weaker_than_flags },
    { "options.help_has_every_option_in_100_columns", help_has_every_option_in_100_columns },
    { "options.keys_name_their_flags", keys_name_their_flags },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "options", tests);
}
