/* worker -- see worker.h: the folder, its lock and id, and the life of the whole. */
#include "worker/worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "worker/hand.h"
#include "worker/worker_priv.h"

#define TIDY_NS UINT64_C(600000000000)

/* ---- telling */

char *
worker__text(struct err *e)
{
    char *s = err_text(e);

    err_free(e);
    return s;
}

void
worker__log(struct worker *w, enum event_level level, const char *app, const struct err *e, const char *fmt, ...)
{
    struct event_json_sink *j = w->o.log;
    va_list ap;
    char *text, *why = NULL;

    if (!j)
        return;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        abort();
    va_end(ap);
    if (e)
        why = err_text(e);
    struct event_sink s = event_json_sink(j);
    j->origin.app = app;
    if (level == EVENT_LEVEL_ERROR)
        EMIT(&s, log_error, .message = text, .err = why);
    else if (level == EVENT_LEVEL_WARN)
        EMIT(&s, log_warn, .message = text, .err = why);
    else if (level == EVENT_LEVEL_INFO)
        EMIT(&s, log_info, .message = text);
    else
        EMIT(&s, log_debug, .message = text);
    j->origin.app = NULL;
    free(why);
    free(text);
}

/* ---- removing */

static void
remove_it(void *arg)
{
    struct removal *r = arg;

    err_free(file_remove_tree(r->path)); /* the next start tries again */
}

static void
removed(void *arg)
{
    struct removal *r = arg, **at;

    for (at = &r->w->removals; *at != r; at = &(*at)->next)
        ;
    *at = r->next;
    free(r->path);
    free(r);
}

void
worker__remove_in(struct worker *w, const char *root, const char *path)
{
    struct removal *r = calloc(1, sizeof *r);

    if (!r || asprintf(&r->path, "%s/%s%u", root, w->gone_name, w->gone++) < 0)
        abort();
    if (rename(path, r->path) < 0) {
        if (errno != ENOENT)
            worker__log(w, EVENT_LEVEL_WARN, NULL, NULL, "\"%s\" can't be removed: %s", path, strerror(errno));
        free(r->path);
        free(r);
        return;
    }
    r->w = w;
    r->next = w->removals;
    w->removals = r;
    r->hand = hand_start(w->loop, remove_it, removed, r);
}

void
worker__remove(struct worker *w, const char *path)
{
    worker__remove_in(w, w->o.dir, path);
}

/* ---- the folder */

/* link: of ours, it may be where a link leads to. */
static struct err *
own_folder(const char *path, bool link, const char *hint)
{
    struct stat st;

    TRY(file_mkdirs(path, 0700));
    if ((link ? stat(path, &st) : lstat(path, &st)) < 0)
        return err_errno(errno, "looking at \"%s\"", path);
    if (!S_ISDIR(st.st_mode))
        return err_new(ERR_DENIED, "\"%s\" is not a folder", path);
    if (st.st_uid != geteuid() || (st.st_mode & 022))
        return err_hint(err_new(ERR_DENIED, "the work folder \"%s\" belongs to somebody else or may be written by others",
                                path),
                        "%s", hint);
    return NULL;
}

static struct err *
lock_folder(struct worker *w)
{
    const char *path = arena_printf(&w->a, "%s/lock", w->o.dir);

    TRY(own_folder(w->o.dir, true, "Give the worker a folder of its own with --dir."));
    w->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (w->lock < 0)
        return err_errno(errno, "opening \"%s\"", path);
    if (flock(w->lock, LOCK_EX | LOCK_NB) == 0)
        return NULL;
    if (errno != EWOULDBLOCK)
        return err_errno(errno, "locking \"%s\"", path);
    return err_hint(err_new(ERR_DENIED, "another worker works in \"%s\"", w->o.dir), "Give each worker its own --dir.");
}

static bool
id_from(struct buf *b, char ret[64])
{
    size_t n = b->n;

    while (n && b->p[n - 1] == '\n')
        n--;
    if (n < 8 || n > 60)
        return false;
    memcpy(ret, b->p, n);
    ret[n] = 0;
    return place__id_ok(ret);
}

