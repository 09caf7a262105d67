/*
 * output -- a directory of results.
 *
 *   DIR/_temporary/s7-part-00003.1  attempt 1 of partition 3 in stage 7, being written
 *   DIR/part-00003                  accepted: renamed, so a reader never sees half a file
 *   DIR/_SUCCESS                    all partitions are there
 *
 * A directory that exists is refused.  What a job that fails has made is removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "driver/driver_priv.h"
#include "executor/names.h"
#include "executor/runners.h"

static struct err *
absolute(struct driver *d, const char *path, char **ret)
{
    if (!strncmp(path, "file://", 7))
        path += 7;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (path[0] == '/') {
        *ret = arena_memdup(&d->a, path, n);
        return NULL;
    }
    char *cwd = getcwd(NULL, 0);
    if (!cwd)
        return err_errno(errno, "finding the current directory");
    *ret = arena_printf(&d->a, "%s/%.*s", cwd, (int)n, path);
    free(cwd);
    return NULL;
}

struct err *
driver__output_begin(struct driver *d, const struct plan_action *a, struct output *o)
{
    struct stat st;

    *o = (struct output){ .suffix = a->act == PLAN_SAVE_BLOCKS ? ".blocks" : "" };
    TRY(absolute(d, a->path, &o->dir));
    if (lstat(o->dir, &st) == 0)
        return err_hint(err_new(ERR_DENIED, "%s:%u: output \"%s\" exists already", a->file, a->line, a->path),
                        "Remove it, or name another place: taskd overwrites nothing.");
    char *slash = strrchr(o->dir, '/');
    if (slash && slash != o->dir) {
        char *parent = arena_memdup(&d->a, o->dir, (size_t)(slash - o->dir));

        TRY_OR(file_mkdirs(parent, 0777), "%s:%u: output \"%s\"", a->file, a->line, a->path);
    }
    o->tmp = arena_printf(&d->a, "%s/_temporary", o->dir);
    TRY(zygote_register(d->zygote, o->dir, NULL)); /* first: there is no moment in which a kill leaves it behind */
    if (mkdir(o->dir, 0777) < 0) {
        struct err *e = err_errno(errno, "%s:%u: making output directory \"%s\"", a->file, a->line, a->path);

        err_free(zygote_unregister(d->zygote, o->dir));
        return e;
    }
    o->made = true;
    if (mkdir(o->tmp, 0777) == 0)
        return NULL;
    struct err *e = err_errno(errno, "making \"%s\"", o->tmp);
    err_free(driver__output_end(d, o, false));
    return e;
}

struct err *
driver__output_accept(struct driver *d, const struct output *o, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    struct buf from = { 0 };
    char *part = NULL;
    struct err *e = NULL;

    names_part(&from, o->dir, o->suffix, stage, partition, attempt);

    if (asprintf(&part, "%s/part-%05u%s", o->dir, partition, o->suffix) < 0)
        abort();
    if (rename(from.p, part) < 0)
        e = err_errno(errno, "renaming \"%s\" to \"%s\"", from.p, part);
    free(part);
    buf_fini(&from);
    return e;
}

void
driver__output_discard(const struct output *o, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    struct buf path = { 0 };

    names_part(&path, o->dir, o->suffix, stage, partition, attempt);
    unlink(path.p); /* it may never have been made */
    buf_fini(&path);
}

/* Attempts that don't count may still run, on other hosts: from now on they find no folder of that name, so nothing
 * appears in what is being removed. */
static struct err *
remove_temporary(const struct output *o)
{
    struct err *e = NULL;
    char *gone = NULL;

    if (asprintf(&gone, "%s~", o->tmp) < 0)
        abort();
    if (rename(o->tmp, gone) < 0 && errno != ENOENT)
        e = err_errno(errno, "renaming \"%s\"", o->tmp);
    if (!e)
        e = file_remove_tree(gone);
    free(gone);
    return e;
}

struct err *
driver__output_end(struct driver *d, struct output *o, bool ok)
{
    if (!o->made)
        return NULL;
    o->made = false;
    struct err *e = remove_temporary(o);
    if (ok) {
        char *path = NULL;

        if (asprintf(&path, "%s/_SUCCESS", o->dir) < 0)
            abort();
        int fd = e ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (!e && fd < 0)
            e = err_errno(errno, "making \"%s\"", path);
        file_close(&fd);
        free(path);
    } else {
        err_free(e);
        e = file_remove_tree(o->dir);
    }
    struct err *z = zygote_unregister(d->zygote, o->dir);
    if (e) {
        err_free(z);
        return e;
    }
    return z;
}
