/* Tests of lib/base. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/spread.h"
#include "base/hash.h"
#include "base/quote.h"
#include "base/scan.h"
#include "base/usage.h"
#include "unit.h"

static struct err *
inner(void)
{
    return err_new(ERR_CORRUPT, "checksum is %d, not %d", 1, 2);
}

static struct err *
outer(void)
{
    TRY_OR(inner(), "reading block %d", 7);
    return NULL;
}

static void
err_chain_keeps_code_and_order(void)
{
    struct err *e = err_hint(outer(), "Read it again.");
    char *s = err_text(e);

    EQ_U64(e->code, ERR_CORRUPT);
    EQ_STR(s, "reading block 7: checksum is 1, not 2\nhint: Read it again.");
    free(s);
    err_free(e);
    EQ_U64(err_code_of("ABI"), ERR_ABI);
    EQ_U64(err_code_exit(ERR_ABI), 4);
    CU_ASSERT(err_code_retry(ERR_USER) && !err_code_retry(ERR_CONFIG));
}

static void
count_up(void *p)
{
    ++*(int *)p;
}

static void
arena_grows_and_resets(void)
{
    struct arena a = { 0 };
    int cleanups = 0;

    arena_on_reset(&a, count_up, &cleanups);
    char *big = arena_alloc(&a, 5 * ARENA_CHUNK);
    memset(big, 1, 5 * ARENA_CHUNK);
    for (int i = 0; i < 1000; i++) {
        char *p = arena_alloc(&a, 100);

        EQ_U64((uintptr_t)p % 16, 0);
        memset(p, i, 100);
    }
    EQ_STR(arena_printf(&a, "%d-%s", 5, "x"), "5-x");
    arena_reset(&a);
    EQ_U64(cleanups, 1);
    CU_ASSERT(a.held <= 5 * ARENA_CHUNK);
    arena_fini(&a);
    EQ_U64(cleanups, 1);
}

static void
buf_numbers_round_trip(void)
{
    struct arena a = { 0 };
    struct buf b = { 0 };
    size_t n;

    put_u8(&b, 200);
    put_u32(&b, 4000000000u);
    put_u64(&b, 1ull << 63);
    put_f64(&b, -0.5);
    put_str(&b, "key");
    put_bytes(&b, "\0\1", 2);
    struct get g = GET_OF(b.p, b.n);
    EQ_U64(get_u8(&g), 200);
    EQ_U64(get_u32(&g), 4000000000u);
    EQ_U64(get_u64(&g), 1ull << 63);
    CU_ASSERT(get_f64(&g) == -0.5);
    EQ_STR(get_str(&g, &a), "key");
    const char *p = get_bytes(&g, &n);
    EQ_U64(n, 2);
    CU_ASSERT(p && !memcmp(p, "\0\1", 2));
    CU_ASSERT(!g.bad && g.p == g.end);
    EQ_U64(get_u32(&g), 0);
    CU_ASSERT(g.bad);
    for (size_t cut = 0; cut < b.n; cut++) { /* every truncation is noticed */
        g = GET_OF(b.p, cut);
        get_u8(&g), get_u32(&g), get_u64(&g), get_f64(&g), get_str(&g, &a), get_bytes(&g, &n);
        CU_ASSERT(g.bad);
    }
    buf_fini(&b);
    arena_fini(&a);
}

static void
buf_json_escapes(void)
{
    struct buf b = { 0 };

    buf_json(&b, "a\"\\\n\xc3\xa9\xff\xed\xa0\x80z", 11);
    buf_put(&b, "", 1);
    EQ_STR(b.p, "\"a\\\"\\\\\\u000a\xc3\xa9\\ufffd\\ufffd\\ufffd\\ufffdz\"");
    buf_fini(&b);
}

