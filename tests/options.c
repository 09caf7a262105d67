/* Tests of the command line of taskd-submit. */
#include <stdlib.h>
#include <string.h>

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
    refused("--py-files a.zip job.so", ERR_USAGE, "--py-files is not built yet");
    refused("--conf x job.so", ERR_CONFIG, "--conf: \"x\" is not key=value");
    refused("--conf spark.executor.memroy=1g job.so", ERR_CONFIG, "Did you mean spark.executor.memory?");
    refused("--executor-memory much job.so", ERR_CONFIG, "--executor-memory: taskd.executor.memory: \"much\" is not a size");
    refused("--deploy-mode cluster job.so", ERR_CONFIG, "--deploy-mode: taskd.submit.deployMode: \"cluster\" is not built");
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
        { "lokal", "\"lokal\" is not a master\nhint: For now the master is local, local[N] or local[*]." },
        { "", "\"\" is not a master" },
        { "spark://h:7077", "master \"spark://h:7077\" is not built yet\nhint: For now the master is local" },
        { "taskd://h:7077", "is not built yet" },
        { "yarn", "is not built yet" },
        { "k8s://https://h", "is not built yet" },
        { "local-cluster[2,1,1024]", "is not built yet" },
    };
    unsigned n = 0;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        NO_ERR(submit_master_slots(good[i].text, 5, &n));
        EQ_U64(n, good[i].slots);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        IS_ERR(submit_master_slots(bad[i].text, 5, &n), ERR_CONFIG, bad[i].words);
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
    static const char *const names[] = {
#define OPTION(ID, name, ...) "--" name,
#include "submit/options.def"
#undef OPTION
    };
    struct buf b = { 0 };

    submit_options_help(&b);
    buf_put(&b, "", 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CU_ASSERT(strstr(b.p, names[i]) || !strcmp(names[i], "--py-files"));
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
#define CONF(name, key)
#define VALUE(name, key)
#define WORD(name, key)
#define FLAG(name, key)
#define NOT_YET(name, key)
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
