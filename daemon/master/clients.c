/* clients -- submissions, kill, status; see master_priv.h. */
#include <stdlib.h>
#include <string.h>

#include "common/profile.h"
#include "master/master_priv.h"

void
clients__answer(struct party *p, struct err *e, const char *text)
{
    Taskd__Answer answer = TASKD__ANSWER__INIT;
    Taskd__Error error;
    struct arena mem = { 0 };

    if (e) {
        proto_of_err(e, &mem, &error);
        answer.error = &error;
    }
    answer.text = (char *)text;
    MASTER_SEND(p->m, p, ANSWER, answer, &answer);
    err_free(e);
    arena_fini(&mem);
}

/* ---- blobs and submissions */

static void
on_blob(struct party *p, const Taskd__BlobPut *put)
{
    Taskd__BlobState state = TASKD__BLOB_STATE__INIT;
    bool whole;
    struct err *e = store__put(p->m->store, put, &state.have, &whole);

    if (e) {
        clients__answer(p, err_wrap_take(e, "the master can't keep \"%s\"", put->blob ? put->blob->name : ""), "");
        return;
    }
    state.sha256 = put->blob->sha256;
    state.whole = whole;
    MASTER_SEND(p->m, p, BLOB_STATE, blob_state, &state);
}

static struct err *
check_submission(struct master *m, const Taskd__SubmitDriver *s)
{
    bool module = false;

    for (size_t i = 0; i < s->n_blob; i++) {
        const Taskd__Blob *b = s->blob[i]->blob;

        if (!b || b->sha256.len != 32)
            return err_new(ERR_CORRUPT, "a blob without a SHA-256");
        if (!store__has(m->store, b->sha256.data))
            return err_new(ERR_INPUT, "\"%s\" was not sent before its submission", b->name);
        module |= s->blob[i]->use == TASKD__BLOB_USE__MODULE;
    }
    if (!module)
        return err_new(ERR_INPUT, "the submission has no module");
    if (s->n_conf_key != s->n_conf_value)
        return err_new(ERR_CORRUPT, "the submission has %zu keys and %zu values", s->n_conf_key, s->n_conf_value);
    return NULL;
}

/* In the journal before it is answered. */
static struct err *
accept_submission(struct master *m, const Taskd__SubmitDriver *s, struct drow **ret)
{
    Taskd__Item item = TASKD__ITEM__INIT;
    struct buf spec = { 0 };
    struct drow *d;

    TRY(rows__new_driver(m, &d));
    item.kind_case = TASKD__ITEM__KIND_SUBMIT_DRIVER;
    item.submit_driver = (Taskd__SubmitDriver *)s;
    proto_put(&spec, &item);
    free((void *)d->row.spec);
    d->row.spec = spec.p;
    d->row.spec_n = spec.n;
    d->row.supervise = s->supervise;
    master__set(&d->row.name, s->name);
    struct err *e = rows__save(m);
    if (e) {
        rows__remove_driver(m, d);
        return err_wrap_take(e, "the master can't write its journal");
    }
    *ret = d;
    return NULL;
}

/* The one that was accepted with that key: what is said twice is one. */
static struct drow *
accepted_before(struct master *m, const ProtobufCBinaryData *key)
{
    for (struct drow *d = m->drivers; d && key->len; d = d->next) {
        struct arena mem = { 0 };
        Taskd__Envelope *v;
        struct err *e = proto_get(d->row.spec, d->row.spec_n, &mem, &v);
        const Taskd__SubmitDriver *s =
            !e && v->n_item && v->item[0]->kind_case == TASKD__ITEM__KIND_SUBMIT_DRIVER ? v->item[0]->submit_driver : NULL;
        bool same = s && s->key.len == key->len && memcmp(s->key.data, key->data, key->len) == 0;

        err_free(e);
        arena_fini(&mem);
        if (same)
            return d;
    }
    return NULL;
}

static void
on_submit(struct party *p, const Taskd__SubmitDriver *s)
{
    struct master *m = p->m;
    Taskd__Submitted submitted = TASKD__SUBMITTED__INIT;
    struct drow *d = accepted_before(m, &s->key);
    struct err *e = d ? NULL : check_submission(m, s);

    if (d) {
        submitted.driver = (char *)d->row.id;
        MASTER_SEND(m, p, SUBMITTED, submitted, &submitted);
        return;
    }
    if (!e)
        e = accept_submission(m, s, &d);
    if (e) {
        clients__answer(p, e, "");
        return;
    }
    submitted.driver = (char *)d->row.id;
    MASTER_SEND(m, p, SUBMITTED, submitted, &submitted);
    EMIT(m->o.log, driver_state, .driver = d->row.id, .state = "SUBMITTED");
    MASTER_STEP(m, DRIVER_SUBMIT, .id = d->row.id, .name = d->row.name, .cores = s->cores, .memory = s->memory,
                .supervise = s->supervise);
}

