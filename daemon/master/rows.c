/* rows -- what the journal has, in memory; see master_priv.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "master/master_priv.h"

uint64_t
rows__now_ms(void)
{
    return clock_wall_ns() / 1000000;
}

struct arow *
rows__app(struct master *m, const char *id)
{
    struct arow *a = m->apps;

    while (a && strcmp(a->row.id, id))
        a = a->next;
    return a;
}

struct drow *
rows__driver(struct master *m, const char *id)
{
    struct drow *d = m->drivers;

    while (d && strcmp(d->row.id, id))
        d = d->next;
    return d;
}

struct wrow *
rows__worker(struct master *m, const char *id)
{
    struct wrow *w = m->workers;

    while (w && strcmp(w->id, id))
        w = w->next;
    return w;
}

/* ---- rows come and go */

static struct arow *
app_row(struct master *m, const struct journal_app *j)
{
    struct arow *a = calloc(1, sizeof *a), **end = &m->apps;

    if (!a)
        abort();
    a->row = *j;
    a->row.id = master__dup(j->id);
    a->row.name = master__dup(j->name);
    a->row.submission = master__dup(j->submission);
    a->row.driver = master__dup(j->driver);
    a->row.why = master__dup(j->why);
    while (*end)
        end = &(*end)->next;
    *end = a;
    return a;
}

static struct drow *
driver_row(struct master *m, const struct journal_driver *j)
{
    struct drow *d = calloc(1, sizeof *d), **end = &m->drivers;

    if (!d)
        abort();
    d->row = *j;
    d->row.id = master__dup(j->id);
    d->row.name = master__dup(j->name);
    d->row.worker = master__dup(j->worker);
    d->row.why = master__dup(j->why);
    void *spec = malloc(j->spec_n + 1);
    if (!spec)
        abort();
    memcpy(spec, j->spec_n ? j->spec : "", j->spec_n);
    d->row.spec = spec;
    while (*end)
        end = &(*end)->next;
    *end = d;
    return d;
}

static void
app_free(struct arow *a)
{
    free((char *)a->row.id);
    free((char *)a->row.name);
    free((char *)a->row.submission);
    free((char *)a->row.driver);
    free((char *)a->row.why);
    if (a->hello.p)
        explicit_bzero(a->hello.p, a->hello.n);
    buf_fini(&a->hello);
    free(a);
}

static void
driver_free(struct drow *d)
{
    free((char *)d->row.id);
    free((char *)d->row.name);
    free((char *)d->row.worker);
    free((char *)d->row.why);
    free((void *)d->row.spec);
    free(d);
}

void
rows__remove_app(struct master *m, struct arow *a)
{
    struct arow **p = &m->apps;

    while (*p != a)
        p = &(*p)->next;
    *p = a->next;
    app_free(a);
}

void
rows__remove_driver(struct master *m, struct drow *d)
{
    struct drow **p = &m->drivers;

    while (*p != d)
        p = &(*p)->next;
    *p = d->next;
    driver_free(d);
}

void
rows__free(struct master *m)
{
    while (m->apps)
        rows__remove_app(m, m->apps);
    while (m->drivers)
        rows__remove_driver(m, m->drivers);
    for (struct wrow *w = m->workers, *next; w; w = next) {
        next = w->next;
        free(w->id);
        free(w->host);
        buf_fini(&w->profile);
        free(w);
    }
    m->workers = NULL;
}

/* "app-20261123083000-0007" */
static struct err *
new_id(struct master *m, const char *what, char ret[MASTER_ID_MAX])
{
    uint64_t number;
    char stamp[32];
    struct tm tm;
    time_t t = (time_t)(rows__now_ms() / 1000);

    TRY(journal_begin(m->journal));
    struct err *e = journal_number(m->journal, &number);
    if (e)
        journal_rollback(m->journal);
    else
        e = journal_commit(m->journal);
    if (e)
        return e;
    strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S", gmtime_r(&t, &tm));
    snprintf(ret, MASTER_ID_MAX, "%s-%s-%04llu", what, stamp, (unsigned long long)number);
    return NULL;
}

struct err *
rows__new_app(struct master *m, const char *id, struct arow **ret)
{
    char fresh[MASTER_ID_MAX];

    if (!id[0])
        TRY(new_id(m, "app", fresh));
    *ret = app_row(m, &(struct journal_app){ .id = id[0] ? id : fresh, .name = "", .submission = "", .driver = "",
                                             .why = "", .began_ms = rows__now_ms() });
    (*ret)->dirty = true;
    return NULL;
}

