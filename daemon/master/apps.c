/* apps -- a driver's messages; see master_priv.h. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "master/master_priv.h"

static void
hash_of(const ProtobufCBinaryData *secret, unsigned char ret[32])
{
    unsigned int n = 32;

    ASSERT(EVP_Digest(secret->data, secret->len, ret, &n, EVP_sha256(), NULL) == 1);
}

/* May it be this application?  NULL if so; the row, or none yet. */
static struct err *
check_again(struct master *m, const Taskd__AppHello *h, const unsigned char hash[32], struct arow **ret)
{
    struct arow *a = rows__app(m, h->app_id);
    struct drow *d = h->submission[0] ? rows__driver(m, h->submission) : NULL;

    *ret = a;
    if (d && d->row.ended_ms)
        return err_new(ERR_CANCELLED, "submission %s is over: %s", d->row.id, d->row.why);
    if (!h->app_id[0])
        return NULL;
    if (!master__id_ok(h->app_id))
        return err_new(ERR_CORRUPT, "\"%s\" is no application's id", h->app_id);
    if (!a)
        return NULL; /* a master that lost its journal takes its word */
    if (CRYPTO_memcmp(a->row.secret_hash, hash, 32) != 0)
        return err_new(ERR_DENIED, "application %s has another secret", h->app_id);
    if (a->row.ended_ms && a->row.state != GRANTS_LOST)
        return err_new(ERR_CANCELLED, "application %s is over: %s", h->app_id, a->row.why);
    /* a try of a supervised driver that another one has followed */
    if (a->row.ended_ms && d && a->tries != d->row.tries)
        return err_new(ERR_CANCELLED, "application %s is over: its driver was started again", h->app_id);
    return NULL;
}

static struct err *
save_app(struct party *p, const Taskd__AppHello *h, const unsigned char hash[32], struct arow *a, struct arow **ret)
{
    struct master *m = p->m;
    bool fresh = !a;

    if (!a)
        TRY(rows__new_app(m, h->app_id, &a));
    master__set(&a->row.name, h->name);
    master__set(&a->row.submission, h->submission);
    master__set(&a->row.driver, h->driver);
    memcpy(a->row.secret_hash, hash, 32);
    a->row.state = GRANTS_ACTIVE;
    a->row.ended_ms = 0;
    master__set(&a->row.why, "");
    a->dirty = true;
    struct err *e = rows__save(m);
    if (e && fresh)
        rows__remove_app(m, a);
    if (!e)
        *ret = a;
    return e;
}

static void
registered(struct party *p, const Taskd__AppHello *h, struct arow *a)
{
    struct master *m = p->m;
    struct arena mem = { 0 };
    struct grants_child *c = ARENA_ARRAY(&mem, struct grants_child, h->n_executor + 1);
    struct drow *d = h->submission[0] ? rows__driver(m, h->submission) : NULL;
    Taskd__Item item = TASKD__ITEM__INIT;

    if (a->party && a->party != p) {
        a->party->app = NULL;
        master__drop(a->party);
    }
    a->party = p;
    p->app = a;
    a->tries = d ? d->row.tries : 0;
    a->hello.n = 0;
    item.kind_case = TASKD__ITEM__KIND_APP_HELLO;
    item.app_hello = (Taskd__AppHello *)h;
    proto_put(&a->hello, &item);
    for (size_t i = 0; i < h->n_executor; i++)
        c[i] = (struct grants_child){ .id = a->row.id, .executor = h->executor[i]->executor, .phase = GRANTS_RUNNING,
                                      .cores = h->executor[i]->cores, .memory = h->executor[i]->memory };
    EMIT(m->o.log, app_registered, .app = a->row.id, .name = a->row.name, .driver_address = a->row.driver);
    MASTER_STEP(m, APP_UP, .id = a->row.id, .name = a->row.name, .submission = a->row.submission,
                .executor = a->row.numbers, .children = c, .n_children = (uint32_t)h->n_executor,
                .ask = { .cores_max = h->cores_max, .cores_per_executor = h->cores_per_executor,
                         .memory = h->memory_per_executor, .executors_max = h->executors_max });
    arena_fini(&mem);
}

void
apps__hello(struct party *p, const Taskd__AppHello *h)
{
    unsigned char hash[32];
    struct arow *a = NULL;
    struct err *e = NULL;

    if (h->secret.len != 32)
        e = err_new(ERR_CORRUPT, "the application's secret has %zu bytes", h->secret.len);
    else if (p->app && (!h->app_id[0] || strcmp(p->app->row.id, h->app_id) != 0))
        e = err_new(ERR_CORRUPT, "one link is for one application");
    else if (!h->driver[0])
        e = err_new(ERR_CORRUPT, "the driver does not say where executors dial it");
    if (!e) {
        hash_of(&h->secret, hash);
        e = check_again(p->m, h, hash, &a);
    }
    if (!e)
        e = save_app(p, h, hash, a, &a);
    if (e)
        master__refuse(p, e);
    else
        registered(p, h, a);
}

static void
on_end(struct party *p, const Taskd__AppEnd *end)
{
    struct arow *a = p->app;

    p->app = NULL; /* it needs not be told */
    a->party = NULL;
    MASTER_STEP(p->m, APP_END, .id = a->row.id, .status = end->exit_status, .text = end->text,
                .state = end->exit_status ? GRANTS_FAILED_STATE : GRANTS_FINISHED);
    master__drop(p);
}

void
apps__item(struct party *p, const Taskd__Item *item)
{
    struct master *m = p->m;

    if (item->kind_case == TASKD__ITEM__KIND_APP_HELLO) {
        apps__hello(p, item->app_hello);
        return;
    }
    if (!p->app) {
        master__refuse(p, err_new(ERR_CORRUPT, "a driver did not register"));
        return;
    }
    switch ((int)item->kind_case) {
    case TASKD__ITEM__KIND_WANT:
        MASTER_STEP(m, APP_WANT, .id = p->app->row.id, .cores = item->want->cores);
        break;
    case TASKD__ITEM__KIND_RELEASE:
        MASTER_STEP(m, APP_RELEASE, .id = p->app->row.id, .executor = item->release->executor,
                    .text = item->release->why);
        break;
    case TASKD__ITEM__KIND_APP_END:
        on_end(p, item->app_end);
        break;
    default:
        break;
    }
}

void
apps__down(struct party *p)
{
    struct arow *a = p->app;

    if (!a)
        return;
    p->app = NULL;
    a->party = NULL;
    MASTER_STEP(p->m, APP_DOWN, .id = a->row.id);
}

void
apps__start_executor(struct master *m, struct wrow *w, const struct grants_action *a)
{
    struct arow *r = rows__app(m, a->id);
    Taskd__StartExecutor start = TASKD__START_EXECUTOR__INIT;
    struct arena mem = { 0 };
    Taskd__Envelope *v;
    struct err *e = r ? proto_get(r->hello.p, r->hello.n, &mem, &v) : err_new(ERR_LOST, "no such application");

    if (!e && v->n_item) {
        const Taskd__AppHello *h = v->item[0]->app_hello;

        start.app_id = (char *)a->id;
        start.executor = a->executor;
        start.cores = a->cores;
        start.memory = a->memory;
        start.driver = h->driver;
        start.driver_bulk = h->driver_bulk;
        start.blob = h->blob;
        start.n_blob = h->n_blob;
        start.secret = h->secret;
        start.app_name = h->name;
        MASTER_SEND(m, w->party, START_EXECUTOR, start_executor, &start);
    }
    err_free(e);
    arena_fini(&mem);
}
