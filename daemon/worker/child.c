/* child -- one executor or driver: asked for, prepared, running, ended. */
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
#include "worker/worker_priv.h"

#define KILL_NS UINT64_C(500000000)
#define STRAYS_NS UINT64_C(5000000000)
#define STRAYS_LOOK_NS UINT64_C(100000000)
enum { LAST_WORDS = 2000 };

struct child *
child__find(struct worker *w, const char *app_id, uint32_t number)
{
    for (struct child *c = w->children; c; c = c->next)
        if (c->number == number && !strcmp(c->place->id, app_id))
            return c;
    return NULL;
}

/* ---- the end */

/*
 * What is left of its process group when it has ended: at first its zygote, which is cleaning up behind it and must be
 * let; what is there for longer than that has run away from somebody's job, and is killed.
 */
struct strays {
    struct worker *w;
    pid_t group;
    uint64_t until;
    struct loop_timer timer;
    struct strays *next;
};

static void
strays_free(struct strays *s)
{
    struct strays **at;

    for (at = &s->w->strays; *at != s; at = &(*at)->next)
        ;
    *at = s->next;
    loop_timer_stop(s->w->loop, &s->timer);
    free(s);
}

/* The group's number is nobody else's as long as it has a member: looked at often enough, it can't have come back. */
static void
on_strays(void *arg)
{
    struct strays *s = arg;
    uint64_t now = loop_now(s->w->loop);

    if (kill(-s->group, 0) < 0) {
        strays_free(s);
    } else if (now >= s->until) {
        kill(-s->group, SIGKILL);
        strays_free(s);
    } else {
        loop_timer_start(s->w->loop, &s->timer, now + STRAYS_LOOK_NS, on_strays, s);
    }
}

static void
watch_strays(struct worker *w, pid_t group)
{
    struct strays *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->w = w;
    s->group = group;
    s->until = loop_now(w->loop) + (w->o.strays_ns ? w->o.strays_ns : STRAYS_NS);
    s->next = w->strays;
    w->strays = s;
    on_strays(s);
}

void
child__forget_strays(struct worker *w)
{
    while (w->strays)
        strays_free(w->strays);
}

void
child__free(struct child *c)
{
    struct worker *w = c->w;
    struct child **at;
    char scratch[PATH_BYTES];

    for (at = &w->children; *at != c; at = &(*at)->next)
        ;
    *at = c->next;
    if (c->process) {
        loop_child_kill(c->process, SIGKILL);
        loop_child_free(c->process);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    loop_timer_stop(w->loop, &c->kill);
    snprintf(scratch, sizeof scratch, "%s/scratch", c->dir);
    if (access(scratch, F_OK) == 0)
        worker__remove(w, scratch);
    if (c->spec.p)
        explicit_bzero(c->spec.p, c->spec.n);
    buf_fini(&c->spec);
    if (!c->number) {
        prepare__release(c->place);
        output__close(c->place);
    }
    place__child_gone(c->place);
    free(c->stopped);
    free(c->dir);
    free(c);
    worker__child_gone(w);
}

void
child__failed(struct child *c, const char *text)
{
    uplink__child(c->w, c, TASKD__CHILD_PHASE__FAILED_TO_START, 0, text);
    child__free(c);
}

/* The text of a field of a JSON line of lib/event, behind ": ". */
static bool
put_json(struct buf *out, const char *line, const char *name)
{
    char key[32];

    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *p = strstr(line, key);
    if (!p)
        return false;
    buf_printf(out, ": ");
    for (p += strlen(key); *p && *p != '"'; p++) {
        if (*p == '\\' && p[1] == 'u' && strlen(p) > 5) {
            put_u8(out, ' ');
            p += 5;
        } else if (*p != '\\' || *++p) {
            put_u8(out, (uint8_t)*p);
        }
    }
    return true;
}

/* The last line that it wrote to stderr, behind ": ". */
static void
put_last_words(const struct child *c, struct buf *out)
{
    char path[PATH_BYTES], p[LAST_WORDS + 1];
    struct stat st;
    size_t n = 0;
    int fd;

    snprintf(path, sizeof path, "%s/stderr", c->dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0) {
        uint64_t at = st.st_size > LAST_WORDS ? (uint64_t)st.st_size - LAST_WORDS : 0;

        err_free(file_pread(fd, p, LAST_WORDS, at, &n, path));
    }
    close(fd);
    while (n && (p[n - 1] == '\n' || p[n - 1] == ' '))
        n--;
    p[n] = 0;
    char *line = strrchr(p, '\n');
    line = line ? line + 1 : p;
    if (!*line || strlen(line) != (size_t)(p + n - line))
        return;
    if (*line != '{' || (!put_json(out, line, "err") && !put_json(out, line, "message")))
        buf_printf(out, ": %s", line);
}

static void
tell_end(struct child *c)
{
    struct buf text = { 0 };

    if (c->stopped)
        buf_printf(&text, "%s", c->stopped);
    else
        process_end_text(c->status, &text);
    if (!c->stopped && c->status)
        put_last_words(c, &text);
    put_u8(&text, 0);
    worker__log(c->w, c->status && !c->stopped ? EVENT_LEVEL_WARN : EVENT_LEVEL_INFO, c->place->id, NULL,
                "%s %u ended: %s", c->number ? "executor" : "driver", c->number, text.p);
    uplink__child(c->w, c, TASKD__CHILD_PHASE__ENDED, process_exit_status(c->status), text.p);
    buf_fini(&text);
}

void
child__drained(struct child *c)
{
    tell_end(c);
    child__free(c);
}

static void
on_exit_of(void *arg, int status)
{
    struct child *c = arg;

    c->process = NULL;
    c->status = status;
    c->ended = true;
    loop_timer_stop(c->w->loop, &c->kill);
    watch_strays(c->w, c->pid);
    if (!c->number)
        output__end(c->place);
    if (c->number || output__drained(c->place))
        child__drained(c);
}

static void
on_kill(void *arg)
{
    struct child *c = arg;

    if (c->process)
        loop_child_kill(c->process, SIGKILL);
}

void
child__stop(struct child *c, const char *why)
{
    if (c->ended || c->stopped)
        return;
    if (!(c->stopped = strdup(why)))
        abort();
    worker__log(c->w, EVENT_LEVEL_INFO, c->place->id, NULL, "stopping %s %u: %s", c->number ? "executor" : "driver",
                c->number, why);
    if (!c->process) {
        child__failed(c, c->stopped);
        return;
    }
    loop_child_kill(c->process, SIGTERM);
    loop_timer_start(c->w->loop, &c->kill, loop_now(c->w->loop) + KILL_NS, on_kill, c);
}

/* ---- the start */

static struct err *
open_log(const struct child *c, const char *name, int *ret)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s", c->dir, name);
    *ret = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *ret < 0 ? err_errno(errno, "opening \"%s\"", path) : NULL;
}

