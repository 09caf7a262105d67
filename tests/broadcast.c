/* Broadcasts between a driver's store and executors on several hosts: real files, real bulk servers and clients, one
 * loop; hosts are folders. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "driver/broadcast.h"
#include "net/bulk.h"
#include "net/loop.h"
#include "unit.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { HOSTS = 4, EXECS = 6, PIECES = 9, SIZE = PIECES * BROADCAST_PIECE - 1000 };
static const unsigned char secret[BULK_SECRET] = "thirty-two bytes of a secret ...";

struct world;
struct exec { /* an executor */
    struct world *w;
    unsigned host;
    struct broadcasts *b;
    struct bulk_client *c;
    /* the last answer */
    unsigned answers, slot, frame;
    struct err *e;
    int fd;
    uint64_t size;
};
struct world {
    struct loop *loop;
    char top[32], dir[HOSTS][64], name[HOSTS][8], bulk[HOSTS][32];
    struct bulk_server *server[HOSTS];
    struct bcast_store *store;
    struct exec exec[EXECS];
    unsigned execs, replies, told, held, rounds, spoilt;
    unsigned spoil_host, spoil; /* so many pieces that come from there are damaged on their way */
    struct err *reply;
    struct loop_timer round, late;
    uint64_t size;
    uint32_t pieces;
};

/* ---- a client that damages what it brings */
struct spoiler {
    struct world *w;
    struct bulk_get g;
    bool spoil;
};
static struct spoiler *spoilers[256];

static void
spoiler_done(void *arg, struct err *e, uint64_t got, uint64_t size)
{
    struct spoiler *s = arg;
    struct bulk_get g = s->g;

    if (!e && s->spoil) {
        char c;

        s->w->spoilt++;
        CU_ASSERT(pread(g.fd, &c, 1, (off_t)(g.at + got / 2)) == 1);
        c ^= 1;
        CU_ASSERT(pwrite(g.fd, &c, 1, (off_t)(g.at + got / 2)) == 1);
    }
    for (int i = 0; i < 256; i++)
        if (spoilers[i] == s)
            spoilers[i] = NULL;
    free(s);
    g.done(g.arg, e, got, size);
}

static struct world *now;
static void
get(struct bulk_client *c, const struct bulk_get *g)
{
    struct spoiler *s = calloc(1, sizeof *s);
    struct bulk_get mine = *g;

    s->w = now;
    s->g = *g;
    if (now->spoil && !strcmp(g->host, now->bulk[now->spoil_host])) {
        s->spoil = true;
        now->spoil -= now->spoil < UINT32_MAX;
    }
    for (int i = 0; i < 256; i++)
        if (!spoilers[i]) {
            spoilers[i] = s;
            break;
        }
    mine.done = spoiler_done;
    mine.arg = s;
    bulk_get(c, &mine);
}
static void
forget(struct bulk_client *c, void *arg)
{
    for (int i = 0; i < 256; i++)
        if (spoilers[i] && spoilers[i]->g.arg == arg) {
            bulk_forget(c, spoilers[i]);
            free(spoilers[i]);
            spoilers[i] = NULL;
        }
}

/* ---- the world */

static void
on_reply(void *arg, uint32_t frame, struct err *e)
{
    struct world *w = arg;

    w->replies++;
    EQ_U64(frame, 77);
    err_free(w->reply);
    w->reply = e;
    loop_stop(w->loop);
}

static void
on_tell(void *arg, const struct broadcast_info *i)
{
    struct world *w = arg;

    w->told++;
    w->size = i->size;
    w->pieces += i->n_pieces;
    for (unsigned k = 0; k < w->execs; k++)
        if (w->exec[k].b)
            NO_ERR(broadcasts_tell(w->exec[k].b, i));
}

static bool
on_node(void *arg, uint32_t node, struct broadcast_node *ret)
{
    struct world *w = ((struct exec *)arg)->w;

    CU_ASSERT_FATAL(node < HOSTS);
    *ret = (struct broadcast_node){ w->name[node], w->bulk[node], w->dir[node] };
    return true;
}

