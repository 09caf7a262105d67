/* options -- see options.h */
#include "submit/options.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "submit/options_priv.h"

enum kind { KIND_KEY, KIND_SET, KIND_ALIAS, KIND_CONF, KIND_VALUE, KIND_WORD, KIND_FLAG, KIND_REFUSED };
enum option_id {
#define OPTION(ID, ...) OPTION_##ID,
#include "submit/options.def"
#undef OPTION
    OPTIONS
};

static const struct option_row {
    const char *name; /* with its dashes, as the user writes it */
    char letter;
    enum kind kind;
    const char *argument;
    enum conf_key key;
    const char *doc;
} rows[OPTIONS] = {
#define OPTION(ID, name, letter, kind, argument, key, doc) \
    [OPTION_##ID] = { "--" name, letter, KIND_##kind, argument, (enum conf_key)(key), doc },
#include "submit/options.def"
#undef OPTION
};

enum { HELP_COLUMN = 34, HELP_WIDTH = 100 };

static const char *
doc_of(const struct option_row *o)
{
    return o->doc ? o->doc : conf_def(o->key)->doc;
}

static struct err *
usage(const char *fmt, const char *arg)
{
    return err_hint(err_new(ERR_USAGE, fmt, arg), "`taskd-submit --help` lists the options.");
}

/* The row of "--name" (n bytes) or "-x". */
static const struct option_row *
find(const char *word, size_t n)
{
    for (int i = 0; i < OPTIONS; i++) {
        if (strlen(rows[i].name) == n && !memcmp(rows[i].name, word, n))
            return &rows[i];
        if (n == 2 && rows[i].letter && word[1] == rows[i].letter)
            return &rows[i];
    }
    return NULL;
}

static struct err *
unknown_option(struct arena *a, const char *word, size_t n)
{
    const char *names[OPTIONS], *name = arena_memdup(a, word, n), *near;

    for (int i = 0; i < OPTIONS; i++)
        names[i] = rows[i].name;
    near = n > 3 ? conf_nearest(name, names, OPTIONS) : NULL;
    if (near)
        return err_hint(err_new(ERR_USAGE, "\"%s\" is not an option", name), "Did you mean %s?", near);
    return usage("\"%s\" is not an option", name);
}

/* The place of word in a '|'-separated list, -1 if it is not there. */
static int
place(const char *list, const char *word)
{
    size_t n = strlen(word);
    int i = 0;

    for (const char *p = list; p; p = strchr(p, '|'), i++) {
        p += *p == '|';
        if (n && !strncmp(p, word, n) && (p[n] == '|' || !p[n]))
            return i;
    }
    return -1;
}

static struct err *
apply_flag(struct submit_options *o, enum option_id id)
{
    switch (id) {
    case OPTION_HELP:
        o->action = SUBMIT_HELP;
        break;
    case OPTION_VERSION:
        o->action = SUBMIT_VERSION;
        break;
    case OPTION_DETACH:
        o->detach = true;
        break;
    case OPTION_WAIT:
        o->detach = false;
        break;
    case OPTION_DRY_RUN:
        o->dry_run = true;
        break;
    default:
        o->verbose = true;
    }
    return NULL;
}

static struct err *
apply_value(struct submit_options *o, const struct option_row *row, const char *value, const char **ret_properties)
{
    bool ask = row == &rows[OPTION_KILL] || row == &rows[OPTION_STATUS];

    if (!*value)
        return usage(ask ? "%s needs an id" : "%s needs a file name", row->name);
    if (ask && o->action != SUBMIT_RUN)
        return usage("%s: one question at a time", row->name);
    if (ask) {
        o->action = row == &rows[OPTION_KILL] ? SUBMIT_KILL : SUBMIT_STATUS;
        o->id = value;
    } else {
        *(row == &rows[OPTION_SUMMARY] ? &o->summary : ret_properties) = value;
    }
    return NULL;
}

static struct err *
apply(struct submit_options *o, const struct option_row *row, const char *value, const char **ret_properties)
{
    int i;

    switch (row->kind) {
    case KIND_KEY:
    case KIND_ALIAS:
    case KIND_SET:
        return conf_set(o->conf, CONF_FLAG, conf_def(row->key)->name, value ? value : "true", row->name);
    case KIND_CONF:
        return conf_set_pair(o->conf, CONF_FLAG, value, row->name);
    case KIND_REFUSED:
        return err_hint(err_new(ERR_USAGE, "%s is an option of Spark's that taskd does not have", row->name), "%s", row->doc);
    case KIND_WORD:
        if ((i = place(row->argument, value)) < 0)
            return err_new(ERR_USAGE, "%s: \"%s\" is none of %s", row->name, value, row->argument);
        o->progress = (enum submit_progress)i;
        return NULL;
    case KIND_VALUE:
        return apply_value(o, row, value, ret_properties);
    case KIND_FLAG:
        return apply_flag(o, (enum option_id)(row - rows));
    }
    return NULL;
}

/* Options up to the module; *i stands behind them.  Stops at --help and --version. */
static struct err *
parse_words(int argc, char **argv, struct arena *a, struct submit_options *o, int *i, const char **ret_properties)
{
    while (*i < argc && argv[*i][0] == '-' && argv[*i][1]) {
        const char *word = argv[(*i)++], *eq = word[1] == '-' ? strchr(word, '=') : NULL, *value = NULL;
        size_t n = eq ? (size_t)(eq - word) : strlen(word);
        const struct option_row *row;

        if (!strcmp(word, "--"))
            return NULL;
        if (!(row = find(word, n)))
            return unknown_option(a, word, n);
        if (!row->argument && eq)
            return usage("%s takes no value", row->name);
        if (row->argument && row->kind != KIND_REFUSED) {
            value = eq ? eq + 1 : *i < argc ? argv[(*i)++] : NULL;
            if (!value)
                return usage("%s needs a value", row->name);
        }
        TRY(apply(o, row, value, ret_properties));
        if (o->action == SUBMIT_HELP || o->action == SUBMIT_VERSION)
            return NULL;
    }
    return NULL;
}

static unsigned
cpus(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) < 0 || CPU_COUNT(&set) < 1)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

