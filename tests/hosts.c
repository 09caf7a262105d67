/*
 * tests/hosts [--hosts N] [--slots N] [--split BYTES] [--flip BYTES] [--cut BYTES] [--kill N] [--seed N] [--lose]
 *             [--files N] MODULE ARGS... -- a job on N hosts that are one process.
 *
 * Driver and executors talk over loopback links, each executor believes to be on a host of its own: its map outputs are
 * served by a bulk server of its own, and whoever is elsewhere gets them through that, over TCP, through a proxy that
 * may flip bits and cut connections.  --lose: as soon as host 0 has made so many files it is gone with them.  --kill: so
 * many runners are killed, one every few milliseconds.
 *
 * Exit status: the job's.  The last line on stderr counts what was hurt.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/exe.h"
#include "base/file.h"
#include "conf/conf.h"
#include "driver/driver.h"
#include "executor/executor.h"
#include "flow/module.h"
#include "hosts_proxy.h"
#include "net/bulk.h"
#include "net/loop.h"

enum { HOSTS_MAX = 16, MEMORY = 256 << 20 };

struct host {
    struct world *w;
    char name[16], bulk[40], *dir, *scratch;
    struct executor *executor;
    struct bulk_server *server;
    struct bulk_client *client;
    struct proxy *proxy;
};
static struct world {
    struct arena a;
    unsigned hosts, slots;
    uint64_t flip, cut, seed, split;
    unsigned kills, files;
    bool lose;
    char *dir;
    struct conf *conf;
    struct loop *loop;
    struct zygote *zygote;
    struct module module;
    struct module_list items;
    struct driver *driver;
    struct bulk_client *client;
    struct host host[HOSTS_MAX];
    struct loop_timer look, killer;
    int status;
} w = { .hosts = 2, .slots = 2, .seed = 1, .split = 128 << 10, .files = 2, .module.fd = -1, .status = 1 };

static void
check(struct err *e)
{
    if (!e)
        return;
    fprintf(stderr, "tests/hosts: %s\n", err_text(e));
    exit(99);
}

/* ---- what the driver says */

static void
on_say(void *arg, int level, const char *file, uint32_t line, const char *text)
{
    fprintf(stderr, "%s\n", text);
}

static void
on_end(void *arg, int status, struct err *e)
{
    if (e) {
        char *text = err_text(e);

        fprintf(stderr, "error: %s\n", text);
        free(text);
        err_free(e);
    }
    w.status = status;
    loop_stop(w.loop);
}

static void
on_lost(void *arg, uint32_t executor, struct err *why)
{
    err_free(why);
}

static void
on_executor_end(void *arg, struct err *why)
{
    err_free(why);
}

/* ---- a host */

static void
bulk_start(struct host *h)
{
    struct bulk_server_opts so = { .host = "127.0.0.1" };
    struct bulk_client_opts co = { .app = "app", .backoff_ns = 5000000 };
    uint16_t port;

    check(bulk_server_new(w.loop, &so, &h->server));
    check(bulk_server_add(h->server, "app", h->dir, co.secret));
    port = bulk_server_port(h->server);
    if (w.flip || w.cut) {
        struct proxy_opts po = { port, w.flip, w.cut, w.seed + (uint64_t)(h - w.host) };

        check(proxy_new(w.loop, &po, &h->proxy));
        port = proxy_port(h->proxy);
    }
    snprintf(h->bulk, sizeof h->bulk, "127.0.0.1:%u", port);
    check(bulk_client_new(w.loop, &co, &h->client));
}

static void
host_start(unsigned i, const unsigned char *secret, const char *symbolise)
{
    struct host *h = &w.host[i];
    struct link *to_executor, *to_driver;

    h->w = &w;
    snprintf(h->name, sizeof h->name, "host-%u", i);
    h->dir = arena_printf(&w.a, "%s/%s-blocks", w.dir, h->name);
    h->scratch = arena_printf(&w.a, "%s/%s-scratch", w.dir, h->name);
    check(file_mkdirs(h->dir, 0700));
    check(file_mkdirs(h->scratch, 0700));
    bulk_start(h);
    struct executor_opts x = {
        .number = i, .slots = w.slots, .host = h->name, .bulk = h->bulk, .worker = h->name, .dir = h->dir,
        .scratch = h->scratch, .module_fd = w.module.fd, .module_name = w.module.info.name, .symbolise = symbolise,
        .fetch = { h->client, bulk_get, bulk_forget, bulk_client_limit }, .end = on_executor_end,
    };
    memcpy(x.secret, secret, sizeof x.secret);
    check(link_pair(w.loop, &to_executor, &to_driver));
    driver_accept(w.driver, to_executor);
    check(executor_attach(w.loop, w.zygote, &x, to_driver, &h->executor));
}

/* Host 0 is lost as soon as it has what others may want. */
static void
on_look(void *arg)
{
    static char seen[64][NAME_MAX + 1];
    static unsigned n_seen;
    DIR *d = opendir(w.host[0].dir);
    struct dirent *f;

    while (d && (f = readdir(d))) {
        unsigned i = 0;

        while (i < n_seen && strcmp(seen[i], f->d_name) != 0)
            i++;
        if (f->d_name[0] == 's' && i == n_seen && n_seen < 64)
            strcpy(seen[n_seen++], f->d_name);
    }
    if (d)
        closedir(d);
    if (n_seen < w.files) {
        loop_timer_start(w.loop, &w.look, loop_now(w.loop) + 300000, on_look, NULL);
        return;
    }
    fprintf(stderr, "host-0 is lost\n");
    bulk_server_free(w.host[0].server);
    w.host[0].server = NULL;
    executor_free(w.host[0].executor);
    w.host[0].executor = NULL;
    check(file_remove_tree(w.host[0].dir));
    driver_node_lost(w.driver, w.host[0].name);
}

