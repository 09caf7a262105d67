/* worker_unpack -- archives that mean harm. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker.h"
#include "worker/unpack.h"

struct pack { /* an archive in the making, and where it is unpacked: top/in */
    char top[64], in[80];
    int fd;
    struct archive *ar;
};

static void
pack_begin(struct pack *k, bool zip)
{
    strcpy(k->top, "/tmp/taskd-unpack-XXXXXX");
    CU_ASSERT_FATAL(mkdtemp(k->top) != NULL);
    snprintf(k->in, sizeof k->in, "%s/in", k->top);
    CU_ASSERT(mkdir(k->in, 0700) == 0);
    k->fd = memfd_create("archive", MFD_CLOEXEC);
    k->ar = archive_write_new();
    if (zip)
        archive_write_set_format_zip(k->ar);
    else
        archive_write_set_format_pax_restricted(k->ar);
    if (!zip)
        archive_write_add_filter_gzip(k->ar);
    CU_ASSERT_FATAL(archive_write_open_fd(k->ar, k->fd) == ARCHIVE_OK);
}

static void
add(struct pack *k, const char *name, unsigned type, const char *text, unsigned mode)
{
    struct archive_entry *x = archive_entry_new();

    archive_entry_set_pathname(x, name);
    archive_entry_set_filetype(x, type);
    archive_entry_set_perm(x, mode);
    if (type == AE_IFLNK)
        archive_entry_set_symlink(x, text);
    else if (type == AE_IFREG)
        archive_entry_set_size(x, (la_int64_t)strlen(text));
    CU_ASSERT(archive_write_header(k->ar, x) == ARCHIVE_OK);
    if (type == AE_IFREG)
        archive_write_data(k->ar, text, strlen(text));
    archive_entry_free(x);
}

static void
add_hard(struct pack *k, const char *name, const char *target)
{
    struct archive_entry *x = archive_entry_new();

    archive_entry_set_pathname(x, name);
    archive_entry_set_filetype(x, AE_IFREG);
    archive_entry_set_perm(x, 0644);
    archive_entry_set_size(x, 0);
    archive_entry_set_hardlink(x, target);
    CU_ASSERT(archive_write_header(k->ar, x) == ARCHIVE_OK);
    archive_entry_free(x);
}

static struct err *
pack_end(struct pack *k, const struct unpack_limits *l)
{
    static const struct unpack_limits none;

    archive_write_close(k->ar);
    archive_write_free(k->ar);
    lseek(k->fd, 0, SEEK_SET);
    struct err *e = unpack(k->fd, k->in, l ? l : &none);
    close(k->fd);
    return e;
}

/* Nothing but "in" is there. */
static void
pack_fini(struct pack *k)
{
    DIR *d = opendir(k->top);
    struct dirent *x;

    while ((x = readdir(d)))
        if (x->d_name[0] != '.')
            EQ_STR(x->d_name, "in");
    closedir(d);
    NO_ERR(file_remove_tree(k->top));
}

static void
text_is(struct pack *k, const char *name, const char *want, unsigned mode)
{
    char path[256];
    struct buf b = { 0 };
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", k->in, name);
    NO_ERR(file_slurp(path, 1 << 20, &b));
    put_u8(&b, 0);
    EQ_STR(b.p, want);
    CU_ASSERT(stat(path, &st) == 0);
    EQ_U64(st.st_mode & 07777, mode);
    buf_fini(&b);
}

void
unpack_good(void)
{
    for (int zip = 0; zip < 2; zip++) {
        struct pack k;

        pack_begin(&k, zip);
        add(&k, "./", AE_IFDIR, "", 0755);
        add(&k, "./top.txt", AE_IFREG, "top", 0644);
        add(&k, "bin/", AE_IFDIR, "", 0755);
        add(&k, "bin/run", AE_IFREG, "#!", 04755); /* no set-user-ID here */
        add(&k, "no/folder/named/before.txt", AE_IFREG, "deep", 0600);
        add(&k, "empty", AE_IFREG, "", 0644);
        add(&k, "bin/link", AE_IFLNK, "../top.txt", 0777);
        NO_ERR(pack_end(&k, NULL));
        text_is(&k, "top.txt", "top", 0600);
        text_is(&k, "bin/run", "#!", 0700);
        text_is(&k, "no/folder/named/before.txt", "deep", 0600);
        text_is(&k, "bin/link", "top", 0600);
        text_is(&k, "empty", "", 0600);
        pack_fini(&k);
    }
}