static void
on_held(void *arg, uint32_t id)
{
    struct exec *x = arg;

    x->w->held++;
    bcast_store_held(x->w->store, id, x->host);
}

static void
on_opened(void *arg, unsigned slot, uint32_t frame, uint32_t id, struct err *e, int fd, uint64_t size)
{
    struct exec *x = arg;

    x->answers++;
    x->slot = slot;
    x->frame = frame;
    err_free(x->e);
    file_close(&x->fd);
    x->e = e;
    x->fd = fd;
    x->size = size;
    loop_stop(x->w->loop);
}

static void
on_late(void *arg)
{
    CU_FAIL("nothing happened for 20 seconds");
    loop_stop(((struct world *)arg)->loop);
}

/* Runs the loop until *n is at least want. */
static void
until(struct world *w, const unsigned *n, unsigned want)
{
    loop_timer_start(w->loop, &w->late, loop_now(w->loop) + 20000000000ull, on_late, w);
    while (*n < want && w->late.slot)
        NO_ERR(loop_run(w->loop));
    CU_ASSERT_FATAL(*n >= want);
    loop_timer_stop(w->loop, &w->late);
}

static void
serve(struct world *w, unsigned host)
{
    struct bulk_server_opts o = { .host = "127.0.0.1" };

    NO_ERR(bulk_server_new(w->loop, &o, &w->server[host]));
    NO_ERR(bulk_server_add(w->server[host], "app", w->dir[host], secret));
    snprintf(w->bulk[host], sizeof w->bulk[host], "127.0.0.1:%u", bulk_server_port(w->server[host]));
}

static void
world_init(struct world *w)
{
    *w = (struct world){ .top = "/tmp/taskd-bcast-XXXXXX" };
    now = w;
    CU_ASSERT_FATAL(mkdtemp(w->top) != NULL);
    NO_ERR(loop_new(&w->loop));
    for (unsigned i = 0; i < HOSTS; i++) {
        snprintf(w->dir[i], sizeof w->dir[i], "%s/h%u", w->top, i);
        snprintf(w->name[i], sizeof w->name[i], "h%u", i);
        CU_ASSERT_FATAL(mkdir(w->dir[i], 0700) == 0);
        serve(w, i);
    }
    struct bcast_store_opts o = { w->loop, w->dir[0], on_reply, on_tell, w };
    w->store = bcast_store_new(&o);
}

static void
tell_one(void *arg, const struct broadcast_info *i)
{
    NO_ERR(broadcasts_tell(((struct exec *)arg)->b, i));
}

static struct exec *
exec_add(struct world *w, unsigned host)
{
    struct exec *x = &w->exec[w->execs++];
    struct bulk_client_opts co = { .app = "app", .retries = 1, .backoff_ns = 1000000 };

    memcpy(co.secret, secret, sizeof secret);
    *x = (struct exec){ .w = w, .host = host, .fd = -1 };
    NO_ERR(bulk_client_new(w->loop, &co, &x->c));
    struct broadcasts_opts o = { .loop = w->loop, .host = w->name[host], .dir = w->dir[host], .bulk = x->c, .get = get,
                                 .forget = forget, .node = on_node, .held = on_held, .opened = on_opened, .arg = x };
    x->b = broadcasts_new(&o);
    bcast_store_each(w->store, tell_one, x);
    return x;
}

static void
exec_end(struct exec *x)
{
    broadcasts_free(x->b);
    bulk_client_free(x->c);
    err_free(x->e);
    file_close(&x->fd);
    x->b = NULL;
    x->c = NULL;
    x->e = NULL;
}

static unsigned
files_in(const char *dir)
{
    char cmd[100];
    unsigned n = 0;

    snprintf(cmd, sizeof cmd, "ls -A %s | wc -l", dir);
    FILE *f = popen(cmd, "r");
    CU_ASSERT(f && fscanf(f, "%u", &n) == 1);
    if (f)
        pclose(f);
    return n;
}