static void
on_kill(void *arg)
{
    struct host *h = &w.host[rand() % (int)w.hosts];
    int pids[64];
    unsigned n = h->executor ? executor_pids(h->executor, pids, 64) : 0;

    if (n && kill(pids[(unsigned)rand() % n], SIGKILL) == 0)
        w.kills--;
    if (w.kills)
        loop_timer_start(w.loop, &w.killer, loop_now(w.loop) + 3000000 + (uint64_t)rand() % 8000000, on_kill, NULL);
}

static void
start(int argc, char **argv)
{
    const char *runner, *symbolise = NULL;
    unsigned char secret[DRIVER_SECRET] = { 7 };

    check(exe_libexec(&w.a, "taskd-runner", &runner));
    err_free(exe_libexec(&w.a, "taskd-symbolise", &symbolise));
    check(zygote_start(runner, &w.zygote));
    w.dir = arena_printf(&w.a, "%s/taskd-hosts-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    check(mkdtemp(w.dir) ? NULL : err_errno(errno, "making \"%s\"", w.dir));
    check(zygote_register(w.zygote, w.dir, NULL));
    check(loop_new(&w.loop));
    w.conf = conf_new();
    struct bulk_client_opts co = { .app = "app", .backoff_ns = 5000000 };
    check(bulk_client_new(w.loop, &co, &w.client));
    struct driver_opts o = {
        .conf = w.conf,
        .main = { .module_fd = w.module.fd, .module_name = w.module.info.name, .symbolise = symbolise,
                  .budget = MEMORY, .argc = argc, .argv = argv },
        .host = "driver", .dir = w.dir, .bulk = "", .scratch = w.dir, .memory = MEMORY,
        .split_bytes = w.split, .max_failures = 50,
        .say = on_say, .lost = on_lost, .end = on_end, .items = &w.items,
    };
    memcpy(o.secret, secret, sizeof o.secret);
    check(driver_new(w.loop, w.zygote, &o, &w.driver));
    driver_fetch(w.driver, &(struct executor_fetch){ w.client, bulk_get, bulk_forget, bulk_client_limit });
    check(driver_run(w.driver, "app-hosts", w.hosts * w.slots));
    for (unsigned i = 0; i < w.hosts; i++)
        host_start(i, secret, symbolise);
    if (w.lose)
        loop_timer_start(w.loop, &w.look, 0, on_look, NULL);
    srand((unsigned)w.seed);
    if (w.kills)
        loop_timer_start(w.loop, &w.killer, 0, on_kill, NULL);
}

static void
stop(void)
{
    uint64_t served = 0, requests = 0, flips = 0, cuts = 0;

    loop_timer_stop(w.loop, &w.look);
    loop_timer_stop(w.loop, &w.killer);
    for (unsigned i = 0; i < w.hosts; i++) {
        struct host *h = &w.host[i];
        struct bulk_server_stats s = { 0 };
        struct proxy_stats p = { 0 };

        executor_free(h->executor);
        if (h->server)
            bulk_server_stats(h->server, &s);
        if (h->proxy)
            proxy_stats(h->proxy, &p);
        served += s.bytes;
        requests += s.requests;
        flips += p.flips;
        cuts += p.cuts;
        bulk_client_free(h->client);
        proxy_free(h->proxy);
        bulk_server_free(h->server);
    }
    driver_free(w.driver);
    bulk_client_free(w.client);
    check(file_remove_tree(w.dir));
    check(zygote_unregister(w.zygote, w.dir));
    zygote_stop(w.zygote);
    loop_free(w.loop);
    conf_free(w.conf);
    module_fini(&w.module);
    arena_fini(&w.a);
    fprintf(stderr, "hosts: served %llu bytes in %llu requests, %llu flips, %llu cuts\n", (unsigned long long)served,
            (unsigned long long)requests, (unsigned long long)flips, (unsigned long long)cuts);
}

int
main(int argc, char **argv)
{
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        uint64_t n = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;

        if (strcmp(argv[i], "--lose") == 0)
            w.lose = true;
        else if (strcmp(argv[i], "--hosts") == 0 && n && n <= HOSTS_MAX)
            w.hosts = (unsigned)n, i++;
        else if (strcmp(argv[i], "--slots") == 0 && n)
            w.slots = (unsigned)n, i++;
        else if (strcmp(argv[i], "--flip") == 0)
            w.flip = n, i++;
        else if (strcmp(argv[i], "--cut") == 0)
            w.cut = n, i++;
        else if (strcmp(argv[i], "--kill") == 0)
            w.kills = (unsigned)n, i++;
        else if (strcmp(argv[i], "--split") == 0 && n)
            w.split = n, i++;
        else if (strcmp(argv[i], "--files") == 0 && n && n <= 64)
            w.files = (unsigned)n, i++;
        else if (strcmp(argv[i], "--seed") == 0)
            w.seed = n, i++;
        else
            return 98;
    }
    if (i >= argc)
        return 98;
    signal(SIGPIPE, SIG_IGN);
    check(module_read(argv[i], &w.a, &w.module));
    check(module_list(&w.module.info, &w.a, &w.items));
    start(argc - i, argv + i);
    check(loop_run(w.loop));
    stop();
    return w.status;
}