void
unpack_attacks(void)
{
    static const struct {
        const char *name;
        unsigned type;
        const char *text, *words;
    } bad[] = {
        { "../up", AE_IFREG, "x", "leads upwards" },
        { "a/../../up", AE_IFREG, "x", "leads upwards" },
        { "a/..", AE_IFDIR, "", "leads upwards" },
        { "/tmp/taskd-absolute", AE_IFREG, "x", "is absolute" },
        { "null", AE_IFCHR, "", "neither file nor folder nor link" },
        { "disk", AE_IFBLK, "", "neither file nor folder nor link" },
        { "pipe", AE_IFIFO, "", "neither file nor folder nor link" },
        { "l", AE_IFLNK, "/etc/passwd", "links to an absolute path" },
        { "l", AE_IFLNK, "..", "links to the outside" },
        { "a/l", AE_IFLNK, "../../x", "links to the outside" },
        { "l", AE_IFLNK, "a/../../x", "links to the outside" },
        { "l", AE_IFLNK, "dot/..", "links to the outside" },
    };

    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pack k;

        pack_begin(&k, false);
        add(&k, "good", AE_IFREG, "good", 0644);
        add(&k, bad[i].name, bad[i].type, bad[i].text, 0644);
        IS_ERR(pack_end(&k, NULL), ERR_DENIED, bad[i].words);
        pack_fini(&k);
    }
}

/* Links of the archive as a way to somewhere. */
void
unpack_links(void)
{
    struct pack k;

    pack_begin(&k, false);
    add(&k, "d/", AE_IFDIR, "", 0755);
    add(&k, "l", AE_IFLNK, "d", 0777);
    add(&k, "l/written", AE_IFREG, "x", 0644);
    IS_ERR(pack_end(&k, NULL), ERR_DENIED, "leads through a link");
    pack_fini(&k);

    pack_begin(&k, false);
    add(&k, "l", AE_IFLNK, "file", 0777);
    add(&k, "l", AE_IFREG, "x", 0644);
    IS_ERR(pack_end(&k, NULL), ERR_DENIED, "it is there already");
    pack_fini(&k);

    pack_begin(&k, false);
    add_hard(&k, "h", "/etc/passwd");
    IS_ERR(pack_end(&k, NULL), ERR_DENIED, "is absolute");
    pack_fini(&k);

    pack_begin(&k, false);
    add_hard(&k, "h", "../x");
    IS_ERR(pack_end(&k, NULL), ERR_DENIED, "leads upwards");
    pack_fini(&k);

    pack_begin(&k, false);
    add(&k, "l", AE_IFLNK, "a", 0777);
    add_hard(&k, "h", "l");
    IS_ERR(pack_end(&k, NULL), ERR_DENIED, "leads through a link");
    pack_fini(&k);

    pack_begin(&k, false);
    add_hard(&k, "h", "nothing");
    IS_ERR(pack_end(&k, NULL), ERR_DENIED, "isn't in the archive");
    pack_fini(&k);

    pack_begin(&k, false);
    add(&k, "a", AE_IFREG, "same", 0644);
    add_hard(&k, "d/h", "a");
    NO_ERR(pack_end(&k, NULL));
    text_is(&k, "d/h", "same", 0600);
    pack_fini(&k);
}

void
unpack_bombs(void)
{
    struct unpack_limits l = { .bytes = 100000, .entries = 10 };
    struct pack k;
    char *zeros = calloc(1, 200001), name[16];

    CU_ASSERT_FATAL(zeros != NULL);
    memset(zeros, '0', 200000);
    for (int zip = 0; zip < 2; zip++) {
        pack_begin(&k, zip);
        add(&k, "zeros", AE_IFREG, zeros, 0644);
        IS_ERR(pack_end(&k, &l), ERR_LIMIT, "more than 100000 bytes");
        pack_fini(&k);
    }
    /* copies count */
    zeros[60000] = 0;
    pack_begin(&k, false);
    add(&k, "a", AE_IFREG, zeros, 0644);
    add_hard(&k, "b", "a");
    IS_ERR(pack_end(&k, &l), ERR_LIMIT, "more than 100000 bytes");
    pack_fini(&k);

    pack_begin(&k, false);
    for (int i = 0; i < 11; i++) {
        snprintf(name, sizeof name, "%d", i);
        add(&k, name, AE_IFREG, "", 0644);
    }
    IS_ERR(pack_end(&k, &l), ERR_LIMIT, "more than 10 entries");
    pack_fini(&k);

    char deep[600];
    for (int i = 0; i < 200; i++)
        memcpy(deep + 2 * i, "d/", 3);
    pack_begin(&k, false);
    add(&k, deep, AE_IFDIR, "", 0755);
    IS_ERR(pack_end(&k, &l), ERR_DENIED, "its name is too long");
    pack_fini(&k);
    free(zeros);
}

void
unpack_garbage(void)
{
    static const struct unpack_limits none;
    char dir[] = "/tmp/taskd-unpack-XXXXXX", p[4096];
    unsigned seed = 1;

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    for (int i = 0; i < 20; i++) {
        int fd = memfd_create("garbage", MFD_CLOEXEC);
        size_t n = i == 0 ? 0 : sizeof p;

        for (size_t k = 0; k < n; k++)
            p[k] = (char)rand_r(&seed);
        if (i % 3 == 1)
            memcpy(p, "PK\3\4", 4);
        EQ_U64(write(fd, p, n), n);
        lseek(fd, 0, SEEK_SET);
        struct err *e = unpack(fd, dir, &none);
        if (e && e->code != ERR_DENIED)
            EQ_U64(e->code, ERR_CORRUPT);
        err_free(e);
        close(fd);
    }
    NO_ERR(file_remove_tree(dir));
}