static void
world_fini(struct world *w)
{
    for (unsigned i = 0; i < w->execs; i++)
        exec_end(&w->exec[i]);
    bcast_store_free(w->store);
    EQ_U64(files_in(w->dir[0]), 0);
    for (unsigned i = 0; i < HOSTS; i++)
        bulk_server_free(w->server[i]);
    err_free(w->reply);
    loop_free(w->loop);
    NO_ERR(file_remove_tree(w->top));
}

static unsigned char
byte_at(uint64_t i)
{
    return (unsigned char)(i * 2654435761u >> 15);
}

/* Main's request, by memory or by path. */
static void
request(struct world *w, uint32_t id, int fd, const char *path)
{
    struct buf b = { 0 };

    put_u32(&b, id);
    put_str(&b, "table");
    put_u8(&b, path != NULL);
    put_str(&b, path);
    struct frame f = { .id = 77, .p = b.p, .n = b.n, .nfds = fd >= 0, .fds = &fd };
    unsigned want = w->replies + 1;
    bcast_store_add(w->store, &f);
    file_close(&fd);
    buf_fini(&b);
    until(w, &w->replies, want);
}

static void
make(struct world *w, uint32_t id, uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    unsigned char *p = malloc(size + 1);

    for (uint64_t i = 0; i < size; i++)
        p[i] = byte_at(i);
    NO_ERR(file_write_full(fd, p, size, "test"));
    free(p);
    request(w, id, fd, NULL);
    NO_ERR(w->reply);
    w->reply = NULL;
}

static void
destroy(struct world *w, uint32_t id)
{
    struct buf b = { 0 };

    put_u32(&b, id);
    struct frame f = { .id = 77, .p = b.p, .n = b.n };
    bcast_store_remove(w->store, &f);
    buf_fini(&b);
}