void
clients__start_driver(struct master *m, struct wrow *w, const struct grants_action *a)
{
    struct drow *d = rows__driver(m, a->id);
    Taskd__StartDriver start = TASKD__START_DRIVER__INIT;
    struct arena mem = { 0 };
    Taskd__Envelope *v;
    struct err *e = d ? proto_get(d->row.spec, d->row.spec_n, &mem, &v) : err_new(ERR_LOST, "no such submission");

    if (!e && v->n_item && v->item[0]->kind_case == TASKD__ITEM__KIND_SUBMIT_DRIVER) {
        const Taskd__SubmitDriver *s = v->item[0]->submit_driver;

        start.driver = (char *)a->id;
        start.blob = s->blob;
        start.n_blob = s->n_blob;
        start.arg = s->arg;
        start.n_arg = s->n_arg;
        start.conf_key = s->conf_key;
        start.n_conf_key = s->n_conf_key;
        start.conf_value = s->conf_value;
        start.n_conf_value = s->n_conf_value;
        start.cores = s->cores;
        start.memory = s->memory;
        start.blob_bulk = m->bulk_address;
        start.blob_app = (char *)"blobs";
        start.blob_secret = PROTO_BYTES(m->head.secret, sizeof m->head.secret);
        start.try_ = a->tries;
        MASTER_SEND(m, w->party, START_DRIVER, start_driver, &start);
    }
    err_free(e);
    arena_fini(&mem);
}

/* ---- kill */

/* A part of an application that runs: its driver is told. */
static void
kill_part(struct party *p, const char *id, Taskd__Cancel *part)
{
    struct drow *d = rows__driver(p->m, id);
    struct arow *a = rows__app(p->m, id);

    for (struct arow *x = p->m->apps; d && x; x = x->next)
        if (!strcmp(x->row.submission, d->row.id) && x->party)
            a = x;
    if (!a || !a->party) {
        clients__answer(p, err_new(ERR_INPUT, "no application \"%s\" runs now", id), "");
        return;
    }
    MASTER_SEND(p->m, a->party, CANCEL, cancel, part);
    clients__answer(p, NULL, "its driver was asked");
}

static void
on_kill(struct party *p, const char *id)
{
    struct master *m = p->m;
    struct drow *d = rows__driver(m, id);
    struct arow *a = rows__app(m, id);
    struct buf text = { 0 };

    if (a && !d && !a->row.ended_ms && a->row.submission[0])
        d = rows__driver(m, a->row.submission);
    if (!d && !a) {
        clients__answer(p, err_hint(err_new(ERR_INPUT, "no application and no submission is named \"%s\"", id),
                                    "`taskd list` shows them."), "");
        return;
    }
    bool over = d ? d->row.ended_ms : a->row.ended_ms;
    const char *name = d ? d->row.id : a->row.id;
    if (over)
        buf_printf(&text, "%s is over already: %s", name, d ? master__driver_state(d) : master__app_state(m, a));
    else
        buf_printf(&text, "%s is killed", name);
    put_u8(&text, 0);
    if (!over && d)
        MASTER_STEP(m, DRIVER_KILL, .id = d->row.id, .text = "killed by request");
    else if (!over)
        MASTER_STEP(m, APP_END, .id = a->row.id, .state = GRANTS_KILLED, .status = 137, .text = "killed by request");
    clients__answer(p, NULL, text.p);
    buf_fini(&text);
}

/* ---- status */

static void
worker_status(struct master *m, struct arena *mem, const Taskd__StatusRequest *q, const struct wrow *w,
              Taskd__WorkerStatus *ret)
{
    struct grants_worker_info info;
    Taskd__Envelope *v;

    *ret = (Taskd__WorkerStatus)TASKD__WORKER_STATUS__INIT;
    ret->worker = w->id;
    ret->host = w->host;
    ret->cores = w->cores;
    ret->memory = w->memory;
    ret->alive = w->party != NULL;
    for (uint32_t i = 0; grants_worker(m->grants, i, &info); i++)
        if (!strcmp(info.id, w->id)) {
            ret->cores_used = info.used;
            ret->memory_used = info.memory_used;
        }
    struct err *e = proto_get(w->profile.p, w->profile.n, mem, &v);
    if (!e && v->n_item && v->item[0]->worker_hello->profile) {
        ret->profile = ARENA_NEW(mem, Taskd__Profile);
        profile_filter(mem, v->item[0]->worker_hello->profile, q->need_library, q->n_need_library, ret->profile);
    }
    err_free(e);
}

