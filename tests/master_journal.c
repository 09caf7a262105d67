/* The master's journal: what was committed is there after kill -9 at any write, sync or truncation. */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "master/journal.h"
#include "unit.h"

static char dir[64], path[80];

static void
fresh(void)
{
    strcpy(dir, "/tmp/taskd-journal-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/journal.db", dir);
}

static struct err *
put_driver(struct journal *j, const char *id, uint8_t state, const char *spec)
{
    const struct journal_driver d = { .id = id, .name = "n", .worker = state ? "" : "w", .why = "", .state = state,
                                      .tries = 1u + state, .began_ms = 5, .ended_ms = state, .spec = spec,
                                      .spec_n = spec ? strlen(spec) : 0 };

    return journal_put_driver(j, &d);
}

static struct err *
put_app(struct journal *j, const char *id, uint32_t numbers, uint64_t ended)
{
    const struct journal_app a = { .id = id, .name = "n", .submission = "", .driver = "h:1", .why = "",
                                   .numbers = numbers, .began_ms = 7, .ended_ms = ended, .secret_hash = { 1, 2, 3 } };

    return journal_put_app(j, &a);
}

struct seen {
    char text[4096];
};

static void
see_driver(void *arg, const struct journal_driver *d)
{
    struct seen *s = arg;
    size_t n = strlen(s->text);

    snprintf(s->text + n, sizeof s->text - n, "%s:%u:%u:%.*s ", d->id, d->state, d->tries, (int)d->spec_n,
             (const char *)d->spec);
}

static void
see_app(void *arg, const struct journal_app *a)
{
    struct seen *s = arg;
    size_t n = strlen(s->text);

    snprintf(s->text + n, sizeof s->text - n, "%s:%u:%u ", a->id, a->numbers, a->secret_hash[1]);
}

static const char *
look(struct journal *j)
{
    static struct seen s;

    s.text[0] = 0;
    NO_ERR(journal_load(j, see_driver, see_app, &s));
    return s.text;
}

static void
test_rows(void)
{
    struct journal_head head, again;
    struct journal *j, *other;
    uint64_t n;

    fresh();
    NO_ERR(journal_open(path, &head, &j));
    EQ_U64(head.epoch, 1);
    EQ_STR(look(j), "");
    NO_ERR(journal_begin(j));
    NO_ERR(journal_number(j, &n));
    EQ_U64(n, 1);
    NO_ERR(put_driver(j, "d1", 0, "spec"));
    NO_ERR(put_app(j, "a1", 64, 0));
    NO_ERR(journal_commit(j));
    NO_ERR(journal_begin(j));
    NO_ERR(put_driver(j, "d1", 1, NULL)); /* keeps its spec */
    NO_ERR(put_driver(j, "d2", 0, "other"));
    NO_ERR(put_app(j, "a1", 128, 0));
    NO_ERR(journal_commit(j));
    NO_ERR(journal_begin(j));
    NO_ERR(put_driver(j, "d3", 0, "gone"));
    journal_rollback(j);
    EQ_STR(look(j), "d1:1:2:spec d2:0:1:other a1:128:2 ");
    IS_ERR(journal_open(path, &again, &other), ERR_DENIED, "another master has");
    journal_close(j);

    NO_ERR(journal_open(path, &again, &j));
    EQ_U64(again.epoch, 2);
    EQ_STR(again.id, head.id);
    CU_ASSERT_EQUAL(memcmp(again.secret, head.secret, sizeof head.secret), 0);
    EQ_STR(look(j), "d1:1:2:spec d2:0:1:other a1:128:2 ");
    NO_ERR(journal_begin(j));
    NO_ERR(journal_number(j, &n));
    EQ_U64(n, 2);
    for (uint64_t i = 1; i < 6; i++) {
        char id[8];

        snprintf(id, sizeof id, "e%d", (int)i);
        NO_ERR(put_app(j, id, 0, i));
    }
    NO_ERR(journal_trim(j, 2));
    NO_ERR(journal_commit(j));
    EQ_STR(look(j), "d1:1:2:spec d2:0:1:other a1:128:2 e4:0:2 e5:0:2 ");
    journal_close(j);
    NO_ERR(file_remove_tree(dir));
}

static void
test_no_journal(void)
{
    struct journal_head head;
    struct journal *j;

    fresh();
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database at all\n", f);
    fclose(f);
    IS_ERR(journal_open(path, &head, &j), ERR_CORRUPT, "is not a database");
    NO_ERR(file_remove_tree(dir));
}