static struct err *
read_id(struct worker *w)
{
    const char *path = arena_printf(&w->a, "%s/worker-id", w->o.dir);
    const char *fresh = arena_printf(&w->a, "%s/.worker-id", w->o.dir);
    struct buf b = { 0 };
    uint64_t r[2];
    struct err *e = access(path, F_OK) == 0 ? file_slurp(path, 256, &b) : NULL;

    if (!e && id_from(&b, w->id)) {
        buf_fini(&b);
        return NULL;
    }
    buf_fini(&b);
    if (e)
        return e;
    if (getrandom(r, sizeof r, 0) != sizeof r)
        return err_errno(errno, "getting random bytes");
    snprintf(w->id, sizeof w->id, "worker-%016llx%04x", (unsigned long long)r[0], (unsigned)(r[1] & 0xffff));
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(errno, "making \"%s\"", fresh);
    e = file_write_full(fd, w->id, strlen(w->id), fresh);
    close(fd);
    if (!e && rename(fresh, path) < 0)
        e = err_errno(errno, "renaming \"%s\"", fresh);
    return e;
}

/* What a worker before us was about to remove. */
static void
remove_gone(struct worker *w)
{
    DIR *d = opendir(w->o.dir);
    struct dirent *x;

    while (d && (x = readdir(d)))
        if ((!strncmp(x->d_name, ".gone-", 6) && strncmp(x->d_name, w->gone_name, strlen(w->gone_name))) || !strcmp(x->d_name, ".worker-id")) {
            char *path = NULL;

            if (asprintf(&path, "%s/%s", w->o.dir, x->d_name) < 0)
                abort();
            worker__remove(w, path);
            free(path);
        }
    if (d)
        closedir(d);
}

