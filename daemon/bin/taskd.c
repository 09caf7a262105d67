/* taskd -- the front: `taskd VERB` runs the program of that verb; `taskd config` lives here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/exe.h"
#include "conf/conf.h"

static struct err *config(int argc, char **argv, char **envp);

/* A verb is a program, a function here, or (neither) not built yet. */
enum group { PEOPLE, CLUSTER, ROLES };
static const struct verb {
    const char *name, *program;
    struct err *(*run)(int argc, char **argv, char **envp);
    enum group group;
    const char *doc;
} verbs[] = {
    { "submit", "taskd-submit", NULL, PEOPLE, "runs a job module, here or on a cluster" },
    { "list", "taskd-client", NULL, PEOPLE, "lists the workers, applications and drivers of a cluster" },
    { "status", "taskd-client", NULL, PEOPLE, "says how an application or submission is" },
    { "wait", "taskd-client", NULL, PEOPLE, "waits for its end; the exit status is its" },
    { "logs", "taskd-client", NULL, PEOPLE, "prints what a submission has printed, with -f as it comes" },
    { "kill", "taskd-client", NULL, PEOPLE, "ends it" },
    { "inspect", "taskd-inspect", NULL, PEOPLE, "says what is inside a module, without running any of it" },
    { "config", NULL, config, PEOPLE, "prints the configuration keys, their values and where these come from" },
    { "master", "taskd-master", NULL, CLUSTER, "runs the master of a cluster" },
    { "worker", "taskd-worker", NULL, CLUSTER, "runs a worker: offers this host's cores and memory to a master" },
    { "shuffle", "taskd-shuffle", NULL, CLUSTER, "serves map outputs alone, without a worker" },
    { "cert", "taskd-cert", NULL, CLUSTER, "makes a cluster's CA and the certificates of its hosts" },
    { "driver", "taskd-driver", NULL, ROLES, "runs one job on a cluster (taskd submit and workers start it)" },
    { "executor", "taskd-executor", NULL, ROLES, "runs tasks for a driver (workers start it)" },
    { "history", NULL, NULL, PEOPLE, NULL },      { "top", NULL, NULL, PEOPLE, NULL },
    { "decommission", NULL, NULL, PEOPLE, NULL }, { "replay", NULL, NULL, PEOPLE, NULL },
    { "new", NULL, NULL, PEOPLE, NULL },          { "check", NULL, NULL, PEOPLE, NULL },
};
enum { VERBS = sizeof verbs / sizeof *verbs };

/* A failed write to standard output is an error like any other. */
static struct err *
print(const char *p, size_t n)
{
    if (fwrite(p, 1, n, stdout) != n || fflush(stdout) == EOF)
        return err_errno(errno, "writing to standard output");
    return NULL;
}

static struct err *
print_take(struct buf *b)
{
    struct err *e = print(b->p, b->n);

    buf_fini(b);
    return e;
}

static struct err *
help(void)
{
    static const char *const heads[] = { [PEOPLE] = "jobs", [CLUSTER] = "clusters", [ROLES] = "parts of a running job" };
    struct buf b = { 0 };

    buf_printf(&b, "usage: taskd VERB [arguments]\n");
    for (size_t i = 0; i < VERBS; i++) {
        if (!verbs[i].doc)
            continue;
        if (i == 0 || verbs[i].group != verbs[i - 1].group)
            buf_printf(&b, "\n%s:\n", heads[verbs[i].group]);
        buf_printf(&b, "  %-10s%s\n", verbs[i].name, verbs[i].doc);
    }
    buf_printf(&b, "\n`taskd VERB --help` says more.\n");
    return print_take(&b);
}

static struct err *
config_help(void)
{
    static const char text[] =
        "usage: taskd config [options] [KEY...]\n\n"
        "Prints key=value for the keys, or for all, as a job that is submitted here would get them.\n\n"
        "      --show-origin             put where the value comes from before it\n"
        "  -c, --conf KEY=VALUE          set a key, as taskd-submit would\n"
        "      --properties-file FILE    read keys from a file, as taskd-submit would\n"
        "  -h, --help                    print this text\n";

    return print(text, sizeof text - 1);
}

struct config_line {
    bool help, show_origin;
    const char *properties;
    char **keys; /* NULL-terminated */
};

/* The option's value: behind its =, or the next word. */
static struct err *
value_of(int argc, char **argv, int *i, const char **ret)
{
    const char *eq = strchr(argv[*i], '=');

    if (eq && argv[*i][1] == '-')
        *ret = eq + 1;
    else if (*i + 1 < argc)
        *ret = argv[++*i];
    else
        return err_new(ERR_USAGE, "%s needs a value", argv[*i]);
    return NULL;
}

