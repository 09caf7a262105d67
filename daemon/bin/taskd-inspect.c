/* taskd-inspect -- says what is inside a module, without running any of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "flow/module.h"

/* All that is known of one module. */
struct report {
    const char *path;
    struct module m;
    struct module_list list;
    struct err *no_list; /* why list is empty */
    struct err *problem; /* why it would not load here */
};

/* Bytes of a stranger's file, safe for a terminal. */
static void
put_text(struct buf *b, const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s >= ' ' && (unsigned char)*s < 127)
            buf_put(b, s, 1);
        else
            buf_printf(b, "\\x%02x", (unsigned char)*s);
}

static void
put_field(struct buf *b, const char *what, const char *value)
{
    buf_printf(b, "  %-10s ", what);
    put_text(b, value);
    buf_printf(b, "\n");
}

static const char *
shape(const struct module_item *i)
{
    return i->flags & TD_F_TEXT ? "text" : i->flags & TD_F_BATCH ? "batch" : "record";
}

static const char *
build_id(const struct module_info *m, struct arena *a)
{
    char *s = arena_alloc(a, 2 * m->build_id_n + 1);

    s[0] = 0;
    for (size_t i = 0; i < m->build_id_n; i++)
        snprintf(s + 2 * i, 3, "%02x", m->build_id[i]);
    return s;
}

static void
put_needs(struct buf *b, const struct module_info *m)
{
    for (size_t i = 0; i < m->nneeds; i++) {
        buf_printf(b, "  %-10s ", i ? "" : "needs");
        put_text(b, m->needs[i].lib);
        if (m->needs[i].glibc) {
            buf_printf(b, " (");
            put_text(b, m->needs[i].glibc);
            buf_printf(b, ")");
        }
        buf_printf(b, "\n");
    }
    for (size_t i = 0; i < m->nexports; i++)
        put_field(b, i ? "" : "exports", m->exports[i]);
}

static void
put_items(struct buf *b, const struct report *r, const char *title, uint16_t from, uint16_t to)
{
    bool first = true;

    for (uint32_t k = 0; k < r->list.nitems; k++) {
        const struct module_item *i = &r->list.items[k];

        if (i->kind < from || i->kind > to)
            continue;
        buf_printf(b, first ? "  %s\n    %-8s " : "%.0s    %-8s ", title, module_kind_name(i->kind, i->op));
        first = false;
        put_text(b, i->name);
        if (i->in && i->out) {
            buf_printf(b, ": ");
            put_text(b, i->in);
            buf_printf(b, " -> ");
            put_text(b, i->out);
            if (i->kind == TD_I_MAP)
                buf_printf(b, ", by %s", shape(i));
        }
        buf_printf(b, "  (");
        put_text(b, i->file);
        buf_printf(b, ":%u)\n", i->line);
    }
}

static void
put_report(struct buf *b, const struct report *r, struct arena *a)
{
    const struct module_info *m = &r->m.info;
    char machine[24], isa[16] = "";

    put_text(b, r->path);
    if (!r->no_list) {
        buf_printf(b, ": ");
        put_text(b, r->list.name);
        buf_printf(b, " ");
        put_text(b, r->list.version);
    }
    buf_printf(b, "\n  %-10s %u.%u (this taskd has %u.%u)\n", "ABI", m->abi >> 16, m->abi & 0xffff, TD_ABI_MAJOR, TD_ABI_MINOR);
    if (m->isa > 1)
        snprintf(isa, sizeof isa, "-v%u", m->isa);
    buf_printf(b, "  %-10s %s%s%s%s\n", "built for", module_machine_name(m->machine, machine), isa,
               m->flags & MODULE_CXX ? ", in C++" : "", m->flags & MODULE_ASAN ? ", with AddressSanitizer" : "");
    if (!r->no_list)
        put_field(b, "by", r->list.compiler);
    put_field(b, "build-id", m->build_id_n ? build_id(m, a) : "none");
    put_field(b, "SHA-256", r->m.sha256_hex);
    buf_printf(b, "  %-10s %zu bytes\n", "size", m->size);
    put_needs(b, m);
    if (m->rpath)
        put_field(b, "rpath", m->rpath);
    if (m->exec_stack)
        put_field(b, "stack", "executable");
    put_items(b, r, "functions", 0, TD_I_GROUP);
    put_items(b, r, "accumulators", TD_I_ACC, TD_I_ACC);
    put_items(b, r, "broadcasts", TD_I_BROADCAST, TD_I_BROADCAST);
    put_items(b, r, "others", TD_I_BROADCAST + 1, UINT16_MAX);
}

static void
json_field(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "\"%s\": ", key);
    if (value)
        buf_json(b, value, strlen(value));
    else
        buf_printf(b, "null");
    buf_printf(b, ", ");
}

static void
json_items(struct buf *b, const struct report *r)
{
    buf_printf(b, "\"items\": [");
    for (uint32_t k = 0; k < r->list.nitems; k++) {
        const struct module_item *i = &r->list.items[k];

        buf_printf(b, "%s{\"number\": %u, ", k ? ", " : "", i->number);
        json_field(b, "kind", module_kind_name(i->kind, i->op));
        json_field(b, "name", i->name);
        if (i->kind == TD_I_MAP)
            json_field(b, "shape", shape(i));
        if (i->in && i->out) {
            json_field(b, "in", i->in);
            json_field(b, "out", i->out);
        }
        json_field(b, "file", i->file);
        buf_printf(b, "\"line\": %u}", i->line);
    }
    buf_printf(b, "], ");
}

