/* unpack -- see unpack.h */
#include "worker/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

enum { READ_BYTES = 64 << 10, COPY_BYTES = 64 << 10, NAME_MAX_BYTES = 4096, DEPTH = 100 };

struct job {
    struct archive *ar;
    int root;
    uint64_t bytes_left, entries_left;
    struct unpack_limits limits;
};

/* ---- places inside */

static int
open_beneath(int root, const char *name, int flags, mode_t mode)
{
    struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .mode = mode,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

    return (int)syscall(SYS_openat2, root, name, &how, sizeof how);
}

static struct err *
refused(const char *name, const char *why)
{
    return err_new(ERR_DENIED, "the archive's entry \"%s\" is refused: %s", name, why);
}

static struct err *
failed(int no, const char *what, const char *name)
{
    if (no == ELOOP || no == EXDEV)
        return refused(name, "it leads through a link");
    if (no == ENOTDIR)
        return refused(name, "a part of its path is a file");
    if (no == EEXIST)
        return refused(name, "it is there already");
    return err_errno(no, "%s \"%s\"", what, name);
}

/* Without "./" and final slashes, in out; "" is the folder itself.  No way up, none to the root. */
static struct err *
clean_name(const char *name, char out[static NAME_MAX_BYTES])
{
    size_t n = 0;
    unsigned depth = 0;

    if (!name || !*name)
        return err_new(ERR_DENIED, "the archive has an entry without a name");
    if (*name == '/')
        return refused(name, "its name is absolute");
    for (const char *p = name; *p;) {
        size_t k = strcspn(p, "/");

        if (k == 2 && !memcmp(p, "..", 2))
            return refused(name, "its name leads upwards");
        if (k && !(k == 1 && *p == '.')) {
            if (n + k + 2 > NAME_MAX_BYTES || k > 255 || ++depth > DEPTH)
                return refused(name, "its name is too long");
            if (n)
                out[n++] = '/';
            memcpy(out + n, p, k);
            n += k;
        }
        p += k;
        p += strspn(p, "/");
    }
    out[n] = 0;
    return NULL;
}

/* The folder of that name, with those above it.  Steps down one by one: nothing is looked up through a link. */
static struct err *
make_folder(int root, const char *name, size_t n)
{
    char path[NAME_MAX_BYTES];

    for (size_t i = 1; i <= n; i++) {
        if (i < n && name[i] != '/')
            continue;
        memcpy(path, name, i);
        path[i] = 0;
        int fd = open_beneath(root, path, O_PATH | O_DIRECTORY, 0);
        if (fd < 0 && errno == ENOENT) {
            const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
            char above[NAME_MAX_BYTES] = ".";

            if (slash)
                snprintf(above, sizeof above, "%.*s", (int)(slash - path), path);
            int dir = open_beneath(root, above, O_PATH | O_DIRECTORY, 0);
            if (dir < 0)
                return failed(errno, "opening", above);
            int rc = mkdirat(dir, last, 0700), no = errno;
            close(dir);
            if (rc < 0)
                return failed(no, "making", path);
            continue;
        }
        if (fd < 0)
            return failed(errno, "opening", path);
        close(fd);
    }
    return NULL;
}

static struct err *
make_folder_of(int root, const char *name)
{
    const char *slash = strrchr(name, '/');

    return slash ? make_folder(root, name, (size_t)(slash - name)) : NULL;
}

/* ---- content */

static struct err *
spend(struct job *j, uint64_t n, const char *name)
{
    if (n > j->bytes_left)
        return err_new(ERR_LIMIT, "the archive unpacks to more than %llu bytes (at \"%s\")",
                       (unsigned long long)j->limits.bytes, name);
    j->bytes_left -= n;
    return NULL;
}

static struct err *
not_read(struct job *j)
{
    const char *why = archive_error_string(j->ar);

    return err_new(ERR_CORRUPT, "the archive can't be read: %s", why ? why : "nobody says why");
}

static struct err *
write_at(int fd, const char *p, size_t n, off_t at, const char *name)
{
    while (n) {
        ssize_t k = pwrite(fd, p, n, at);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_errno(errno, "writing \"%s\"", name);
        p += k;
        n -= (size_t)k;
        at += k;
    }
    return NULL;
}

/* Holes count as bytes, too. */
static struct err *
write_content(struct job *j, int fd, const char *name)
{
    uint64_t end = 0;

    for (;;) {
        const void *p;
        size_t n;
        la_int64_t at;
        int rc = archive_read_data_block(j->ar, &p, &n, &at);

        if (rc == ARCHIVE_EOF)
            break;
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
            return not_read(j);
        if (at < 0 || (uint64_t)at < end)
            return refused(name, "its pieces overlap");
        TRY(spend(j, (uint64_t)at - end + n, name));
        end = (uint64_t)at + n;
        TRY(write_at(fd, p, n, at, name));
    }
    return ftruncate(fd, (off_t)end) < 0 ? err_errno(errno, "writing \"%s\"", name) : NULL;
}

static struct err *
make_file(struct job *j, struct archive_entry *x, const char *name)
{
    mode_t mode = archive_entry_mode(x) & 0111 ? 0700 : 0600;
    int fd = open_beneath(j->root, name, O_WRONLY | O_CREAT | O_EXCL, mode);

    if (fd < 0)
        return failed(errno, "making", name);
    struct err *e = write_content(j, fd, name);
    close(fd);
    return e;
}