struct err *
rows__new_driver(struct master *m, struct drow **ret)
{
    char id[MASTER_ID_MAX];

    TRY(new_id(m, "driver", id));
    *ret = driver_row(m, &(struct journal_driver){ .id = id, .name = "", .worker = "", .why = "",
                                                   .began_ms = rows__now_ms() });
    (*ret)->dirty = true;
    return NULL;
}

/* ---- saving */

static struct err *
save_rows(struct master *m)
{
    bool ended = false;

    for (struct drow *d = m->drivers; d; d = d->next) {
        struct journal_driver row = d->row;

        if (!d->dirty)
            continue;
        if (d->spec_saved)
            row.spec = NULL;
        ended |= row.ended_ms > 0;
        TRY(journal_put_driver(m->journal, &row));
    }
    for (struct arow *a = m->apps; a; a = a->next) {
        if (!a->dirty)
            continue;
        ended |= a->row.ended_ms > 0;
        TRY(journal_put_app(m->journal, &a->row));
    }
    return ended ? journal_trim(m->journal, MASTER_KEPT) : NULL;
}

/* The oldest of those that are over, as journal_trim() does. */
static void
forget_old(struct master *m)
{
    unsigned apps = 0, drivers = 0;

    for (struct arow *a = m->apps; a; a = a->next)
        apps += a->row.ended_ms > 0;
    for (struct drow *d = m->drivers; d; d = d->next)
        drivers += d->row.ended_ms > 0;
    for (struct arow *a = m->apps, *next; a && apps > MASTER_KEPT; a = next) {
        next = a->next;
        if (!a->row.ended_ms || a->party || a->dirty)
            continue;
        rows__remove_app(m, a);
        apps--;
    }
    for (struct drow *d = m->drivers, *next; d && drivers > MASTER_KEPT; d = next) {
        next = d->next;
        if (!d->row.ended_ms || d->follows || d->dirty)
            continue;
        rows__remove_driver(m, d);
        drivers--;
    }
}

struct err *
rows__save(struct master *m)
{
    bool dirty = false;

    for (struct drow *d = m->drivers; d && !dirty; d = d->next)
        dirty |= d->dirty;
    for (struct arow *a = m->apps; a && !dirty; a = a->next)
        dirty |= a->dirty;
    if (!dirty)
        return NULL;
    TRY(journal_begin(m->journal));
    struct err *e = save_rows(m);
    if (e)
        journal_rollback(m->journal);
    else
        e = journal_commit(m->journal);
    if (e)
        return e;
    for (struct drow *d = m->drivers; d; d = d->next) {
        d->spec_saved |= d->dirty;
        d->dirty = false;
    }
    for (struct arow *a = m->apps; a; a = a->next)
        a->dirty = false;
    forget_old(m);
    return NULL;
}

/* ---- loading */

static void
on_driver(void *arg, const struct journal_driver *j)
{
    struct drow *d = driver_row(arg, j);

    d->spec_saved = true;
}

static void
on_app(void *arg, const struct journal_app *j)
{
    app_row(arg, j);
}

struct err *
rows__load(struct master *m)
{
    TRY(journal_load(m->journal, on_driver, on_app, m));
    for (struct arow *a = m->apps; a; a = a->next)
        if (!a->row.ended_ms)
            MASTER_STEP(m, APP_KNOWN, .id = a->row.id, .name = a->row.name, .submission = a->row.submission,
                        .executor = a->row.numbers);
    for (struct drow *d = m->drivers; d; d = d->next) {
        struct arena mem = { 0 };
        Taskd__Envelope *v;
        struct err *e = d->row.ended_ms ? NULL : proto_get(d->row.spec, d->row.spec_n, &mem, &v);

        if (!e && !d->row.ended_ms && v->n_item && v->item[0]->kind_case == TASKD__ITEM__KIND_SUBMIT_DRIVER) {
            const Taskd__SubmitDriver *s = v->item[0]->submit_driver;

            MASTER_STEP(m, DRIVER_SUBMIT, .id = d->row.id, .name = d->row.name, .cores = s->cores, .memory = s->memory,
                        .supervise = d->row.supervise, .tries = d->row.tries,
                        .worker = d->row.state == GRANTS_ACTIVE ? d->row.worker : "");
        }
        err_free(e);
        arena_fini(&mem);
    }
    return NULL;
}
