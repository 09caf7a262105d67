/* prepare -- what a place must have before its first child starts: the driver can be reached, blobs are here, files and
 * archives lie in files/.  Children that come meanwhile wait for the same.  After a failure the next child tries again. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/process.h"
#include "worker/reach.h"
#include "worker/worker_priv.h"

#define REACH_NS UINT64_C(3000000000)
enum { UNPACK_CPU_S = 900, UNPACK_SAYS = 2000 };

static void
drop_blobs(struct place *p)
{
    for (size_t i = 0; i < p->n_blobs; i++) {
        struct place_blob *b = &p->blobs[i];

        if (b->waiting)
            blobs_forget(p->w->blobs, b);
        if (b->held)
            blobs_release(p->w->blobs, b->want.sha256);
        explicit_bzero(b->want.secret, sizeof b->want.secret);
        free((char *)b->want.name);
        free((char *)b->want.host);
        free((char *)b->want.app);
    }
    free(p->blobs);
    p->blobs = NULL;
    p->n_blobs = p->waiting = 0;
}

void
prepare__release(struct place *p)
{
    drop_blobs(p);
    p->state = PLACE_NEW;
}

void
prepare__drop(struct place *p)
{
    reach_drop(p->reach);
    p->reach = NULL;
    if (p->unpacker) {
        loop_child_kill(p->unpacker, SIGKILL);
        loop_child_free(p->unpacker);
        p->unpacker = NULL;
        while (waitpid(p->unpacker_pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    loop_timer_stop(p->w->loop, &p->later);
    free(p->reach_to);
    p->reach_to = NULL;
    err_free(p->why);
    p->why = NULL;
    if (p->state != PLACE_READY) {
        drop_blobs(p);
        p->state = PLACE_NEW;
    }
}

/* ---- the end of it */

/* Takes e.  Every child that waits hears it. */
static void
failed(struct place *p, struct err *e)
{
    char *text = worker__text(e);
    struct child *next;

    worker__log(p->w, EVENT_LEVEL_WARN, p->id, NULL, "can't start here: %s", text);
    prepare__drop(p);
    p->children++; /* p outlives the last of them */
    for (struct child *c = p->w->children; c; c = next) {
        next = c->next;
        if (c->place == p && c->phase == TASKD__CHILD_PHASE__STARTING)
            child__failed(c, text);
    }
    free(text);
    place__child_gone(p);
}

static void
ready(struct place *p)
{
    struct child *next;

    p->state = PLACE_READY;
    p->children++;
    for (struct child *c = p->w->children; c; c = next) {
        next = c->next;
        if (c->place == p && c->phase == TASKD__CHILD_PHASE__STARTING)
            child__ready(c);
    }
    place__child_gone(p);
}

/* ---- files */

static void next_file(struct place *p);

static void
path_of(const struct place *p, const struct place_blob *b, const char *before, const char *after, char ret[static PATH_BYTES])
{
    snprintf(ret, PATH_BYTES, "%s/files/%s%s%s", p->dir, before, b->want.name, after);
}

static void
blob_path(const struct place *p, const struct place_blob *b, char ret[static PATH_BYTES])
{
    char hex[BLOBS_HEX];

    blobs_hex(b->want.sha256, hex);
    snprintf(ret, PATH_BYTES, "%s/blobs/%s", p->w->o.dir, hex);
}

static struct err *
link_file(struct place *p, const struct place_blob *b)
{
    char from[PATH_BYTES], to[PATH_BYTES];

    blob_path(p, b, from);
    path_of(p, b, "", "", to);
    TRY(file_remove_tree(to));
    return link(from, to) < 0 ? err_errno(errno, "linking \"%s\"", to) : NULL;
}