static bool
same_folder(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A folder of ours in each local one.  The name of DIR's worker keeps two workers apart there. */
static void
open_local(struct worker *w)
{
    for (unsigned i = 0; i < w->o.n_local; i++) {
        const char *path = arena_printf(&w->a, "%s/%s", w->o.local[i], w->id);
        struct err *e = same_folder(w->o.local[i], w->o.dir)
                            ? err_new(ERR_CONFIG, "it is the work folder, which is used anyhow")
                            : own_folder(path, false, "Remove it, or name another folder with --local-dirs.");

        if (!e)
            w->local[w->n_local++] = path;
        else
            worker__log(w, EVENT_LEVEL_WARN, NULL, e, "the local folder \"%s\" is not used", w->o.local[i]);
        err_free(e);
    }
}

/* What is in the local folders of places that are not here any more. */
static void
tidy_local(struct worker *w)
{
    for (unsigned i = 0; i < w->n_local; i++) {
        DIR *d = opendir(w->local[i]);
        struct dirent *x;

        while (d && (x = readdir(d)))
            if (strcmp(x->d_name, ".") && strcmp(x->d_name, "..") && strncmp(x->d_name, w->gone_name, strlen(w->gone_name)) &&
                !place__find(w, x->d_name)) {
                char path[PATH_BYTES];

                snprintf(path, sizeof path, "%s/%s", w->local[i], x->d_name);
                worker__remove_in(w, w->local[i], path);
            }
        if (d)
            closedir(d);
    }
}

static void
on_tidy(void *arg)
{
    struct worker *w = arg;

    blobs_trim(w->blobs);
    place__forget_old(w);
    loop_timer_start(w->loop, &w->tidy, loop_now(w->loop) + TIDY_NS, on_tidy, w);
}

/* ---- life */

static const char *
keep(struct worker *w, const char *s)
{
    return s ? arena_strdup(&w->a, s) : "";
}

/* Children start elsewhere. */
static const char *
keep_path(struct worker *w, const char *s)
{
    char *full = s ? realpath(s, NULL) : NULL;
    const char *kept = keep(w, full ? full : s);

    free(full);
    return kept;
}

static void
keep_opts(struct worker *w, const struct worker_opts *o)
{
    w->o = *o;
    w->o.dir = keep(w, o->dir);
    const char **local = ARENA_ARRAY(&w->a, const char *, o->n_local);
    for (unsigned i = 0; i < o->n_local; i++)
        local[i] = keep(w, o->local[i]);
    w->o.local = local;
    w->o.host = keep(w, o->host);
    w->o.master = keep(w, o->master);
    w->o.executor = keep_path(w, o->executor);
    w->o.driver = keep_path(w, o->driver);
    w->o.unpack = keep_path(w, o->unpack);
    w->o.token = arena_memdup(&w->a, o->token_n ? o->token : "", o->token_n);
    if (!w->o.ttl_ns)
        w->o.ttl_ns = UINT64_C(7) * 24 * 3600 * 1000000000;
    if (o->tls) {
        w->tls = (struct tls_files){ keep(w, o->tls->ca), keep(w, o->tls->cert), keep(w, o->tls->key) };
        w->o.tls = &w->tls;
    }
}

static struct err *
serve(struct worker *w)
{
    struct bulk_server_opts o = { .host = w->o.host, .port = w->o.port, .tls = w->o.tls };
    bool colon = strchr(w->o.host, ':') && w->o.host[0] != '[';

    TRY_OR(bulk_server_new(w->loop, &o, &w->bulk), "starting the shuffle service");
    w->bulk_address = arena_printf(&w->a, colon ? "[%s]:%u" : "%s:%u", w->o.host, bulk_server_port(w->bulk));
    return NULL;
}

static struct err *
set_up(struct worker *w)
{
    struct blobs_opts blobs = { .tls = w->o.tls, .limit = w->o.cache_bytes, .ttl_ns = w->o.ttl_ns };

    TRY(uplink__new(w));
    TRY(lock_folder(w));
    TRY(read_id(w));
    remove_gone(w);
    open_local(w);
    blobs.dir = arena_printf(&w->a, "%s/blobs", w->o.dir);
    TRY(file_mkdirs(blobs.dir, 0700));
    TRY(blobs_new(w->loop, &blobs, &w->blobs));
    TRY(serve(w));
    TRY(place__find_old(w));
    tidy_local(w);
    place__forget_old(w);
    loop_timer_start(w->loop, &w->tidy, loop_now(w->loop) + TIDY_NS, on_tidy, w);
    uplink__dial(w);
    return NULL;
}

struct err *
worker_new(struct loop *l, const struct worker_opts *o, struct worker **ret)
{
    struct worker *w = calloc(1, sizeof *w);

    if (!w)
        abort();
    w->loop = l;
    w->lock = -1;
    arena_init(&w->a);
    keep_opts(w, o);
    snprintf(w->gone_name, sizeof w->gone_name, ".gone-%llx-", (unsigned long long)clock_wall_ns());
    struct err *e = set_up(w);
    if (e) {
        worker_free(w);
        return e;
    }
    worker__log(w, EVENT_LEVEL_INFO, NULL, NULL, "worker %s in \"%s\" has %u cores and %llu MiB, shuffle service on %s",
                w->id, w->o.dir, w->o.cores, (unsigned long long)(w->o.memory >> 20), w->bulk_address);
    *ret = w;
    return NULL;
}

static void
on_stopped(void *arg)
{
    struct worker *w = arg;

    if (w->stopped)
        w->stopped(w->stopped_arg);
}

void
worker__child_gone(struct worker *w)
{
    if (w->stopped && !w->children)
        loop_timer_start(w->loop, &w->tidy, 0, on_stopped, w);
}

void
worker_stop(struct worker *w, void (*done)(void *arg), void *arg)
{
    struct child *next;

    w->stopped = done;
    w->stopped_arg = arg;
    for (struct child *c = w->children; c; c = next) {
        next = c->next;
        child__stop(c, "its worker is stopped");
    }
    worker__child_gone(w);
}

void
worker_free(struct worker *w)
{
    if (!w)
        return;
    while (w->children)
        child__free(w->children);
    child__forget_strays(w);
    while (w->places)
        place__free(w->places);
    loop_timer_stop(w->loop, &w->tidy);
    uplink__free(w);
    while (w->removals) {
        hand_drop(w->removals->hand);
        removed(w->removals);
    }
    blobs_free(w->blobs);
    bulk_server_free(w->bulk);
    file_close(&w->lock);
    arena_fini(&w->a);
    free(w);
}

const char *
worker_id(const struct worker *w)
{
    return w->id;
}

const char *
worker_bulk(const struct worker *w)
{
    return w->bulk_address;
}