static struct err *
config_parse(int argc, char **argv, struct conf *c, struct config_line *ret)
{
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *word = argv[i], *value;
        size_t n = strcspn(word, "=");

        if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
            ret->help = true;
            return NULL;
        } else if (!strcmp(word, "--show-origin")) {
            ret->show_origin = true;
        } else if (!strcmp(word, "-c") || (n == 6 && !strncmp(word, "--conf", n))) {
            TRY(value_of(argc, argv, &i, &value));
            TRY(conf_set_pair(c, CONF_FLAG, value, "--conf"));
        } else if (n == 17 && !strncmp(word, "--properties-file", n)) {
            TRY(value_of(argc, argv, &i, &ret->properties));
        } else {
            return err_hint(err_new(ERR_USAGE, "\"%s\" is not an option", word),
                            "`taskd config --help` lists the options.");
        }
    }
    ret->keys = argv + i;
    return NULL;
}

static bool
wanted(char *const *keys, const struct conf_item *item)
{
    for (char *const *k = keys; *k; k++)
        if (!strcmp(*k, item->name) || (item->def && item->def->spark && !strcmp(*k, item->def->spark)))
            return true;
    return !*keys;
}

static struct err *
config_print(const struct conf *c, const struct config_line *l)
{
    struct buf b = { 0 };
    size_t width = 0;

    for (char *const *k = l->keys; *k; k++)
        if (!conf_get(c, *k))
            return err_hint(err_new(ERR_CONFIG, "no configuration key is named \"%s\"", *k),
                            "`taskd config` lists all keys.");
    for (size_t i = 0; i < conf_count(c); i++) {
        struct conf_item item = conf_item(c, i);
        size_t n = strlen(item.origin);

        width = wanted(l->keys, &item) && n > width ? n : width;
    }
    for (size_t i = 0; i < conf_count(c); i++) {
        struct conf_item item = conf_item(c, i);

        if (!wanted(l->keys, &item))
            continue;
        if (l->show_origin)
            buf_printf(&b, "%-*s  ", (int)width, item.origin);
        buf_printf(&b, "%s=%s\n", item.name, item.value);
    }
    return print_take(&b);
}

static struct err *
config(int argc, char **argv, char **envp)
{
    struct config_line l = { 0 };
    struct conf *c = conf_new();
    struct err *e = config_parse(argc, argv, c, &l);

    if (!e && l.help) {
        e = config_help();
    } else if (!e) {
        e = conf_load(c, l.properties, envp);
        if (!e)
            e = config_print(c, &l);
    }
    conf_free(c);
    return e;
}

static struct err *
unknown_verb(const char *name)
{
    const char *names[VERBS], *near;

    for (size_t i = 0; i < VERBS; i++)
        names[i] = verbs[i].name;
    struct err *e = err_new(ERR_USAGE, "\"%s\" is not a verb", name);
    if ((near = conf_nearest(name, names, VERBS)))
        return err_hint(e, "Did you mean %s?", near);
    return err_hint(e, "`taskd --help` lists the verbs.");
}

/* Becomes the verb's program; argv[0] stays readable ("taskd submit").  Returns only to say why not. */
static struct err *
become(const struct verb *v, char **argv)
{
    struct arena a = { 0 };
    const char *path;
    struct err *e = exe_libexec(&a, v->program, &path);

    if (!e) {
        argv[0] = arena_printf(&a, "taskd %s", v->name);
        execv(path, argv);
        e = err_errno(errno, "running \"%s\"", path);
    }
    arena_fini(&a);
    return e;
}

static struct err *
front(int argc, char **argv, char **envp)
{
    const char *word = argc > 1 ? argv[1] : "";

    if (argc < 2)
        return err_hint(err_new(ERR_USAGE, "no verb is given"), "`taskd --help` lists the verbs.");
    if (!strcmp(word, "-h") || !strcmp(word, "--help") || !strcmp(word, "help"))
        return help();
    if (!strcmp(word, "--version"))
        return print("taskd " PACKAGE_VERSION "\n", strlen("taskd " PACKAGE_VERSION "\n"));
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, word))
            continue;
        if (verbs[i].run)
            return verbs[i].run(argc - 1, argv + 1, envp);
        if (verbs[i].program)
            return become(&verbs[i], argv + 1);
        return err_new(ERR_USAGE, "taskd %s is not built yet", word);
    }
    return unknown_verb(word);
}

int
main(int argc, char **argv, char **envp)
{
    struct err *e = front(argc, argv, envp);

    if (!e)
        return 0;
    char *text = err_text(e);
    fprintf(stderr, "taskd: %s\n", text);
    int status = err_code_exit(e->code);
    free(text);
    err_free(e);
    return status;
}