/* What taskd-unpack said, without its name and the line end. */
static struct err *
what_it_said(struct place *p, const struct place_blob *b, int status)
{
    char path[PATH_BYTES];
    struct buf said = { 0 }, end = { 0 };
    struct err *e;

    path_of(p, b, ".", ".err", path);
    err_free(file_slurp(path, UNPACK_SAYS, &said));
    while (said.n && said.p[said.n - 1] == '\n')
        said.n--;
    process_end_text(status, &end);
    if (said.n)
        e = err_new(ERR_DENIED, "%.*s", (int)said.n, said.p);
    else
        e = err_new(ERR_CORRUPT, "the program that unpacks it ended with %.*s", (int)end.n, end.p);
    buf_fini(&said);
    buf_fini(&end);
    return err_wrap_take(e, "unpacking \"%s\"", b->want.name);
}

static void
on_unpacked(void *arg, int status)
{
    struct place *p = arg;
    struct place_blob *b = &p->blobs[p->next_file];
    char from[PATH_BYTES], to[PATH_BYTES], said[PATH_BYTES];
    struct err *e = NULL;

    p->unpacker = NULL;
    path_of(p, b, ".", ".new", from);
    path_of(p, b, "", "", to);
    path_of(p, b, ".", ".err", said);
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        e = what_it_said(p, b, status);
    unlink(said);
    if (!e && access(to, F_OK) == 0)
        worker__remove(p->w, to);
    if (!e && rename(from, to) < 0)
        e = err_errno(errno, "renaming \"%s\"", from);
    if (e) {
        worker__remove(p->w, from);
        failed(p, e);
        return;
    }
    p->next_file++;
    next_file(p);
}