static void
hash_is_one_function(void)
{
    char s[256 + 64];

    for (int i = 0; i < 256; i++)
        s[i] = (char)(i * 7 + 1);
    for (size_t n = 0; n < 200; n++) {
        uint64_t h = hash_str(s, n);
        char other[256 + 64];

        memcpy(other, s, n);
        memset(other + n, 0xee, sizeof other - n); /* what lies behind must not matter */
        EQ_U64(hash_str(other, n), h);
        if (n) {
            other[n - 1] ^= 1;
            CU_ASSERT(hash_str(other, n) != h);
        }
    }
    EQ_U64(hash_f64_bits(-0.0), hash_f64_bits(0.0));
    EQ_U64(hash_f64_bits(0.0 / 0.0), hash_f64_bits(-(0.0 / 0.0)));
    unsigned top[16] = { 0 };
    for (uint64_t i = 0; i < 16000; i++)
        top[hash_u64(i) >> 60]++;
    for (int i = 0; i < 16; i++)
        CU_ASSERT(top[i] > 850 && top[i] < 1150);
}

static void
scan_finds_each_place(void)
{
    char p[64];

    for (int i = 0; i < 64; i++) {
        memset(p, 'x', 64);
        p[i] = '\n';
        EQ_U64(scan_eq64(p, '\n'), 1ull << i);
    }
}

static void
file_tree_is_made_and_removed(void)
{
    char dir[] = "/tmp/taskd-test-XXXXXX", path[256];
    struct buf b = { 0 };

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/a/b/c", dir);
    NO_ERR(file_mkdirs(path, 0700));
    NO_ERR(file_mkdirs(path, 0700));
    strcat(path, "/f");
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    NO_ERR(file_write_full(fd, "hello", 5, path));
    char got[8];
    NO_ERR(file_pread_full(fd, got, 5, 0, path));
    IS_ERR(file_pread_full(fd, got, 8, 0, path), ERR_CORRUPT, "ends after 5 bytes, 8 were expected");
    file_close(&fd);
    EQ_U64(fd, -1);
    NO_ERR(file_slurp(path, 100, &b));
    EQ_U64(b.n, 5);
    IS_ERR(file_slurp(path, 4, &b), ERR_LIMIT, "larger than 4 bytes");
    IS_ERR(file_mkdirs(path, 0700), ERR_IO, "");
    char link[300];
    snprintf(link, sizeof link, "%s/a/out", dir);
    CU_ASSERT(symlink("/usr", link) == 0); /* must not be followed */
    NO_ERR(file_remove_tree(dir));
    NO_ERR(file_remove_tree(dir));
    struct stat st;
    CU_ASSERT(stat(dir, &st) < 0 && stat("/usr/bin", &st) == 0);
    buf_fini(&b);
}

static void
spread_lists(void)
{
    struct arena a = { 0 };
    const char *list = ",/a,,b/c,", *got;
    char want[PATH_MAX + 8], *cwd = getcwd(NULL, 0);

    CU_ASSERT_FATAL(cwd != NULL);
    snprintf(want, sizeof want, "%s/b/c", cwd);
    NO_ERR(spread_next(&list, &a, &got));
    EQ_STR(got, "/a");
    NO_ERR(spread_next(&list, &a, &got));
    EQ_STR(got, want);
    for (int i = 0; i < 2; i++) {
        NO_ERR(spread_next(&list, &a, &got));
        CU_ASSERT_PTR_NULL(got);
    }
    free(cwd);
    arena_fini(&a);
}

static void
spread_files_are_found(void)
{
    char dir[] = "/tmp/taskd-test-XXXXXX", a[40], b[40], path[100];
    const char *const to[] = { a, b };
    struct buf at = { 0 };

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    NO_ERR(file_mkdirs(a, 0700));
    NO_ERR(file_mkdirs(b, 0700));
    EQ_U64(spread_count(dir), 0);
    EQ_U64(spread_roomiest(dir, 0), 0);
    NO_ERR(spread_over(dir, to, 2));
    NO_ERR(spread_over(dir, to, 2));
    EQ_U64(spread_count(dir), 2);
    for (unsigned nth = 0; nth <= 2; nth++) {
        at.n = 0;
        spread_path(dir, nth, &at);
        EQ_STR(at.p, nth == 0 ? dir : nth == 1 ? a : b);
        snprintf(path, sizeof path, "%s/f", at.p);
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        int fd = spread_open(dir, "f");
        CU_ASSERT(fd >= 0);
        close(fd);
        spread_unlink(dir, 2, "f");
        spread_unlink(dir, 2, "f");
        CU_ASSERT(spread_open(dir, "f") == -1 && errno == ENOENT);
    }
    NO_ERR(spread_over(dir, to + 1, 1));
    EQ_U64(spread_count(dir), 1);
    at.n = 0;
    spread_path(dir, 1, &at);
    EQ_STR(at.p, b);
    snprintf(path, sizeof path, "%s/l", b);
    CU_ASSERT(symlink("/etc/passwd", path) == 0);
    CU_ASSERT(spread_open(dir, "l") == -1 && errno == ELOOP);
    NO_ERR(spread_over(dir, NULL, 0));
    EQ_U64(spread_count(dir), 0);
    NO_ERR(file_remove_tree(dir));
    buf_fini(&at);
}

