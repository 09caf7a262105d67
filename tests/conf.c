/* Tests of lib/conf. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "conf/conf.h"
#include "conf/conf_priv.h"
#include "unit.h"

static char *const no_env[] = { NULL };

static struct err *
text(struct conf *c, const char *s)
{
    return conf_set_text(c, CONF_PROPERTIES, s, strlen(s), "my.conf");
}

static struct err *
flag(struct conf *c, const char *pair)
{
    return conf_set_pair(c, CONF_FLAG, pair, "--conf");
}

/* The error of one pair on a fresh conf. */
static struct err *
alone(const char *pair)
{
    struct conf *c = conf_new();
    struct err *e = flag(c, pair);

    conf_free(c);
    return e;
}

static void
defaults_are_typed(void)
{
    struct conf *c = conf_new();

    EQ_U64(conf_bytes(c, CONF_EXECUTOR_MEMORY), 1ull << 30);
    EQ_U64(conf_int(c, CONF_TASK_MAX_FAILURES), 4);
    EQ_U64(conf_ns(c, CONF_TASK_TIMEOUT), 0);
    CU_ASSERT(conf_fraction(c, CONF_MEMORY_FRACTION) == 0.6);
    CU_ASSERT(!conf_bool(c, CONF_SHUFFLE_COMPRESS));
    EQ_STR(conf_str(c, CONF_COMPRESSION_CODEC), "lz4");
    EQ_U64(conf_int(c, CONF_DYNALLOC_MAX), INT64_MAX);
    EQ_STR(conf_origin(c, CONF_EXECUTOR_MEMORY), "built-in");
    conf_free(c);
}

static void
table_is_sound(void)
{
    for (int i = 0; i < CONF_KEYS; i++) {
        const struct conf_def *d = conf_def((enum conf_key)i);
        size_t n = strlen(d->doc);

        CU_ASSERT(!strncmp(d->name, "taskd.", 6));
        CU_ASSERT(!d->spark || (!strncmp(d->spark, "spark.", 6) && !strcmp(d->spark + 6, d->name + 6)));
        CU_ASSERT(n > 10 && d->doc[n - 1] == '.');
        EQ_U64(conf_key_of(d->name), i);
        CU_ASSERT(!d->spark || conf_key_of(d->spark) == (enum conf_key)i);
    }
}

static void
sizes_and_durations_have_units(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = { { "512M", 512ull << 20 }, { "1g", 1ull << 30 }, { "2048k", 2 << 20 }, { "3MiB", 3 << 20 },
                  { "4mb", 4 << 20 },       { "1t", 1ull << 40 }, { "1048576", 1 << 20 }, { "1048577b", 1048577 } };
    static const struct {
        const char *text;
        uint64_t ns;
    } times[] = { { "100ms", 100000000 }, { "2s", 2000000000 },         { "5min", 300000000000 }, { "1m", 60000000000 },
                  { "0", 0 },             { "1h", 3600000000000 }, { "1d", 86400000000000 }, { "5000us", 5000000 } };
    struct conf *c = conf_new();

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        NO_ERR(conf_set(c, CONF_FLAG, "taskd.executor.memory", sizes[i].text, "t"));
        EQ_U64(conf_bytes(c, CONF_EXECUTOR_MEMORY), sizes[i].bytes);
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        NO_ERR(conf_set(c, CONF_FLAG, "taskd.task.timeout", times[i].text, "t"));
        EQ_U64(conf_ns(c, CONF_TASK_TIMEOUT), times[i].ns);
    }
    conf_free(c);
}

