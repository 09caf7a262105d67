/* spawn -- see spawn.h */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/exe.h"
#include "base/file.h"
#include "net/bulk.h"
#include "net/loop.h"
#include "proto/proto.h"

extern char **environ;

enum { CHILDREN = 64 };

struct spawn;
struct kid {
    struct spawn *s;
    uint32_t number;
    pid_t pid;
    struct loop_child *child;
};
struct spawn {
    struct cluster cluster;
    struct loop *loop;
    const struct cluster_up *up;
    void *arg;
    struct cluster_app app;
    char id[64];
    const char *dir;
    bool remote, keep;
    uint32_t next;
    struct kid kid[CHILDREN];
    unsigned n;
    struct loop_timer ready;
    struct bulk_client *client;
    struct bulk_server *server;
    int blob; /* being fetched */
    struct arena a;
};

static void
must(struct err *e)
{
    if (!e)
        return;
    fprintf(stderr, "spawn: %s\n", err_text(e));
    abort();
}

static void
hex_of(const unsigned char *p, char *to)
{
    for (int i = 0; i < 32; i++)
        snprintf(to + 2 * i, 3, "%02x", p[i]);
}

/* ---- executors */

static int
spec_of(struct spawn *s, uint32_t number)
{
    Taskd__ExecutorSpec spec = TASKD__EXECUTOR_SPEC__INIT;
    Taskd__StartExecutor start = TASKD__START_EXECUTOR__INIT;
    Taskd__AppBlob ab = TASKD__APP_BLOB__INIT, *abs[1] = { &ab };
    Taskd__Blob blob = TASKD__BLOB__INIT;
    struct buf b = { 0 };

    blob.sha256 = PROTO_BYTES(s->app.blobs[0].sha256, 32);
    blob.size = s->app.blobs[0].size;
    blob.name = (char *)s->app.blobs[0].name;
    ab.blob = &blob;
    start.app_id = s->id;
    start.executor = number;
    start.cores = s->app.cores_per_executor ? s->app.cores_per_executor : 1;
    start.memory = s->app.memory_per_executor;
    start.driver = (char *)s->app.address;
    start.secret = PROTO_BYTES(s->app.secret, CLUSTER_SECRET);
    start.blob = abs;
    start.n_blob = 1;
    spec.start = &start;
    spec.host = s->remote ? arena_printf(&s->a, "host-%u", number) : "127.0.0.1";
    spec.dir = s->keep ? (char *)s->dir : arena_printf(&s->a, "%s/%u", s->dir, number);
    spec.scratch = arena_printf(&s->a, "%s/%u.scratch", s->dir, number);
    spec.blobs = (char *)s->dir;
    spec.worker = s->keep ? "worker" : "";
    mkdir(spec.dir, 0700);
    mkdir(spec.scratch, 0700);
    if (s->remote) { /* one server, a folder: the last executor's is served, or with SPAWN_KEEP that of all */
        must(bulk_server_add(s->server, s->id, s->dir, s->app.secret));
        spec.bulk = arena_printf(&s->a, "127.0.0.1:%u", bulk_server_port(s->server));
    }
    proto_put_executor_spec(&b, &spec);
    int fd = memfd_create("spec", MFD_CLOEXEC);
    must(file_write_full(fd, b.p, b.n, "spec"));
    lseek(fd, 0, SEEK_SET);
    buf_fini(&b);
    return fd;
}

static void spawn_one(struct spawn *s);