static uint64_t
room(const char *path)
{
    struct statvfs v;

    return statvfs(path, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : 0;
}

/* /proc and what is not there have no room at all. */
static void
spread_where_most_room_is(void)
{
    char dir[] = "/tmp/taskd-test-XXXXXX";
    const char *const none[] = { "/proc", "/nowhere" }, *const one[] = { "/proc", "/dev/shm", "/nowhere" };

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    NO_ERR(spread_over(dir, none, 2));
    EQ_U64(spread_roomiest(dir, 2), 0);
    NO_ERR(spread_over(dir, one, 3));
    EQ_U64(spread_roomiest(dir, 3), room("/dev/shm") > room(dir) ? 2 : 0);
    NO_ERR(file_remove_tree(dir));

    char at[] = "/dev/shm/taskd-test-XXXXXX"; /* the other way round */
    const char *const tmp[] = { "/proc", "/tmp" };
    CU_ASSERT_FATAL(mkdtemp(at) != NULL);
    NO_ERR(spread_over(at, tmp, 2));
    EQ_U64(spread_roomiest(at, 2), room("/tmp") > room(at) ? 2 : 0);
    NO_ERR(file_remove_tree(at));
}

static void
exists(const char *dir, const char *names)
{
    char path[256], list[200], *at = list;

    snprintf(list, sizeof list, "%s", names);
    for (char *name; (name = strsep(&at, " "));) {
        snprintf(path, sizeof path, "%s/%s", dir, name[0] == '!' ? name + 1 : name);
        EQ_U64(access(path, F_OK) == 0, name[0] != '!');
    }
}

static void
file_marked_tree_is_removed(void)
{
    char dir[] = "/tmp/taskd-test-XXXXXX", d[100], path[256];

    CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
    snprintf(d, sizeof d, "%s/d", dir);
    snprintf(path, sizeof path, "%s/d/mark/x", dir);
    NO_ERR(file_remove_marked(d, "mark"));
    NO_ERR(file_mkdirs(path, 0700));
    NO_ERR(file_remove_marked(d, "other"));
    exists(dir, "d/mark/x !d.other~ !d.mark~");
    NO_ERR(file_remove_marked(d, "mark"));
    exists(dir, "!d !d.mark~");
    NO_ERR(file_mkdirs(d, 0700));
    NO_ERR(file_remove_marked(d, "mark"));
    exists(dir, "d");
    rmdir(d);
    snprintf(path, sizeof path, "%s/d.mark~/x", dir); /* of one that was killed */
    NO_ERR(file_mkdirs(path, 0700));
    NO_ERR(file_remove_marked(d, "mark"));
    exists(dir, "!d.mark~");
    NO_ERR(file_mkdirs(path, 0700));
    snprintf(path, sizeof path, "%s/d/mark/x", dir);
    NO_ERR(file_mkdirs(path, 0700));
    NO_ERR(file_remove_marked(d, "mark"));
    exists(dir, "!d !d.mark~");
    int fd = open(d, O_RDWR | O_CREAT | O_EXCL, 0600); /* a file is nobody's directory */
    file_close(&fd);
    NO_ERR(file_remove_marked(d, "mark"));
    exists(dir, "d");
    NO_ERR(file_remove_tree(dir));
}

static void
clock_formats(void)
{
    char s[25];

    clock_iso8601(1700000000123000000ull, s);
    EQ_STR(s, "2023-11-14T22:13:20.123Z");
    uint64_t a = clock_mono_ns(), b = clock_mono_ns();
    CU_ASSERT(a && b >= a);
}

#ifdef __SANITIZE_THREAD__
enum { SHADOW = 8 }; /* bytes that the sanitizer may keep of each one */
#else
enum { SHADOW = 0 };
#endif

/* What is asserted is what was used, however long it took. */
static void
usage_counts(void)
{
    enum { SIZE = 16 << 20, USE = 5000000 };
    uint64_t before = clock_cpu_ns(), pid_ns = usage_cpu_ns(getpid()), after = clock_cpu_ns();

    CU_ASSERT(before <= pid_ns && pid_ns <= after);
    uint64_t empty = usage_memory(getpid());
    char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(p != MAP_FAILED);
    memset(p, 1, SIZE);
    uint64_t full = usage_memory(getpid());
    CU_ASSERT(full - empty >= SIZE && full - empty < SIZE * (1 + SHADOW) + (1 << 20));
    munmap(p, SIZE);

    uint64_t ended = usage_ended_cpu_ns(), own = usage_own_cpu_ns();
    int ready[2], go[2];
    CU_ASSERT_FATAL(pipe(ready) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c = 0;

        while (clock_cpu_ns() < USE)
            continue;
        _exit(write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1);
    }
    char c = 0;
    int status;
    CU_ASSERT(read(ready[0], &c, 1) == 1);
    CU_ASSERT(usage_cpu_ns(pid) >= USE);
    EQ_U64(usage_ended_cpu_ns(), ended);
    CU_ASSERT(write(go[1], &c, 1) == 1 && waitpid(pid, &status, 0) == pid && status == 0);
    CU_ASSERT(usage_ended_cpu_ns() - ended >= USE - 1000); /* whole microseconds, twice */
    CU_ASSERT(usage_own_cpu_ns() - own >= USE - 2000);
    EQ_U64(usage_cpu_ns(pid), 0);
    EQ_U64(usage_memory(pid), 0);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
}

static void
quote_texts(void)
{
    char s[40];

    quote_text("a POISON b", 10, 0, s, sizeof s);
    EQ_STR(s, "\"a POISON b\"");
    quote_text("\t\"\\\n\r\0\x1b\x7f", 8, 1, s, sizeof s);
    EQ_STR(s, "\"\\t\\\"\\\\\\n\\r\\x00\\x1b\\x7f\"...");
    quote_text("gr\xc3\xbc\xc3\x9f \xc3(\xff\xed\xa0\x80", 13, 0, s, sizeof s);
    EQ_STR(s, "\"gr\xc3\xbc\xc3\x9f \\xc3(\\xff\\xed\\xa0\\x80\"");
    quote_text("\xc2\x9b", 2, 0, s, sizeof s); /* a terminal's escape in one character */
    EQ_STR(s, "\"\\xc2\\x9b\"");
    quote_text("0123456789abcdefghijklmnopqrstuvwxyz0123456789", 46, 0, s, sizeof s);
    CU_ASSERT(strlen(s) < sizeof s && !strcmp(s + strlen(s) - 4, "\"..."));
    quote_text("", 0, 0, s, sizeof s);
    EQ_STR(s, "\"\"");
}

static const struct unit_test tests[] = {
    { "err.chain_keeps_code_and_order", err_chain_keeps_code_and_order },
    { "arena.grows_and_resets", arena_grows_and_resets },
    { "buf.numbers_round_trip", buf_numbers_round_trip },
    { "buf.json_escapes", buf_json_escapes },
    { "quote.texts", quote_texts },
    { "hash.is_one_function", hash_is_one_function },
    { "scan.finds_each_place", scan_finds_each_place },
    { "file.tree_is_made_and_removed", file_tree_is_made_and_removed },
    { "file.marked_tree_is_removed", file_marked_tree_is_removed },
    { "spread.lists", spread_lists },
    { "spread.files_are_found", spread_files_are_found },
    { "spread.where_most_room_is", spread_where_most_room_is },
    { "clock.formats", clock_formats },
    { "usage.counts", usage_counts },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "base", tests);
}
