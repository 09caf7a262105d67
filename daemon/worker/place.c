/* place -- one folder below DIR: of an application (secret, blocks/, files/, executor-N/) or of a driver. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "worker/worker_priv.h"

bool
place__id_ok(const char *id)
{
    static const char *const ours[] = { "blobs", "lock", "worker-id" };
    size_t n = strlen(id);

    if (n == 0 || n >= ID_BYTES || *id == '.')
        return false;
    if (strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != n)
        return false;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (!strcmp(id, ours[i]))
            return false;
    return true;
}

struct place *
place__find(struct worker *w, const char *id)
{
    for (struct place *p = w->places; p; p = p->next)
        if (!strcmp(p->id, id))
            return p;
    return NULL;
}

static struct place *
place_new(struct worker *w, const char *id, bool driver)
{
    struct place *p = calloc(1, sizeof *p);

    if (!p || asprintf(&p->dir, "%s/%s", w->o.dir, id) < 0)
        abort();
    p->w = w;
    p->driver = driver;
    snprintf(p->id, sizeof p->id, "%s", id);
    p->next = w->places;
    w->places = p;
    return p;
}

static struct err *
make(const struct place *p, const char *name)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s%s", p->dir, name);
    return mkdir(path, 0700) < 0 && errno != EEXIST ? err_errno(errno, "making the folder \"%s\"", path) : NULL;
}

/* blocks/ lies in the local folders, too, of which one may be full.  Once: the bulk server opens them when it hears of the place. */
static struct err *
spread_blocks(struct place *p)
{
    struct worker *w = p->w;
    const char *to[SPREAD_MAX];
    struct arena a = { 0 };
    unsigned n = 0;

    for (unsigned i = 0; i < w->n_local; i++) {
        const char *path = arena_printf(&a, "%s/%s", w->local[i], p->id);
        struct err *e = mkdir(path, 0700) < 0 && errno != EEXIST ? err_errno(errno, "making \"%s\"", path) : NULL;

        if (e)
            worker__log(w, EVENT_LEVEL_WARN, p->id, e, "a local folder is not used");
        else
            to[n++] = path;
        err_free(e);
    }
    struct err *e = spread_over(arena_printf(&a, "%s/blocks", p->dir), to, n);
    p->spread = !e;
    arena_fini(&a);
    return e;
}

static struct err *
make_folders(struct place *p)
{
    TRY(make(p, ""));
    TRY(make(p, "/files"));
    if (p->driver)
        return NULL;
    TRY(make(p, "/blocks"));
    return p->spread ? NULL : spread_blocks(p);
}

struct err *
place__get(struct worker *w, const char *id, bool driver, struct place **ret)
{
    struct place *p;

    if (!place__id_ok(id))
        return err_new(ERR_DENIED, "\"%s\" can't be an application's id", id);
    p = place__find(w, id);
    if (p && (p->driver != driver || p->forgotten))
        return err_new(ERR_DENIED, "\"%s\" is %s", id, p->forgotten ? "being removed" : "something else already");
    bool fresh = !p;
    if (fresh)
        p = place_new(w, id, driver);
    struct err *e = make_folders(p);
    if (e) {
        if (fresh)
            place__free(p);
        return e;
    }
    *ret = p;
    return NULL;
}

/* ---- the secret, for the shuffle files' sake: they are served again after a restart */

static struct err *
write_secret(const struct place *p)
{
    char path[PATH_BYTES], fresh[PATH_BYTES];

    snprintf(path, sizeof path, "%s/secret", p->dir);
    snprintf(fresh, sizeof fresh, "%s/.secret", p->dir);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(errno, "making \"%s\"", fresh);
    struct err *e = file_write_full(fd, p->secret, sizeof p->secret, fresh);
    close(fd);
    if (!e && rename(fresh, path) < 0)
        e = err_errno(errno, "renaming \"%s\"", fresh);
    return e;
}

static struct err *
serve(struct place *p)
{
    char blocks[PATH_BYTES];

    snprintf(blocks, sizeof blocks, "%s/blocks", p->dir);
    TRY(bulk_server_add(p->w->bulk, p->id, blocks, p->secret));
    p->served = true;
    return NULL;
}

struct err *
place__serve(struct place *p, const unsigned char *secret)
{
    if (p->served && !memcmp(p->secret, secret, BULK_SECRET))
        return NULL;
    memcpy(p->secret, secret, BULK_SECRET);
    TRY(write_secret(p));
    return serve(p);
}

