/* docgen -- prints the reference pages of doc/ from the tables: `docgen options`, `docgen configuration`.
 * Run by `make doc`; tests/docs compares the committed pages with what it prints. */
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "submit/options.h"

static void
put_cell(struct buf *b, const char *s)
{
    for (; *s; s++)
        buf_printf(b, "%s%c", *s == '|' ? "\\" : "", *s);
}

static void
put_key(struct buf *b, struct arena *a, enum conf_key key)
{
    const struct conf_def *d = conf_def(key);

    buf_printf(b, "| `%s`<br>`%s` | %s%s%s | %s | ", d->name, conf_env_name(a, key), *d->def ? "`" : "",
               *d->def ? d->def : "empty", *d->def ? "`" : "", conf_type_name(d->type));
    put_cell(b, d->doc);
    if (d->type == CONF_TYPE_CHOICE) {
        buf_printf(b, " One of `");
        put_cell(b, d->choices);
        buf_printf(b, "`.");
    }
    if (d->flag)
        buf_printf(b, " Option `%s`.", d->flag);
    if (d->who == CONF_WHO_LAUNCHER)
        buf_printf(b, " Launcher only.");
    buf_printf(b, "%s |\n", d->spark ? "" : " Spark has no such key.");
}

static void
put_table(struct buf *b, enum conf_state state)
{
    struct arena a = { 0 };

    buf_printf(b, "| Key, environment | Default | Type | What it is |\n|---|---|---|---|\n");
    for (int i = 0; i < CONF_KEYS; i++)
        if (conf_def((enum conf_key)i)->state == state)
            put_key(b, &a, (enum conf_key)i);
    arena_fini(&a);
}

static void
configuration(struct buf *b)
{
    buf_printf(b,
               "<!-- Written by `make doc` from lib/conf/conf.def. -->\n"
               "# Configuration\n\n"
               "Keys come from, weakest first: the built-in default, `/etc/taskd/taskd.conf`,\n"
               "`~/.config/taskd/taskd.conf`, `--properties-file`, environment variables `TASKD_*`, options and `--conf`,\n"
               "the program (`td_conf_set`). `taskd config --show-origin` prints each value and where it comes from.\n\n"
               "Files have Spark's properties format: `key value`, `key=value` or `key: value` lines; a line that begins\n"
               "with `#` is a comment. Every key is accepted under its Spark name, too: `spark.` in the place of `taskd.`.\n"
               "An unknown key is an error; dotted names that begin otherwise (`myjob.threshold`) are the job's own and\n"
               "are read with `td_conf`. \"Launcher only\": the program is too late to set it. Sizes are bytes or have a\n"
               "unit (`64k`, `512m`, `1g`), durations have one (`100ms`, `2s`, `5min`).\n\n");
    put_table(b, CONF_STATE_BUILT);
    buf_printf(b, "\n## The only behaviour\n\nThese are accepted so that a Spark command line keeps working; another value is an error.\n\n");
    put_table(b, CONF_STATE_ONLY);
    buf_printf(b, "\n## Not built yet\n\nThese are known and take only their default for now.\n\n");
    put_table(b, CONF_STATE_NOT_YET);
}

int
main(int argc, char **argv)
{
    struct buf b = { 0 };

    if (argc == 2 && !strcmp(argv[1], "options")) {
        submit_options_markdown(&b);
    } else if (argc == 2 && !strcmp(argv[1], "configuration")) {
        configuration(&b);
    } else {
        fprintf(stderr, "usage: docgen options|configuration\n");
        return 2;
    }
    fwrite(b.p, 1, b.n, stdout);
    buf_fini(&b);
    return fflush(stdout) == EOF;
}
