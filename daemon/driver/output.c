/*
 * output -- a directory of results.
 *
 *   DIR/_temporary/s7-part-00003.1  attempt 1 of partition 3 in stage 7, being written
 *   DIR/part-00003                  accepted: renamed, so a reader never sees half a file
 *   DIR/_SUCCESS                    all partitions are there
 *
 * A directory that exists is refused.  What a job that fails has made is removed.
 *
 * A driver that runs for a submission may follow one that nobody could stop, as its host was cut off.  So it marks what
 * it makes: the directory of attempts is _temporary.SUBMISSION.TRY, and _SUCCESS holds "SUBMISSION.TRY".  What an
 * earlier try of the same submission has marked is removed, finished or not, and made anew.  The mark is the right to
 * DIR, which has it from the moment it is there, and a rename of it decides who has that: an earlier driver that comes
 * back finds no mark of its own, so it can neither put a part nor say success (both are renames out of the mark) nor
 * remove anything.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "driver/driver_priv.h"
#include "executor/names.h"
#include "executor/runners.h"

enum { DONE_MAX = 512 };

static struct err *
absolute(struct driver *d, const char *path, const char **ret)
{
    if (!strncmp(path, "file://", 7))
        path += 7;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    return file_absolute(arena_memdup(&d->a, path, n), &d->a, ret);
}

/* ---- what earlier tries left */

#define MARK "_temporary."
#define DONE "_SUCCESS"

/* Is s "SUBMISSION.TRY" of an earlier try of ours? */
static bool
is_earlier(const struct driver *d, const char *s)
{
    size_t n = strlen(d->o.submission), digits;

    if (strncmp(s, d->o.submission, n) || s[n] != '.')
        return false;
    s += n + 1;
    digits = strspn(s, "0123456789");
    return digits && !s[digits] && strtoull(s, NULL, 10) < d->o.try;
}

/* The mark of the try that wrote a _SUCCESS, if it is an earlier one of ours; else NULL. */
static const char *
mark_in(struct driver *d, int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const char *mark = NULL;
    char text[DONE_MAX];
    struct stat st;
    size_t n;

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        struct err *e = file_pread(fd, text, sizeof text, 0, &n, name);

        if (!e && n && n < sizeof text && text[n - 1] == '\n') {
            text[n - 1] = 0;
            mark = is_earlier(d, text) ? arena_printf(&d->a, MARK "%s", text) : NULL;
        }
        err_free(e);
    }
    file_close(&fd);
    return mark;
}

/* A finished output of an earlier try becomes one that is being written: its _SUCCESS is its mark.  Looked at twice, as
 * another one may have got that name in between. */
static const char *
unfinish(struct driver *d, int dir)
{
    const char *mark = mark_in(d, dir, DONE), *again;

    if (!mark || renameat(dir, DONE, dir, mark) < 0)
        return NULL;
    again = mark_in(d, dir, mark);
    if (again && !strcmp(again, mark))
        return mark;
    renameat(dir, mark, dir, DONE);
    return NULL;
}

/* By what an earlier try has marked dir; NULL: it is not there, or not of one. */
static const char *
earlier_mark(struct driver *d, const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *all = fd < 0 ? NULL : fdopendir(fd);
    const char *mark = NULL;

    if (!all) {
        file_close(&fd);
        return NULL;
    }
    for (struct dirent *f; !mark && (f = readdir(all));)
        if (!strncmp(f->d_name, MARK, strlen(MARK)) && is_earlier(d, f->d_name + strlen(MARK)))
            mark = arena_strdup(&d->a, f->d_name);
    if (!mark)
        mark = unfinish(d, fd);
    closedir(all);
    return mark;
}

/* What earlier tries were making, or removing, when they were killed. */
static struct err *
remove_away(struct driver *d, const struct output *o)
{
    struct err *e = NULL;

    for (uint32_t try = 0; !e && try < d->o.try; try++)
        e = file_remove_marked_away(o->dir, arena_printf(&d->a, MARK "%s.%u", d->o.submission, try));
    return e;
}