/* ---- the end */

void
place__free(struct place *p)
{
    struct place **at;

    for (at = &p->w->places; *at != p; at = &(*at)->next)
        ;
    *at = p->next;
    prepare__drop(p);
    prepare__release(p);
    output__free(p);
    if (p->served)
        bulk_server_remove(p->w->bulk, p->id);
    explicit_bzero(p->secret, sizeof p->secret);
    free(p->dir);
    free(p);
}

static void
remove_now(struct place *p)
{
    worker__log(p->w, EVENT_LEVEL_INFO, p->id, NULL, "its folder is removed");
    struct worker *w = p->w;

    worker__remove(w, p->dir);
    for (unsigned i = 0; i < w->n_local; i++) {
        char path[PATH_BYTES];

        snprintf(path, sizeof path, "%s/%s", w->local[i], p->id);
        worker__remove_in(w, w->local[i], path);
    }
    place__free(p);
}

void
place__child_gone(struct place *p)
{
    p->children--;
    if (p->forgotten && !p->children)
        remove_now(p);
}

void
place__forget(struct place *p)
{
    struct child *c, *next;

    if (p->forgotten)
        return;
    p->forgotten = true;
    p->children++; /* so that p outlives this loop */
    for (c = p->w->children; c; c = next) {
        next = c->next;
        if (c->place == p)
            child__stop(c, "its application is over");
    }
    place__child_gone(p);
}

/* ---- what a worker before us left here */

/* A folder's scratch, and those of its executors. */
static void
remove_scratch(struct place *p)
{
    DIR *d = opendir(p->dir);
    struct dirent *x;
    char path[PATH_BYTES];

    while (d && (x = readdir(d))) {
        if (!strcmp(x->d_name, "scratch"))
            snprintf(path, sizeof path, "%s/scratch", p->dir);
        else if (!strncmp(x->d_name, "executor-", 9))
            snprintf(path, sizeof path, "%s/%s/scratch", p->dir, x->d_name);
        else
            continue;
        if (access(path, F_OK) == 0)
            worker__remove(p->w, path);
    }
    if (d)
        closedir(d);
}

static void
take_over(struct worker *w, const char *id)
{
    char path[PATH_BYTES];
    struct buf b = { 0 };

    snprintf(path, sizeof path, "%s/%s/secret", w->o.dir, id);
    bool app = access(path, F_OK) == 0;
    struct place *p = place_new(w, id, !app);
    remove_scratch(p);
    struct err *e = app ? file_slurp(path, BULK_SECRET, &b) : NULL;
    if (app && !e && b.n != BULK_SECRET)
        e = err_new(ERR_CORRUPT, "\"%s\" has %zu bytes", path, b.n);
    if (app && !e) {
        memcpy(p->secret, b.p, BULK_SECRET);
        e = make_folders(p);
    }
    if (app && !e)
        e = serve(p);
    if (b.p)
        explicit_bzero(b.p, b.n);
    buf_fini(&b);
    if (e)
        worker__log(w, EVENT_LEVEL_WARN, id, e, "what is left of it can't be served");
    err_free(e);
}

struct err *
place__find_old(struct worker *w)
{
    DIR *d = opendir(w->o.dir);
    struct dirent *x;
    struct stat st;

    if (!d)
        return err_errno(errno, "reading \"%s\"", w->o.dir);
    while ((x = readdir(d)))
        if (place__id_ok(x->d_name) && fstatat(dirfd(d), x->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(st.st_mode))
            take_over(w, x->d_name);
    closedir(d);
    return NULL;
}

/* When something was made there, 0: it is not there. */
static uint64_t
changed(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) < 0 ? 0 : (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
}

static uint64_t
last_change(const struct place *p)
{
    uint64_t last = changed(p->dir, p->driver ? "stdout" : "blocks");

    if (!last)
        last = changed(p->dir, "");
    for (unsigned i = 0; i < p->w->n_local; i++) {
        uint64_t then = changed(p->w->local[i], p->id);

        last = then > last ? then : last;
    }
    return last;
}

/* Nobody has said that these are over, but nothing has happened there for very long. */
void
place__forget_old(struct worker *w)
{
    struct place *next;

    for (struct place *p = w->places; p; p = next) {
        next = p->next;
        uint64_t last = p->children ? 0 : last_change(p);
        if (last && last + w->o.ttl_ns < clock_wall_ns())
            place__forget(p);
    }
}
