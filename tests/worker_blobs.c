/* worker_blobs -- tests of the blob cache and of what is placed from it. */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/file.h"
#include "worker.h"
#include "worker/profile.h"

enum { LARGE = 40 << 20 };

static char *
bytes(size_t n, unsigned seed)
{
    char *p = malloc(n);

    CU_ASSERT_FATAL(p != NULL);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)((i * 2654435761u + seed) >> 13);
    return p;
}

static struct rig_state
start(struct rig *r, const char *app, uint32_t n, const struct rig_blob *b, size_t blobs)
{
    rig_executor(r, app, n, "exit 0", b, blobs);
    EQ_U64(rig_next(r, app, n).phase, TASKD__CHILD_PHASE__STARTING);
    return rig_next(r, app, n);
}

static void
runs(struct rig *r, const char *app, uint32_t n, const struct rig_blob *b, size_t blobs)
{
    struct rig_state s = start(r, app, n, b, blobs);

    if (s.phase != TASKD__CHILD_PHASE__RUNNING)
        EQ_STR(s.text, "");
    EQ_U64(rig_next(r, app, n).phase, TASKD__CHILD_PHASE__ENDED);
}

static void
fails(struct rig *r, const char *app, uint32_t n, const struct rig_blob *b, size_t blobs, const char *words)
{
    struct rig_state s = start(r, app, n, b, blobs);

    EQ_U64(s.phase, TASKD__CHILD_PHASE__FAILED_TO_START);
    if (!strstr(s.text, words))
        EQ_STR(s.text, words);
}

static uint64_t
sent(struct rig *r)
{
    struct bulk_server_stats s;

    bulk_server_stats(r->s, &s);
    return s.bytes;
}

static void
is_same(const char *path, const char *p, size_t n)
{
    struct buf b = { 0 };
    struct stat st;

    NO_ERR(file_slurp(path, 1 << 28, &b));
    EQ_U64(b.n, n);
    CU_ASSERT(b.n == n && !memcmp(b.p, p, n));
    CU_ASSERT(stat(path, &st) == 0);
    EQ_U64(st.st_mode & 07777, 0400);
    buf_fini(&b);
}

static void
write_file(const char *path, const char *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    NO_ERR(file_write_full(fd, p, n, path));
    close(fd);
}

void
blobs_once(void)
{
    struct rig r;
    char *p = bytes(3 << 20, 1), path[256];

    rig_init(&r);
    rig_worker(&r);
    struct rig_blob b = rig_blob(&r, TASKD__BLOB_USE__MODULE, "m.so", p, 3 << 20);
    /* two applications need it in the same moment */
    rig_executor(&r, "app-1", 1, "exit 0", &b, 1);
    rig_executor(&r, "app-2", 1, "exit 0", &b, 1);
    for (int i = 0; i < 2; i++) {
        const char *app = i ? "app-2" : "app-1";

        EQ_U64(rig_next(&r, app, 1).phase, TASKD__CHILD_PHASE__STARTING);
        EQ_U64(rig_next(&r, app, 1).phase, TASKD__CHILD_PHASE__RUNNING);
        EQ_U64(rig_next(&r, app, 1).phase, TASKD__CHILD_PHASE__ENDED);
    }
    EQ_U64(sent(&r), 3 << 20);
    rig_blob_path(&r, &b, true, path);
    is_same(path, p, 3 << 20);
    /* and a worker that comes back has it */
    rig_worker_kill(&r);
    rig_worker(&r);
    runs(&r, "app-3", 1, &b, 1);
    EQ_U64(sent(&r), 3 << 20);
    rig_fini(&r);
    free(p);
}

void
blobs_resumed(void)
{
    struct rig r;
    char *p = bytes(LARGE, 2), path[256];

    rig_init(&r);
    rig_worker(&r);
    struct rig_blob b = rig_blob(&r, TASKD__BLOB_USE__MODULE, "m.so", p, LARGE);
    rig_blob_path(&r, &b, true, path);
    strcat(path, ".part");
    write_file(path, p, 36 << 20); /* as a worker that was killed has left it */
    memset(p, 0, 0);
    runs(&r, "app-1", 1, &b, 1);
    CU_ASSERT(sent(&r) < LARGE);
    *strrchr(path, '.') = 0;
    is_same(path, p, LARGE);
    rig_fini(&r);
    free(p);
}