static struct err *
remove_earlier(struct driver *d, const struct plan_action *a, const struct output *o)
{
    TRY_OR(remove_away(d, o), "%s:%u: output \"%s\"", a->file, a->line, a->path);
    const char *mark = earlier_mark(d, o->dir); /* behind it: who was making one has made it, or never will */
    if (!mark)
        return NULL;
    d->o.say(d->o.arg, TD_INFO, a->file, a->line,
             arena_printf(&d->a, "output \"%s\" is of an earlier try of %s: it is made anew", a->path, d->o.submission));
    TRY(zygote_register(d->zygote, o->dir, mark));
    struct err *e = file_remove_marked(o->dir, mark), *z = zygote_unregister(d->zygote, o->dir);
    if (!e)
        return z;
    err_free(z);
    return err_wrap_take(e, "%s:%u: output \"%s\" of an earlier try", a->file, a->line, a->path);
}

/* ---- life */

static struct err *
exists(const struct plan_action *a)
{
    return err_hint(err_new(ERR_DENIED, "%s:%u: output \"%s\" exists already", a->file, a->line, a->path),
                    "Remove it, or name another place: taskd overwrites nothing.");
}

static struct err *
not_made(const struct plan_action *a, const char *path)
{
    return err_errno(errno, "%s:%u: making \"%s\" for output \"%s\"", a->file, a->line, path, a->path);
}

/* As rename(), but what is there is not replaced, not even an empty directory, where the file system can do that. */
static int
rename_new(const char *from, const char *to)
{
    int r = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);

    return r < 0 && (errno == EINVAL || errno == ENOSYS) ? rename(from, to) : r;
}

/* DIR appears with its mark in it: whoever is killed here leaves nothing of which nobody knows whose it is. */
static struct err *
make_marked(const struct plan_action *a, struct output *o, const char *new)
{
    char *mark = NULL;

    TRY(file_remove_marked_away(o->dir, o->mark)); /* our own, of an output that could not be removed */
    if (asprintf(&mark, "%s/%s", new, o->mark) < 0)
        abort();
    struct err *e = mkdir(new, 0777) < 0 ? not_made(a, new) : mkdir(mark, 0777) < 0 ? not_made(a, mark) : NULL;
    free(mark);
    if (e)
        return e;
    if (rename_new(new, o->dir) < 0)
        return errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR ? exists(a) : not_made(a, o->dir);
    o->made = true;
    return NULL;
}

static struct err *
make_bare(const struct plan_action *a, struct output *o)
{
    if (mkdir(o->dir, 0777) < 0)
        return not_made(a, o->dir);
    o->made = true;
    return mkdir(o->tmp, 0777) < 0 ? not_made(a, o->tmp) : NULL;
}

static struct err *
make(struct driver *d, const struct plan_action *a, struct output *o)
{
    TRY(zygote_register(d->zygote, o->dir, o->mark)); /* first: no kill leaves what is in it */
    char *new = o->mark ? file_marked_away(o->dir, o->mark) : NULL;
    struct err *e = o->mark ? make_marked(a, o, new) : make_bare(a, o);

    if (e && new)
        err_free(file_remove_marked_away(o->dir, o->mark));
    free(new);
    if (e && o->made)
        err_free(driver__output_end(d, o, false));
    else if (e)
        err_free(zygote_unregister(d->zygote, o->dir));
    return e;
}

struct err *
driver__output_begin(struct driver *d, const struct plan_action *a, struct output *o)
{
    struct stat st;

    *o = (struct output){ .suffix = a->act == PLAN_SAVE_BLOCKS ? ".blocks" : "" };
    TRY(absolute(d, a->path, &o->dir));
    if (d->o.submission) {
        o->mark = arena_printf(&d->a, MARK "%s.%u", d->o.submission, d->o.try);
        TRY(remove_earlier(d, a, o));
    }
    if (lstat(o->dir, &st) == 0)
        return exists(a);
    char *slash = strrchr(o->dir, '/');
    if (slash && slash != o->dir) {
        char *parent = arena_memdup(&d->a, o->dir, (size_t)(slash - o->dir));

        TRY_OR(file_mkdirs(parent, 0777), "%s:%u: output \"%s\"", a->file, a->line, a->path);
    }
    o->tmp = arena_printf(&d->a, "%s/%s", o->dir, o->mark ? o->mark : "_temporary");
    return make(d, a, o);
}

