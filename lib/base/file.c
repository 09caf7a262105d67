/* file -- see file.h */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct err *
file_pread(int fd, void *p, size_t n, uint64_t off, size_t *ret_n, const char *name)
{
    ssize_t r;

    do
        r = pread(fd, p, n, (off_t)off);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return err_errno(errno, "reading \"%s\" at byte %llu", name, (unsigned long long)off);
    *ret_n = (size_t)r;
    return NULL;
}

struct err *
file_pread_full(int fd, void *p, size_t n, uint64_t off, const char *name)
{
    for (size_t done = 0; done < n;) {
        size_t got;

        TRY(file_pread(fd, (char *)p + done, n - done, off + done, &got, name));
        if (got == 0)
            return err_new(ERR_CORRUPT, "\"%s\" ends after %llu bytes, %llu were expected", name,
                           (unsigned long long)(off + done), (unsigned long long)(off + n));
        done += got;
    }
    return NULL;
}

struct err *
file_write_full(int fd, const void *p, size_t n, const char *name)
{
    for (size_t done = 0; done < n;) {
        ssize_t r = write(fd, (const char *)p + done, n - done);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return err_errno(errno, "writing \"%s\"", name);
        done += (size_t)r;
    }
    return NULL;
}

struct err *
file_absolute(const char *path, struct arena *a, const char **ret)
{
    char *cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);

    if (path[0] != '/' && !cwd)
        return err_errno(errno, "finding the current directory");
    *ret = cwd ? arena_printf(a, "%s/%s", cwd, path) : arena_strdup(a, path);
    free(cwd);
    return NULL;
}

struct err *
file_slurp(const char *path, size_t limit, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct err *e = NULL;

    if (fd < 0)
        return err_errno(errno, "opening \"%s\"", path);
    for (size_t start = out->n; !e;) {
        ssize_t r = read(fd, buf_room(out, 65536), 65536);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            e = err_errno(errno, "reading \"%s\"", path);
        else if (r == 0)
            break;
        else if ((out->n += (size_t)r) - start > limit)
            e = err_new(ERR_LIMIT, "\"%s\" is larger than %zu bytes", path, limit);
    }
    close(fd);
    return e;
}

struct err *
file_mkdirs(const char *path, int mode)
{
    struct err *e = NULL;
    char *s = strdup(path);
    struct stat st;

    if (!s)
        abort();
    for (char *p = s + 1; !e; p++) {
        if (*p != '/' && *p)
            continue;
        char c = *p;
        *p = 0;
        if (mkdir(s, (mode_t)mode) < 0 && errno != EEXIST)
            e = err_errno(errno, "making directory \"%s\"", s);
        else if (c == 0 && (stat(s, &st) < 0 || !S_ISDIR(st.st_mode)))
            e = err_new(ERR_IO, "\"%s\" is not a directory", s);
        *p = c;
        if (!c)
            break;
    }
    free(s);
    return e;
}

static struct err *
remove_at(int dir, const char *name, const char *path)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return NULL;
    if (errno != EISDIR && errno != EPERM)
        return err_errno(errno, "removing \"%s\" in \"%s\"", name, path);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct err *e = NULL;
    if (!d) {
        if (errno != ENOENT) /* somebody else removes it, too */
            e = err_errno(errno, "removing \"%s\" in \"%s\"", name, path);
        file_close(&fd);
        return e;
    }
    for (struct dirent *f; (f = readdir(d));) { /* also behind what can't be removed */
        struct err *x = strcmp(f->d_name, ".") && strcmp(f->d_name, "..") ? remove_at(fd, f->d_name, path) : NULL;

        if (e)
            err_free(x);
        else
            e = x;
    }
    closedir(d);
    if (!e && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        e = err_errno(errno, "removing \"%s\" in \"%s\"", name, path);
    return e;
}

struct err *
file_remove_tree(const char *path)
{
    return remove_at(AT_FDCWD, path, path);
}

/* dir is path, opened: a path is looked up twice by a rename, and may be another directory the second time. */
static struct err *
claim_and_remove(int dir, const char *path, const char *mark, const char *gone)
{
    struct stat is, was;
    char *claimed = NULL;

    TRY(file_remove_tree(gone));
    if (asprintf(&claimed, "%s.claimed", mark) < 0)
        abort();
    int errnum = renameat(dir, mark, dir, claimed) < 0 ? errno : 0;
    free(claimed);
    if (errnum == ENOENT)
        return NULL;
    if (errnum)
        return err_errno(errnum, "renaming \"%s\" in \"%s\"", mark, path);
    if (rename(path, gone) < 0)
        return err_errno(errno, "renaming \"%s\"", path);
    if (fstat(dir, &was) < 0 || lstat(gone, &is) < 0 || was.st_ino != is.st_ino || was.st_dev != is.st_dev)
        return rename(gone, path) < 0 ? err_errno(errno, "renaming \"%s\"", gone) : NULL; /* somebody put another one there */
    struct err *e = file_remove_tree(gone);
    if (!e)
        return NULL;
    err_free(e); /* a file that was being made in it: no further one will be */
    return file_remove_tree(gone);
}

char *
file_marked_away(const char *path, const char *mark)
{
    char *away = NULL;

    if (asprintf(&away, "%s.%s~", path, mark) < 0)
        abort();
    return away;
}

struct err *
file_remove_marked_away(const char *path, const char *mark)
{
    char *away = file_marked_away(path, mark), *claimed = NULL;

    if (asprintf(&claimed, "%s~", away) < 0)
        abort();
    struct err *e = file_remove_tree(claimed);
    if (!e && rename(away, claimed) < 0)
        e = errno == ENOENT ? NULL : err_errno(errno, "renaming \"%s\"", away);
    else if (!e)
        e = file_remove_tree(claimed);
    free(claimed);
    free(away);
    return e;
}

struct err *
file_remove_marked(const char *path, const char *mark)
{
    char *gone = file_marked_away(path, mark);
    struct err *e;

    int dir = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir >= 0)
        e = claim_and_remove(dir, path, mark, gone);
    else if (errno == ENOENT || errno == ENOTDIR)
        e = file_remove_tree(gone);
    else
        e = err_errno(errno, "opening \"%s\"", path);
    file_close(&dir);
    free(gone);
    return e;
}

void
file_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
