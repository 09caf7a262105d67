/* spec -- see spec.h */
#include "submit/spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHA256 = 32 };

static const char *const progress_words[] = {
    [SUBMIT_PROGRESS_AUTO] = "auto", [SUBMIT_PROGRESS_PLAIN] = "plain", [SUBMIT_PROGRESS_JSON] = "json",
    [SUBMIT_PROGRESS_NONE] = "none", [SUBMIT_PROGRESS_LIVE] = "live",
};
enum { WORDS = sizeof progress_words / sizeof *progress_words };

/* ---- there */

/* Belongs to the submitting host, or travels elsewhere in the message. */
static bool
stays(enum conf_key key)
{
    switch (key) {
    case CONF_MASTER:
    case CONF_DEPLOY_MODE:
    case CONF_LOCAL_DIR:
    case CONF_DRIVER_HOST:
    case CONF_DRIVER_BIND:
    case CONF_DRIVER_PORT:
    case CONF_DRIVER_SUPERVISE:
    case CONF_FILES:
    case CONF_ARCHIVES:
    case CONF_LIBS:
    case CONF_SSL_CA:
    case CONF_SSL_CERT:
    case CONF_SSL_KEY:
    case CONF_SECRET_FILE:
    case CONF_DEPLOY_SCHEDULER:
        return true;
    default:
        return false;
    }
}

static void
put(Taskd__SubmitDriver *d, const char *key, const char *value)
{
    d->conf_key[d->n_conf_key++] = (char *)key;
    d->conf_value[d->n_conf_value++] = (char *)value;
}

void
submit_spec_put(const struct submit_options *o, struct arena *a, Taskd__SubmitDriver *ret)
{
    size_t n = conf_count(o->conf);

    *ret = (Taskd__SubmitDriver)TASKD__SUBMIT_DRIVER__INIT;
    ret->name = (char *)o->app_name;
    ret->arg = o->args;
    ret->n_arg = (size_t)o->n_args;
    ret->conf_key = ARENA_ARRAY(a, char *, n + 3);
    ret->conf_value = ARENA_ARRAY(a, char *, n + 3);
    for (size_t i = 0; i < n; i++) {
        struct conf_item it = conf_item(o->conf, i);
        enum conf_key key = conf_key_of(it.name);

        if (key == CONF_KEYS || (!stays(key) && key != CONF_APP_NAME && conf_layer(o->conf, key) != CONF_BUILT_IN))
            put(ret, it.name, it.value);
    }
    put(ret, conf_def(CONF_APP_NAME)->name, o->app_name);
    put(ret, "--progress", progress_words[o->progress]);
    if (o->verbose)
        put(ret, "--verbose", "true");
    ret->cores = (uint32_t)conf_int(o->conf, CONF_DRIVER_CORES);
    ret->memory = conf_bytes(o->conf, CONF_DRIVER_MEMORY);
    ret->supervise = conf_bool(o->conf, CONF_DRIVER_SUPERVISE);
}

/* ---- here */

static struct err *
set_one(struct submit_options *o, const char *key, const char *value)
{
    if (!strcmp(key, "--verbose")) {
        o->verbose = true;
        return NULL;
    }
    if (strcmp(key, "--progress"))
        return conf_set(o->conf, CONF_FLAG, key, value, "submitted");
    for (int i = 0; i < WORDS; i++)
        if (!strcmp(value, progress_words[i]))
            o->progress = (enum submit_progress)i;
    return NULL;
}

