/* journal -- see journal.h. */
#include "master/journal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { VERSION = 1 };

enum query {
    Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_META_GET, Q_META_PUT, Q_NUMBER, Q_DRIVER, Q_APP, Q_TRIM_DRIVERS, Q_TRIM_APPS,
    Q_DRIVERS, Q_APPS, QUERIES
};
static const char *const texts[QUERIES] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_META_GET] = "SELECT value FROM meta WHERE key = ?1",
    [Q_META_PUT] = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
    [Q_NUMBER] = "UPDATE meta SET value = value + 1 WHERE key = 'number' RETURNING value",
    [Q_DRIVER] =
        "INSERT INTO drivers (id, name, worker, why, state, supervise, tries, exit_status, began_ms, ended_ms, spec)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO UPDATE SET worker = ?3, why = ?4,"
        " state = ?5, tries = ?7, exit_status = ?8, ended_ms = ?10, spec = coalesce(?11, spec)",
    [Q_APP] =
        "INSERT INTO apps (id, name, submission, driver, why, state, exit_status, numbers, began_ms, ended_ms,"
        " secret_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO UPDATE SET name = ?2,"
        " submission = ?3, driver = ?4, why = ?5, state = ?6, exit_status = ?7, numbers = ?8, ended_ms = ?10,"
        " secret_hash = ?11",
    [Q_TRIM_DRIVERS] = "DELETE FROM drivers WHERE ended_ms > 0 AND n NOT IN"
                       " (SELECT n FROM drivers WHERE ended_ms > 0 ORDER BY ended_ms DESC, n DESC LIMIT ?1)",
    [Q_TRIM_APPS] = "DELETE FROM apps WHERE ended_ms > 0 AND n NOT IN"
                    " (SELECT n FROM apps WHERE ended_ms > 0 ORDER BY ended_ms DESC, n DESC LIMIT ?1)",
    [Q_DRIVERS] = "SELECT id, name, worker, why, state, supervise, tries, exit_status, began_ms, ended_ms, spec"
                  " FROM drivers ORDER BY n",
    [Q_APPS] = "SELECT id, name, submission, driver, why, state, exit_status, numbers, began_ms, ended_ms,"
               " secret_hash FROM apps ORDER BY n",
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value);"
    "CREATE TABLE IF NOT EXISTS drivers (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, name TEXT,"
    " worker TEXT, why TEXT, state INTEGER, supervise INTEGER, tries INTEGER, exit_status INTEGER, began_ms INTEGER,"
    " ended_ms INTEGER, spec BLOB);"
    "CREATE TABLE IF NOT EXISTS apps (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, name TEXT,"
    " submission TEXT, driver TEXT, why TEXT, state INTEGER, exit_status INTEGER, numbers INTEGER, began_ms INTEGER,"
    " ended_ms INTEGER, secret_hash BLOB);"
    "INSERT OR IGNORE INTO meta VALUES ('epoch', 0), ('number', 0);";

struct journal {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *q[QUERIES];
};

static struct err *
sql_err(const struct journal *j, const char *what)
{
    int code = j->db ? sqlite3_errcode(j->db) : SQLITE_NOMEM;
    const char *say = j->db ? sqlite3_errmsg(j->db) : "out of memory";

    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_hint(err_new(ERR_DENIED, "another master has \"%s\" open", j->path),
                        "Each master needs a folder of its own.");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_hint(err_new(ERR_CORRUPT, "%s \"%s\": %s", what, j->path, say),
                        "Move the file away to begin with an empty one; running applications will register again.");
    case SQLITE_FULL:
        return err_new(ERR_LIMIT, "%s \"%s\": %s", what, j->path, say);
    default:
        return err_new(ERR_IO, "%s \"%s\": %s", what, j->path, say);
    }
}

/* ---- queries: bind, run, reset */

static void
bind_text(sqlite3_stmt *s, int at, const char *p)
{
    sqlite3_bind_text(s, at, p, -1, SQLITE_TRANSIENT);
}

/* For those that give no row. */
static struct err *
run(struct journal *j, enum query q)
{
    int r = sqlite3_step(j->q[q]);
    struct err *e = r == SQLITE_DONE || r == SQLITE_ROW ? NULL : sql_err(j, "writing");

    sqlite3_reset(j->q[q]);
    sqlite3_clear_bindings(j->q[q]);
    return e;
}

struct err *
journal_begin(struct journal *j)
{
    return run(j, Q_BEGIN);
}

struct err *
journal_commit(struct journal *j)
{
    struct err *e = run(j, Q_COMMIT);

    if (e)
        journal_rollback(j);
    return e;
}

void
journal_rollback(struct journal *j)
{
    if (!sqlite3_get_autocommit(j->db))
        err_free(run(j, Q_ROLLBACK));
}

