/* spread -- see spread.h */
#include "base/spread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"

struct err *
spread_next(const char **list, struct arena *a, const char **ret)
{
    *list += strspn(*list, ",");
    size_t n = strcspn(*list, ",");

    *ret = NULL;
    if (n == 0)
        return NULL;
    const char *path = arena_memdup(a, *list, n);
    *list += n;
    return file_absolute(path, a, ret);
}

static void
link_path(const char *folder, unsigned nth, struct buf *out)
{
    buf_printf(out, "%s/more-%u", folder, nth);
}

void
spread_path(const char *folder, unsigned nth, struct buf *out)
{
    struct buf link = { 0 };
    char to[PATH_MAX];
    ssize_t n = 0;

    if (nth) {
        link_path(folder, nth, &link);
        n = readlink(link.p, to, sizeof to);
    }
    if (n > 0 && n < (ssize_t)sizeof to)
        buf_printf(out, "%.*s", (int)n, to);
    else
        buf_printf(out, "%s", nth ? link.p : folder);
    buf_fini(&link);
}

static bool
leads_to(const char *link, const char *target)
{
    char to[PATH_MAX];
    ssize_t n = readlink(link, to, sizeof to);

    return n == (ssize_t)strlen(target) && !memcmp(to, target, (size_t)n);
}

static struct err *
set_link(const char *link, const char *target)
{
    if (leads_to(link, target))
        return NULL;
    if ((unlink(link) < 0 && errno != ENOENT) || symlink(target, link) < 0)
        return err_errno(errno, "linking \"%s\" to \"%s\"", link, target);
    return NULL;
}

struct err *
spread_over(const char *folder, const char *const *targets, unsigned n)
{
    struct buf link = { 0 };
    struct err *e = NULL;

    ASSERT(n <= SPREAD_MAX);
    for (unsigned nth = 1; !e && nth <= SPREAD_MAX; nth++) {
        link.n = 0;
        link_path(folder, nth, &link);
        if (nth <= n)
            e = set_link(link.p, targets[nth - 1]);
        else if (unlink(link.p) < 0)
            break;
    }
    buf_fini(&link);
    return e;
}

static bool
is_there(const char *folder, unsigned nth)
{
    struct buf link = { 0 };
    struct stat st;

    link_path(folder, nth, &link);
    bool yes = lstat(link.p, &st) == 0;
    buf_fini(&link);
    return yes;
}

unsigned
spread_count(const char *folder)
{
    unsigned n = 0;

    while (n < SPREAD_MAX && is_there(folder, n + 1))
        n++;
    return n;
}

static uint64_t
room(const char *folder, unsigned nth)
{
    struct buf path = { 0 };
    struct statvfs v;

    spread_path(folder, nth, &path);
    bool can = statvfs(path.p, &v) == 0 && !(v.f_flag & ST_RDONLY); /* a disk that is gone or broken has none */
    uint64_t bytes = can ? (uint64_t)v.f_bavail * v.f_frsize : 0;
    buf_fini(&path);
    return bytes;
}

unsigned
spread_roomiest(const char *folder, unsigned n)
{
    uint64_t most = n ? room(folder, 0) : 0;
    unsigned best = 0;

    for (unsigned nth = 1; nth <= n; nth++) {
        uint64_t bytes = room(folder, nth);

        if (bytes > most) {
            most = bytes;
            best = nth;
        }
    }
    return best;
}

int
spread_open(const char *folder, const char *name)
{
    struct buf path = { 0 };
    int fd = -1, why = ENOENT;

    for (unsigned nth = 0; fd < 0 && nth <= SPREAD_MAX && (!nth || is_there(folder, nth)); nth++) {
        path.n = 0;
        spread_path(folder, nth, &path);
        buf_printf(&path, "/%s", name);
        fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && why == ENOENT)
            why = errno;
    }
    buf_fini(&path);
    errno = why;
    return fd;
}

void
spread_unlink(const char *folder, unsigned n, const char *name)
{
    struct buf path = { 0 };

    for (unsigned nth = 0; nth <= n; nth++) {
        path.n = 0;
        spread_path(folder, nth, &path);
        buf_printf(&path, "/%s", name);
        unlink(path.p);
    }
    buf_fini(&path);
}