static struct err *
run(struct child *c)
{
    struct worker *w = c->w;
    char name[ID_BYTES + 64], files[PATH_BYTES];
    char *argv[] = { name, NULL };
    struct process_opts o = { .argv = argv, .cwd = files, .three = -1 };
    int out[2] = { -1, -1 };
    struct err *e;

    if (c->number)
        snprintf(name, sizeof name, "taskd executor %s/%u", c->place->id, c->number);
    else
        snprintf(name, sizeof name, "taskd driver %s", c->place->id);
    snprintf(files, sizeof files, "%s/files", c->place->dir);
    o.path = c->number ? w->o.executor : w->o.driver;
    if (c->number) {
        e = open_log(c, "stdout", &out[0]);
        if (!e)
            e = open_log(c, "stderr", &out[1]);
    } else {
        e = output__open(c->place, out);
    }
    if (!e)
        e = process_sealed("taskd-spec", c->spec.p, c->spec.n, &o.three);
    o.out = out[0];
    o.err = out[1];
    if (!e)
        e = process_start(&o, &c->pid);
    file_close(&o.three);
    file_close(&out[0]);
    file_close(&out[1]);
    if (!e)
        e = loop_child_new(w->loop, c->pid, on_exit_of, c, &c->process);
    return e;
}

void
child__ready(struct child *c)
{
    struct err *e = run(c);

    explicit_bzero(c->spec.p, c->spec.n);
    buf_fini(&c->spec);
    c->spec = (struct buf){ 0 };
    if (e) {
        char *text = worker__text(e);

        worker__log(c->w, EVENT_LEVEL_WARN, c->place->id, NULL, "%s %u can't be started: %s",
                    c->number ? "executor" : "driver", c->number, text);
        if (c->pid) { /* started, but nobody could watch it */
            kill(c->pid, SIGKILL);
            while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        }
        child__failed(c, text);
        free(text);
        return;
    }
    c->phase = TASKD__CHILD_PHASE__RUNNING;
    worker__log(c->w, EVENT_LEVEL_INFO, c->place->id, NULL, "%s %u runs as process %d", c->number ? "executor" : "driver",
                c->number, (int)c->pid);
    uplink__child(c->w, c, TASKD__CHILD_PHASE__RUNNING, 0, "");
}

/* A child that could not even be made. */
static void
refuse(struct worker *w, const char *id, uint32_t number, struct err *e)
{
    struct place place = { .w = w };
    struct child c = { .w = w, .place = &place, .number = number };
    char *text = worker__text(e);

    snprintf(place.id, sizeof place.id, "%s", id);
    worker__log(w, EVENT_LEVEL_WARN, place.id, NULL, "%s", text);
    uplink__child(w, &c, TASKD__CHILD_PHASE__FAILED_TO_START, 0, text);
    free(text);
}