struct err *
journal_number(struct journal *j, uint64_t *ret)
{
    sqlite3_stmt *s = j->q[Q_NUMBER];
    struct err *e = NULL;

    if (sqlite3_step(s) == SQLITE_ROW)
        *ret = (uint64_t)sqlite3_column_int64(s, 0);
    else
        e = sql_err(j, "counting in");
    while (!e && sqlite3_step(s) == SQLITE_ROW)
        ;
    sqlite3_reset(s);
    return e;
}

struct err *
journal_put_driver(struct journal *j, const struct journal_driver *d)
{
    sqlite3_stmt *s = j->q[Q_DRIVER];

    bind_text(s, 1, d->id);
    bind_text(s, 2, d->name);
    bind_text(s, 3, d->worker);
    bind_text(s, 4, d->why);
    sqlite3_bind_int(s, 5, d->state);
    sqlite3_bind_int(s, 6, d->supervise);
    sqlite3_bind_int64(s, 7, d->tries);
    sqlite3_bind_int64(s, 8, d->exit_status);
    sqlite3_bind_int64(s, 9, (int64_t)d->began_ms);
    sqlite3_bind_int64(s, 10, (int64_t)d->ended_ms);
    if (d->spec)
        sqlite3_bind_blob64(s, 11, d->spec, d->spec_n, SQLITE_TRANSIENT);
    return run(j, Q_DRIVER);
}

struct err *
journal_put_app(struct journal *j, const struct journal_app *a)
{
    sqlite3_stmt *s = j->q[Q_APP];

    bind_text(s, 1, a->id);
    bind_text(s, 2, a->name);
    bind_text(s, 3, a->submission);
    bind_text(s, 4, a->driver);
    bind_text(s, 5, a->why);
    sqlite3_bind_int(s, 6, a->state);
    sqlite3_bind_int64(s, 7, a->exit_status);
    sqlite3_bind_int64(s, 8, a->numbers);
    sqlite3_bind_int64(s, 9, (int64_t)a->began_ms);
    sqlite3_bind_int64(s, 10, (int64_t)a->ended_ms);
    sqlite3_bind_blob(s, 11, a->secret_hash, sizeof a->secret_hash, SQLITE_TRANSIENT);
    return run(j, Q_APP);
}

struct err *
journal_trim(struct journal *j, unsigned keep)
{
    sqlite3_bind_int64(j->q[Q_TRIM_DRIVERS], 1, keep);
    sqlite3_bind_int64(j->q[Q_TRIM_APPS], 1, keep);
    TRY(run(j, Q_TRIM_DRIVERS));
    return run(j, Q_TRIM_APPS);
}

/* ---- reading all */

static const char *
text_of(sqlite3_stmt *s, int at)
{
    const char *p = (const char *)sqlite3_column_text(s, at);

    return p ? p : "";
}

static struct err *
load_drivers(struct journal *j, void (*driver)(void *, const struct journal_driver *), void *arg)
{
    sqlite3_stmt *s = j->q[Q_DRIVERS];
    int r;

    while ((r = sqlite3_step(s)) == SQLITE_ROW) {
        struct journal_driver d = {
            .id = text_of(s, 0), .name = text_of(s, 1), .worker = text_of(s, 2), .why = text_of(s, 3),
            .state = (uint8_t)sqlite3_column_int(s, 4), .supervise = sqlite3_column_int(s, 5),
            .tries = (uint32_t)sqlite3_column_int64(s, 6), .exit_status = (uint32_t)sqlite3_column_int64(s, 7),
            .began_ms = (uint64_t)sqlite3_column_int64(s, 8), .ended_ms = (uint64_t)sqlite3_column_int64(s, 9),
            .spec = sqlite3_column_blob(s, 10), .spec_n = (size_t)sqlite3_column_bytes(s, 10),
        };

        driver(arg, &d);
    }
    struct err *e = r == SQLITE_DONE ? NULL : sql_err(j, "reading");
    sqlite3_reset(s);
    return e;
}

struct err *
journal_load(struct journal *j, void (*driver)(void *, const struct journal_driver *),
             void (*app)(void *, const struct journal_app *), void *arg)
{
    sqlite3_stmt *s = j->q[Q_APPS];
    int r;

    TRY(load_drivers(j, driver, arg));
    while ((r = sqlite3_step(s)) == SQLITE_ROW) {
        struct journal_app a = {
            .id = text_of(s, 0), .name = text_of(s, 1), .submission = text_of(s, 2), .driver = text_of(s, 3),
            .why = text_of(s, 4), .state = (uint8_t)sqlite3_column_int(s, 5),
            .exit_status = (uint32_t)sqlite3_column_int64(s, 6), .numbers = (uint32_t)sqlite3_column_int64(s, 7),
            .began_ms = (uint64_t)sqlite3_column_int64(s, 8), .ended_ms = (uint64_t)sqlite3_column_int64(s, 9),
        };

        if (sqlite3_column_bytes(s, 10) == sizeof a.secret_hash)
            memcpy(a.secret_hash, sqlite3_column_blob(s, 10), sizeof a.secret_hash);
        app(arg, &a);
    }
    struct err *e = r == SQLITE_DONE ? NULL : sql_err(j, "reading");
    sqlite3_reset(s);
    return e;
}