static void
json_report(struct buf *b, const struct report *r, struct arena *a)
{
    const struct module_info *m = &r->m.info;
    char machine[24];

    buf_printf(b, "{");
    json_field(b, "file", r->path);
    json_field(b, "name", r->no_list ? NULL : r->list.name);
    json_field(b, "version", r->no_list ? NULL : r->list.version);
    json_field(b, "compiler", r->no_list ? NULL : r->list.compiler);
    buf_printf(b, "\"abi\": \"%u.%u\", ", m->abi >> 16, m->abi & 0xffff);
    json_field(b, "machine", module_machine_name(m->machine, machine));
    buf_printf(b, "\"isa\": %u, \"asan\": %s, \"cxx\": %s, ", m->isa, m->flags & MODULE_ASAN ? "true" : "false",
               m->flags & MODULE_CXX ? "true" : "false");
    json_field(b, "build_id", m->build_id_n ? build_id(m, a) : NULL);
    json_field(b, "sha256", r->m.sha256_hex);
    buf_printf(b, "\"size\": %zu, \"needs\": [", m->size);
    for (size_t i = 0; i < m->nneeds; i++) {
        buf_printf(b, "%s{\"library\": ", i ? ", " : "");
        buf_json(b, m->needs[i].lib, strlen(m->needs[i].lib));
        buf_printf(b, ", \"glibc\": ");
        if (m->needs[i].glibc)
            buf_json(b, m->needs[i].glibc, strlen(m->needs[i].glibc));
        else
            buf_printf(b, "null");
        buf_printf(b, "}");
    }
    buf_printf(b, "], \"exports\": [");
    for (size_t i = 0; i < m->nexports; i++) {
        buf_printf(b, "%s", i ? ", " : "");
        buf_json(b, m->exports[i], strlen(m->exports[i]));
    }
    buf_printf(b, "], ");
    json_field(b, "rpath", m->rpath);
    buf_printf(b, "\"executable_stack\": %s, ", m->exec_stack ? "true" : "false");
    json_items(b, r);
    buf_printf(b, "\"loads_here\": %s, \"problem\": ", r->problem ? "false" : "true");
    if (r->problem)
        buf_json(b, r->problem->msg, strlen(r->problem->msg));
    else
        buf_printf(b, "null");
    buf_printf(b, "}\n");
}

static struct err *
help(void)
{
    static const char text[] =
        "usage: taskd inspect [--json] MODULE.so\n\n"
        "Says what a module was built for, what it needs, and which functions and accumulators it holds, by reading\n"
        "the file: nothing of it is run.  Exits with 4 and the reason when taskd on this machine would not load it.\n\n"
        "      --json    one JSON object\n"
        "  -h, --help    print this text\n";

    return fputs(text, stdout) < 0 ? err_errno(errno, "writing to standard output") : NULL;
}

/* Prints the report; gives back what keeps the module from loading. */
static struct err *
inspect(const char *path, bool json, struct arena *a)
{
    struct report r = { .path = path };
    struct module_profile host;
    struct buf b = { 0 };
    struct err *e = NULL;

    TRY(module_read(path, a, &r.m));
    module_profile_host(&host);
    r.problem = module_check(&r.m.info, &host);
    r.no_list = module_list(&r.m.info, a, &r.list);
    if (!r.problem && r.no_list) {
        r.problem = r.no_list;
        r.no_list = err_new(ERR_ABI, "see the problem");
    }
    (json ? json_report : put_report)(&b, &r, a);
    if (fwrite(b.p, 1, b.n, stdout) != b.n || fflush(stdout) == EOF)
        e = err_errno(errno, "writing to standard output");
    buf_fini(&b);
    err_free(r.no_list);
    module_fini(&r.m);
    if (!e)
        return r.problem;
    err_free(r.problem);
    return e;
}

static struct err *
run(int argc, char **argv, struct arena *a)
{
    const char *path = NULL;
    bool json = false, options = true;

    for (int i = 1; i < argc; i++) {
        if (options && (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")))
            return help();
        if (options && !strcmp(argv[i], "--"))
            options = false;
        else if (options && !strcmp(argv[i], "--json"))
            json = true;
        else if (options && argv[i][0] == '-' && argv[i][1])
            return err_hint(err_new(ERR_USAGE, "\"%s\" is not an option", argv[i]),
                            "`taskd inspect --help` lists the options.");
        else if (path)
            return err_hint(err_new(ERR_USAGE, "\"%s\" is one module too many", argv[i]), "Inspect them one by one.");
        else
            path = argv[i];
    }
    if (!path)
        return err_hint(err_new(ERR_USAGE, "no module is given"), "Write it like this: taskd inspect job.so");
    return inspect(path, json, a);
}

int
main(int argc, char **argv)
{
    struct arena a = { 0 };
    struct err *e = run(argc, argv, &a);
    int status = 0;

    if (e) {
        char *text = err_text(e);

        fprintf(stderr, "taskd inspect: %s\n", text);
        status = err_code_exit(e->code);
        free(text);
        err_free(e);
    }
    arena_fini(&a);
    return status;
}
