/* args -- see args.h. */
#include "common/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTIONS_MAX = 24, FIRST = 256, HELP_COLUMN = 32 };

/* What every daemon has. */
enum { PAIR, PROPERTIES, COMMON_KEYS };
static const struct args_option common[] = {
    [PAIR] = { .name = "conf", .value = "KEY=VALUE", .help = "set a key" },
    [PROPERTIES] = { .name = "properties-file", .value = "FILE", .help = "read keys from a file" },
    [COMMON_KEYS] = { .name = "tls-ca", .value = "FILE", .key = "taskd.ssl.ca", .help = "certificate of the cluster's CA, PEM" },
    { .name = "tls-cert", .value = "FILE", .key = "taskd.ssl.cert", .help = "certificate of this host, PEM" },
    { .name = "tls-key", .value = "FILE", .key = "taskd.ssl.key", .help = "its key, PEM" },
    { 0 },
};

/* ---- values */

static struct err *
number(const struct args_option *o, const char *s)
{
    char *end;

    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || end == s || *end || *s == '-' || v < o->least || v > o->most)
        return err_new(ERR_USAGE, "--%s: \"%s\" is no number from %llu to %llu", o->name, s,
                       (unsigned long long)o->least, (unsigned long long)o->most);
    *o->number = v;
    return NULL;
}

static struct err *
size(const struct args_option *o, const char *s)
{
    static const char units[] = "kmgt";
    char *end;

    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    const char *unit = *end ? strchr(units, *end | 0x20) : units + 1;
    unsigned shift = unit ? 10u * (unsigned)(unit - units + 1) : 0;
    if (*end)
        end++;
    if (*end == 'b' || *end == 'B')
        end++;
    if (errno || !unit || *end || *s == '-' || !v || v > UINT64_MAX >> shift)
        return err_new(ERR_USAGE, "--%s: \"%s\" is no size, as 512m or 8g", o->name, s);
    *o->bytes = (uint64_t)v << shift;
    return NULL;
}

static struct err *
take(struct args *a, struct conf *c, const struct args_option *o, const char *value)
{
    char flag[64];

    if (o == &common[PAIR])
        return conf_set_pair(c, CONF_FLAG, value, "--conf");
    if (o == &common[PROPERTIES])
        a->properties = value;
    else if (o->text)
        *o->text = value;
    else if (o->number)
        return number(o, value);
    else if (o->bytes)
        return size(o, value);
    else if (snprintf(flag, sizeof flag, "--%s", o->name) > 0)
        return conf_set(c, CONF_FLAG, o->key, value, flag);
    return NULL;
}

/* ---- --help */

static void
print_option(const struct args_option *o)
{
    int n = o->letter ? printf("  -%c, --%s %s", o->letter, o->name, o->value) : printf("      --%s %s", o->name, o->value);

    if (n > HELP_COLUMN - 2) {
        putchar('\n');
        n = 0;
    }
    for (const char *p = o->help; p; n = 0) {
        size_t line = strcspn(p, "\n");

        printf("%*s%.*s\n", HELP_COLUMN - n, "", (int)line, p);
        p = p[line] ? p + line + 1 : NULL;
    }
}

static struct err *
print_help(const struct args *a, const struct args_option *own)
{
    fputs(a->usage, stdout);
    putchar('\n');
    for (const struct args_option *o = own; o->name; o++)
        print_option(o);
    for (const struct args_option *o = common; o->name; o++)
        print_option(o);
    printf("  -h, --help%*s\n", HELP_COLUMN - 12 + (int)strlen("print this text"), "print this text");
    return fflush(stdout) == EOF ? err_errno(errno, "writing to standard output") : NULL;
}

/* ---- parsing */

struct table { /* for getopt_long: all options there are, and what the letters mean */
    const struct args_option *of[OPTIONS_MAX];
    struct option names[OPTIONS_MAX + 2];
    char letters[2 * OPTIONS_MAX + 3]; /* after ":h" */
    int n, letters_n;
};

static void
add(struct table *t, const struct args_option *list)
{
    for (const struct args_option *o = list; o->name; o++) {
        ASSERT(t->n < OPTIONS_MAX);
        t->of[t->n] = o;
        t->names[t->n] = (struct option){ o->name, required_argument, NULL, FIRST + t->n };
        if (o->letter) {
            t->letters[t->letters_n++] = o->letter;
            t->letters[t->letters_n++] = ':';
        }
        t->n++;
    }
}

static const struct args_option *
found(const struct table *t, int c)
{
    if (c >= FIRST)
        return t->of[c - FIRST];
    for (int i = 0; i < t->n; i++)
        if (t->of[i]->letter == c)
            return t->of[i];
    return NULL;
}

struct err *
args_hint(const struct args *a, struct err *e)
{
    return err_hint(e, "`taskd %s --help` lists the options.", a->verb);
}

struct err *
args_parse(struct args *a, const struct args_option *own, struct conf *c, int argc, char **argv)
{
    struct table t = { .letters = ":h", .letters_n = 2 };
    int got;

    add(&t, own);
    add(&t, common);
    t.names[t.n] = (struct option){ "help", no_argument, NULL, 'h' };
    opterr = 0;
    optind = 0; /* from the beginning, with a table of its own */
    while ((got = getopt_long(argc, argv, t.letters, t.names, NULL)) != -1) {
        if (got == 'h') {
            a->help = true;
            return print_help(a, own);
        }
        const struct args_option *o = found(&t, got);
        if (!o)
            return args_hint(a, err_new(ERR_USAGE, got == ':' ? "\"%s\" needs a value" : "\"%s\" is not an option",
                                        argv[optind - 1]));
        TRY(take(a, c, o, optarg));
    }
    a->rest = argv + optind;
    return NULL;
}

/* ---- beginning and end */

const char *
args_state_dir(const struct args *a, struct arena *in)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (state && *state)
        return arena_printf(in, "%s/taskd/%s", state, a->verb);
    if (geteuid() == 0 || !home || !*home)
        return arena_printf(in, "/var/lib/taskd/%s", a->verb);
    return arena_printf(in, "%s/.local/state/taskd/%s", home, a->verb);
}

int
args_end(const struct args *a, struct err *why)
{
    if (!why)
        return 0;
    char *text = err_text(why);
    int status = err_code_exit(why->code);

    fprintf(stderr, "taskd %s: %s\n", a->verb, text);
    free(text);
    err_free(why);
    return status;
}