static struct err *
set_conf(const Taskd__DriverSpec *s, struct submit_options *o)
{
    const Taskd__StartDriver *d = s->start;

    if (d->n_conf_key != d->n_conf_value)
        return err_new(ERR_CORRUPT, "a driver was asked for with %zu keys and %zu values", d->n_conf_key, d->n_conf_value);
    for (size_t i = 0; i < d->n_conf_key; i++)
        TRY(set_one(o, d->conf_key[i], d->conf_value[i]));
    TRY(conf_set(o->conf, CONF_FLAG, "taskd.master", s->master, "the worker"));
    if (*s->tls_ca) {
        TRY(conf_set(o->conf, CONF_FLAG, "taskd.ssl.ca", s->tls_ca, "the worker"));
        TRY(conf_set(o->conf, CONF_FLAG, "taskd.ssl.cert", s->tls_cert, "the worker"));
        TRY(conf_set(o->conf, CONF_FLAG, "taskd.ssl.key", s->tls_key, "the worker"));
    }
    if (*s->host)
        TRY(conf_set(o->conf, CONF_FLAG, "taskd.driver.host", s->host, "the worker"));
    if (*s->dir)
        TRY(conf_set(o->conf, CONF_FLAG, "taskd.local.dir", s->dir, "the worker"));
    return NULL;
}

static bool
good_blob(const Taskd__AppBlob *b)
{
    const char *name = b->blob ? b->blob->name : "";

    return b->blob && b->blob->sha256.len == SHA256 && *name && strlen(name) <= 255 && !strchr(name, '/') &&
           strcmp(name, ".") && strcmp(name, "..");
}

static const char *
blob_path(const Taskd__DriverSpec *s, const Taskd__Blob *b, struct arena *a)
{
    char hex[2 * SHA256 + 1];

    for (size_t i = 0; i < SHA256; i++)
        snprintf(hex + 2 * i, 3, "%02x", b->sha256.data[i]);
    return arena_printf(a, "%s/%s", s->blobs, hex);
}

static struct err *
take_module(const Taskd__DriverSpec *s, const Taskd__Blob *b, struct arena *a, struct submit_options *o)
{
    const char *to = blob_path(s, b, a);

    if (o->module)
        return err_new(ERR_CORRUPT, "a driver was asked for with two modules");
    o->module = arena_printf(a, "%s/%s", s->dir, b->name);
    unlink(o->module);
    if (symlink(to, o->module) < 0)
        return err_errno(errno, "linking \"%s\"", o->module);
    return NULL;
}

static struct err *
take_blobs(const Taskd__DriverSpec *s, struct arena *a, struct submit_options *o)
{
    const Taskd__StartDriver *d = s->start;

    o->files = ARENA_ARRAY(a, struct submit_file, d->n_blob + 1);
    for (size_t i = 0; i < d->n_blob; i++) {
        const Taskd__AppBlob *b = d->blob[i];
        struct submit_file *f = &o->files[o->n_files];

        if (!good_blob(b))
            return err_new(ERR_CORRUPT, "a driver was asked for with a file that has no name or no sum");
        if (b->use == TASKD__BLOB_USE__MODULE) {
            TRY(take_module(s, b->blob, a, o));
            continue;
        }
        f->use = (enum submit_use)b->use;
        f->path = blob_path(s, b->blob, a);
        f->name = arena_strdup(a, b->blob->name);
        o->n_files++;
    }
    return o->module ? NULL : err_new(ERR_CORRUPT, "a driver was asked for without a module");
}

static void
free_conf(void *p)
{
    conf_free(p);
}

struct err *
submit_spec_options(const Taskd__DriverSpec *s, struct arena *a, struct submit_options *ret)
{
    struct submit_options o = { .action = SUBMIT_RUN, .conf = conf_new() };

    arena_on_reset(a, free_conf, o.conf);
    if (!s->start)
        return err_new(ERR_CORRUPT, "a driver was asked for without saying which");
    TRY(set_conf(s, &o));
    TRY(submit_master_parse(conf_str(o.conf, CONF_MASTER), 1, a, &o.master));
    TRY(take_blobs(s, a, &o));
    o.slots = o.master.slots;
    o.app_name = conf_str(o.conf, CONF_APP_NAME);
    o.n_args = (int)s->start->n_arg;
    o.args = ARENA_ARRAY(a, char *, s->start->n_arg + 2);
    for (size_t i = 0; i < s->start->n_arg; i++)
        o.args[i] = arena_strdup(a, s->start->arg[i]);
    if (!o.n_args)
        o.args[o.n_args++] = (char *)o.module;
    *ret = o;
    return NULL;
}