static void
wrong_values_say_so(void)
{
    static const struct {
        const char *pair, *text;
    } cases[] = {
        { "taskd.executor.memory=12q",
          "--conf: taskd.executor.memory: \"12q\" is not a size\nhint: Write a whole number and a unit, such as 64k, "
          "512m or 1g." },
        { "spark.executor.memory=1.5g", "--conf: spark.executor.memory: \"1.5g\" is not a size" },
        { "taskd.executor.memory=512",
          "--conf: taskd.executor.memory: 512 is less than 1m\nhint: Sizes are bytes unless they have a unit, such as "
          "512m or 1g." },
        { "taskd.executor.memory=9223372036854775808", "\"9223372036854775808\" is not a size" },
        { "taskd.executor.memory=9000000000g", "\"9000000000g\" is not a size" },
        { "taskd.executor.memory=", "taskd.executor.memory: \"\" is not a size" },
        { "taskd.task.maxFailures=0", "taskd.task.maxFailures: 0 is not between 1 and 1000" },
        { "taskd.task.maxFailures=four", "\"four\" is not a whole number" },
        { "taskd.task.maxFailures=4x", "\"4x\" is not a whole number" },
        { "taskd.task.maxFailures=infinity", "\"infinity\" is not a whole number" },
        { "taskd.task.timeout=5", "\"5\" is not a duration\nhint: Write a whole number and a unit, such as 100ms" },
        { "taskd.task.timeout=2000000d", "2000000d" },
        { "taskd.task.timeout=-1s", "\"-1s\" is not a duration" },
        { "taskd.memory.fraction=1.5", "1.5 is not between 0.01 and 0.95" },
        { "taskd.memory.fraction=nan", "\"nan\" is not a fraction" },
        { "taskd.shuffle.compress=yes", "taskd.shuffle.compress: \"yes\" is not true or false" },
        { "taskd.io.compression.codec=snappy", "\"snappy\" is none of none, lz4, zlib" },
        { "taskd.io.compression.codec=lz", "\"lz\" is none of none, lz4, zlib" },
        { "taskd.io.compression.codec=", "\"\" is none of" },
        { "=x", "--conf: \"=x\" is not key=value" },
        { "taskd.task.maxFailures", "\"taskd.task.maxFailures\" is not key=value\nhint: Write it like" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        IS_ERR(alone(cases[i].pair), ERR_CONFIG, cases[i].text);
}

static void
unknown_keys_find_their_neighbour(void)
{
    IS_ERR(alone("taskd.executor.memroy=1g"), ERR_CONFIG,
           "--conf: no configuration key is named \"taskd.executor.memroy\"\nhint: Did you mean taskd.executor.memory?");
    IS_ERR(alone("spark.task.maxfailures=3"), ERR_CONFIG, "hint: Did you mean spark.task.maxFailures?");
    IS_ERR(alone("spark.sql.shuffle.partitions=3"), ERR_CONFIG, "hint: `taskd config` lists all keys.");
    IS_ERR(alone("executor.memory=1g"), ERR_CONFIG, "hint: Did you mean taskd.executor.memory?");
    IS_ERR(alone("master=local"), ERR_CONFIG, "hint: Did you mean taskd.master?");
    EQ_U64(conf__distance("kitten", "sitting"), 3);
    EQ_U64(conf__distance("memroy", "MEMORY"), 1);
    EQ_U64(conf__distance("", "abc"), 3);
    CU_ASSERT_PTR_NULL(conf_nearest("zzzzzz", (const char *[]){ "status", "list" }, 2));
    EQ_STR(conf_nearest("sttus", (const char *[]){ "list", "status" }, 2), "status");
    CU_ASSERT_PTR_NULL(conf_nearest("ab", (const char *[]){ "x" }, 1));
}

static void
features_to_come_take_their_off_value(void)
{
    struct conf *c = conf_new();

    NO_ERR(flag(c, "spark.dynamicAllocation.enabled=false"));
    NO_ERR(flag(c, "spark.dynamicAllocation.maxExecutors=infinity"));
    NO_ERR(flag(c, "taskd.speculation=FALSE"));
    IS_ERR(flag(c, "spark.dynamicAllocation.enabled=true"), ERR_CONFIG,
           "--conf: spark.dynamicAllocation.enabled: \"true\" is not built yet\nhint: The only value it takes for now "
           "is false.");
    IS_ERR(flag(c, "taskd.dynamicAllocation.minExecutors=2"), ERR_CONFIG, "\"2\" is not built yet");
    NO_ERR(flag(c, "taskd.submit.deployMode=cluster"));
    IS_ERR(flag(c, "taskd.submit.deployMode=clutser"), ERR_CONFIG, "\"clutser\" is none of client, cluster");
    CU_ASSERT(!conf_bool(c, CONF_DYNALLOC_ENABLED));
    conf_free(c);
}

static void
the_only_behaviour_is_accepted(void)
{
    struct conf *c = conf_new();

    NO_ERR(flag(c, "spark.serializer=org.apache.spark.serializer.KryoSerializer"));
    NO_ERR(flag(c, "spark.shuffle.spill=true"));
    EQ_STR(conf_str(c, CONF_SERIALIZER), "blocks");
    NO_ERR(flag(c, "spark.shuffle.service.enabled=true"));
    IS_ERR(flag(c, "spark.shuffle.service.enabled=false"), ERR_CONFIG, "is the only behaviour");
    NO_ERR(flag(c, "spark.broadcast.blockSize=4096k"));
    IS_ERR(flag(c, "spark.broadcast.blockSize=8m"), ERR_CONFIG, "\"8m\" is not possible, \"4m\" is the only behaviour");
    IS_ERR(flag(c, "spark.shuffle.spill=false"), ERR_CONFIG,
           "spark.shuffle.spill: \"false\" is not possible, \"true\" is the only behaviour");
    IS_ERR(flag(c, "spark.serializer=org.apache.spark.serializer.JavaSerializer"), ERR_CONFIG, "is not possible");
    conf_free(c);
}

static void
stronger_layers_win_in_any_order(void)
{
    struct conf *c = conf_new();
    char *const env[] = { "TASKD_TASK_MAX_FAILURES=7", "PATH=/bin", NULL };

    NO_ERR(flag(c, "taskd.executor.memory=3g"));
    NO_ERR(text(c, "spark.executor.memory 2g\nspark.task.maxFailures 6\ntaskd.app.name from file\n"));
    NO_ERR(conf_set_env(c, env));
    EQ_U64(conf_bytes(c, CONF_EXECUTOR_MEMORY), 3ull << 30);
    EQ_STR(conf_origin(c, CONF_EXECUTOR_MEMORY), "--conf");
    EQ_U64(conf_int(c, CONF_TASK_MAX_FAILURES), 7);
    EQ_STR(conf_origin(c, CONF_TASK_MAX_FAILURES), "TASKD_TASK_MAX_FAILURES");
    EQ_U64(conf_layer(c, CONF_TASK_MAX_FAILURES), CONF_ENVIRONMENT);
    EQ_STR(conf_str(c, CONF_APP_NAME), "from file");
    EQ_STR(conf_origin(c, CONF_APP_NAME), "my.conf:3");
    NO_ERR(flag(c, "taskd.executor.memory=4g"));
    EQ_U64(conf_bytes(c, CONF_EXECUTOR_MEMORY), 4ull << 30);
    NO_ERR(conf_set(c, CONF_PROGRAM, "taskd.executor.memory", "5g", "job.c:3"));
    EQ_U64(conf_bytes(c, CONF_EXECUTOR_MEMORY), 5ull << 30);
    EQ_STR(conf_get(c, "spark.executor.memory"), "5g");
    /* A bad value is one even where a stronger layer hides it. */
    IS_ERR(text(c, "taskd.executor.memory = much\n"), ERR_CONFIG, "my.conf:1: taskd.executor.memory: \"much\"");
    conf_free(c);
}

static void
the_program_comes_too_late_for_some(void)
{
    struct conf *c = conf_new();

    IS_ERR(conf_set(c, CONF_PROGRAM, "taskd.master", "local", "job.c:3"), ERR_CONFIG,
           "job.c:3: taskd.master: only the launcher can set it, the program is too late\nhint: Use --master on the "
           "command line.");
    IS_ERR(conf_set(c, CONF_PROGRAM, "spark.submit.deployMode", "client", "job.c:3"), ERR_CONFIG, "Use --deploy-mode");
    IS_ERR(conf_set(c, CONF_PROGRAM, "spark.local.dir", "/x", "job.c:3"), ERR_CONFIG,
           "Use --conf taskd.local.dir=/x on");
    conf_free(c);
}

static void
a_job_has_keys_of_its_own(void)
{
    struct conf *c = conf_new();

    NO_ERR(flag(c, "myjob.threshold=0.5"));
    NO_ERR(text(c, "myjob.threshold 0.1\nmyjob.note = a b  c\n"));
    EQ_STR(conf_get(c, "myjob.threshold"), "0.5");
    EQ_STR(conf_get(c, "myjob.note"), "a b  c");
    CU_ASSERT_PTR_NULL(conf_get(c, "myjob.other"));
    EQ_U64(conf_count(c), CONF_KEYS + 2);
    EQ_STR(conf_item(c, CONF_KEYS + 1).name, "myjob.note");
    EQ_STR(conf_item(c, CONF_KEYS + 1).origin, "my.conf:2");
    EQ_STR(conf_item(c, 0).name, "taskd.app.name");
    IS_ERR(flag(c, "threshold=1"), ERR_CONFIG, "\"threshold\" is not a key");
    IS_ERR(flag(c, "my job.x=1"), ERR_CONFIG, "\"my job.x\" is not a key");
    IS_ERR(flag(c, "myjob.=1"), ERR_CONFIG, "\"myjob.\" is not a key");
    conf_free(c);
}

static void
own_keys_are_bounded(void)
{
    struct conf *c = conf_new();
    struct buf b = { 0 };

    for (int i = 0; i < 4097; i++)
        buf_printf(&b, "my.key%d %d\n", i, i);
    IS_ERR(conf_set_text(c, CONF_PROPERTIES, b.p, b.n, "my.conf"), ERR_CONFIG,
           "my.conf:4097: my.key4096: there are more than 4096 keys of the job's own");
    EQ_STR(conf_get(c, "my.key4095"), "4095");
    buf_fini(&b);
    conf_free(c);
}

static void
properties_are_java_properties(void)
{
    struct conf *c = conf_new();

    NO_ERR(text(c, "# comment \\\n"
                   "  ! another\r\n"
                   "\n"
                   "a.equals=1 = 2\r\n"
                   "a.colon:  two words  \n"
                   "\ta.blank\tthree\n"
                   "a.long = one, \\\n"
                   "         two\n"
                   "a.empty\n"
                   "a.escape = \\ \\t\\u00e9\\\\ \\x\n"
                   "a\\.key = 5\n"
                   "a.last=6"));
    EQ_STR(conf_get(c, "a.equals"), "1 = 2");
    EQ_STR(conf_get(c, "a.colon"), "two words");
    EQ_STR(conf_get(c, "a.blank"), "three");
    EQ_STR(conf_get(c, "a.long"), "one, two");
    EQ_STR(conf_get(c, "a.empty"), "");
    EQ_STR(conf_get(c, "a.escape"), " \t\xc3\xa9\\ x");
    EQ_STR(conf_get(c, "a.key"), "5");
    EQ_STR(conf_get(c, "a.last"), "6");
    EQ_STR(conf_item(c, CONF_KEYS + 3).origin, "my.conf:7");
    EQ_STR(conf_item(c, CONF_KEYS + 4).origin, "my.conf:9");
    IS_ERR(text(c, "a.b 1\n\n= 2\n"), ERR_CONFIG, "my.conf:3: there is no key before \"=\"");
    IS_ERR(text(c, "a.b \\u12\n"), ERR_CONFIG, "my.conf:1: \"\\u12\" is not an escaped character");
    IS_ERR(text(c, "a.b \\ud800\n"), ERR_CONFIG, "is not an escaped character");
    IS_ERR(conf_set_text(c, CONF_PROPERTIES, "a.b\0c", 5, "x"), ERR_CONFIG, "\"x\" is not a text file: there is a NUL");
    IS_ERR(text(c, "\n\ntaskd.task.maxFailure 3\n"), ERR_CONFIG,
           "my.conf:3: no configuration key is named \"taskd.task.maxFailure\"\nhint: Did you mean "
           "taskd.task.maxFailures?");
    NO_ERR(conf_set_text(c, CONF_PROPERTIES, "", 0, "x"));
    conf_free(c);
}

static void
the_environment_has_names_of_keys(void)
{
    struct conf *c = conf_new();
    struct arena a = { 0 };
    char *const far[] = { "TASKD_LIBEXEC=/x", "TASKD_MASTER_SERVICE_PORT=7077", "TASKD_=", "TASKDX", NULL };
    char *const near[] = { "TASKD_EXECUTOR_MEMROY=1g", NULL };
    char *const bad[] = { "TASKD_EXECUTOR_MEMORY=x", NULL };

    EQ_STR(conf_env_name(&a, CONF_TASK_MAX_FAILURES), "TASKD_TASK_MAX_FAILURES");
    EQ_STR(conf_env_name(&a, CONF_STRUCTURED_LOGGING), "TASKD_LOG_STRUCTURED_LOGGING_ENABLED");
    NO_ERR(conf_set_env(c, far));
    IS_ERR(conf_set_env(c, near), ERR_CONFIG,
           "no configuration key has the variable \"TASKD_EXECUTOR_MEMROY\"\nhint: Did you mean TASKD_EXECUTOR_MEMORY?");
    IS_ERR(conf_set_env(c, bad), ERR_CONFIG, "TASKD_EXECUTOR_MEMORY: taskd.executor.memory: \"x\" is not a size");
    arena_fini(&a);
    conf_free(c);
}

static void
put_file(const char *path, const char *s)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    NO_ERR(file_write_full(fd, s, strlen(s), path));
    close(fd);
}

static void
files_are_found(void)
{
    char dir[] = "/tmp/taskd-test-XXXXXX";
    struct arena a = { 0 };
    struct conf *c = conf_new();

    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    char *props = arena_printf(&a, "%s/my.conf", dir), *user = arena_printf(&a, "%s/.config/taskd/taskd.conf", dir);
    char *home = arena_printf(&a, "HOME=%s", dir), *xdg = arena_printf(&a, "XDG_CONFIG_HOME=%s/.config", dir);
    NO_ERR(file_mkdirs(arena_printf(&a, "%s/.config/taskd", dir), 0700));
    put_file(user, "taskd.task.maxFailures 5\ntaskd.task.timeout 3s\n");
    put_file(props, "spark.task.maxFailures 6\n");
    NO_ERR(conf_load(c, props, (char *const[]){ home, NULL }));
    EQ_U64(conf_int(c, CONF_TASK_MAX_FAILURES), 6);
    EQ_U64(conf_ns(c, CONF_TASK_TIMEOUT), 3000000000);
    EQ_STR(conf_origin(c, CONF_TASK_TIMEOUT), arena_printf(&a, "%s:2", user));
    conf_free(c);
    c = conf_new();
    NO_ERR(conf_load(c, NULL, (char *const[]){ xdg, "HOME=/nowhere", NULL }));
    EQ_U64(conf_int(c, CONF_TASK_MAX_FAILURES), 5);
    IS_ERR(conf_load(c, "/nowhere/x.conf", no_env), ERR_CONFIG, "opening \"/nowhere/x.conf\": No such file");
    NO_ERR(file_remove_tree(dir));
    arena_fini(&a);
    conf_free(c);
}

static const struct unit_test tests[] = {
    { "conf.defaults_are_typed", defaults_are_typed },
    { "conf.table_is_sound", table_is_sound },
    { "conf.sizes_and_durations_have_units", sizes_and_durations_have_units },
    { "conf.wrong_values_say_so", wrong_values_say_so },
    { "conf.unknown_keys_find_their_neighbour", unknown_keys_find_their_neighbour },
    { "conf.features_to_come_take_their_off_value", features_to_come_take_their_off_value },
    { "conf.the_only_behaviour_is_accepted", the_only_behaviour_is_accepted },
    { "conf.stronger_layers_win_in_any_order", stronger_layers_win_in_any_order },
    { "conf.the_program_comes_too_late_for_some", the_program_comes_too_late_for_some },
    { "conf.a_job_has_keys_of_its_own", a_job_has_keys_of_its_own },
    { "conf.own_keys_are_bounded", own_keys_are_bounded },
    { "conf.properties_are_java_properties", properties_are_java_properties },
    { "conf.the_environment_has_names_of_keys", the_environment_has_names_of_keys },
    { "conf.files_are_found", files_are_found },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "conf", tests);
}