/* ---- opening */

static struct err *
pragmas(struct journal *j)
{
    sqlite3_stmt *s;
    int version = 0;

    /* exclusive before WAL: no shared-memory file, and nobody else */
    if (sqlite3_exec(j->db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                            "PRAGMA trusted_schema = OFF; BEGIN IMMEDIATE; COMMIT", NULL, NULL, NULL))
        return sql_err(j, "opening");
    if (sqlite3_prepare_v2(j->db, "PRAGMA user_version", -1, &s, NULL))
        return sql_err(j, "opening");
    if (sqlite3_step(s) == SQLITE_ROW)
        version = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    if (version > VERSION)
        return err_new(ERR_ABI, "\"%s\" was written by a newer taskd (version %d, this one knows %d)", j->path, version,
                       VERSION);
    return NULL;
}

/* What the key has, or fresh random bytes that it has from now on. */
static struct err *
meta_bytes(struct journal *j, const char *key, unsigned char *p, size_t n)
{
    sqlite3_stmt *s = j->q[Q_META_GET];
    bool found = false;

    bind_text(s, 1, key);
    if (sqlite3_step(s) == SQLITE_ROW && (size_t)sqlite3_column_bytes(s, 0) == n) {
        memcpy(p, sqlite3_column_blob(s, 0), n);
        found = true;
    }
    sqlite3_reset(s);
    if (found)
        return NULL;
    if (getrandom(p, n, 0) != (ssize_t)n)
        return err_new(ERR_IO, "the system gives no random bytes");
    bind_text(j->q[Q_META_PUT], 1, key);
    sqlite3_bind_blob(j->q[Q_META_PUT], 2, p, (int)n, SQLITE_TRANSIENT);
    return run(j, Q_META_PUT);
}

static struct err *
next_epoch(struct journal *j, uint32_t *ret)
{
    sqlite3_stmt *s = j->q[Q_META_GET];
    int64_t epoch = 0;

    bind_text(s, 1, "epoch");
    if (sqlite3_step(s) == SQLITE_ROW)
        epoch = sqlite3_column_int64(s, 0);
    sqlite3_reset(s);
    epoch++;
    bind_text(j->q[Q_META_PUT], 1, "epoch");
    sqlite3_bind_int64(j->q[Q_META_PUT], 2, epoch);
    TRY(run(j, Q_META_PUT));
    *ret = (uint32_t)epoch;
    return NULL;
}

static struct err *
begin_life(struct journal *j, struct journal_head *ret)
{
    unsigned char id[(JOURNAL_ID - 1) / 2];
    char pragma[40];

    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", VERSION);
    if (sqlite3_exec(j->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) || sqlite3_exec(j->db, schema, NULL, NULL, NULL) ||
        sqlite3_exec(j->db, pragma, NULL, NULL, NULL))
        return sql_err(j, "opening");
    for (int i = 0; i < QUERIES; i++)
        if (sqlite3_prepare_v3(j->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &j->q[i], NULL))
            return sql_err(j, "opening");
    TRY(meta_bytes(j, "id", id, sizeof id));
    TRY(meta_bytes(j, "secret", ret->secret, sizeof ret->secret));
    TRY(next_epoch(j, &ret->epoch));
    for (size_t i = 0; i < sizeof id; i++)
        snprintf(ret->id + 2 * i, 3, "%02x", id[i]);
    return journal_commit(j);
}

struct err *
journal_open(const char *path, struct journal_head *ret_head, struct journal **ret)
{
    struct journal *j = calloc(1, sizeof *j);
    struct journal_head head;
    struct err *e = NULL;

    if (!j || !(j->path = strdup(path)))
        abort();
    if (sqlite3_open_v2(path, &j->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                          SQLITE_OPEN_NOFOLLOW, NULL))
        e = sql_err(j, "opening");
    if (!e)
        e = pragmas(j);
    if (!e)
        e = begin_life(j, &head);
    if (e) {
        journal_close(j);
        return e;
    }
    *ret_head = head;
    *ret = j;
    return NULL;
}

void
journal_close(struct journal *j)
{
    if (!j)
        return;
    for (int i = 0; i < QUERIES; i++)
        sqlite3_finalize(j->q[i]);
    sqlite3_close(j->db);
    free(j->path);
    free(j);
}