void
blobs_corrupt(void)
{
    struct rig r;
    char *p = bytes(1 << 20, 3), path[256], served[256];

    rig_init(&r);
    rig_worker(&r);
    struct rig_blob b = rig_blob(&r, TASKD__BLOB_USE__MODULE, "m.so", p, 1 << 20);
    /* the rest of an earlier fetch is damaged: fetched again, whole */
    rig_blob_path(&r, &b, true, path);
    strcat(path, ".part");
    p[5] ^= 1;
    write_file(path, p, 1 << 20);
    p[5] ^= 1;
    runs(&r, "app-1", 1, &b, 1);
    *strrchr(path, '.') = 0;
    is_same(path, p, 1 << 20);
    /* the source is damaged */
    struct rig_blob c = rig_blob(&r, TASKD__BLOB_USE__MODULE, "lookup.so", p, 1000);
    rig_blob_path(&r, &c, false, served);
    p[5] ^= 1;
    write_file(served, p, 1000);
    p[5] ^= 1;
    uint64_t before = sent(&r);
    fails(&r, "app-2", 1, &c, 1, "fetching \"lookup.so\" from 127.0.0.1:");
    EQ_U64(sent(&r) - before, 2000);
    fails(&r, "app-2", 2, &c, 1, "its bytes are not what was announced: their SHA-256 is ");
    write_file(served, p, 999);
    fails(&r, "app-2", 3, &c, 1, "it has 999 bytes there, not 1000");
    CU_ASSERT(unlink(served) == 0);
    fails(&r, "app-2", 4, &c, 1, "fetching \"lookup.so\" from 127.0.0.1:");
    write_file(served, p, 1000);
    runs(&r, "app-2", 5, &c, 1);
    rig_fini(&r);
    free(p);
}

/* Somebody changed the cached file: noticed before its next use. */
void
blobs_touched(void)
{
    struct rig r;
    char *p = bytes(1 << 20, 4), path[256];

    rig_init(&r);
    rig_worker(&r);
    struct rig_blob b = rig_blob(&r, TASKD__BLOB_USE__MODULE, "m.so", p, 1 << 20);
    runs(&r, "app-1", 1, &b, 1);
    rig_blob_path(&r, &b, true, path);
    CU_ASSERT(chmod(path, 0600) == 0);
    int fd = open(path, O_WRONLY);
    EQ_U64(pwrite(fd, "xyz", 3, 100), 3);
    close(fd);
    runs(&r, "app-2", 1, &b, 1);
    is_same(path, p, 1 << 20);
    EQ_U64(sent(&r), 2 << 20);
    rig_fini(&r);
    free(p);
}

/* Two applications wait for one blob; the one that is asked can't give it, the other can. */
void
blobs_next_source(void)
{
    struct rig r;
    char *p = bytes(5000, 5);

    rig_init(&r);
    rig_worker(&r);
    struct rig_blob b = rig_blob(&r, TASKD__BLOB_USE__MODULE, "m.so", p, 5000);
    rig_executor(&r, "app-1", 1, "exit 0", &b, 1);
    bulk_server_remove(r.s, "blobs-app-1");
    rig_executor(&r, "app-2", 1, "exit 0", &b, 1);
    EQ_U64(rig_next(&r, "app-1", 1).phase, TASKD__CHILD_PHASE__STARTING);
    /* it fails, unless the other one was asked first */
    CU_ASSERT(rig_next(&r, "app-1", 1).phase != TASKD__CHILD_PHASE__STARTING);
    EQ_U64(rig_next(&r, "app-2", 1).phase, TASKD__CHILD_PHASE__STARTING);
    EQ_U64(rig_next(&r, "app-2", 1).phase, TASKD__CHILD_PHASE__RUNNING);
    EQ_U64(sent(&r), 5000);
    rig_fini(&r);
    free(p);
}

void
blobs_trimmed(void)
{
    struct rig r;
    struct rig_blob b[3];
    char *p = bytes(3000, 6), path[3][256];

    rig_init(&r);
    r.o.cache_bytes = 2500;
    rig_worker(&r);
    for (int i = 0; i < 3; i++) {
        char app[16];

        b[i] = rig_blob(&r, TASKD__BLOB_USE__MODULE, "m.so", p + i, 1000);
        rig_blob_path(&r, &b[i], true, path[i]);
        snprintf(app, sizeof app, "app-%d", i);
        runs(&r, app, 1, &b[i], 1);
    }
    /* all are held by their applications */
    CU_ASSERT(access(path[0], F_OK) == 0 && access(path[1], F_OK) == 0 && access(path[2], F_OK) == 0);
    rig_forget(&r, "app-0");
    rig_forget(&r, "app-1");
    runs(&r, "app-3", 1, &b[2], 1);
    /* the older one goes, and no more than need be */
    CU_ASSERT(access(path[0], F_OK) < 0);
    CU_ASSERT(access(path[1], F_OK) == 0 && access(path[2], F_OK) == 0);
    rig_worker_kill(&r);
    struct timeval old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    CU_ASSERT(utimes(path[1], old) == 0);
    rig_worker(&r);
    CU_ASSERT(access(path[1], F_OK) < 0 && access(path[2], F_OK) == 0);
    rig_fini(&r);
    free(p);
}

/* ---- files */