/* A hard link becomes a copy: the file it names is one of the archive's, or it isn't there. */
static struct err *
make_copy(struct job *j, const char *target, const char *name)
{
    char from_name[NAME_MAX_BYTES], block[COPY_BYTES];
    struct stat st;
    struct err *e = NULL;
    size_t n = 1;

    TRY(clean_name(target, from_name));
    int from = open_beneath(j->root, from_name, O_RDONLY | O_NONBLOCK, 0);
    if (from < 0)
        return errno == ENOENT ? refused(name, "it links to a file that isn't in the archive") : failed(errno, "opening", from_name);
    if (fstat(from, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(from);
        return refused(name, "it links to what is no file");
    }
    int to = open_beneath(j->root, name, O_WRONLY | O_CREAT | O_EXCL, st.st_mode & 0100 ? 0700 : 0600);
    if (to < 0)
        e = failed(errno, "making", name);
    for (uint64_t at = 0; !e && n; at += n) {
        e = file_pread(from, block, sizeof block, at, &n, from_name);
        if (!e)
            e = spend(j, n, name);
        if (!e)
            e = file_write_full(to, block, n, name);
    }
    close(from);
    file_close(&to);
    return e;
}

/* Does a link's text stay inside when it is read from the link's own folder?  ".." only at the front: behind a name it
 * goes up from wherever that one leads to. */
static bool
stays_inside(const char *name, const char *target)
{
    int depth = 0;
    bool front = true;

    for (const char *p = name; (p = strchr(p, '/')); p++)
        depth++;
    for (const char *p = target; *p;) {
        size_t k = strcspn(p, "/");

        if (k == 2 && !memcmp(p, "..", 2)) {
            if (!front || --depth < 0)
                return false;
        } else if (k && !(k == 1 && *p == '.')) {
            front = false;
        }
        p += k;
        p += strspn(p, "/");
    }
    return true;
}

static struct err *
make_link(struct job *j, const char *target, const char *name)
{
    if (!target || !*target || *target == '/' || strlen(target) >= NAME_MAX_BYTES)
        return refused(name, "it links to an absolute path");
    if (!stays_inside(name, target))
        return refused(name, "it links to the outside");
    const char *slash = strrchr(name, '/');
    char above[NAME_MAX_BYTES] = ".";
    if (slash)
        snprintf(above, sizeof above, "%.*s", (int)(slash - name), name);
    int dir = open_beneath(j->root, above, O_PATH | O_DIRECTORY, 0);
    if (dir < 0)
        return failed(errno, "opening", above);
    int rc = symlinkat(target, dir, slash ? slash + 1 : name), no = errno;
    close(dir);
    return rc < 0 ? failed(no, "making", name) : NULL;
}

static struct err *
one(struct job *j, struct archive_entry *x)
{
    char name[NAME_MAX_BYTES];

    if (!j->entries_left--)
        return err_new(ERR_LIMIT, "the archive has more than %llu entries", (unsigned long long)j->limits.entries);
    TRY(clean_name(archive_entry_pathname(x), name));
    if (!*name)
        return archive_entry_filetype(x) == AE_IFDIR ? NULL : refused(".", "it is no folder");
    TRY(make_folder_of(j->root, name));
    const char *hard = archive_entry_hardlink(x);
    if (hard)
        return make_copy(j, hard, name);
    switch (archive_entry_filetype(x)) {
    case AE_IFREG:
        return make_file(j, x, name);
    case AE_IFDIR:
        return make_folder(j->root, name, strlen(name));
    case AE_IFLNK:
        return make_link(j, archive_entry_symlink(x), name);
    default:
        return refused(name, "it is neither file nor folder nor link");
    }
}

static struct err *
all(struct job *j, int fd)
{
    struct archive_entry *x;
    int rc;

    /* named one by one: "all" would run programs for some of them */
    archive_read_support_filter_gzip(j->ar);
    archive_read_support_filter_bzip2(j->ar);
    archive_read_support_filter_xz(j->ar);
    archive_read_support_filter_zstd(j->ar);
    archive_read_support_format_tar(j->ar);
    archive_read_support_format_zip(j->ar);
    if (archive_read_open_fd(j->ar, fd, READ_BYTES) != ARCHIVE_OK)
        return not_read(j);
    while ((rc = archive_read_next_header(j->ar, &x)) != ARCHIVE_EOF) {
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
            return not_read(j);
        TRY(one(j, x));
    }
    return NULL;
}

struct err *
unpack(int fd, const char *dir, const struct unpack_limits *l)
{
    struct job j = { .limits = *l };

    if (!j.limits.bytes)
        j.limits.bytes = UINT64_C(64) << 30;
    if (!j.limits.entries)
        j.limits.entries = 1000000;
    j.bytes_left = j.limits.bytes;
    j.entries_left = j.limits.entries;
    j.root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j.root < 0)
        return err_errno(errno, "opening \"%s\"", dir);
    j.ar = archive_read_new();
    if (!j.ar)
        abort();
    struct err *e = all(&j, fd);
    archive_read_free(j.ar);
    close(j.root);
    return e;
}