static struct err *
child_new(struct place *p, uint32_t number, uint32_t cores, uint64_t memory, struct child **ret)
{
    struct child *c = calloc(1, sizeof *c);
    char scratch[PATH_BYTES];

    if (!c || asprintf(&c->dir, number ? "%s/executor-%u" : "%s", p->dir, number) < 0)
        abort();
    snprintf(scratch, sizeof scratch, "%s/scratch", c->dir);
    struct err *e = file_mkdirs(scratch, 0700);
    if (e) {
        free(c->dir);
        free(c);
        return e;
    }
    c->w = p->w;
    c->place = p;
    c->number = number;
    c->cores = cores;
    c->memory = memory;
    c->phase = TASKD__CHILD_PHASE__STARTING;
    c->next = p->w->children;
    p->w->children = c;
    p->children++;
    uplink__forget_ended(p->w, p->id, number, false);
    uplink__child(p->w, c, TASKD__CHILD_PHASE__STARTING, 0, "");
    *ret = c;
    return NULL;
}

/* Is it here already?  Then the master hears so again. */
static bool
is_here(struct worker *w, const char *id, uint32_t number)
{
    struct child *c = child__find(w, id, number);

    if (c && !c->ended)
        uplink__child(w, c, c->phase, 0, "");
    return c;
}

static void
put_executor_spec(struct child *c, const Taskd__StartExecutor *m)
{
    struct worker *w = c->w;
    Taskd__ExecutorSpec s = TASKD__EXECUTOR_SPEC__INIT;
    char blocks[PATH_BYTES], blobs[PATH_BYTES], scratch[PATH_BYTES];

    snprintf(blocks, sizeof blocks, "%s/blocks", c->place->dir);
    snprintf(blobs, sizeof blobs, "%s/blobs", w->o.dir);
    snprintf(scratch, sizeof scratch, "%s/scratch", c->dir);
    s.start = (Taskd__StartExecutor *)m;
    s.host = (char *)w->o.host;
    s.dir = blocks;
    s.blobs = blobs;
    s.bulk = w->bulk_address;
    s.worker = w->id;
    if (w->o.tls) {
        s.tls_ca = (char *)w->tls.ca;
        s.tls_cert = (char *)w->tls.cert;
        s.tls_key = (char *)w->tls.key;
    }
    s.scratch = scratch;
    proto_put_executor_spec(&c->spec, &s);
}

static struct err *
start_executor(struct worker *w, const Taskd__StartExecutor *m)
{
    struct place *p;
    struct child *c;

    if (!m->executor || m->secret.len != BULK_SECRET)
        return err_new(ERR_CORRUPT, "an executor without a number or a secret was asked for");
    TRY(place__get(w, m->app_id, false, &p));
    TRY(place__serve(p, m->secret.data));
    TRY(child_new(p, m->executor, m->cores, m->memory, &c));
    put_executor_spec(c, m);
    char *app;
    if (asprintf(&app, "blobs-%s", m->app_id) < 0)
        abort();
    prepare__start(p, m->driver, m->driver_bulk, app, m->secret.data, m->blob, m->n_blob);
    free(app);
    return NULL;
}

void
child__start_executor(struct worker *w, const Taskd__StartExecutor *m)
{
    struct err *e;

    if (!is_here(w, m->app_id, m->executor) && (e = start_executor(w, m)))
        refuse(w, m->app_id, m->executor, e);
}

static void
put_driver_spec(struct child *c, const Taskd__StartDriver *m)
{
    struct worker *w = c->w;
    Taskd__DriverSpec s = TASKD__DRIVER_SPEC__INIT;
    char blobs[PATH_BYTES], scratch[PATH_BYTES];

    snprintf(blobs, sizeof blobs, "%s/blobs", w->o.dir);
    snprintf(scratch, sizeof scratch, "%s/scratch", c->dir);
    s.start = (Taskd__StartDriver *)m;
    s.host = (char *)w->o.host;
    s.dir = scratch;
    s.blobs = blobs;
    s.master = (char *)w->o.master;
    s.token = PROTO_BYTES(w->o.token, w->o.token_n);
    if (w->o.tls) {
        s.tls_ca = (char *)w->tls.ca;
        s.tls_cert = (char *)w->tls.cert;
        s.tls_key = (char *)w->tls.key;
    }
    proto_put_driver_spec(&c->spec, &s);
}

static struct err *
start_driver(struct worker *w, const Taskd__StartDriver *m)
{
    struct place *p;
    struct child *c;

    if (m->blob_secret.len != BULK_SECRET)
        return err_new(ERR_CORRUPT, "a driver without the secret of its blobs was asked for");
    TRY(place__get(w, m->driver, true, &p));
    TRY(child_new(p, 0, m->cores, m->memory, &c));
    put_driver_spec(c, m);
    prepare__start(p, "", m->blob_bulk, m->blob_app, m->blob_secret.data, m->blob, m->n_blob);
    return NULL;
}

void
child__start_driver(struct worker *w, const Taskd__StartDriver *m)
{
    struct err *e;

    if (!is_here(w, m->driver, 0) && (e = start_driver(w, m)))
        refuse(w, m->driver, 0, e);
}
