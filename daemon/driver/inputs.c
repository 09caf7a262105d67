/* inputs -- what lies behind the path of a text or block source. */
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver/driver_priv.h"

struct list {
    struct plan_file *v;
    uint32_t n, cap;
};

static bool
ends(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n > m && !strcmp(s + n - m, end);
}

static struct err *
add_file(struct driver *d, const struct plan_node *n, struct list *l, const char *path, const struct stat *st)
{
    if (!S_ISREG(st->st_mode))
        return err_new(ERR_INPUT, "%s:%u: input \"%s\" is neither a file nor a directory", n->file, n->line, path);
    if (access(path, R_OK) < 0)
        return err_new(ERR_INPUT, "%s:%u: input \"%s\" can't be read: %s", n->file, n->line, path, strerror(errno));
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 8;
        l->v = realloc(l->v, l->cap * sizeof *l->v);
        if (!l->v)
            abort();
    }
    bool whole = n->op == PLAN_BLOCKS || ends(path, ".gz");
    /* an executor elsewhere is not in our directory */
    const char *name = path[0] == '/' || !d->cwd ? arena_strdup(&d->a, path) : arena_printf(&d->a, "%s/%s", d->cwd, path);
    l->v[l->n++] = (struct plan_file){ name, (uint64_t)st->st_size, whole };
    return NULL;
}

static struct err *
add_dir(struct driver *d, const struct plan_node *n, struct list *l, const char *path)
{
    struct dirent **e = NULL;
    int count = scandir(path, &e, NULL, alphasort);
    struct err *err = NULL;

    if (count < 0)
        return err_new(ERR_INPUT, "%s:%u: input directory \"%s\" can't be read: %s", n->file, n->line, path, strerror(errno));
    for (int i = 0; i < count; i++) {
        struct stat st;

        if (!err && e[i]->d_name[0] != '.' && e[i]->d_name[0] != '_') {
            char *p = NULL;

            if (asprintf(&p, "%s/%s", path, e[i]->d_name) < 0)
                abort();
            if (stat(p, &st) < 0)
                err = err_new(ERR_INPUT, "%s:%u: input \"%s\": %s", n->file, n->line, p, strerror(errno));
            else if (S_ISDIR(st.st_mode))
                err = err_hint(err_new(ERR_INPUT, "%s:%u: input \"%s\" is a directory in a directory", n->file, n->line, p),
                               "Name its files with a glob: \"%s/*/*\".", path);
            else
                err = add_file(d, n, l, p, &st);
            free(p);
        }
        free(e[i]);
    }
    free(e);
    return err;
}

static struct err *
add_path(struct driver *d, const struct plan_node *n, struct list *l, const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_new(ERR_INPUT, "%s:%u: input \"%s\": %s", n->file, n->line, path, strerror(errno));
    return S_ISDIR(st.st_mode) ? add_dir(d, n, l, path) : add_file(d, n, l, path, &st);
}

static struct err *
resolve(struct driver *d, const struct plan_node *n, struct list *l)
{
    const char *path = n->path;
    struct stat st;
    glob_t g;
    struct err *e = NULL;

    if (!strncmp(path, "file://", 7))
        path += 7;
    if (stat(path, &st) == 0 || !strpbrk(path, "*?["))
        return add_path(d, n, l, path);
    int rc = glob(path, 0, NULL, &g);
    if (rc == GLOB_NOMATCH)
        return err_new(ERR_INPUT, "%s:%u: no input matches \"%s\"", n->file, n->line, path);
    if (rc)
        return err_new(ERR_INPUT, "%s:%u: looking for \"%s\" failed", n->file, n->line, path);
    for (size_t i = 0; i < g.gl_pathc && !e; i++)
        e = add_path(d, n, l, g.gl_pathv[i]);
    globfree(&g);
    return e;
}

struct err *
driver__inputs(struct driver *d, const struct plan_graph *g)
{
    char *cwd = d->o.scratch[0] || d->cwd ? NULL : getcwd(NULL, 0);

    if (!d->o.scratch[0] && !d->cwd && !cwd)
        return err_errno(errno, "finding the current directory");
    if (cwd)
        d->cwd = arena_strdup(&d->a, cwd);
    free(cwd);
    for (uint32_t i = 0; i < g->n; i++) {
        const struct plan_node *n = &g->nodes[i];
        struct list l = { 0 };
        bool known = n->op != PLAN_TEXT && n->op != PLAN_BLOCKS;

        for (uint32_t k = 0; k < d->n_input && !known; k++)
            known = d->input[k].node == n->id;
        if (known)
            continue;
        struct err *e = resolve(d, n, &l);
        if (e) {
            free(l.v);
            return e;
        }
        if (d->n_input == d->cap_input) {
            d->cap_input = d->cap_input ? d->cap_input * 2 : 8;
            d->input = realloc(d->input, d->cap_input * sizeof *d->input);
            if (!d->input)
                abort();
        }
        d->input[d->n_input++] = (struct plan_input){ n->id, l.n, l.v };
    }
    return NULL;
}
