/* worker_place -- tests of an application's folder: served, taken over by the next worker, forgotten. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "worker.h"

static bool
got_it(struct rig *r)
{
    return r->timeout;
}

static struct err *got_err;
static void
on_got(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct rig *r = arg;

    got_err = e;
    r->timeout = true; /* see fetch_block() */
    loop_stop(r->l);
}

/* Asks the worker's shuffle service for app-1's file; NULL: it is served. */
static struct err *
fetch_block(struct rig *r, char secret)
{
    struct bulk_client_opts o = { .app = "app-1", .retries = 1, .backoff_ns = 1000000 };
    struct bulk_client *c;
    char to[16] = "";
    int fd = memfd_create("block", MFD_CLOEXEC);
    struct bulk_get g = { .host = r->bulk, .name = "s1-p0-a0", .length = 5, .fd = fd, .done = on_got, .arg = r };

    memset(o.secret, secret, sizeof o.secret);
    NO_ERR(bulk_client_new(r->l, &o, &c));
    bulk_get(c, &g);
    while (!got_it(r))
        NO_ERR(loop_run(r->l));
    r->timeout = false;
    if (!got_err) {
        EQ_U64(pread(fd, to, sizeof to, 0), 5);
        EQ_STR(to, "block");
    }
    bulk_client_free(c);
    close(fd);
    return got_err;
}

static bool
app_gone(struct rig *r)
{
    return !rig_there(r, "app-1");
}

static void
put_block(struct rig *r)
{
    char path[256];

    snprintf(path, sizeof path, "%s/app-1/blocks/s1-p0-a0", r->dir);
    FILE *f = fopen(path, "w");
    CU_ASSERT_FATAL(f != NULL);
    fputs("block", f);
    fclose(f);
}

void
place_serves(void)
{
    struct rig r;

    rig_init(&r);
    rig_worker(&r);
    rig_executor(&r, "app-1", 1, "exit 0", NULL, 0);
    rig_phases(&r, "app-1", 1, NULL);
    put_block(&r);
    rig_ended(&r, "app-1", 1, 0, "exit status 0");
    NO_ERR(fetch_block(&r, 's'));
    IS_ERR(fetch_block(&r, 'x'), ERR_DENIED, "");
    /* the worker comes back in the same folder */
    char scratch[256];
    snprintf(scratch, sizeof scratch, "%s/app-1/executor-1/scratch", r.dir);
    rig_worker_kill(&r);
    CU_ASSERT(mkdir(scratch, 0700) == 0);
    rig_worker(&r);
    EQ_STR(r.apps, "app-1 ");
    NO_ERR(fetch_block(&r, 's'));
    CU_ASSERT(!rig_there(&r, "app-1/executor-1/scratch"));
    rig_forget(&r, "app-1");
    rig_until(&r, app_gone);
    struct err *e = fetch_block(&r, 's');
    CU_ASSERT(e != NULL);
    err_free(e);
    rig_fini(&r);
}

/* Folders that nobody has needed for very long. */
void
place_is_old(void)
{
    struct timeval old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    struct rig r;
    char path[256];

    rig_init(&r);
    rig_worker(&r);
    for (uint32_t i = 1; i <= 2; i++) {
        rig_executor(&r, i == 1 ? "app-1" : "app-2", i, "exit 0", NULL, 0);
        rig_phases(&r, i == 1 ? "app-1" : "app-2", i, NULL);
        rig_ended(&r, i == 1 ? "app-1" : "app-2", i, 0, "exit status 0");
    }
    rig_worker_kill(&r);
    snprintf(path, sizeof path, "%s/app-1/blocks", r.dir);
    CU_ASSERT(utimes(path, old) == 0);
    rig_worker(&r);
    CU_ASSERT(!rig_there(&r, "app-1") && rig_there(&r, "app-2"));
    EQ_STR(r.apps, "app-2 ");
    rig_fini(&r);
}

void
place_is_forgotten(void)
{
    struct rig r;
    struct rig_state s;
    struct buf b = { 0 };

    rig_init(&r);
    rig_worker(&r);
    rig_executor(&r, "app-1", 1, "deaf", NULL, 0);
    rig_phases(&r, "app-1", 1, &s);
    put_block(&r);
    while (!b.n)
        rig_read(&r, "app-1/executor-1/stdout", &b);
    rig_forget(&r, "app-1");
    rig_ended(&r, "app-1", 1, 137, "its application is over");
    buf_fini(&b);
    rig_until(&r, app_gone);
    CU_ASSERT(kill(s.pid, 0) < 0);
    rig_fini(&r);
}

