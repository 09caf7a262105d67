/* The command lines of daemons: each kind of value, what is refused, what --help prints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/args.h"
#include "unit.h"

struct line {
    struct conf *conf;
    struct args args;
    const char *host;
    uint64_t cores, memory;
};

static struct err *
parse(struct line *l, int argc, char **argv)
{
    const struct args_option options[] = {
        { .name = "host", .value = "HOST", .text = &l->host, .help = "of this\nvery one" },
        { .name = "cores", .value = "N", .letter = 'c', .number = &l->cores, .least = 1, .most = 64, .help = "to offer" },
        { .name = "memory", .value = "SIZE", .letter = 'm', .bytes = &l->memory, .help = "to offer" },
        { .name = "scheduler", .value = "fair|fifo-or-so-it-goes", .key = "taskd.deploy.scheduler", .help = "how" },
        { 0 },
    };

    *l = (struct line){ .conf = conf_new(), .args = { .verb = "test", .usage = "usage: taskd test\n" } };
    return args_parse(&l->args, options, l->conf, argc, argv);
}

#define PARSE(l, ...) \
    parse(l, (int)(sizeof((char *[]){ "test", __VA_ARGS__ }) / sizeof(char *)), (char *[]){ "test", __VA_ARGS__, NULL })

static void
values(void)
{
    struct line l;

    struct err *e = PARSE(&l, "--host", "a", "rest", "-c64", "--memory=3g", "--conf", "taskd.task.maxFailures=7",
                          "--scheduler", "fifo", "--properties-file", "p", "--tls-key", "/k", "more");
    NO_ERR(e);
    EQ_STR(l.host, "a");
    EQ_U64(l.cores, 64);
    EQ_U64(l.memory, UINT64_C(3) << 30);
    EQ_STR(conf_str(l.conf, CONF_DEPLOY_SCHEDULER), "fifo");
    EQ_STR(conf_origin(l.conf, CONF_DEPLOY_SCHEDULER), "--scheduler");
    EQ_STR(conf_str(l.conf, CONF_SSL_KEY), "/k");
    EQ_U64(conf_int(l.conf, CONF_TASK_MAX_FAILURES), 7);
    EQ_STR(l.args.properties, "p");
    CU_ASSERT(!l.args.help);
    EQ_STR(l.args.rest[0], "rest");
    EQ_STR(l.args.rest[1], "more");
    CU_ASSERT_PTR_NULL(l.args.rest[2]);
    conf_free(l.conf);
    static const struct { char *text; uint64_t bytes; } sizes[] = {
        { "1", UINT64_C(1) << 20 }, { "5k", 5 << 10 }, { "2M", 2 << 20 }, { "2mb", 2 << 20 }, { "1T", UINT64_C(1) << 40 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        e = PARSE(&l, "-m", sizes[i].text);
        NO_ERR(e);
        EQ_U64(l.memory, sizes[i].bytes);
        conf_free(l.conf);
    }
}

static void
refused(void)
{
    static char *const bad[][3] = {
        { "--cores", "0", "--cores: \"0\" is no number from 1 to 64" },
        { "--cores", "65", "--cores: \"65\" is no number from 1 to 64" },
        { "--cores", "-1", "--cores: \"-1\" is no number from 1 to 64" },
        { "--cores", "1x", "--cores: \"1x\" is no number from 1 to 64" },
        { "--memory", "0", "--memory: \"0\" is no size, as 512m or 8g" },
        { "--memory", "8x", "--memory: \"8x\" is no size, as 512m or 8g" },
        { "--memory", "8gx", "--memory: \"8gx\" is no size, as 512m or 8g" },
        { "--memory", "99999999999t", "--memory: \"99999999999t\" is no size, as 512m or 8g" },
        { "--scheduler", "lifo", "--scheduler: taskd.deploy.scheduler: \"lifo\" is none of fair, fifo" },
        { "a", "--host", "\"--host\" needs a value\nhint: `taskd test --help` lists the options." },
        { "a", "--bogus", "\"--bogus\" is not an option\nhint: `taskd test --help` lists the options." },
        { "a", "-q", "\"-q\" is not an option\nhint: `taskd test --help` lists the options." },
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct line l;
        struct err *e = PARSE(&l, bad[i][0], bad[i][1]);

        CU_ASSERT_FATAL(e != NULL);
        char *text = err_text(e);
        EQ_STR(text, bad[i][2]);
        EQ_U64(err_code_exit(e->code), strstr(text, "taskd.deploy") ? 3 : 2);
        free(text);
        err_free(e);
        conf_free(l.conf);
    }
}

static void
help(void)
{
    static const char want[] =
        "usage: taskd test\n\n"
        "      --host HOST               of this\n"
        "                                very one\n"
        "  -c, --cores N                 to offer\n"
        "  -m, --memory SIZE             to offer\n"
        "      --scheduler fair|fifo-or-so-it-goes\n"
        "                                how\n"
        "      --conf KEY=VALUE          set a key\n"
        "      --properties-file FILE    read keys from a file\n"
        "      --tls-ca FILE             certificate of the cluster's CA, PEM\n"
        "      --tls-cert FILE           certificate of this host, PEM\n"
        "      --tls-key FILE            its key, PEM\n"
        "  -h, --help                    print this text\n";
    char got[4096] = "";
    struct line l;
    int out = dup(1), ends[2];

    fflush(stdout);
    CU_ASSERT_FATAL(pipe(ends) == 0 && dup2(ends[1], 1) == 1);
    struct err *e = PARSE(&l, "--help", "--bogus");
    CU_ASSERT_FATAL(dup2(out, 1) == 1);
    close(out);
    close(ends[1]);
    CU_ASSERT(!e && l.args.help);
    CU_ASSERT(read(ends[0], got, sizeof got - 1) == (ssize_t)strlen(want));
    EQ_STR(got, want);
    close(ends[0]);
    conf_free(l.conf);
}

static void
state_dir(void)
{
    const struct args a = { .verb = "test" };
    struct arena in = { 0 };

    setenv("XDG_STATE_HOME", "/x", 1);
    EQ_STR(args_state_dir(&a, &in), "/x/taskd/test");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    EQ_STR(args_state_dir(&a, &in), "/var/lib/taskd/test");
    setenv("HOME", "/h", 1);
    EQ_STR(args_state_dir(&a, &in), geteuid() == 0 ? "/var/lib/taskd/test" : "/h/.local/state/taskd/test");
    arena_fini(&in);
}

static const struct unit_test tests[] = {
    { "args.values", values },
    { "args.refused", refused },
    { "args.help", help },
    { "args.state_dir", state_dir },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "args", tests);
}