static void
on_exit_of(void *arg, int status)
{
    struct kid *k = arg;
    struct spawn *s = k->s;
    char why[64];

    snprintf(why, sizeof why, WIFSIGNALED(status) ? "killed by signal %d" : "exit status %d",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    k->child = NULL;
    k->pid = 0;
    s->up->gone(s->arg, k->number, why, s->keep ? "worker" : "", false);
    spawn_one(s);
}

static void
spawn_one(struct spawn *s)
{
    posix_spawn_file_actions_t files;
    struct kid *k;
    const char *path;

    if (s->n == CHILDREN)
        return;
    k = &s->kid[s->n++];
    *k = (struct kid){ .s = s, .number = ++s->next };
    int fd = spec_of(s, k->number);
    char *argv[] = { arena_printf(&s->a, "taskd executor %s/%u", s->id, k->number), NULL };
    must(exe_libexec(&s->a, "taskd-executor", &path));
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, fd, 3);
    posix_spawn_file_actions_addclosefrom_np(&files, 4);
    if (posix_spawn(&k->pid, path, &files, NULL, argv, environ))
        abort();
    posix_spawn_file_actions_destroy(&files);
    close(fd);
    must(loop_child_new(s->loop, k->pid, on_exit_of, k, &k->child));
    s->up->granted(s->arg, k->number, "127.0.0.1", 1);
}

/* ---- blobs come by the wire, as on a worker */

static void
on_blob(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct spawn *s = arg;
    uint32_t each = s->app.cores_per_executor ? s->app.cores_per_executor : 1;
    uint32_t all = s->app.cores_max ? s->app.cores_max : 2 * each;

    must(e);
    if (got != s->app.blobs[0].size)
        abort();
    close(s->blob);
    for (uint32_t i = 0; i < all / each; i++)
        spawn_one(s);
}

static void
want(struct cluster *c, uint32_t cores)
{
    struct spawn *s = (struct spawn *)c;
    struct bulk_client_opts o = { .app = arena_printf(&s->a, "blobs-%s", s->id) };
    char hex[65];

    hex_of(s->app.blobs[0].sha256, hex);
    s->blob = open(arena_printf(&s->a, "%s/%s", s->dir, hex), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    memcpy(o.secret, s->app.secret, sizeof o.secret);
    must(bulk_client_new(s->loop, &o, &s->client));
    struct bulk_get g = { .host = s->app.bulk, .name = hex, .length = s->app.blobs[0].size, .fd = s->blob,
                          .done = on_blob, .arg = s };
    bulk_get(s->client, &g);
}

static void
release(struct cluster *c, uint32_t executor, const char *why)
{
    struct spawn *s = (struct spawn *)c;

    for (unsigned i = 0; i < s->n; i++)
        if (s->kid[i].number == executor && s->kid[i].child)
            loop_child_kill(s->kid[i].child, SIGKILL);
}

/* ---- life */

static void
on_ready(void *arg)
{
    struct spawn *s = arg;

    s->up->ready(s->arg, s->id, 2);
}

static struct err *
start(const struct cluster_opts *o, const struct cluster_up *up, void *arg, struct cluster **ret)
{
    struct spawn *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    s->cluster.ops = &cluster_spawn;
    s->loop = o->loop;
    s->up = up;
    s->arg = arg;
    s->app = o->app;
    s->app.address = arena_strdup(&s->a, o->app.address);
    s->app.bulk = arena_strdup(&s->a, o->app.bulk);
    s->dir = getenv("SPAWN_DIR");
    s->remote = getenv("SPAWN_REMOTE") != NULL;
    s->keep = getenv("SPAWN_KEEP") != NULL;
    snprintf(s->id, sizeof s->id, "app-spawn-%d", (int)getpid());
    if (s->remote) {
        struct bulk_server_opts so = { .host = "127.0.0.1" };

        must(bulk_server_new(s->loop, &so, &s->server));
    }
    loop_timer_start(s->loop, &s->ready, 0, on_ready, s);
    *ret = &s->cluster;
    return NULL;
}

static void
stop(struct cluster *c, int exit_status, const char *text)
{
    struct spawn *s = (struct spawn *)c;

    loop_timer_stop(s->loop, &s->ready);
    for (unsigned i = 0; i < s->n; i++)
        loop_child_free(s->kid[i].child);
    bulk_client_free(s->client);
    bulk_server_free(s->server);
    arena_fini(&s->a);
    free(s);
}

const struct cluster_ops cluster_spawn = { "spawn", start, want, release, stop };