static void
check(int fd, uint64_t size)
{
    struct stat st;
    bool good = true;

    CU_ASSERT_FATAL(fd >= 0 && fstat(fd, &st) == 0);
    EQ_U64(st.st_size, size);
    EQ_U64(st.st_mode & 0777, 0400);
    EQ_U64(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    if (size == 0)
        return;
    const unsigned char *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    CU_ASSERT_FATAL(p != MAP_FAILED);
    CU_ASSERT(mprotect((void *)(uintptr_t)p, size, PROT_READ | PROT_WRITE) < 0); /* a runner can't write it */
    for (uint64_t i = 0; i < size; i++)
        good &= p[i] == byte_at(i);
    CU_ASSERT(good);
    munmap((void *)(uintptr_t)p, size);
}

/* x opens it and gets the right bytes. */
static void
opens(struct exec *x, uint32_t id, uint64_t size)
{
    unsigned want = x->answers + 1;

    broadcasts_open(x->b, 3, want, id);
    until(x->w, &x->answers, want);
    EQ_U64(x->frame, want);
    EQ_U64(x->slot, 3);
    NO_ERR(x->e);
    x->e = NULL;
    EQ_U64(x->size, size);
    check(x->fd, size);
}

static struct broadcasts_stats
stats(const struct exec *x)
{
    struct broadcasts_stats s;

    broadcasts_stats(x->b, &s);
    return s;
}

/* ---- the store */

static void
on_round(void *arg)
{
    struct world *w = arg;

    w->rounds++;
    loop_timer_start(w->loop, &w->round, loop_now(w->loop), on_round, w);
}

static uint64_t want_sum[PIECES];
static uint32_t summed;
static void
check_sums(void *arg, const struct broadcast_info *i)
{
    EQ_U64(i->n_pieces, PIECES);
    EQ_U64(i->n_holders, 1);
    EQ_U64(i->holder[0], 0);
    for (uint32_t k = 0; k < i->n_pieces; k++)
        summed += i->xxh3[k] == want_sum[k];
}

static void
store(void)
{
    struct world w;
    char path[80];
    unsigned char *p = malloc(SIZE);
    uint64_t size;
    int fd;

    world_init(&w);
    loop_timer_start(w.loop, &w.round, 0, on_round, &w);
    make(&w, 1, SIZE);
    CU_ASSERT(w.rounds >= PIECES / 2); /* others had their turn meanwhile */
    loop_timer_stop(w.loop, &w.round);
    EQ_U64(w.told, 1);
    for (uint64_t i = 0; i < SIZE; i++)
        p[i] = byte_at(i);
    for (unsigned i = 0; i < PIECES; i++)
        want_sum[i] = XXH3_64bits(p + (size_t)i * BROADCAST_PIECE, i + 1 < PIECES ? BROADCAST_PIECE : SIZE % BROADCAST_PIECE);
    summed = 0;
    bcast_store_each(w.store, check_sums, NULL);
    EQ_U64(summed, PIECES);
    NO_ERR(bcast_store_open(w.store, 1, &fd, &size));
    check(fd, size);
    close(fd);
    snprintf(path, sizeof path, "%s/b1", w.dir[0]);
    request(&w, 2, -1, path); /* from a file */
    NO_ERR(w.reply);
    NO_ERR(bcast_store_open(w.store, 2, &fd, &size));
    check(fd, SIZE);
    close(fd);
    request(&w, 3, -1, "/nowhere/at/all");
    IS_ERR(w.reply, ERR_IO, "opening \"/nowhere/at/all\": No such file");
    w.reply = NULL;
    request(&w, 3, -1, "/tmp");
    IS_ERR(w.reply, ERR_INPUT, "\"/tmp\" is not a regular file");
    w.reply = NULL;
    request(&w, 3, -1, NULL);
    IS_ERR(w.reply, ERR_CORRUPT, "malformed");
    w.reply = NULL;
    request(&w, 2, -1, path);
    IS_ERR(w.reply, ERR_USER, "main asked for broadcast 2 again");
    w.reply = NULL;
    EQ_U64(files_in(w.dir[0]), 2);
    destroy(&w, 1);
    NO_ERR(w.reply);
    EQ_U64(files_in(w.dir[0]), 1);
    IS_ERR(bcast_store_open(w.store, 1, &fd, &size), ERR_INPUT, "destroyed");
    destroy(&w, 1);
    IS_ERR(w.reply, ERR_INPUT, "there is no broadcast 1");
    w.reply = NULL;
    free(p);
    world_fini(&w);
}

/* ---- one host */

static void
here(void)
{
    struct world w;
    struct stat a, b;
    char path[80];

    world_init(&w);
    struct exec *x = exec_add(&w, 0);
    make(&w, 1, SIZE);
    opens(x, 1, SIZE);
    snprintf(path, sizeof path, "%s/b1", w.dir[0]);
    CU_ASSERT(stat(path, &a) == 0 && fstat(x->fd, &b) == 0 && a.st_ino == b.st_ino); /* no copy */
    make(&w, 2, 0);
    opens(x, 2, 0);
    EQ_U64(stats(x).fetched, 0);
    EQ_U64(w.held, 0);
    broadcasts_open(x->b, 0, 0, 99);
    IS_ERR(x->e, ERR_INPUT, "the driver told nothing of it");
    x->e = NULL;
    destroy(&w, 1);
    broadcasts_open(x->b, 0, 0, 1);
    IS_ERR(x->e, ERR_INPUT, "it was destroyed");
    x->e = NULL;
    struct broadcast_info odd = { .id = 5, .size = SIZE, .n_pieces = PIECES - 1 };
    IS_ERR(broadcasts_tell(x->b, &odd), ERR_CORRUPT, "what can't be");
    odd = (struct broadcast_info){ .id = 5, .size = SIZE };
    IS_ERR(broadcasts_tell(x->b, &odd), ERR_CORRUPT, "what can't be"); /* more holders of what is not known */
    odd = (struct broadcast_info){ .id = 2, .size = BROADCAST_PIECE, .n_pieces = 1 };
    IS_ERR(broadcasts_tell(x->b, &odd), ERR_CORRUPT, "what can't be");
    world_fini(&w);
}

/* ---- several */

static void
fetched_once_a_host(void)
{
    struct world w;

    world_init(&w);
    make(&w, 1, SIZE);
    make(&w, 2, 0);
    struct exec *x = exec_add(&w, 1), *y = exec_add(&w, 1), *z = exec_add(&w, 2);
    opens(x, 1, SIZE);
    EQ_U64(stats(x).fetched, PIECES);
    EQ_U64(stats(x).bytes, SIZE);
    EQ_U64(w.held, 1);
    opens(x, 1, SIZE);
    opens(y, 1, SIZE); /* the same host */
    EQ_U64(stats(x).fetched + stats(y).fetched, PIECES);
    opens(z, 1, SIZE);
    EQ_U64(stats(z).fetched, PIECES);
    EQ_U64(w.held, 2);
    EQ_U64(w.pieces, PIECES); /* the sums went out once, with the first holder */
    struct bulk_server_stats s0, s1;
    bulk_server_stats(w.server[0], &s0);
    bulk_server_stats(w.server[1], &s1);
    EQ_U64(s0.bytes + s1.bytes, 2 * (uint64_t)SIZE); /* from any holder */
    opens(z, 2, 0);
    EQ_U64(files_in(w.dir[2]), 2);
    destroy(&w, 1);
    destroy(&w, 2);
    for (unsigned i = 0; i < HOSTS; i++)
        EQ_U64(files_in(w.dir[i]), 0);
    struct exec *late = exec_add(&w, 3);
    broadcasts_open(late->b, 0, 0, 1);
    IS_ERR(late->e, ERR_INPUT, "it was destroyed");
    late->e = NULL;
    world_fini(&w);
}

/* Both ask before either has it: one of them fetches. */
static void
two_ask_at_once(void)
{
    struct world w;

    world_init(&w);
    make(&w, 1, SIZE);
    struct exec *x = exec_add(&w, 1), *y = exec_add(&w, 1);
    for (unsigned i = 0; i < 3; i++) {
        broadcasts_open(x->b, i, 0, 1);
        broadcasts_open(y->b, i, 0, 1);
    }
    until(&w, &x->answers, 3);
    until(&w, &y->answers, 3);
    check(x->fd, SIZE);
    check(y->fd, SIZE);
    EQ_U64(stats(x).fetched, PIECES);
    EQ_U64(stats(y).fetched, 0);
    world_fini(&w);
}

/* The one who fetches is gone: the other one of its host takes over. */
static void
who_fetches_dies(void)
{
    struct world w;

    world_init(&w);
    make(&w, 1, SIZE);
    struct exec *x = exec_add(&w, 1), *y = exec_add(&w, 1);
    broadcasts_open(x->b, 0, 0, 1);
    broadcasts_open(y->b, 0, 0, 1);
    exec_end(x);
    until(&w, &y->answers, 1);
    NO_ERR(y->e);
    check(y->fd, SIZE);
    EQ_U64(stats(y).fetched, PIECES);
    EQ_U64(files_in(w.dir[1]), 1);
    world_fini(&w);
}

static void
damaged_on_the_way(void)
{
    struct world w;

    world_init(&w);
    make(&w, 1, SIZE);
    struct exec *x = exec_add(&w, 1);
    w.spoil = 3;
    opens(x, 1, SIZE);
    EQ_U64(w.spoilt, 3);
    EQ_U64(stats(x).corrupt, 3);
    EQ_U64(stats(x).fetched, PIECES);
    world_fini(&w);
}

/* A holder whose every piece is bad: the others make up for it; alone it is an error, and a later try may work. */
static void
a_bad_holder(void)
{
    struct world w;

    world_init(&w);
    make(&w, 1, SIZE);
    struct exec *x = exec_add(&w, 1), *y = exec_add(&w, 2), *z = exec_add(&w, 3);
    w.spoil = UINT32_MAX;
    broadcasts_open(x->b, 0, 0, 1);
    until(&w, &x->answers, 1);
    IS_ERR(x->e, ERR_CORRUPT, "fetching it to this host: piece ");
    x->e = NULL;
    EQ_U64(files_in(w.dir[1]), 0);
    w.spoil = 0;
    opens(x, 1, SIZE);
    w.spoil = UINT32_MAX;
    opens(y, 1, SIZE);
    EQ_U64(stats(y).fetched, PIECES);
    EQ_U64(stats(y).corrupt, w.spoilt - stats(x).corrupt);
    /* a file that was damaged where it lies */
    w.spoil = 0;
    char path[80];
    snprintf(path, sizeof path, "%s/b1", w.dir[1]);
    CU_ASSERT(chmod(path, 0600) == 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (uint64_t i = 0; i < PIECES; i++)
        CU_ASSERT(pwrite(fd, "*", 1, (off_t)(i * BROADCAST_PIECE + 17)) == 1);
    close(fd);
    opens(z, 1, SIZE);
    EQ_U64(stats(z).fetched, PIECES);
    world_fini(&w);
}

static void
holders_that_are_gone(void)
{
    struct world w;

    world_init(&w);
    make(&w, 1, SIZE);
    struct exec *x = exec_add(&w, 1), *y = exec_add(&w, 2);
    opens(x, 1, SIZE);
    bulk_server_free(w.server[0]);
    w.server[0] = NULL;
    opens(y, 1, SIZE); /* the driver's server does not answer, the other holder does */
    bcast_store_lost(w.store, 1);
    bcast_store_lost(w.store, 2);
    struct exec *z = exec_add(&w, 3);
    broadcasts_open(z->b, 0, 0, 1);
    until(&w, &z->answers, 1);
    IS_ERR(z->e, ERR_LOST, "fetching it to this host");
    z->e = NULL;
    EQ_U64(files_in(w.dir[3]), 0);
    serve(&w, 0);
    opens(z, 1, SIZE);
    world_fini(&w);
}

static void
destroyed_meanwhile(void)
{
    struct world w;

    world_init(&w);
    make(&w, 1, SIZE);
    struct exec *x = exec_add(&w, 1), *y = exec_add(&w, 1);
    broadcasts_open(x->b, 0, 0, 1);
    broadcasts_open(y->b, 0, 0, 1);
    broadcasts_open(x->b, 1, 0, 1);
    broadcasts_forget(x->b, 1); /* that runner is gone */
    destroy(&w, 1);
    EQ_U64(x->answers, 1);
    EQ_U64(y->answers, 1);
    IS_ERR(x->e, ERR_INPUT, "it was destroyed");
    IS_ERR(y->e, ERR_INPUT, "it was destroyed");
    x->e = y->e = NULL;
    EQ_U64(files_in(w.dir[1]), 0);
    world_fini(&w);
}

static const struct unit_test tests[] = {
    { "store.copies_and_sums", store },
    { "open.on_the_drivers_host", here },
    { "fetch.once_a_host", fetched_once_a_host },
    { "fetch.two_ask_at_once", two_ask_at_once },
    { "fetch.who_fetches_dies", who_fetches_dies },
    { "fetch.damaged_on_the_way", damaged_on_the_way },
    { "fetch.a_bad_holder", a_bad_holder },
    { "fetch.holders_that_are_gone", holders_that_are_gone },
    { "fetch.destroyed_meanwhile", destroyed_meanwhile },
    UNIT_END,
};

int
main(int argc, char **argv)
{
    return unit_main(argc, argv, "broadcast", tests);
}