static const char *
default_name(struct arena *a, const char *module)
{
    const char *base = strrchr(module, '/') ? strrchr(module, '/') + 1 : module;
    size_t n = strlen(base);

    if (n > 3 && !strcmp(base + n - 3, ".so"))
        n -= 3;
    return arena_memdup(a, base, n);
}

/* argv[i] and what is behind it. */
static struct err *
take_module(struct submit_options *o, int argc, char **argv, int i)
{
    if (o->action != SUBMIT_RUN) {
        if (i < argc)
            return usage("--kill and --status take no module, and there is \"%s\"", argv[i]);
        return NULL;
    }
    if (i >= argc)
        return err_hint(err_new(ERR_USAGE, "no module is given"),
                        "Say which job to run: taskd-submit [options] job.so [arguments].");
    o->module = argv[i];
    o->args = argv + i;
    o->n_args = argc - i;
    return NULL;
}

static void
free_conf(void *p)
{
    conf_free(p);
}

struct err *
submit_options_parse(int argc, char **argv, char **envp, struct arena *a, struct submit_options *ret)
{
    struct submit_options o = { .conf = conf_new() };
    const char *properties = NULL;
    int i = 1;

    arena_on_reset(a, free_conf, o.conf);
    TRY(parse_words(argc, argv, a, &o, &i, &properties));
    if (o.action != SUBMIT_HELP && o.action != SUBMIT_VERSION) {
        TRY(take_module(&o, argc, argv, i));
        if (properties) {
            TRY_OR(conf_load(o.conf, properties, envp), "--properties-file");
        } else {
            TRY(conf_load(o.conf, NULL, envp));
        }
        TRY_OR(submit_master_parse(conf_str(o.conf, CONF_MASTER), cpus(), a, &o.master), "%s",
               conf_origin(o.conf, CONF_MASTER));
        o.slots = o.master.slots;
        TRY(submit__options_check(a, &o));
        o.app_name = conf_str(o.conf, CONF_APP_NAME);
        if (!*o.app_name && o.module)
            o.app_name = default_name(a, o.module);
    }
    *ret = o;
    return NULL;
}

