/* local_cluster -- see local_cluster.h */
#include "submit/local_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/exe.h"
#include "base/file.h"
#include "worker/process.h"

enum { ARGS_MAX = 24, URL_MAX = 256, START_MS = 10000, STOP_MS = 3000, LOG_MAX = 1 << 20 };

struct local_cluster {
    unsigned n;
    pid_t pids[]; /* the master's, then the workers' */
};

static void
add_tls(char **argv, int *n, const struct tls_files *tls)
{
    if (!tls)
        return;
    argv[(*n)++] = "--tls-ca";
    argv[(*n)++] = (char *)tls->ca;
    argv[(*n)++] = "--tls-cert";
    argv[(*n)++] = (char *)tls->cert;
    argv[(*n)++] = "--tls-key";
    argv[(*n)++] = (char *)tls->key;
}

/* argv[1] and on, NULL-terminated, is the caller's; what it says goes to NAME.log. */
static struct err *
spawn(struct arena *a, const char *program, char **argv, int out, const char *log, pid_t *ret)
{
    struct process_opts o = { .argv = argv, .out = out, .three = -1 };
    struct err *e;

    TRY(exe_libexec(a, program, &o.path));
    o.err = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (o.err < 0)
        return err_errno(errno, "making \"%s\"", log);
    e = process_start(&o, ret);
    close(o.err);
    return e;
}

/* Why there was no URL: the last line that the master wrote. */
static struct err *
no_master(const char *log)
{
    struct buf b = { 0 };
    struct err *e = file_slurp(log, LOG_MAX, &b);
    char *line = "it wrote nothing";

    if (!e && b.n) {
        put_u8(&b, 0);
        b.p[strcspn(b.p, "\n")] = 0;
        line = b.p;
    }
    err_free(e);
    e = err_new(ERR_LOST, "the master of local-cluster did not start: %.500s", line);
    buf_fini(&b);
    return e;
}

/* A line from fd, without its end. */
static bool
read_line(int fd, char *to, size_t size)
{
    uint64_t until = clock_mono_ns() + UINT64_C(1000000) * START_MS;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    size_t n = 0;

    for (;;) {
        uint64_t now = clock_mono_ns();
        ssize_t k;

        if (now >= until || poll(&p, 1, (int)((until - now) / 1000000) + 1) < 0)
            return false;
        if (!p.revents)
            continue;
        k = read(fd, to + n, size - 1 - n);
        if (k <= 0)
            return false;
        n += (size_t)k;
        to[n] = 0;
        if (strchr(to, '\n')) {
            *strchr(to, '\n') = 0;
            return true;
        }
        if (n + 1 == size)
            return false;
    }
}

static struct err *
start_master(struct arena *a, const char *dir, char *secret, const struct tls_files *tls, pid_t *ret_pid,
             const char **ret_url)
{
    const char *log = arena_printf(a, "%s/master.log", dir);
    char *argv[ARGS_MAX] = { "taskd master", "--host", "127.0.0.1", "--port", "0", "--dir",
                             arena_printf(a, "%s/master", dir), "--conf", secret,
                             "--conf", "taskd.master.blobs.port=0" };
    char url[URL_MAX] = "";
    int n = 11, out[2];
    struct err *e;
    bool there;

    add_tls(argv, &n, tls);
    if (pipe2(out, O_CLOEXEC) < 0)
        return err_errno(errno, "making a pipe");
    e = spawn(a, "taskd-master", argv, out[1], log, ret_pid);
    close(out[1]);
    there = !e && read_line(out[0], url, sizeof url);
    close(out[0]);
    if (!e && !there)
        e = no_master(log);
    if (!e)
        *ret_url = arena_strdup(a, url);
    return e;
}

static struct err *
start_worker(struct arena *a, const char *dir, const char *local_dirs, unsigned i, char *secret,
             const struct tls_files *tls, const struct submit_master *m, pid_t *ret_pid)
{
    char *argv[ARGS_MAX] = { "taskd worker", (char *)m->url, "--host", "127.0.0.1", "--dir",
                             arena_printf(a, "%s/worker-%u", dir, i), "--cores", arena_printf(a, "%u", m->cores), "--memory",
                             arena_printf(a, "%lluk", (unsigned long long)m->memory >> 10), "--local-dirs", (char *)local_dirs,
                             "--conf", secret };
    int n = 14;

    add_tls(argv, &n, tls);
    return spawn(a, "taskd-worker", argv, -1, arena_printf(a, "%s/worker-%u.log", dir, i), ret_pid);
}

static void
end(pid_t pid, uint64_t until)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t now = clock_mono_ns();

    if (fd < 0 || now >= until || poll(&p, 1, (int)((until - now) / 1000000) + 1) <= 0)
        kill(pid, SIGKILL);
    if (fd >= 0)
        close(fd);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

void
local_cluster_stop(struct local_cluster *c)
{
    uint64_t until = clock_mono_ns() + UINT64_C(1000000) * STOP_MS;

    if (!c)
        return;
    for (unsigned i = 1; i < c->n; i++)
        kill(c->pids[i], SIGTERM);
    for (unsigned i = 1; i < c->n; i++)
        end(c->pids[i], until);
    if (c->n) {
        kill(c->pids[0], SIGTERM);
        end(c->pids[0], until);
    }
    free(c);
}

struct err *
local_cluster_start(struct arena *a, const char *dir, const char *local_dirs, const char *token_file,
                    const struct tls_files *tls, struct submit_master *m, struct local_cluster **ret)
{
    struct local_cluster *c = calloc(1, sizeof *c + sizeof *c->pids * (m->workers + 1));
    char *secret = arena_printf(a, "taskd.authenticate.secretFile=%s", token_file);
    struct submit_master at;
    struct err *e;

    if (!c)
        abort();
    e = start_master(a, dir, secret, tls, &c->pids[0], &m->url);
    c->n = c->pids[0] > 0;
    for (unsigned i = 1; !e && i <= m->workers; i++) {
        e = start_worker(a, dir, local_dirs, i, secret, tls, m, &c->pids[i]);
        c->n += !e;
    }
    if (!e)
        e = submit_master_parse(m->url, 1, a, &at);
    if (e) {
        local_cluster_stop(c);
        return e;
    }
    m->url = at.url;
    m->addresses = at.addresses;
    m->n_addresses = at.n_addresses;
    *ret = c;
    return NULL;
}