/* Takes e. */
static struct err *
whose(const struct output *o, struct err *e)
{
    if (!e || !o->mark || access(o->tmp, F_OK) == 0)
        return e;
    return err_wrap_take(e, "output \"%s\" is not of this try any more: a later one has begun it anew, or it was removed",
                         o->dir);
}

/* Both names are of one directory, even if DIR becomes another one meanwhile: a path would be looked up twice. */
static int
rename_in(const struct output *o, const char *from, const char *to)
{
    int dir = open(o->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int errnum = dir < 0 || renameat(dir, from, dir, to) < 0 ? errno : 0;

    file_close(&dir);
    return errnum;
}

/* A file of ours, a path, gets its place in DIR: "part-00003", or _SUCCESS. */
static struct err *
put(const struct output *o, const char *from, const char *name)
{
    int errnum = rename_in(o, from + strlen(o->dir) + 1, name);

    return errnum ? whose(o, err_errno(errnum, "renaming \"%s\" to \"%s\"", from, name)) : NULL;
}

struct err *
driver__output_accept(struct driver *d, const struct output *o, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    struct buf from = { 0 }, part = { 0 };

    names_part(&from, o->tmp, o->suffix, stage, partition, attempt);
    buf_printf(&part, "part-%05u%s", partition, o->suffix);
    struct err *e = put(o, from.p, part.p);
    buf_fini(&part);
    buf_fini(&from);
    return e;
}

void
driver__output_discard(const struct output *o, uint32_t stage, uint32_t partition, uint32_t attempt)
{
    struct buf path = { 0 };

    names_part(&path, o->tmp, o->suffix, stage, partition, attempt);
    unlink(path.p); /* it may never have been made */
    buf_fini(&path);
}

/* Attempts that don't count may still run, on other hosts: from now on they find no folder of that name, so nothing
 * appears in what is being removed. */
static struct err *
remove_temporary(const struct output *o)
{
    char *gone = NULL;

    if (asprintf(&gone, "%s~", o->tmp) < 0)
        abort();
    int errnum = rename_in(o, o->tmp + strlen(o->dir) + 1, gone + strlen(o->dir) + 1);
    struct err *e = errnum && errnum != ENOENT ? err_errno(errnum, "renaming \"%s\"", o->tmp) : file_remove_tree(gone);
    free(gone);
    return e;
}

/* A file with these bytes. */
static struct err *
make_done(const char *dir, const char *text)
{
    struct err *e = NULL;
    char *path = NULL;

    if (asprintf(&path, "%s/" DONE, dir) < 0)
        abort();
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        e = err_errno(errno, "making \"%s\"", path);
    else
        e = file_write_full(fd, text, strlen(text), path);
    file_close(&fd);
    free(path);
    return e;
}

/* With a mark it is success that ends the right to it: made there and renamed, as a part is. */
static struct err *
succeed(struct driver *d, const struct output *o)
{
    if (!o->mark) {
        TRY(remove_temporary(o));
        return make_done(o->dir, "");
    }
    TRY(whose(o, make_done(o->tmp, arena_printf(&d->a, "%s\n", o->mark + strlen(MARK)))));
    TRY(put(o, arena_printf(&d->a, "%s/" DONE, o->tmp), DONE));
    return remove_temporary(o);
}

struct err *
driver__output_end(struct driver *d, struct output *o, bool ok)
{
    struct err *e;

    if (!o->made)
        return NULL;
    o->made = false;
    if (ok) {
        e = succeed(d, o);
    } else if (o->mark) {
        e = file_remove_marked(o->dir, o->mark);
    } else {
        err_free(remove_temporary(o));
        e = file_remove_tree(o->dir);
    }
    struct err *z = zygote_unregister(d->zygote, o->dir);
    if (e) {
        err_free(z);
        return e;
    }
    return z;
}