static size_t
small_archive(char *p, size_t cap, const char *name, const char *text)
{
    struct archive *ar = archive_write_new();
    struct archive_entry *x = archive_entry_new();
    size_t n = 0;

    archive_write_set_format_ustar(ar);
    CU_ASSERT_FATAL(archive_write_open_memory(ar, p, cap, &n) == ARCHIVE_OK);
    archive_entry_set_pathname(x, name);
    archive_entry_set_filetype(x, AE_IFREG);
    archive_entry_set_perm(x, 0644);
    archive_entry_set_size(x, (la_int64_t)strlen(text));
    CU_ASSERT(archive_write_header(ar, x) == ARCHIVE_OK);
    archive_write_data(ar, text, strlen(text));
    archive_entry_free(x);
    archive_write_close(ar);
    archive_write_free(ar);
    return n;
}

static void
text_is(struct rig *r, const char *name, const char *want)
{
    struct buf b = { 0 };

    rig_read(r, name, &b);
    put_u8(&b, 0);
    EQ_STR(b.p, want);
    buf_fini(&b);
}

void
files_placed(void)
{
    struct rig r;
    char ar[20480];
    size_t n = small_archive(ar, sizeof ar, "deep/in/it.txt", "hello");

    rig_init(&r);
    rig_worker(&r);
    struct rig_blob b[3] = {
        rig_blob(&r, TASKD__BLOB_USE__FILE, "lookup.csv", "a,b", 3),
        rig_blob(&r, TASKD__BLOB_USE__ARCHIVE, "env", ar, n),
        rig_blob(&r, TASKD__BLOB_USE__LIBRARY, "libx.so.1", "elf", 3),
    };
    runs(&r, "app-1", 1, b, 3);
    text_is(&r, "app-1/files/lookup.csv", "a,b");
    text_is(&r, "app-1/files/libx.so.1", "elf");
    text_is(&r, "app-1/files/env/deep/in/it.txt", "hello");
    CU_ASSERT(!rig_there(&r, "app-1/files/.env.new") && !rig_there(&r, "app-1/files/.env.err"));
    /* once more after a restart: the same files, anew */
    rig_worker_kill(&r);
    rig_worker(&r);
    runs(&r, "app-1", 2, b, 3);
    text_is(&r, "app-1/files/env/deep/in/it.txt", "hello");
    rig_driver(&r, "driver-1", "exit 0", b, 2);
    EQ_U64(rig_next(&r, "driver-1", 0).phase, TASKD__CHILD_PHASE__STARTING);
    EQ_U64(rig_next(&r, "driver-1", 0).phase, TASKD__CHILD_PHASE__RUNNING);
    text_is(&r, "driver-1/files/env/deep/in/it.txt", "hello");
    rig_fini(&r);
}

void
files_refused(void)
{
    static const char *const names[] = { "../x", "a/b", "", ".", "..", ".hidden", "a\nb" };
    struct rig r;
    char ar[20480], app[16];
    size_t n = small_archive(ar, sizeof ar, "../../escaped", "hello");

    rig_init(&r);
    rig_worker(&r);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        struct rig_blob b = rig_blob(&r, TASKD__BLOB_USE__FILE, names[i], "a,b", 3);

        snprintf(app, sizeof app, "app-%u", i);
        fails(&r, app, 1, &b, 1, i == 5 ? "may not begin with a dot" : "can't be the name of a file");
    }
    struct rig_blob two[2] = { rig_blob(&r, TASKD__BLOB_USE__FILE, "same", "a", 1),
                               rig_blob(&r, TASKD__BLOB_USE__FILE, "same", "b", 1) };
    fails(&r, "app-8", 1, two, 2, "two files are called \"same\"");
    struct rig_blob bad = rig_blob(&r, TASKD__BLOB_USE__ARCHIVE, "env", ar, n);
    fails(&r, "app-9", 1, &bad, 1,
          "unpacking \"env\": the archive's entry \"../../escaped\" is refused: its name leads upwards");
    CU_ASSERT(!rig_there(&r, "app-9/escaped") && !rig_there(&r, "app-9/files/env"));
    CU_ASSERT(!rig_there(&r, "app-9/files/.env.new") && !rig_there(&r, "app-9/files/.env.err"));
    rig_fini(&r);
}

/* ---- the profile */

void
profile_cache(void)
{
    struct arena a = { 0 };
    struct buf b = { 0 };
    char **names;

    if (access("/etc/ld.so.cache", R_OK) < 0)
        return;
    NO_ERR(file_slurp("/etc/ld.so.cache", 1 << 26, &b));
    size_t n = profile_sonames(b.p, b.n, &a, &names), libc = 0;
    for (size_t i = 0; i < n; i++)
        libc += !strcmp(names[i], "libc.so.6");
    EQ_U64(libc, 1);
    for (size_t cut = 0; cut < b.n && cut < 3000; cut++) {
        char *p = malloc(cut + 1);

        memcpy(p, b.p, cut);
        profile_sonames(p, cut, &a, &names); /* ASan is the judge */
        free(p);
    }
    memset(b.p + 20, 0xff, 8);
    EQ_U64(profile_sonames(b.p, b.n, &a, &names), 0);
    buf_fini(&b);
    arena_fini(&a);
}