/* ---- killed at the n-th thing done to a file */

static int left; /* until then */
static sqlite3_io_methods deadly;
static const sqlite3_io_methods *real;
static sqlite3_vfs shim;

static void
one_more(void)
{
    if (--left == 0)
        kill(getpid(), SIGKILL);
}

/* Half of a write is done, too. */
static int
deadly_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (left == 1 && n > 1)
        real->xWrite(f, p, n / 2, at);
    one_more();
    return real->xWrite(f, p, n, at);
}

static int
deadly_sync(sqlite3_file *f, int flags)
{
    one_more();
    return real->xSync(f, flags);
}

static int
deadly_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    one_more();
    return real->xTruncate(f, size);
}

static int
deadly_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    sqlite3_vfs *below = v->pAppData;
    int r = below->xOpen(below, name, f, flags, out);

    if (r == SQLITE_OK && f->pMethods) {
        real = f->pMethods;
        deadly = *real;
        deadly.xWrite = deadly_write;
        deadly.xSync = deadly_sync;
        deadly.xTruncate = deadly_truncate;
        f->pMethods = &deadly;
    }
    return r;
}

/* Says over fd what was committed. */
static void
live(int fd, int n)
{
    struct journal_head head;
    struct journal *j;
    char said = '0';

    left = n;
    shim = *sqlite3_vfs_find(NULL);
    shim.pAppData = sqlite3_vfs_find(NULL);
    shim.zName = "deadly";
    shim.xOpen = deadly_open;
    sqlite3_vfs_register(&shim, 1);
    if (journal_open(path, &head, &j))
        _exit(1);
    for (int i = 0; i < 6; i++) {
        uint64_t number;
        struct err *e = journal_begin(j);

        if (!e)
            e = journal_number(j, &number);
        if (!e)
            e = i % 2 ? put_driver(j, "d", (uint8_t)i, NULL) : put_driver(j, i ? "d" : "first", 0, "spec");
        if (!e)
            e = put_app(j, "a", (uint32_t)i + 1, 0);
        if (!e)
            e = journal_commit(j);
        if (e)
            _exit(1);
        said++;
        if (write(fd, &said, 1) != 1)
            _exit(1);
    }
    journal_close(j);
    _exit(0);
}

static void
see_numbers(void *arg, const struct journal_app *a)
{
    *(uint32_t *)arg = a->numbers;
}

static void
see_nothing(void *arg, const struct journal_driver *d)
{
    (void)arg;
    (void)d;
}

static void
test_killed(void)
{
    int deaths = 0;

    for (int n = 1;; n++) {
        int fd[2], status;
        char said[16];
        struct journal_head head;
        struct journal *j;
        uint32_t numbers = 0;
        ssize_t committed = 0, got;
        uint64_t number;

        fresh();
        CU_ASSERT_EQUAL_FATAL(pipe(fd), 0);
        pid_t pid = fork();
        if (pid == 0)
            live(fd[1], n);
        close(fd[1]);
        while ((got = read(fd[0], said, sizeof said)) > 0)
            committed += got;
        close(fd[0]);
        waitpid(pid, &status, 0);
        NO_ERR(journal_open(path, &head, &j));
        NO_ERR(journal_load(j, see_nothing, see_numbers, &numbers));
        /* the old state, or the new one, and never less than what was said to be committed */
        if (numbers != (uint32_t)committed && numbers != (uint32_t)committed + 1)
            EQ_U64(numbers, (uint32_t)committed);
        NO_ERR(journal_begin(j));
        NO_ERR(journal_number(j, &number));
        NO_ERR(journal_commit(j));
        EQ_U64(number, numbers + 1);
        if (committed)
            CU_ASSERT_EQUAL(strncmp(look(j), "first:0:1:spec ", 15), 0);
        journal_close(j);
        NO_ERR(file_remove_tree(dir));
        if (WIFEXITED(status)) {
            EQ_U64(WEXITSTATUS(status), 0);
            break;
        }
        deaths++;
    }
    CU_ASSERT(deaths > 30);
}

static const struct unit_test tests[] = {
    { "journal.rows", test_rows },
    { "journal.no_journal", test_no_journal },
    { "journal.killed", test_killed },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "journal", tests);
}