static void
app_status(struct master *m, const struct arow *a, Taskd__AppStatus *ret)
{
    struct grants_app_info info;

    *ret = (Taskd__AppStatus)TASKD__APP_STATUS__INIT;
    ret->app_id = (char *)a->row.id;
    ret->name = (char *)a->row.name;
    ret->state = (char *)master__app_state(m, a);
    ret->why = (char *)a->row.why;
    ret->began_ms = a->row.began_ms;
    ret->ended_ms = a->row.ended_ms;
    ret->exit_status = a->row.exit_status;
    ret->driver = (char *)(a->row.submission[0] ? a->row.submission : a->row.driver);
    if (!a->row.ended_ms && grants_app(m->grants, a->row.id, &info)) {
        ret->why = (char *)info.waiting;
        ret->cores = info.cores;
        ret->executors = info.executors;
    }
}

static void
driver_status(struct master *m, const struct drow *d, Taskd__DriverStatus *ret)
{
    *ret = (Taskd__DriverStatus)TASKD__DRIVER_STATUS__INIT;
    ret->driver = (char *)d->row.id;
    ret->name = (char *)d->row.name;
    ret->state = (char *)master__driver_state(d);
    ret->why = (char *)d->row.why;
    ret->worker = (char *)d->row.worker;
    ret->supervise = d->row.supervise;
    ret->tries = d->row.tries;
    ret->exit_status = d->row.exit_status;
    ret->began_ms = d->row.began_ms;
    ret->ended_ms = d->row.ended_ms;
    if (!d->row.ended_ms && !d->row.why[0])
        ret->why = (char *)grants_driver_waiting(m->grants, d->row.id);
    for (const struct arow *a = m->apps; a; a = a->next)
        if (!strcmp(a->row.submission, d->row.id))
            ret->app_id = (char *)a->row.id;
}

static void
on_status(struct party *p, const Taskd__StatusRequest *q)
{
    struct master *m = p->m;
    struct arena mem = { 0 };
    Taskd__Status s = TASKD__STATUS__INIT;
    size_t nw = 1, na = 1, nd = 1;

    for (struct wrow *w = m->workers; w; w = w->next)
        nw++;
    for (struct arow *a = m->apps; a; a = a->next)
        na++;
    for (struct drow *d = m->drivers; d; d = d->next)
        nd++;
    s.worker = ARENA_ARRAY(&mem, Taskd__WorkerStatus *, nw);
    s.app = ARENA_ARRAY(&mem, Taskd__AppStatus *, na);
    s.driver = ARENA_ARRAY(&mem, Taskd__DriverStatus *, nd);
    for (struct wrow *w = m->workers; w; w = w->next)
        if (!q->id[0] || !strcmp(q->id, w->id))
            worker_status(m, &mem, q, w, s.worker[s.n_worker++] = ARENA_NEW(&mem, Taskd__WorkerStatus));
    for (struct arow *a = q->workers ? NULL : m->apps; a; a = a->next)
        if (!q->id[0] || !strcmp(q->id, a->row.id))
            app_status(m, a, s.app[s.n_app++] = ARENA_NEW(&mem, Taskd__AppStatus));
    for (struct drow *d = q->workers ? NULL : m->drivers; d; d = d->next)
        if (!q->id[0] || !strcmp(q->id, d->row.id))
            driver_status(m, d, s.driver[s.n_driver++] = ARENA_NEW(&mem, Taskd__DriverStatus));
    if (q->id[0] && !s.n_worker && !s.n_app && !s.n_driver)
        clients__answer(p, err_hint(err_new(ERR_INPUT, "nothing is named \"%s\"", q->id), "`taskd list` shows all."),
                        "");
    else
        MASTER_SEND(m, p, STATUS, status, &s);
    arena_fini(&mem);
}

void
clients__item(struct party *p, const Taskd__Item *item)
{
    switch ((int)item->kind_case) {
    case TASKD__ITEM__KIND_BLOB_PUT:
        on_blob(p, item->blob_put);
        break;
    case TASKD__ITEM__KIND_SUBMIT_DRIVER:
        on_submit(p, item->submit_driver);
        break;
    case TASKD__ITEM__KIND_KILL_REQUEST:
        if (item->kill_request->part)
            kill_part(p, item->kill_request->id, item->kill_request->part);
        else
            on_kill(p, item->kill_request->id);
        break;
    case TASKD__ITEM__KIND_STATUS_REQUEST:
        on_status(p, item->status_request);
        break;
    case TASKD__ITEM__KIND_FOLLOW:
        follow__start(p, item->follow);
        break;
    default:
        break;
    }
}
