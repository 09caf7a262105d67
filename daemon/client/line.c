/* line -- see line.h */
#include "client/line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct verb_row {
    const char *name, *usage, *doc;
} verbs[] = {
    [CLIENT_LIST] = { "list", "taskd list [options]", "Lists the workers, applications and submissions of a cluster." },
    [CLIENT_STATUS] = { "status", "taskd status [options] ID", "Says how an application, submission or worker is." },
    [CLIENT_WAIT] = { "wait", "taskd wait [options] ID",
                      "Waits until an application or submission has ended; the exit status is its." },
    [CLIENT_LOGS] = { "logs", "taskd logs [options] [-f] ID",
                      "Prints what a submission has printed: output to standard output, errors to standard error." },
    [CLIENT_KILL] = { "kill", "taskd kill [options] ID", "Ends an application or submission." },
};
enum { VERBS = sizeof verbs / sizeof *verbs };

int
client_verb_of(const char *word)
{
    for (int i = 0; i < VERBS; i++)
        if (verbs[i].name && !strcmp(verbs[i].name, word))
            return i;
    return -1;
}

void
client_line_help(enum client_verb verb, struct buf *out)
{
    buf_printf(out, "usage: %s\n\n%s\n\n", verbs[verb].usage, verbs[verb].doc);
    buf_printf(out, "      --master URL              the cluster: taskd://HOST:PORT; else taskd.master of the configuration\n"
                    "  -c, --conf KEY=VALUE          set a configuration key, as taskd-submit would\n"
                    "      --properties-file FILE    read keys from a file, as taskd-submit would\n");
    if (verb == CLIENT_LIST || verb == CLIENT_STATUS)
        buf_printf(out, "      --json                    one JSON object instead of text\n");
    if (verb == CLIENT_LOGS)
        buf_printf(out, "  -f, --follow                  go on until it has ended\n");
    if (verb == CLIENT_KILL)
        buf_printf(out, "      --job N                   of the application only this job: an action that runs\n"
                        "      --stage N                 only this stage, and the jobs that have it\n"
                        "      --task STAGE.PARTITION.ATTEMPT\n"
                        "                                only this attempt; the task runs again\n");
    buf_printf(out, "  -h, --help                    print this text\n");
}

static struct err *
usage(enum client_verb verb, const char *fmt, const char *arg)
{
    return err_hint(err_new(ERR_USAGE, fmt, arg), "`taskd %s --help` lists the options.", verbs[verb].name);
}

/* "--NAME=VALUE", "--NAME VALUE" or the letter and a VALUE; false: the word is another one. */
static bool
takes(const char *name, const char *letter, int argc, char **argv, int *i, const char **ret, bool *ret_missing)
{
    size_t n = strlen(name);
    const char *word = argv[*i];

    if (!strncmp(word, name, n) && word[n] == '=') {
        *ret = word + n + 1;
        return true;
    }
    if (strcmp(word, name) && (!letter || strcmp(word, letter)))
        return false;
    *ret_missing = *i + 1 >= argc;
    if (!*ret_missing)
        *ret = argv[++*i];
    return true;
}

static bool
is(const char *word, const char *name, const char *letter)
{
    return !strcmp(word, name) || (letter && !strcmp(word, letter));
}

/* Jobs count from 1, stages from 0. */
static struct err *
number(const char *option, const char *value, uint32_t *ret)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10) + (option[2] == 's');

    if (*value < '0' || *value > '9' || *end || n < 1 || n >= UINT32_MAX)
        return err_new(ERR_USAGE, "%s \"%s\" is no number of one", option, value);
    *ret = (uint32_t)n;
    return NULL;
}

/* "STAGE.PARTITION.ATTEMPT" */
static struct err *
task(const char *value, struct client_part *ret)
{
    unsigned v[3];
    char more;

    if (sscanf(value, "%9u.%9u.%9u%c", &v[0], &v[1], &v[2], &more) != 3)
        return err_hint(err_new(ERR_USAGE, "--task \"%s\" is no task", value), "It looks like 3.17.0: stage, partition, attempt.");
    ret->stage_1 = v[0] + 1;
    ret->partition_1 = v[1] + 1;
    ret->attempt_1 = v[2] + 1;
    return NULL;
}

static struct err *
one_word(struct client_line *l, int argc, char **argv, int *i, const char **ret_properties)
{
    const char *word = argv[*i], *value = NULL;
    bool missing = false;
    struct err *e = NULL;

    if (takes("--master", NULL, argc, argv, i, &value, &missing))
        e = missing ? NULL : conf_set(l->conf, CONF_FLAG, "taskd.master", value, "--master");
    else if (takes("--conf", "-c", argc, argv, i, &value, &missing))
        e = missing ? NULL : conf_set_pair(l->conf, CONF_FLAG, value, "--conf");
    else if (takes("--properties-file", NULL, argc, argv, i, &value, &missing))
        *ret_properties = value;
    else if (l->verb == CLIENT_KILL && takes("--job", NULL, argc, argv, i, &value, &missing))
        e = missing ? NULL : number("--job", value, &l->part.job);
    else if (l->verb == CLIENT_KILL && takes("--stage", NULL, argc, argv, i, &value, &missing))
        e = missing ? NULL : number("--stage", value, &l->part.stage_1);
    else if (l->verb == CLIENT_KILL && takes("--task", NULL, argc, argv, i, &value, &missing))
        e = missing ? NULL : task(value, &l->part);
    else if (is(word, "--help", "-h"))
        l->help = true;
    else if (is(word, "--json", NULL) && (l->verb == CLIENT_LIST || l->verb == CLIENT_STATUS))
        l->json = true;
    else if (is(word, "--follow", "-f") && l->verb == CLIENT_LOGS)
        l->follow = true;
    else
        return usage(l->verb, "\"%s\" is not an option", word);
    return missing ? usage(l->verb, "%s needs a value", word) : e;
}

static void
free_conf(void *p)
{
    conf_free(p);
}

struct err *
client_line_parse(enum client_verb verb, int argc, char **argv, char **envp, struct arena *a, struct client_line *ret)
{
    struct client_line l = { .verb = verb, .conf = conf_new() };
    const char *properties = NULL;

    arena_on_reset(a, free_conf, l.conf);
    for (int i = 1; i < argc && !l.help; i++) {
        if (argv[i][0] == '-')
            TRY(one_word(&l, argc, argv, &i, &properties));
        else if (verb == CLIENT_LIST || l.id)
            return usage(verb, "\"%s\" is too much", argv[i]);
        else
            l.id = argv[i];
    }
    if (!l.help) {
        if (verb != CLIENT_LIST && (!l.id || !*l.id))
            return usage(verb, "%s: no application or submission is named", verbs[verb].name);
        TRY(conf_load(l.conf, properties, envp));
        TRY_OR(submit_master_parse(conf_str(l.conf, CONF_MASTER), 1, a, &l.master), "%s",
               conf_origin(l.conf, CONF_MASTER));
        if (l.master.kind != SUBMIT_STANDALONE)
            return err_hint(err_new(ERR_CONFIG, "which cluster? the master is \"%s\"", conf_str(l.conf, CONF_MASTER)),
                            "Use --master taskd://HOST:PORT, or set taskd.master in ~/.config/taskd/taskd.conf.");
    }
    *ret = l;
    return NULL;
}