/* Words of s from column `from`, broken before HELP_WIDTH. */
static void
put_wrapped(struct buf *out, const char *s, int from)
{
    int at = from;

    while (*s) {
        int n = (int)strcspn(s, " ");

        if (at > from && at + n + 1 > HELP_WIDTH) {
            buf_printf(out, "\n%*s", from, "");
            at = from;
        } else if (at > from) {
            buf_put(out, " ", 1);
            at++;
        }
        buf_put(out, s, (size_t)n);
        at += n;
        s += n;
        while (*s == ' ')
            s++;
    }
    buf_put(out, "\n", 1);
}

void
submit_options_help(struct buf *out)
{
    buf_printf(out, "usage: taskd-submit [options] job.so [arguments of the job]\n"
                    "       taskd-submit --master taskd://HOST:PORT --kill ID | --status ID\n\n"
                    "Runs a job module.  Options come before job.so; everything behind it belongs to the job.\n\n"
                    "options:\n");
    for (int i = 0; i < OPTIONS; i++) {
        const struct option_row *o = &rows[i];
        size_t start = out->n;

        if (o->kind == KIND_REFUSED)
            continue;
        if (o->letter)
            buf_printf(out, "  -%c, %s", o->letter, o->name);
        else
            buf_printf(out, "      %s", o->name);
        if (o->argument)
            buf_printf(out, o->kind == KIND_WORD ? "=%s" : " %s", o->argument);
        if (out->n - start > HELP_COLUMN - 2) {
            buf_put(out, "\n", 1);
            start = out->n;
        }
        buf_printf(out, "%*s", (int)(HELP_COLUMN - (out->n - start)), "");
        put_wrapped(out, doc_of(o), HELP_COLUMN);
    }
    buf_printf(out, "\n`taskd config` lists the configuration keys.\n"
                    "exit status: 0 the job succeeded, 1 it failed, 2 usage, 3 configuration, 4 module,\n"
                    "             5 something was unreachable, 6 refused, 7 too slow, 130 and 143 signals\n");
}

void
submit_options_markdown(struct buf *out)
{
    buf_printf(out, "<!-- Written by `make doc` from daemon/submit/options.def. -->\n"
                    "# Options of taskd-submit\n\n"
                    "    taskd-submit [options] job.so [arguments of the job]\n"
                    "    taskd-submit --master taskd://HOST:PORT --kill ID | --status ID\n\n"
                    "Options come before `job.so`; everything behind it belongs to the job. `--name VALUE` and\n"
                    "`--name=VALUE` mean the same, `--` ends the options. `taskd submit` is the same program.\n\n"
                    "| Option | Sets | What it does |\n|---|---|---|\n");
    for (int i = 0; i < OPTIONS; i++) {
        const struct option_row *o = &rows[i];

        buf_printf(out, "| `%s", o->name);
        if (o->argument)
            buf_put(out, " ", 1);
        for (const char *p = o->argument ? o->argument : ""; *p; p++)
            buf_printf(out, "%s%c", *p == '|' ? "\\" : "", *p);
        buf_put(out, "`", 1);
        if (o->letter)
            buf_printf(out, ", `-%c`", o->letter);
        buf_printf(out, " | ");
        if (o->kind == KIND_REFUSED)
            buf_printf(out, "refused");
        else if (o->kind == KIND_KEY || o->kind == KIND_SET || o->kind == KIND_ALIAS)
            buf_printf(out, "[%s](configuration.md)", conf_def(o->key)->name);
        buf_printf(out, " | %s |\n", doc_of(o));
    }
}