static struct err *
start_unpacking(struct place *p, const struct place_blob *b)
{
    char archive[PATH_BYTES], to[PATH_BYTES], said[PATH_BYTES];
    char *argv[] = { "taskd unpack", to, NULL };
    struct process_opts o = { .path = p->w->o.unpack, .argv = argv, .out = -1, .cpu_s = UNPACK_CPU_S };
    struct err *e = NULL;

    blob_path(p, b, archive);
    path_of(p, b, ".", ".new", to);
    path_of(p, b, ".", ".err", said);
    if (access(to, F_OK) == 0)
        worker__remove(p->w, to);
    if (mkdir(to, 0700) < 0)
        return err_errno(errno, "making the folder \"%s\"", to);
    o.three = open(archive, O_RDONLY | O_CLOEXEC);
    o.err = open(said, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (o.three < 0 || o.err < 0)
        e = err_errno(errno, "unpacking \"%s\"", b->want.name);
    if (!e)
        e = process_start(&o, &p->unpacker_pid);
    file_close(&o.three);
    file_close(&o.err);
    if (e)
        return e;
    return loop_child_new(p->w->loop, p->unpacker_pid, on_unpacked, p, &p->unpacker);
}

static void
next_file(struct place *p)
{
    struct err *e = NULL;

    for (; !e && p->next_file < p->n_blobs; p->next_file++) {
        struct place_blob *b = &p->blobs[p->next_file];

        if (b->use == TASKD__BLOB_USE__FILE || b->use == TASKD__BLOB_USE__LIBRARY)
            e = link_file(p, b);
        else if (b->use == TASKD__BLOB_USE__ARCHIVE && !(e = start_unpacking(p, b)))
            return;
    }
    if (e)
        failed(p, e);
    else
        ready(p);
}

/* ---- blobs */

static void
on_later(void *arg)
{
    struct place *p = arg;
    struct err *e = p->why;

    p->why = NULL;
    if (e) {
        failed(p, e);
        return;
    }
    p->state = PLACE_FILES;
    p->next_file = 0;
    next_file(p);
}

static void
on_blob(void *arg, struct err *e)
{
    struct place_blob *b = arg;
    struct place *p = b->place;

    b->waiting = false;
    b->held = !e;
    p->waiting--;
    if (p->why)
        err_free(e);
    else
        p->why = e;
    if (p->why || !p->waiting)
        loop_timer_start(p->w->loop, &p->later, 0, on_later, p);
}

static void
fetch(struct place *p)
{
    p->state = PLACE_FETCHING;
    p->waiting = p->n_blobs;
    for (size_t i = 0; i < p->n_blobs; i++) {
        p->blobs[i].waiting = true;
        blobs_need(p->w->blobs, &p->blobs[i].want, on_blob, &p->blobs[i]);
    }
    if (!p->n_blobs)
        loop_timer_start(p->w->loop, &p->later, 0, on_later, p);
}

static void
on_reached(void *arg, struct err *e)
{
    struct place *p = arg;

    p->reach = NULL;
    if (e) {
        char *why = worker__text(e);

        /* "can't reach H:P: connection refused" */
        e = err_hint(err_new(ERR_LOST, "worker on host %s can't reach the driver at %s", p->w->o.host, why + strlen("can't reach ")),
                     "Executors dial the driver: taskd.driver.host and taskd.driver.port must be open to all workers.");
        free(why);
        failed(p, e);
        return;
    }
    p->reached = true;
    fetch(p);
}

/* ---- the wish */

static bool
name_ok(const char *s)
{
    size_t n = strlen(s);

    if (n == 0 || n > 200 || !strcmp(s, ".") || !strcmp(s, "..") || strchr(s, '/'))
        return false;
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

static bool
in_files(Taskd__BlobUse use)
{
    return use == TASKD__BLOB_USE__FILE || use == TASKD__BLOB_USE__LIBRARY || use == TASKD__BLOB_USE__ARCHIVE;
}

static struct err *
check(struct place *p, Taskd__AppBlob *const *blob, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const Taskd__Blob *b = blob[i]->blob;

        if (!b || b->sha256.len != BLOBS_SHA256)
            return err_new(ERR_CORRUPT, "a blob without a SHA-256 was announced");
        if (!name_ok(b->name))
            return err_new(ERR_DENIED, "\"%s\" can't be the name of a file", b->name);
        if (in_files(blob[i]->use) && *b->name == '.')
            return err_new(ERR_DENIED, "the file \"%s\" may not begin with a dot", b->name);
        for (size_t k = 0; k < i; k++)
            if (in_files(blob[i]->use) && in_files(blob[k]->use) && !strcmp(b->name, blob[k]->blob->name))
                return err_new(ERR_DENIED, "two files are called \"%s\"", b->name);
    }
    return NULL;
}

static char *
copy(const char *s)
{
    char *c = strdup(s);

    if (!c)
        abort();
    return c;
}

static void
take_blobs(struct place *p, const char *host, const char *app, const unsigned char *secret, Taskd__AppBlob *const *blob,
           size_t n)
{
    p->blobs = calloc(n + 1, sizeof *p->blobs);
    if (!p->blobs)
        abort();
    p->n_blobs = n;
    for (size_t i = 0; i < n; i++) {
        struct place_blob *b = &p->blobs[i];
        const Taskd__Blob *m = blob[i]->blob;

        b->place = p;
        b->use = blob[i]->use;
        memcpy(b->want.sha256, m->sha256.data, BLOBS_SHA256);
        memcpy(b->want.secret, secret, BULK_SECRET);
        b->want.size = m->size;
        b->want.name = copy(m->name);
        b->want.host = copy(host);
        b->want.app = copy(app);
    }
}

static void
on_checked(void *arg)
{
    struct place *p = arg;

    if (p->why) {
        on_later(p);
    } else if (p->reach_to[0] && !p->reached) {
        p->state = PLACE_REACHING;
        p->reach = reach_start(p->w->loop, p->reach_to, REACH_NS, on_reached, p);
    } else {
        fetch(p);
    }
}

void
prepare__start(struct place *p, const char *reach, const char *host, const char *app, const unsigned char *secret,
               Taskd__AppBlob *const *blob, size_t n)
{
    if (p->state == PLACE_NEW) {
        prepare__drop(p);
        p->reach_to = copy(reach);
        p->why = check(p, blob, n);
        if (!p->why)
            take_blobs(p, host, app, secret, blob, n);
        p->state = PLACE_REACHING;
        loop_timer_start(p->w->loop, &p->later, 0, on_checked, p);
    } else if (p->state == PLACE_READY) {
        ready(p);
    }
}
